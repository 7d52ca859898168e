"""Metrics as they count in comparisons: a diverged run's errors are those of chance, its gap is 0.

A time that was not reached is censored.
"""

import math

from ..common.errors import UserError
from .curves import TOP
from .record import RunRecord

TOP5 = ("test_top5_error", "top5_error", "ten_view_top5_error")
ERRORS = ("test_error", "train_error", "clean_train_error", "ten_view_error", *TOP5)
TIMES = "epochs_to_"
SPEEDS = ("images_per_second", "wall_seconds")


def outcome(record: RunRecord, metric: str) -> tuple[float, bool]:
    """A metric of a run as (value, censored); NaN if a failed run has none. Raises UserError for an unknown metric."""
    if metric in SPEEDS:
        return float(getattr(record.provenance, metric)), False
    if metric not in record.metrics and record.status != "diverged":
        raise UserError(f"run {record.key} has no metric {metric!r}: it has {', '.join(sorted(record.metrics))}")
    number = scored_metric(record, metric)
    if metric.startswith(TIMES) and math.isnan(number):
        return float(record.config.budget.epochs), True
    return number, False


def scored_metric(record: RunRecord, metric: str) -> float:
    """A metric as averages and comparisons use it: a diverged run counts with the error of random guessing.

    Its gap is then 0: it guesses on training images, too.
    """
    if record.status == "diverged" and metric == "gap":
        return 0.0
    return chance(record, metric) if record.status == "diverged" and metric in ERRORS else record.metric(metric)


def chance(record: RunRecord, metric: str = "test_error") -> float:
    """The error of guessing among equally frequent classes, top-5 or top-1 as ``metric`` is.

    That of a network of NaNs.
    """
    return 1 - (TOP if metric in TOP5 else 1) / record.config.data.classes
