"""Check that a device exists."""

import torch

from ..common.errors import UserError
from ..experiments.config import DeviceConfig


def available(placement: DeviceConfig) -> str:
    """The device of a placement, such as "cuda:1". Raises UserError if this machine does not have it."""
    if placement.device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise UserError(f"device {placement.device!r} is not available: this machine has no CUDA GPU; use 'cpu'")
        index = int(placement.device.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise UserError(f"device {placement.device!r} is not available: there are {torch.cuda.device_count()} GPUs")
    if placement.device == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps' is not available: this machine has no Apple GPU; use 'cpu'")
    return placement.device
