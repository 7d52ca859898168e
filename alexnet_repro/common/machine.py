"""This machine and this process, as far as they are known without torch."""

import os

from .errors import UserError, one_of

DEVICES = ("cpu", "cuda")
PARALLEL = ("columns", "data")
"""How devices can share a run: a column on each, or a part of every batch."""
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What the environment of a process holds that is to meet others."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(device: str) -> None:
    """Raises UserError for another device than "cpu" and "cuda"."""
    if device not in DEVICES:
        raise one_of("device", device, list(DEVICES))


def columns_of(parallel: str, processes: int) -> int:
    """How many processes hold one net. Raises UserError where so many processes can't be arranged."""
    if parallel not in PARALLEL:
        raise one_of("way to be parallel", parallel, list(PARALLEL))
    if parallel == "columns" and processes % 2:
        devices = "1 device" if processes == 1 else f"{processes} devices"
        raise UserError(f"{devices} for two columns: use an even number of devices, or --parallel data")
    return 2 if parallel == "columns" else 1


def launched() -> bool:
    """Whether torchrun, or this package's own launcher, has started this process as one of several."""
    return os.environ.keys() >= set(LAUNCHED)
