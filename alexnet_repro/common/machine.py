"""Devices, CPU cores and launchers, as far as they are known without torch."""

import os

from .errors import UserError, one_of

DEVICES = ("cpu", "cuda", "mps")
"""Kinds of devices: "cuda" also stands for AMD's GPUs, as in PyTorch; "mps" for Apple's."""
PARALLEL = ("columns", "data")
"""How several devices can share a run: "columns", one column on each; "data", a part of every batch on each."""
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets for every process of a run."""


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(device: str) -> None:
    """Raise UserError for a device other than those of ``DEVICES``."""
    if device not in DEVICES:
        raise one_of("device", device, list(DEVICES))


def columns_of(parallel: str, processes: int) -> int:
    """Number of processes that together hold one copy of the net: 2 for "columns", 1 for "data".

    Raises UserError for another way, or an odd number of processes for two columns.
    """
    if parallel not in PARALLEL:
        raise one_of("way to be parallel", parallel, list(PARALLEL))
    if parallel == "columns" and processes % 2:
        devices = "1 device" if processes == 1 else f"{processes} devices"
        raise UserError(f"{devices} for two columns: use an even number of devices, or --parallel data")
    return 2 if parallel == "columns" else 1


def launched() -> bool:
    """Whether torchrun or this package's own launcher started this process as one of several."""
    return os.environ.keys() >= set(LAUNCHED)
