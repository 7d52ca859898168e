"""What a full-size run would take on this machine, from its first steps."""

import resource
import time
from dataclasses import dataclass

import torch

from ..experiments.config import DeviceConfig, RunConfig
from . import provenance
from .from_disk import CHUNK, Collection
from .trainer import Run, explained

STEPS = 100
SECONDS = 60.0
"""Measured for so many steps, or for so long, after the first."""


@dataclass(frozen=True)
class Cost:
    """Measured: steps, their seconds, images per second. From these: hours of training and of testing at most; bytes
    of memory at the peak, of prepared images and of a checkpoint on disk. watts: of the device alone, in its last
    steps; None where it does not tell.
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
        """Of a run, at most."""
        return None if self.watts is None else self.watts * (self.training_hours + self.testing_hours) / 1000


def measure(config: RunConfig, placement: DeviceConfig, steps: int = STEPS, seconds: float = SECONDS) -> Cost:
    """Train the first steps of ``config``, test a few images, and multiply. Raises UserError as the run would."""
    torch.set_num_threads(placement.threads)
    with explained(config, placement):
        return _measure(config, placement, steps, seconds)


def _measure(config: RunConfig, placement: DeviceConfig, steps: int, seconds: float) -> Cost:
    run = Run(config, placement)
    assert isinstance(run.data, Collection)
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
    run.data.errors(run.net, run.data.test, tested, ten=False)
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
    """What a GPU draws now, by its driver's tool; None for a CPU, and where there is no such tool."""
    if not device.startswith("cuda"):
        return None
    try:
        return float(provenance.ask_driver(device, "power.draw") or "")
    except ValueError:
        return None


def _peak(run: Run) -> int:
    """Bytes: what torch has allocated on a GPU, what the process has touched on a CPU."""
    if run.device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(run.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
