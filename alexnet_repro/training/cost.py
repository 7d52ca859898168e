"""Estimate time, memory, disk and energy of a full-size run from its first steps."""

import resource
import time
from dataclasses import dataclass

import torch

from ..experiments.config import DeviceConfig, RunConfig
from . import provenance
from .evaluate import errors
from .from_disk import CHUNK, OnDiskData
from .trainer import Run, resource_errors

STEPS = 100
SECONDS = 60.0
"""The first step is followed by so many measured ones, or fewer if these many seconds have passed."""


@dataclass(frozen=True)
class Cost:
    """The cost of a run.

    steps, seconds, images_per_second: measured. training_hours, testing_hours: extrapolated, at most. memory_bytes: at
    the peak. images_bytes, checkpoint_bytes: on disk. watts: power of the GPU alone while training; None if unknown.
    """

    steps: int
    seconds: float
    images_per_second: float
    training_hours: float
    testing_hours: float
    memory_bytes: int
    images_bytes: int
    checkpoint_bytes: int
    watts: float | None

    @property
    def kilowatt_hours(self) -> float | None:
        """Energy of the whole run, at most; None if the power is unknown."""
        return None if self.watts is None else self.watts * (self.training_hours + self.testing_hours) / 1000


def measure(config: RunConfig, placement: DeviceConfig, steps: int = STEPS, seconds: float = SECONDS) -> Cost:
    """Train some steps of ``config``, evaluate a few images, and extrapolate. Raises UserError as the run would."""
    torch.set_num_threads(placement.threads)
    with resource_errors(config, placement):
        return _measure(config, placement, steps, seconds)


def _measure(config: RunConfig, placement: DeviceConfig, steps: int, seconds: float) -> Cost:
    run = Run(config, placement)
    assert isinstance(run.data, OnDiskData)
    run.update()  # the first step finds its kernels and fills its buffers
    _wait(run)
    start, done = time.perf_counter(), 0
    watts = None
    while done < steps and time.perf_counter() - start < seconds:
        run.update()
        if done == steps // 2:
            watts = _watts(run.device)
        done += 1
        if done % 10 == 0:
            _wait(run)  # steps are only queued on a GPU: let the clock see them
    _wait(run)
    spent = time.perf_counter() - start
    start = time.perf_counter()
    tested = min(CHUNK, len(run.data.test))
    errors(run.net, run.data.chunks(run.data.test, tested), config.data.side)
    view = (time.perf_counter() - start) / tested
    run.data.loader.close()
    views = len(run.data.validation) * config.budget.epochs + 12 * len(run.data.test)
    return Cost(
        steps=done,
        seconds=spent,
        images_per_second=done * config.optimizer.batch_size / spent,
        training_hours=spent / done * run.budget_steps / 3600,
        testing_hours=view * views / 3600,
        memory_bytes=_peak(run),
        images_bytes=run.data.images * config.data.whole**2 * 3,
        checkpoint_bytes=sum(tensor.numel() * tensor.element_size() for tensor in run.tensors().values()),
        watts=watts,
    )


def _wait(run: Run) -> None:
    if run.device.startswith("cuda"):
        torch.cuda.synchronize(run.device)


def _watts(device: str) -> float | None:
    """The power of a GPU now, by nvidia-smi; None for a CPU, and if nvidia-smi fails."""
    if not device.startswith("cuda"):
        return None
    try:
        return float(provenance.query_nvidia_smi(device, "power.draw") or "")
    except ValueError:
        return None


def _peak(run: Run) -> int:
    """Peak memory in bytes: torch's allocations on a GPU, the resident set on a CPU."""
    if run.device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(run.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
