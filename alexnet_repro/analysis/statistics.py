"""Paired t intervals, bootstrap intervals, power and Holm's correction: arrays in, numbers out.

scipy is imported inside functions: the training loop and the command line start without it.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..records.curves import Floats

LEVEL = 0.95
POWER = 0.8
RESAMPLES = 9_999
MOST_PAIRS = 2**62
DEALS = 10_000
ROUNDING = 1e-12
"""A mean nearer to zero than this is set to zero: the differences cancel except for rounding."""


@dataclass(frozen=True)
class Effect:
    """The mean effect over ``n`` pairs, with its confidence interval.

    low, high: paired t interval; infinite (or 0, below a ratio) at an end that censoring leaves open.
    bootstrap: the ends by BCa bootstrap of the pairs, for comparison.
    sd: standard deviation of the pairs' differences, or of the natural logarithms of their ratios.
    p: two-sided paired t test of no effect; an upper bound with censoring.
    bound: "exact"; "at least" or "at most" if censoring makes ``estimate`` a bound; "none" if it is NaN.
    """

    estimate: float
    low: float
    high: float
    bootstrap: tuple[float, float]
    sd: float
    p: float
    n: int
    bound: Literal["exact", "at least", "at most", "none"] = "exact"


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = LEVEL, resample: bool = True) -> Effect:
    """Mean of ``a - b`` over pairs, with its paired t interval.

    a, b: shape (pairs,), in one unit. resample: False leaves out the bootstrap, which takes most of the time; its ends
    are then NaN. Raises ValueError for other shapes, fewer than two pairs, NaN or infinity.
    """
    first, second = _pairs(a, b)
    return _mean(first - second, level, resample)


def paired_ratio(
    a: ArrayLike,
    b: ArrayLike,
    a_censored: ArrayLike | None = None,
    b_censored: ArrayLike | None = None,
    level: float = LEVEL,
    resample: bool = True,
) -> Effect:
    """Geometric mean of ``a / b`` over pairs, with the paired t interval of its logarithm.

    a, b: shape (pairs,), positive. a_censored, b_censored: True where the value is only a lower bound of a time
    (right-censored). With censored numerators, the estimate and the lower end are lower bounds and the upper end is
    infinite; with censored denominators, the estimate and the upper end are upper bounds and the lower end is 0; with
    both, the interval is (0, infinity). Raises ValueError as ``paired_difference`` does.
    """
    first, second = _pairs(a, b)
    if min(first.min(), second.min()) <= 0:
        raise ValueError(f"a ratio needs positive values: the smallest is {min(first.min(), second.min())}")
    above, below = _flags(a_censored, first), _flags(b_censored, second)
    log = _mean(np.log(first) - np.log(second), level, resample)
    estimate, low, high = math.exp(log.estimate), math.exp(log.low), math.exp(log.high)
    start, end = math.exp(log.bootstrap[0]), math.exp(log.bootstrap[1])
    if above and below:
        return Effect(math.nan, 0.0, math.inf, (0.0, math.inf), log.sd, 1.0, log.n, "none")
    if above:
        p = log.p if estimate > 1 else 1.0
        return Effect(estimate, low, math.inf, (start, math.inf), log.sd, p, log.n, "at least")
    if below:
        p = log.p if estimate < 1 else 1.0
        return Effect(estimate, 0.0, high, (0.0, end), log.sd, p, log.n, "at most")
    return Effect(estimate, low, high, (start, end), log.sd, log.p, log.n)


def dealt_gaps(first: ArrayLike, second: ArrayLike, rng: np.random.Generator) -> Floats:
    """The absolute difference of the means of two groups, for ``DEALS`` random permutations of all their values."""
    one, two = (np.asarray(each, dtype=float) for each in (first, second))
    both = rng.permuted(np.tile(np.concatenate([one, two]), (DEALS, 1)), axis=1)
    return np.abs(both[:, : len(one)].mean(axis=1) - both[:, len(one) :].mean(axis=1))


def smallest_detectable(n: int, sd: float) -> float:
    """The smallest true effect that ``n`` pairs would show with probability ``POWER``: the interval excludes no effect.

    sd: standard deviation of the pairs' differences, in the unit of the effect. By the noncentral t distribution; the
    chance of excluding no effect on the wrong side is neglected.
    """
    if n < 2 or not 0 <= sd < math.inf:
        raise ValueError(f"n={n}, sd={sd}: it needs two pairs and a finite standard deviation")
    from scipy.special import nctdtrinc

    return float(nctdtrinc(n - 1, 1 - POWER, t_quantile(n - 1, LEVEL)) * sd / math.sqrt(n))


def seeds_to_settle(size: float, sd: float) -> int:
    """Smallest number of pairs whose interval is narrower than ``size``.

    An interval so narrow cannot contain both no effect and ``size``.
    """
    if not 0 < size < math.inf or not 0 <= sd < math.inf:
        raise ValueError(f"effect={size} and sd={sd} must be finite, and the effect positive")
    return bisect_left(
        range(MOST_PAIRS), True, 2, key=lambda n: 2 * t_quantile(n - 1, LEVEL) * sd / math.sqrt(n) < size
    )


def t_interval(values: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats, Floats]:
    """Mean over the first axis and the ends of its t interval.

    values: shape (n, ...) with n >= 2; each result has the shape of one row. NaN where a column has one. Raises
    ValueError for fewer than two rows.
    """
    rows = np.asarray(values, dtype=np.float64)
    if len(rows) < 2:
        raise ValueError(f"an interval needs two values or more: there are {len(rows)}")
    mean = rows.mean(axis=0)
    half = t_quantile(len(rows) - 1, level) * rows.std(axis=0, ddof=1) / math.sqrt(len(rows))
    middle, low, high = (np.where(np.abs(each) < ROUNDING, 0.0, each) for each in (mean, mean - half, mean + half))
    return middle, low, high


def t_quantile(df: int, level: float) -> float:
    """The half-width of a t interval in standard errors, with ``df`` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + level) / 2))


