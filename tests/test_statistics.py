"""Statistics against scipy, against hand-made cases, and by simulation.

Simulated shares are binomial: over 2,000 trials a share near 0.95 has a standard error of 0.005 and one near 0.8
of 0.009; the tolerances are three of them, and the seeds are fixed.
"""

import math

import numpy as np
import pytest
from scipy import stats

from alexnet_repro.analysis.statistics import (
    holm,
    paired_difference,
    paired_ratio,
    prediction_interval,
    seeds_to_settle,
    smallest_detectable,
    t_interval,
)
from alexnet_repro.records import curves
from alexnet_repro.records.curves import crossing, epochs_to_converge, trailing_error

A = np.array([3.1, 2.7, 3.9, 3.0, 3.4])
B = np.array([2.0, 2.2, 2.1, 2.6, 1.9])


def test_a_difference_is_scipys_paired_t_test():
    effect = paired_difference(A, B)
    theirs = stats.ttest_rel(A, B)
    assert effect.estimate == pytest.approx((A - B).mean())
    assert (effect.low, effect.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert effect.p == pytest.approx(theirs.pvalue)
    assert effect.sd == pytest.approx((A - B).std(ddof=1))
    assert (effect.n, effect.bound) == (5, "exact")


def test_a_difference_by_hand():
    # Differences 1, 2, 3: mean 2, sd 1, t(2 df, 0.975) = 4.30265.
    effect = paired_difference([2, 4, 6], [1, 2, 3])
    assert (effect.estimate, effect.sd) == pytest.approx((2, 1))
    assert (effect.low, effect.high) == pytest.approx(
        (2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-5
    )


def test_intervals_of_many_columns_are_those_of_each():
    rows = np.stack([A, B, np.full(5, 2.0)], axis=1)
    mean, low, high = t_interval(rows, 0.9)
    for i, values in enumerate((A, B)):
        theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9)
        assert (mean[i], low[i], high[i]) == pytest.approx((values.mean(), *theirs))
    assert (mean[2], low[2], high[2]) == (2, 2, 2)
    with pytest.raises(ValueError, match="there are 1"):
        t_interval(A[:1])


def test_the_bootstrap_is_deterministic_and_beside_the_t_interval():
    effect = paired_difference(A, B)
    assert effect.bootstrap == paired_difference(A, B).bootstrap
    assert effect.low < effect.bootstrap[0] < effect.estimate < effect.bootstrap[1] < effect.high


def test_a_ratio_is_a_difference_of_logarithms():
    ratio, log = paired_ratio(A, B), paired_difference(np.log(A), np.log(B))
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx(tuple(np.exp([log.estimate, log.low, log.high])))
    assert ratio.bootstrap == pytest.approx(tuple(np.exp(log.bootstrap)))
    assert (ratio.sd, ratio.p) == (log.sd, log.p)
    assert paired_ratio(1000 * A, 1000 * B).estimate == pytest.approx(ratio.estimate)
    assert paired_ratio(B, A).high == pytest.approx(1 / ratio.low)


def test_equal_pairs_have_an_interval_of_no_width():
    effect = paired_difference([1.1, 1.2, 1.3], [1.0, 1.1, 1.2])
    assert (effect.low, effect.high) == effect.bootstrap == (effect.estimate, effect.estimate)
    assert (effect.sd, effect.p) == (0, 0)
    assert paired_difference([1.0, 2.0], [1.0, 2.0]).p == 1


@pytest.mark.parametrize("truth", [0.0, 0.7])
@pytest.mark.parametrize("n", [3, 5, 20])
def test_intervals_of_a_difference_cover(truth, n):
    rng = np.random.default_rng(1)
    effects = [paired_difference(row, 0 * row, resample=False) for row in rng.normal(truth, 0.5, (2_000, n))]
    assert np.mean([each.low <= truth <= each.high for each in effects]) == pytest.approx(0.95, abs=0.015)


def test_intervals_of_a_ratio_cover_under_censoring():
    """The open interval of the censored case must hold the true ratio at least as often as it says."""
    rng = np.random.default_rng(2)
    truth, budget, trials = 4.0, 30.0, 300
    tanh = 24 * np.exp(rng.normal(0, 0.3, (trials, 5)))
    relu = 6 * np.exp(rng.normal(0, 0.1, (trials, 5)))
    late = tanh > budget
    each = zip(tanh, relu, late, strict=True)
    effects = [paired_ratio(np.minimum(t, budget), r, c, resample=False) for t, r, c in each]
    assert 0.5 < late.any(axis=1).mean() < 0.95
    covered = np.mean([effect.low <= truth <= effect.high for effect in effects])
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)


def test_a_censored_numerator_bounds_the_ratio_below():
    known = paired_ratio([30, 40, 60], [6, 6, 6])
    effect = paired_ratio([30, 40, 60], [6, 6, 6], [False, False, True])
    assert (effect.estimate, effect.low, effect.bound) == (known.estimate, known.low, "at least")
    assert effect.high == math.inf
    assert effect.bootstrap == (known.bootstrap[0], math.inf)
    # A censored time can only be later, and then no conclusion turns round.
    assert paired_ratio([30, 40, 600], [6, 6, 6]).estimate > effect.estimate


