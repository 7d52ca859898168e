"""Estimate time, memory, disk and energy of a run from its first steps."""

import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..experiments.config import DeviceConfig, RunConfig
from . import provenance
from .data.images import Images
from .evaluate import BATCH, errors
from .from_disk import CHUNK, OnDiskData
from .in_memory import InMemoryData
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
    done, spent = _steps(run, steps, seconds)
    watts = _watts_in_training(run)
    tested = min(CHUNK, len(run.data.test))
    view = _seconds_per_view(run, list(run.data.chunks(run.data.test, tested)), tested)
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


class Duration(NamedTuple):
    """How long a run takes: seconds of training for the whole budget and of testing; watts of the GPU, None without."""

    training: float
    testing: float
    watts: float | None


def duration(config: RunConfig, placement: DeviceConfig, seconds: float) -> Duration:
    """Train a run for some ``seconds``, its images in memory, and extrapolate. Raises UserError as the run would."""
    torch.set_num_threads(placement.threads)
    with resource_errors(config, placement):
        run = Run(config, placement)
        assert isinstance(run.data, InMemoryData)
        done, spent = _steps(run, sys.maxsize, seconds)
        watts = _watts_in_training(run)
        some = run.data.test.first(BATCH)
        view = _seconds_per_view(run, [some], len(some.labels))
        found = Duration(spent / done * run.budget_steps, view * run.data.views(run.net), watts)
    del run
    if placement.device.startswith("cuda"):
        torch.cuda.empty_cache()  # for the processes that will train
    return found


def steps_per_second(run: Run, seconds: float) -> float:
    """A run's training steps per second, over so many seconds and at least one step; first steps do not count."""
    done, spent = _steps(run, sys.maxsize, seconds)
    return done / spent


def _steps(run: Run, steps: int, seconds: float) -> tuple[int, float]:
    """Train at most so many steps or seconds, and at least one step: (steps done, seconds spent)."""
    for _ in range(run.first_steps):
        run.update()
    _wait(run)
    start, done = time.perf_counter(), 0
    while done < steps and (done == 0 or time.perf_counter() - start < seconds):
        run.update()
        done += 1
        if done % 10 == 0:
            _wait(run)  # steps are only queued on a GPU: let the clock see them
    _wait(run)
    return done, time.perf_counter() - start


def _seconds_per_view(run: Run, images: Sequence[Images], count: int) -> float:
    """Seconds to test the network on one view of one image; the second time, when all kernels are there."""
    spent = 0.0
    for _ in range(2):
        start = time.perf_counter()
        errors(run.net, images, run.config.data.side)
        spent = time.perf_counter() - start
    return spent / count


def _wait(run: Run) -> None:
    if run.device.startswith("cuda"):
        torch.cuda.synchronize(run.device)
    elif run.device == "mps":
        torch.mps.synchronize()


def _watts_in_training(run: Run) -> float | None:
    """The power of a GPU while it trains on; None for a CPU. nvidia-smi takes as long as many steps."""
    if not run.device.startswith("cuda"):
        return None
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(_watts, run.device)
        while not asked.done():
            run.update()
            _wait(run)
        return asked.result()


def _watts(device: str) -> float | None:
    """The power of a GPU now, by nvidia-smi; None if that fails."""
    try:
        return float(provenance.query_nvidia_smi(device, "power.draw") or "")
    except ValueError:
        return None


def _peak(run: Run) -> int:
    """Peak memory in bytes: torch's allocations on a GPU (Apple's counts no peak: now), the resident set on a CPU."""
    if run.device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(run.device)
    if run.device == "mps":
        return torch.mps.driver_allocated_memory()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
