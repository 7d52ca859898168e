"""Curves, intervals and power: arrays in, numbers out."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def trailing_error(images: ArrayLike, error: ArrayLike, window: int) -> tuple[Floats, Floats]:
    """Training error over the latest ``window`` images, placed at the middle of that window.

    ``images``: images seen at each measurement, ascending; ``error``: fraction wrong of those since the
    measurement before. Returns (middle of the window in images, error), for the measurements whose window
    starts at an earlier measurement or at 0; with a window of one epoch every image counts once.
    """
    seen = np.concatenate([[0], np.asarray(images, dtype=np.int64)])
    wrong = np.concatenate([[0.0], np.cumsum(np.asarray(error, dtype=np.float64) * np.diff(seen))])
    start = np.searchsorted(seen, seen - window)
    whole = (seen >= window) & (seen[start] == seen - window)
    return (seen[whole] - window / 2), (wrong[whole] - wrong[start[whole]]) / window


def crossing(x: ArrayLike, y: ArrayLike, threshold: float) -> float:
    """The first ``x`` at which the piecewise linear ``y(x)`` is at or below ``threshold``; NaN if never."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    below = np.flatnonzero(ys <= threshold)
    if below.size == 0:
        return float("nan")
    i = int(below[0])
    if i == 0:
        return float(xs[0])
    part = (ys[i - 1] - threshold) / (ys[i - 1] - ys[i])
    return float(xs[i - 1] + part * (xs[i] - xs[i - 1]))
