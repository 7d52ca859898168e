"""Runs and records that tests share: small, quick, on the bundled sample."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from alexnet_repro.experiments.config import RunConfig
from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT
from alexnet_repro.records.record import Measurement, Provenance, RunRecord
from alexnet_repro.training.data import cifar10

PROVENANCE = Provenance(
    commit="0" * 40, clean=True, python="3.12", torch="2.9", numpy="2.0", device="NA", threads=1, data="1" * 64,
    weights="2" * 64, started="2025-01-01T00:00:00+00:00", wall_seconds=100.0, images_per_second=500.0,
)  # fmt: skip

QUICK = {"model.initialization": "he", "data.divisor": 64.0, "optimizer.learning_rate": 0.01}
"""Learns within a few steps."""


def few_test_images() -> cifar10.Dataset:
    """The sample with a hundred test images."""
    whole = cifar10.sample()
    return replace(whole, test_images=whole.test_images[:100], test_labels=whole.test_labels[:100])


def load_few_test_images(put: Callable[[object, str, object], None] = setattr) -> None:
    """Have every run load them; ``put`` sets what is to be set."""
    from alexnet_repro.training import trainer  # torch is for those who train

    few = few_test_images()
    put(trainer, "load", lambda name: few)


def after(steps: int) -> Callable[[], bool]:
    """Says, once, to stop after so many steps."""
    asked = iter([False] * steps + [True])
    return lambda: next(asked, False)


def numbers(record: RunRecord) -> dict[str, Any]:
    """All of a record but the clock's part."""
    return record.model_dump(exclude={"provenance": {"started", "wall_seconds", "images_per_second"}})


def tiny(**changes) -> RunConfig:
    """Section 3.1's run with 300 images of the sample for two epochs: three steps an epoch, the last uneven."""
    small = {"data.dataset": "sample", "data.train_images": 300, "budget.epochs": 2, "budget.measurements": 2}
    return CUDA_CONVNET_19PCT.changed(**(small | changes))


def record(config=None, status="finished", curve=None, metrics=None, **provenance) -> RunRecord:
    """A record of ``config`` that no training made."""
    config = config or tiny()
    points = curve or (Measurement(epoch=2.0, images=600, train_loss=1.5, train_error=0.5),)
    return RunRecord(
        key=config.key,
        recipe=1,
        config=config,
        status=status,
        curve=tuple(points),
        metrics={"test_error": 0.25} if metrics is None else metrics,
        provenance=PROVENANCE.model_copy(update=provenance),
    )
