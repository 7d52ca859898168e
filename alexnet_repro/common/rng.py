"""Named random streams: each use of chance draws from its own, so that arms of one seed share the rest.

A stream is a function of (seed, name, numbers) alone, such as (3, "order", epoch): nothing to save, and
a resumed run draws what the uninterrupted one would have drawn.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _digest(seed: int, name: str, numbers: tuple[int, ...]) -> bytes:
    return hashlib.sha256(":".join([str(seed), name, *map(str, numbers)]).encode()).digest()


def stream(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """NumPy generator (Philox) of a named stream: initialization, order, crop offsets. Same on every machine."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(seed, name, numbers)[:16], "little")))


def torch_stream(seed: int, name: str, *numbers: int, device: str = "cpu") -> "torch.Generator":
    """Torch generator of a named stream on ``device``, for draws too large to make on the host (dropout)."""
    import torch

    generator = torch.Generator(device=device)
    return generator.manual_seed(int.from_bytes(_digest(seed, name, numbers)[:8], "little") >> 1)
