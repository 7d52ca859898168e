"""Exploratory analyses of recorded runs: no rule was written in advance, and they change no verdict.

Records or tidy tables in, tidy tables out; nothing is trained.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..records.curves import Floats
from ..records.metrics import chance, outcome, scored_metric
from ..records.record import RunRecord
from .statistics import LEVEL, ROUNDING, Effect, dealt_gaps, paired_ratio, t_interval, t_quantile
from .verdicts import MIN_PAIRS, Records

Quantity = Literal["train_error", "test_error", "train_loss"]
"""The value of a curve to compare: errors in points, the loss in nats."""

PARTS = {"clean_train_error": "training error", "gap": "gap", "test_error": "test error"}
"""Metrics of the final network that add up: test error = training error + gap."""

CHANCE_RATIO = math.exp(-(np.euler_gamma + math.log(2)) / 2) * math.sqrt(math.pi / 2)
"""Geometric over arithmetic mean of |z| for normally distributed z: the expected color_gap / color_gap_shuffled by
chance.

E[ln |z|] = -(gamma + ln 2) / 2 with Euler's gamma, and E |z| = sqrt(2 / pi); the standard deviation cancels."""


def by_epoch(arm: Records, against: Records, quantity: Quantity = "train_error") -> pd.DataFrame:
    """The paired difference ``arm`` - ``against`` of two arms' curves, at each epoch that all pairs have measured.

    A row per epoch: epoch, mean, low and high (95 % t interval), pairs; errors in points, losses in nats. Empty with
    fewer than three pairs, or if the curves lack the quantity. Training errors and losses are measured in training
    mode, with dropout and augmentation if a run has them. After a run has diverged, its errors are those of chance.
    """
    seeds = sorted(arm.keys() & against.keys())
    columns = ["epoch", "mean", "low", "high", "pairs"]
    if len(seeds) < MIN_PAIRS:
        return pd.DataFrame(columns=columns, dtype=float)

    def lost(run: RunRecord) -> bool:  # its curve ends where it diverged, and its errors from there on are known
        return run.status == "diverged" and quantity != "train_loss"

    runs = [side[seed] for side in (arm, against) for seed in seeds]
    curves = {id(run): _curve(run, quantity) for run in runs}
    whole = [curves[id(run)].keys() for run in runs if not lost(run)]
    epochs = sorted(set.intersection(*map(set, whole))) if whole else []
    if not epochs:
        return pd.DataFrame(columns=columns, dtype=float)
    table = np.array([[curves[id(run)].get(epoch, chance(run)) for epoch in epochs] for run in runs])
    first, second = table[: len(seeds)], table[len(seeds) :]
    scale = 1.0 if quantity == "train_loss" else 100.0
    mean, low, high = t_interval(scale * (first - second))
    return pd.DataFrame({"epoch": epochs, "mean": mean, "low": low, "high": high, "pairs": len(seeds)})


def _curve(record: RunRecord, quantity: Quantity) -> dict[float, float]:
    """A curve by epoch, without the measurements that have no such number."""
    values = {point.epoch: getattr(point, quantity) for point in record.curve}
    return {epoch: value for epoch, value in values.items() if value is not None}


def last_change_of_sign(epochs: pd.DataFrame) -> float:
    """The epoch from which the mean of ``by_epoch`` keeps its final sign.

    NaN if it always had it.
    """
    signs = np.sign(epochs["mean"].to_numpy())
    others = np.flatnonzero(signs != signs[-1])
    return float(epochs["epoch"].iloc[others[-1] + 1]) if others.size else math.nan


def parts(arm: Records, against: Records) -> pd.DataFrame:
    """Split an effect on the test error into training error and gap, paired by seed, in points.

    A row per part in the order of ``PARTS``, the last the sum of the others: part, metric, mean, low and high (95 % t
    interval), side (fraction of pairs with a positive difference), pairs. A diverged run's errors are those of chance,
    and its gap 0. Empty with fewer than three pairs, or if a run lacks a metric.
    """
    seeds = sorted(arm.keys() & against.keys())
    runs = [side[seed] for side in (arm, against) for seed in seeds]
    lacking = any(name not in run.metrics for run in runs if run.status != "diverged" for name in PARTS)
    if len(seeds) < MIN_PAIRS or lacking:
        return pd.DataFrame(columns=["part", "metric", "mean", "low", "high", "side", "pairs"])
    rows = []
    for metric, part in PARTS.items():
        first, second = (
            np.array([100 * scored_metric(side[seed], metric) for seed in seeds]) for side in (arm, against)
        )
        mean, low, high = map(float, t_interval(first - second))
        side = float((first > second).mean())
        rows.append((part, metric, mean, low, high, side, len(seeds)))
    return pd.DataFrame(rows, columns=["part", "metric", "mean", "low", "high", "side", "pairs"])


