"""RunRecord: the config of one run, what it measured, and where and by which code it was made."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from ..common.fields import Amount, Count, Strict
from ..experiments.config import RunConfig
from .curves import Floats, crossing, epochs_to_converge, mean_until, trailing_error

METRIC = "metric."
PROVENANCE = "provenance."

Status = Literal["finished", "stopped", "diverged"]
""""finished": all epochs are done; "stopped": the stopping rule was met; "diverged": the loss is NaN or infinite."""


SINGLE = 1e39
"""Larger than any number in single precision; the loss of a diverging run may come near."""
Number = Field(ge=-SINGLE, le=SINGLE)


class Measurement(Strict):
    """What was measured since the measurement before, in training mode: each image counts in the step that trained on
    it.

    epoch: images seen over the number of training images, at the end of the interval. train_loss in nats; errors are
    fractions. test_error: of the network at this point, in eval mode; None if it was not asked for.
    """

    epoch: Amount
    images: Count
    train_loss: Annotated[float | None, Number]
    train_error: Annotated[float, Number]
    test_error: Annotated[float | None, Number] = None


class Provenance(Strict):
    """Where a record comes from: code, versions, machine and speed. Digests are SHA-256; ``weights`` is of the final
    weights.

    Fields after images_per_second are None in records made before 28 November 2026, 10:15 UTC. instructions: the CPU
    instructions that torch's own kernels use, such as AVX512, and what the environment forbids other libraries to use.
    processor: vendor, family, model and stepping. onednn: whether torch uses oneDNN. capability and driver: of the GPU,
    if there is one.
    """

    commit: str
    clean: bool
    python: str
    torch: str
    numpy: str
    device: str
    threads: Count
    data: str
    weights: str
    started: str
    wall_seconds: Amount
    images_per_second: Amount
    instructions: str | None = None
    processor: str | None = None
    onednn: bool | None = None
    capability: str | None = None
    driver: str | None = None


class RunRecord(Strict):
    """One complete run; no record is written before the run is over."""

    key: str
    recipe: Count
    config: RunConfig
    status: Status
    curve: tuple[Measurement, ...]
    metrics: dict[str, Annotated[float | None, Number]]
    provenance: Provenance

    def metric(self, name: str) -> float:
        """A metric by name; NaN if the run has no such number (it diverged, or never reached the threshold)."""
        value = self.metrics.get(name)
        return math.nan if value is None else value

    def trailing(self) -> tuple[Floats, Floats]:
        """Training error over the latest epoch's worth of images: (middles of these windows in epochs, errors)."""
        return trailing(self.curve, self.config.data.train_images)

    def epochs_to(self, train_error: float) -> float:
        """Epochs until that trailing training error is at or below ``train_error``; NaN if it never is."""
        return crossing(*self.trailing(), train_error)

    @property
    def lowest_epoch(self) -> float:
        """The epoch with the lowest test error; NaN if the curve has no test errors."""
        tested = [(m.test_error, m.epoch) for m in self.curve if m.test_error is not None]
        return min(tested)[1] if tested else math.nan


def trailing(curve: Sequence[Measurement], train_images: int) -> tuple[Floats, Floats]:
    """Training error over the latest epoch's worth of images: (middles of these windows in epochs, errors)."""
    middles, errors = trailing_error([m.images for m in curve], [m.train_error for m in curve], train_images)
    return middles / train_images, errors


def curve_metrics(config: RunConfig, curve: Sequence[Measurement], status: Status) -> dict[str, float | None]:
    """The metrics that every run has of its curve: epochs, train_error, train_loss, and epochs_to_threshold if any."""
    epochs, errors = trailing(curve, config.data.train_images)
    metrics: dict[str, float | None] = {
        "epochs": curve[-1].epoch,
        "train_error": float(errors[-1]) if len(errors) else None,
        "train_loss": curve[-1].train_loss,
    }
    if config.budget.stop_at_train_error is not None:
        crossed = crossing(epochs, errors, config.budget.stop_at_train_error)
        metrics["epochs_to_threshold"] = None if math.isnan(crossed) or status == "diverged" else crossed
    return metrics


def mean_loss(curve: Sequence[Measurement], until: float) -> float | None:
    """Mean training loss over the first ``until`` epochs; None if it was not finite."""
    return mean_until([m.epoch for m in curve], [m.train_loss for m in curve], until)


def convergence(curve: Sequence[Measurement]) -> float | None:
    """The epoch by which the test error has converged, see ``curves.epochs_to_converge``."""
    tested = {m.epoch: m.test_error for m in curve if m.test_error is not None}
    return epochs_to_converge(list(tested), list(tested.values()))


def core_hours(records: Iterable[RunRecord]) -> float:
    """Training time of these runs in hours of one CPU core."""
    return sum(record.provenance.wall_seconds * record.provenance.threads for record in records) / 3600


def identity(arm: str, record: RunRecord) -> dict[str, Any]:
    """The columns that identify a run in every table."""
    return {"arm": arm, "seed": record.config.seed, "key": record.key}


def run_row(arm: str, record: RunRecord) -> dict[str, Any]:
    """A run as a row of runs.csv: identity, status, metrics, provenance, and the whole config as JSON.

    Fields of provenance that older records lack come last, so that old and new tables have the same columns to the
    left.
    """
    source = record.provenance.model_dump()
    every = {PROVENANCE + name: source[name] for name, f in Provenance.model_fields.items() if f.is_required()}
    return (
        identity(arm, record)
        | {"status": record.status, "recipe": record.recipe}
        | {METRIC + name: value for name, value in sorted(record.metrics.items())}
        | every
        | {"config": json.dumps(record.config.model_dump(mode="json", exclude_defaults=True), sort_keys=True)}
        | {PROVENANCE + name: value for name, value in record.provenance.model_dump(exclude_defaults=True).items()}
    )


def curve_rows(arm: str, record: RunRecord) -> list[dict[str, Any]]:
    """A run's curve as rows of curves.csv, one per measurement."""
    return [identity(arm, record) | point.model_dump(exclude_defaults=True) for point in record.curve]
