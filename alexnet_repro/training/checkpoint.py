"""Save and load checkpoints: tensors and JSON values in one safetensors file, with a checksum."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..common.errors import UserError
from ..common.files import read_regular, write_atomic


def save(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write a checkpoint; an existing one is replaced only once the new one is complete."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dict(values))
    write_atomic(path, safetensors.torch.save(plain, {"values": text, "sha256": _digest(plain, text)}))


def load(path: Path, remedy: str = "delete it, and the run starts afresh") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and values of a checkpoint.

    Raises UserError, with the ``remedy``, for a file that is not what ``save`` wrote.
    """
    try:
        # safe_open opens a path twice, and a run may put its next checkpoint there in between.
        data = read_regular(path)
        tensors = safetensors.torch.load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        if metadata["sha256"] != _digest(tensors, metadata["values"]):
            raise ValueError("does not have its SHA-256")
        values = json.loads(metadata["values"])
        if not isinstance(values, dict):
            raise ValueError("holds no values by name")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no whole checkpoint: {remedy}", 1) from error
    return tensors, values


def _digest(tensors: Mapping[str, Tensor], values: str) -> str:
    """SHA-256 of every name, type, shape and bit: safetensors itself has no checksum."""
    digest = hashlib.sha256(values.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