def values(runs: Mapping[str, Records], metric: str) -> pd.DataFrame:
    """A metric of every run, a row each: arm, seed, value; errors and gaps in percent. Runs without it are left out."""
    rows = [
        (arm, seed, (100 if metric in PARTS else 1) * scored_metric(record, metric))
        for arm, by_seed in runs.items()
        for seed, record in by_seed.items()
        if metric in record.metrics or record.status == "diverged"
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "value"]).dropna()


@dataclass(frozen=True)
class Pooled:
    """Ordinary least squares of value ~ arm + seed over all runs of a study: the seed is a block.

    table: a row per arm but the baseline: arm, seeds, mean (difference from the baseline), low, high (95 % interval
        from the pooled residual variance), paired, paired_low, paired_high (the same from the arm's own pairs), sd (of
        the differences of those pairs).
    sd: residual standard deviation of one run; df: its degrees of freedom.
    arms, effects, covariance: the baseline first; each arm's difference from it, and the covariance of these.
    """

    table: pd.DataFrame
    sd: float
    df: int
    arms: tuple[str, ...]
    effects: Floats
    covariance: Floats

    def contrast(self, arm: str, against: str) -> tuple[float, float, float]:
        """The model's difference of two arms and the ends of its 95 % interval. Raises KeyError for an unknown arm."""
        known = dict(zip(self.arms, np.eye(len(self.arms)), strict=True))
        weights = known[arm] - known[against]
        mean = float(weights @ self.effects)
        half = t_quantile(self.df, LEVEL) * math.sqrt(max(float(weights @ self.covariance @ weights), 0.0))
        mean, low, high = (0.0 if abs(each) < ROUNDING else each for each in (mean, mean - half, mean + half))
        return mean, low, high


def pooled(table: pd.DataFrame, baseline: str = "baseline") -> Pooled | None:
    """Fit one linear model to all arms, value ~ arm + seed, by ordinary least squares.

    table: a row per run, with the columns of ``values``. Arms that share fewer than three seeds with the baseline are
    left out; an arm may lack some seeds. None if nothing is left to compare. If all arms have all seeds, the estimates
    are the paired means, and only the intervals use the pooled variance.
    """
    own = set(table.loc[table["arm"] == baseline, "seed"])
    shared = {str(arm): len(own & set(rows["seed"])) for arm, rows in table.groupby("arm", sort=False)}
    arms = [baseline, *(arm for arm, count in shared.items() if count >= MIN_PAIRS and arm != baseline)]
    kept = table[table["arm"].isin(arms)]
    seeds = sorted(set(kept["seed"]))
    df = len(kept) - (len(arms) - 1) - len(seeds)
    if len(arms) < 2 or df < 1:
        return None
    # Columns: one per arm but the baseline, then one per seed.
    of_arm = kept["arm"].to_numpy()[:, None] == np.array(arms[1:])
    of_seed = kept["seed"].to_numpy()[:, None] == np.array(seeds)
    design = np.hstack([of_arm, of_seed]).astype(float)
    value = kept["value"].to_numpy(dtype=float)
    solution, *_ = np.linalg.lstsq(design, value)
    variance = float(((value - design @ solution) ** 2).sum()) / df
    count = len(arms) - 1
    covariance = np.zeros((len(arms), len(arms)))
    covariance[1:, 1:] = variance * np.linalg.inv(design.T @ design)[:count, :count]
    effects = np.concatenate([[0.0], solution[:count]])
    model = Pooled(pd.DataFrame(), math.sqrt(variance), df, tuple(arms), effects, covariance)
    wide = kept.pivot(index="seed", columns="arm", values="value")
    rows = []
    for arm in arms[1:]:
        pairs = (wide[arm] - wide[baseline]).dropna().to_numpy()
        alone = map(float, t_interval(pairs))
        rows.append((arm, len(pairs), *model.contrast(arm, baseline), *alone, float(pairs.std(ddof=1))))
    columns = ["arm", "seeds", "mean", "low", "high", "paired", "paired_low", "paired_high", "sd"]
    return replace(model, table=pd.DataFrame(rows, columns=columns))