def prediction_interval(values: ArrayLike, level: float) -> tuple[float, float]:
    """The interval that holds one more value of the same normal distribution with probability ``level``.

    mean ± t sd √(1 + 1/n). values: shape (n,). Raises ValueError for fewer than two values, NaN or infinity.
    """
    known = np.asarray(values, dtype=np.float64)
    if known.ndim != 1 or known.size < 2 or not np.isfinite(known).all():
        raise ValueError(f"an interval needs two numbers or more, all finite: {known}")
    half = t_quantile(known.size - 1, level) * float(known.std(ddof=1)) * math.sqrt(1 + 1 / known.size)
    return float(known.mean()) - half, float(known.mean()) + half


def holm(p: ArrayLike) -> Floats:
    """Holm's adjusted p-values, in the order given: reject those at or below the family-wise error rate.

    p: shape (tests,). Raises ValueError for a p-value outside [0, 1]. Source: Holm (1979), Scand. J. Statist. 6, 65.
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError("p-values must be a list of numbers from 0 to 1")
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"pairs need two lists of one length: shapes are {first.shape} and {second.shape}")
    if len(first) < 2:
        raise ValueError(f"an interval needs two pairs or more: there are {len(first)}")
    wrong = np.concatenate([first, second])[~np.isfinite(np.concatenate([first, second]))]
    if wrong.size:
        raise ValueError(f"values must be finite: one is {wrong[0]}; say what such a run counts as")
    return first, second


def _flags(censored: ArrayLike | None, values: Floats) -> bool:
    flags = np.zeros(len(values), dtype=bool) if censored is None else np.asarray(censored)
    if flags.dtype != bool or flags.shape != values.shape:
        raise ValueError(f"censoring needs one boolean per pair: got {flags.dtype} of shape {flags.shape}")
    return bool(flags.any())


def _mean(values: Floats, level: float, resample: bool) -> Effect:
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1")
    n, mean, sd = len(values), float(values.mean()), float(values.std(ddof=1))
    # Equal pairs differ by rounding alone; scipy's bootstrap gives NaN for them.
    if sd <= 1e-12 * float(np.abs(values).max()):
        return Effect(mean, mean, mean, (mean, mean), 0.0, 1.0 if mean == 0 else 0.0, n)
    from scipy.special import stdtr

    # As scipy.stats.ttest_1samp, but for the order of operations: published numbers keep their last digit.
    p = float(2 * stdtr(n - 1, -abs(mean) / (sd / math.sqrt(n))))
    _, start, end = t_interval(values, level)
    ends = _bootstrap(values, level) if resample else (math.nan, math.nan)
    numbers = (mean, float(start), float(end), *ends)
    mean, low, high, first, last = (0.0 if abs(each) < ROUNDING else each for each in numbers)
    return Effect(mean, low, high, (first, last), sd, p, n)


def _bootstrap(values: Floats, level: float) -> tuple[float, float]:
    """The ends of the BCa bootstrap interval of the mean."""
    from scipy.stats import bootstrap

    ends = bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=RESAMPLES, random_state=np.random.default_rng(0)
    ).confidence_interval
    return float(ends.low), float(ends.high)
