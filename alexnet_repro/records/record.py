"""RunRecord: what one run was, what it measured, and where it came from."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ..common.fields import STRICT, Amount, Count
from ..experiments.config import RunConfig
from .curves import Floats, crossing, trailing_error

METRIC = "metric."
PROVENANCE = "provenance."

Status = Literal["finished", "stopped", "diverged"]
"""finished: the budget is used up; stopped: the stopping rule was met; diverged: the loss left the numbers."""


SINGLE = 1e39
"""No loss in single precision is as large. A run that is diverging may come near."""
Number = Field(ge=-SINGLE, le=SINGLE)


class Measurement(BaseModel):
    """Training since the measurement before: each image counted by the forward pass of its own update step.

    ``epoch`` is images seen over training images, at the end of the interval; errors are fractions. ``test_error``,
    that of the network at this point, is left out where it was not asked for.
    """

    model_config = STRICT
    epoch: Amount
    images: Count
    train_loss: Annotated[float | None, Number]
    train_error: Annotated[float, Number]
    test_error: Annotated[float | None, Number] = None


class Provenance(BaseModel):
    """Where a record comes from. Digests are SHA-256; ``weights`` is that of the final parameters.

    What follows the speed stands in no record made before December 2026, where it is None. instructions: those that
    torch's own kernels use, such as AVX512, and what the environment forbids other libraries. processor: vendor,
    family, model and stepping. onednn: whether torch uses it. capability and driver: of the GPU, where there is one.
    """

    model_config = STRICT
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


class RunRecord(BaseModel):
    """One run, whole: nothing is written before it is over."""

    model_config = STRICT
    key: str
    recipe: Count
    config: RunConfig
    status: Status
    curve: tuple[Measurement, ...]
    metrics: dict[str, Annotated[float | None, Number]]
    provenance: Provenance

    def metric(self, name: str) -> float:
        """A metric by name; NaN where the run has no such number (diverged, or never crossed)."""
        value = self.metrics.get(name)
        return math.nan if value is None else value

    def trailing(self) -> tuple[Floats, Floats]:
        """Training error over the latest epoch's worth of images: (middles of these windows in epochs, error)."""
        return trailing(self.curve, self.config.data.train_images)

    def epochs_to(self, train_error: float) -> float:
        """When that training error first came down to ``train_error``, in epochs; NaN if never."""
        return crossing(*self.trailing(), train_error)

    @property
    def lowest_epoch(self) -> float:
        """The epoch after which the test error was lowest; NaN where the curve has none."""
        tested = [(m.test_error, m.epoch) for m in self.curve if m.test_error is not None]
        return min(tested)[1] if tested else math.nan


def trailing(curve: Sequence[Measurement], train_images: int) -> tuple[Floats, Floats]:
    """Training error over the latest epoch's worth of images: (middles of these windows in epochs, errors)."""
    middles, errors = trailing_error([m.images for m in curve], [m.train_error for m in curve], train_images)
    return middles / train_images, errors


def core_hours(records: Iterable[RunRecord]) -> float:
    """What training these took, in hours of one core."""
    return sum(record.provenance.wall_seconds * record.provenance.threads for record in records) / 3600


def identity(arm: str, record: RunRecord) -> dict[str, Any]:
    """The columns that name a run in every table."""
    return {"arm": arm, "seed": record.config.seed, "key": record.key}


def run_row(arm: str, record: RunRecord) -> dict[str, Any]:
    """A run as a row: identity, status, metrics, provenance, the whole config as JSON, and provenance that few have.

    Tables of old records and of new ones have the same columns to the left, and tables of old ones no others.
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
    """A run's curve as rows, a measurement each."""
    return [identity(arm, record) | point.model_dump(exclude_defaults=True) for point in record.curve]