@dataclass(frozen=True)
class ColourNull:
    """Whether the columns of several nets differ in colour more than the same kernels assigned to columns at random.

    ratio: geometric mean of color_gap / color_gap_shuffled over the runs, with its interval; ``CHANCE_RATIO``, not 1,
        is expected by chance.
    p: Fisher's combination of the runs' color_gap_p, each the fraction of random assignments with a gap as wide.
    below: how many of those are below 5 %; by chance 5 % of them.
    """

    ratio: Effect
    p: float
    below: int


def colour_null(runs: Records) -> ColourNull | None:
    """Compare the colours of an arm's columns with shuffled columns; None with fewer than three runs that have the
    metrics.

    Source of the combination: Fisher (1932), Statistical Methods for Research Workers, section 21.1.
    """
    names = ("color_gap", "color_gap_shuffled", "color_gap_p")
    found = [[outcome(run, name)[0] for name in names] for run in runs.values() if names[0] in run.metrics]
    rows = np.array(found, dtype=float).reshape(-1, len(names))
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < MIN_PAIRS:
        return None
    from scipy.stats import combine_pvalues

    gap, shuffled, shares = rows.T
    p = float(combine_pvalues(shares, method="fisher").pvalue)
    return ColourNull(paired_ratio(gap, shuffled, resample=False), p, int((shares < 1 - LEVEL).sum()))


def dealt_ratio(first: ArrayLike, second: ArrayLike) -> float:
    """Geometric over arithmetic mean of the columns' difference in colour when their kernels are assigned at random.

    first, second: the colour index of each kernel of either column. Over ``DEALS`` random assignments, without those
    that give no difference. ``CHANCE_RATIO`` is the value for normally distributed differences.
    """
    gaps = dealt_gaps(first, second, np.random.default_rng(0))
    gaps = gaps[gaps > 0]
    return float(np.exp(np.log(gaps).mean()) / gaps.mean())


def orientation(
    kernels: Floats, rng: np.random.Generator, surrogates: int = 1000, angles: int = 64
) -> tuple[Floats, Floats]:
    """Which orientation each kernel prefers, and how many of its surrogates, as a share, prefer theirs as much.

    kernels: (kernels, colours, side, side). Returns the angle in degrees, 0 for vertical stripes, and the share. The
    strength is the power along the doubled angle of each frequency, added up as vectors, over a kernel cut to a disc. A
    surrogate is the kernel with its spectrum turned: on circles around the frequency zero, each term of the Fourier
    series in the angle gets a random phase, the same for all circles and colours. So it is as smooth and as coloured,
    and in isotropic Gaussian noise all surrogates are equally likely.
    """
    side = kernels.shape[3]
    y, x = np.indices((side, side)) - (side - 1) / 2
    disc = np.hypot(x, y) <= side / 2
    pixels = kernels[:, :, disc] - kernels[:, :, disc].mean(axis=2, keepdims=True)
    radius = np.linspace(0.05, 0.5, 10)[:, None]  # cycles per pixel
    angle = 2 * np.pi * np.arange(angles) / angles
    cycles = np.multiply.outer(x[disc], radius * np.cos(angle)) + np.multiply.outer(y[disc], radius * np.sin(angle))
    terms = np.fft.fft(np.tensordot(pixels, np.exp(-2j * np.pi * cycles), 1))
    parts = (radius * terms * np.roll(terms, -2, axis=3).conj()).sum(axis=(1, 2))  # terms two apart: the doubled angle
    phases = np.exp(1j * np.angle(np.fft.fft(rng.standard_normal((surrogates, angles)))))
    turned = (phases * np.roll(phases, -2, axis=1).conj()) @ parts.T
    total = parts.sum(axis=1)
    return np.degrees(np.angle(total)) / 2 % 180, np.mean(np.abs(turned) >= np.abs(total), axis=0)
