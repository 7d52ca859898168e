"""Named random number generators: each source of randomness (initialization, order, dropout, ...) has its own.

Arms with the same seed therefore share all randomness that they both use. A generator depends only on (seed, name,
numbers), such as (3, "order", epoch): nothing needs saving, and a resumed run draws what an uninterrupted one would.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _digest(seed: int, name: str, numbers: tuple[int, ...]) -> bytes:
    return hashlib.sha256(":".join([str(seed), name, *map(str, numbers)]).encode()).digest()


def stream(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """NumPy generator (Philox) for a named use of randomness: initialization, order, crop offsets.

    Same on every machine.
    """
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(seed, name, numbers)[:16], "little")))


def torch_stream(seed: int, name: str, *numbers: int, device: str = "cpu") -> "torch.Generator":
    """Torch generator for a named use of randomness on ``device``, for draws too large to make on the CPU (dropout)."""
    import torch

    generator = torch.Generator(device=device)
    return generator.manual_seed(int.from_bytes(_digest(seed, name, numbers)[:8], "little") >> 1)
