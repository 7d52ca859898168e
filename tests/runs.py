"""Runs and records that tests share: small, quick, on the bundled sample."""

from alexnet_repro.experiments.config import RunConfig
from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT
from alexnet_repro.records.record import Measurement, Provenance, RunRecord

PROVENANCE = Provenance(
    commit="0" * 40, clean=True, python="3.12", torch="2.9", numpy="2.0", device="NA", threads=1, data="1" * 64,
    weights="2" * 64, started="2025-01-01T00:00:00+00:00", wall_seconds=100.0, images_per_second=500.0,
)  # fmt: skip


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
