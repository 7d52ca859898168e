"""How exactly a run multiplies: float32, TF32 on a GPU, or bfloat16 by autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch

from ..experiments.config import Precision


def set_tf32(precision: Precision) -> None:
    """Let this process's float32 products on GPUs be rounded to TF32, or forbid it; torch's own default is mixed."""
    allowed = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def autocast(precision: Precision, device: str) -> AbstractContextManager[object]:
    """Where the products inside are to be made in bfloat16, torch's autocast; otherwise nothing."""
    kind = device.partition(":")[0]
    return torch.autocast(kind, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32 where it is less exact; float32 and double stay as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
