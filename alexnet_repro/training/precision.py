"""Precision of matrix products and convolutions: float32, TF32 on a GPU, or bfloat16 by autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch

from ..common.errors import UserError
from ..experiments.config import Precision


def check_precision(precision: Precision, device: str) -> None:
    """Raise UserError if the GPU cannot compute in this precision: NVIDIA's have bfloat16 since 2020 (Ampere)."""
    if precision != "bfloat16" or not device.startswith("cuda"):
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise UserError(f"{name} has no bfloat16, which this run is trained in: use a newer GPU or the CPU", 1)


def set_tf32(precision: Precision) -> None:
    """Allow or forbid TF32 in this process. torch's default allows it for convolutions only."""
    allowed = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def autocast(precision: Precision, device: str) -> AbstractContextManager[object]:
    """torch.autocast to bfloat16 if ``precision`` asks for it, else a context that does nothing."""
    kind = device.partition(":")[0]
    return torch.autocast(kind, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32 if its type has fewer bits; float32 and float64 stay as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