def test_a_censored_denominator_bounds_the_ratio_above():
    known = paired_ratio([6, 7, 6], [30, 40, 60])
    effect = paired_ratio([6, 7, 6], [30, 40, 60], None, [False, False, True])
    assert (effect.estimate, effect.low, effect.high, effect.bound) == (known.estimate, 0, known.high, "at most")


def test_both_sides_censored_say_nothing():
    effect = paired_ratio([60, 40, 50], [6, 60, 7], [True, False, False], [False, True, False])
    assert math.isnan(effect.estimate)
    assert (effect.low, effect.high, effect.p, effect.bound) == (0, math.inf, 1, "none")


def test_censoring_never_sharpens_p():
    assert paired_ratio([60, 40, 50], [6, 5, 7], [True, False, False]).p == paired_ratio([60, 40, 50], [6, 5, 7]).p
    assert paired_ratio([6, 5, 7], [60, 40, 50], [True, False, False]).p == 1


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 2], [1, 2, 3], r"one length: shapes are \(2,\) and \(3,\)"),
        ([[1, 2]], [[1, 2]], "two lists"),
        ([1], [2], "there are 1"),
        ([1, math.nan], [1, 2], "one is nan"),
        ([1, 2], [1, math.inf], "one is inf"),
    ],
)
def test_bad_pairs_are_named(a, b, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b)
    with pytest.raises(ValueError, match=message):
        paired_ratio(a, b)


def test_a_ratio_needs_positive_times_and_one_flag_each():
    with pytest.raises(ValueError, match=r"smallest is 0\.0"):
        paired_ratio([1, 0], [1, 1])
    with pytest.raises(ValueError, match="one boolean per pair"):
        paired_ratio([1, 2], [1, 1], [True])
    with pytest.raises(ValueError, match="one boolean per pair"):
        paired_ratio([1, 2], [1, 1], [0, 1])


@pytest.mark.parametrize("n", [3, 5, 20])
def test_the_smallest_detectable_effect_is_detected_as_often_as_it_says(n):
    effect = smallest_detectable(n, 0.5)
    quantile = stats.t.ppf(0.975, n - 1)
    assert 1 - stats.nct.cdf(quantile, n - 1, effect / 0.5 * math.sqrt(n)) == pytest.approx(0.8, abs=1e-4)
    values = np.random.default_rng(3).normal(effect, 0.5, (2_000, n))
    found = values.mean(axis=1) > quantile * values.std(axis=1, ddof=1) / math.sqrt(n)
    assert found.mean() == pytest.approx(0.8, abs=0.027)


def test_seeds_to_settle_by_hand():
    # Full width 2 t(n-1) / sqrt(n) at sd 1: 2.48 at n = 5, 2.10 at 6, 1.85 at 7.
    assert [seeds_to_settle(size, 1.0) for size in (2.49, 2.11, 2.09)] == [5, 6, 7]


def test_power_refuses_nonsense():
    with pytest.raises(ValueError, match="n=1"):
        smallest_detectable(1, 0.5)
    with pytest.raises(ValueError, match="effect=0"):
        seeds_to_settle(0, 0.5)
    with pytest.raises(ValueError, match="sd=nan"):
        seeds_to_settle(1, math.nan)


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made monotone.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert len(holm([])) == 0
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm([0.1, math.nan])


def test_holm_keeps_the_family_error():
    p = np.random.default_rng(4).uniform(size=(2_000, 10))
    assert np.mean([holm(row).min() <= 0.05 for row in p]) == pytest.approx(0.05, abs=0.015)


def test_crossing_interpolates_and_never_invents():
    assert crossing([1, 2, 3], [0.5, 0.3, 0.2], 0.25) == pytest.approx(2.5)
    assert crossing([1, 2], [0.2, 0.1], 0.25) == 1
    assert math.isnan(crossing([1, 2], [0.5, 0.3], 0.25))


def test_trailing_error_counts_each_image_of_the_window_once():
    middle, error = trailing_error([50, 100, 150, 200], [0.8, 0.6, 0.4, 0.2], 100)
    assert middle == pytest.approx([50, 100, 150])
    assert error == pytest.approx([0.7, 0.5, 0.3])


def test_differences_that_cancel_are_none():
    a, b = [0.3, 40.2, 0.1], [0.1, 40.3, 0.2]
    assert np.mean(np.subtract(a, b)) != 0
    assert paired_difference(a, b).estimate == 0


def test_the_lowest_error_of_a_long_curve_is_looked_for_once(monkeypatch):
    looked = []
    monkeypatch.setattr(curves, "min", lambda *a, **k: looked.append(a) or min(*a, **k), raising=False)
    errors = [1 / (1 + epoch) for epoch in range(1_000)]
    assert epochs_to_converge(range(1_000), errors, 0.0) == 998
    assert len(looked) == 1
    assert epochs_to_converge([1, 2], [0.5, 0.5]) is None


def test_prediction_interval():
    values = [1.0, 2.0, 4.0, 5.0]
    low, high = prediction_interval(values, 0.9)
    expected = stats.t.interval(0.9, 3, loc=3.0, scale=np.std(values, ddof=1) * np.sqrt(1 + 1 / 4))
    assert (low, high) == pytest.approx(expected, rel=1e-12)
    for wrong in ([1.0], [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="two numbers or more, all finite"):
            prediction_interval(wrong, 0.9)
