"""Where a record comes from: commit, versions, device, digests."""

import hashlib
import platform
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import paths

CODE = ("alexnet_repro", "pyproject.toml")


@cache
def commit() -> tuple[str, bool]:
    """The commit of the checkout, and whether the code that decides numbers is exactly that commit's."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(paths.repository()), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), git("status", "--porcelain", "--", *CODE) == ""
    except (OSError, subprocess.CalledProcessError):
        return "unknown", False


def device_name(device: str) -> str:
    """The model name of a device, such as that of the processor."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or 'unknown'} ({platform.machine()})"


def versions() -> dict[str, str]:
    """What computes: Python, torch, numpy."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def weights_digest(net: nn.Module) -> str:
    """SHA-256 of all parameters, by name, in the order and layout of their shapes."""
    digest = hashlib.sha256()
    for name, parameter in sorted(net.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
