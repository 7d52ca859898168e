"""Numbers computed from a training curve: trailing error, threshold crossing, epochs to converge.

Only arrays and numbers; ``record.RunRecord`` applies them to a run.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
TOP = 5
"""The top-5 error counts an image as right if its class is among the five with the highest outputs."""
EARLY_EPOCHS = 5
"""The first so many epochs count for the metric ``early_train_loss``."""


def trailing_error(images: ArrayLike, error: ArrayLike, window: int) -> tuple[Floats, Floats]:
    """Training error over the latest ``window`` images, placed at the middle of that window.

    images: images seen at each measurement, ascending. error: fraction misclassified since the measurement before.
    Returns (middle of the window in images, error) for measurements whose window starts at an earlier measurement or at
    0. With a window of one epoch every training image counts once.
    """
    seen = np.concatenate([[0], np.asarray(images, dtype=np.int64)])
    wrong = np.concatenate([[0.0], np.cumsum(np.asarray(error, dtype=np.float64) * np.diff(seen))])
    start = np.searchsorted(seen, seen - window)
    whole = (seen >= window) & (seen[start] == seen - window)
    return (seen[whole] - window / 2), (wrong[whole] - wrong[start[whole]]) / window


def crossing(x: ArrayLike, y: ArrayLike, threshold: float) -> float:
    """The first ``x`` at which ``y(x)``, interpolated linearly, is at or below ``threshold``; NaN if it never is."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    below = np.flatnonzero(ys <= threshold)
    if below.size == 0:
        return float("nan")
    i = int(below[0])
    if i == 0:
        return float(xs[0])
    part = (ys[i - 1] - threshold) / (ys[i - 1] - ys[i])
    return float(xs[i - 1] + part * (xs[i] - xs[i - 1]))


def mean_until(epochs: Sequence[float], values: Sequence[float | None], until: float) -> float | None:
    """Mean of the values up to and including epoch ``until``, each weighted by the length of its interval.

    A value stands for the interval since the epoch before, the first one since 0. None if a value is missing, or there
    is none.
    """
    total = last = 0.0
    for epoch, value in zip(epochs, values, strict=True):
        if epoch > until:
            break
        if value is None:
            return None
        total, last = total + value * (epoch - last), epoch
    return total / last if last else None


def epochs_to_converge(epochs: Sequence[float], errors: Sequence[float], margin: float = 0.01) -> float | None:
    """The first epoch at which the error, averaged with its two neighbours, is within ``margin`` of the lowest such
    average.

    None with fewer than three epochs.
    """
    smooth = [sum(errors[i - 1 : i + 2]) / 3 for i in range(1, len(errors) - 1)]
    near = min(smooth, default=0.0) + margin
    return next((epochs[i + 1] for i, value in enumerate(smooth) if value <= near), None)
