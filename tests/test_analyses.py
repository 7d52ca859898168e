"""The analyses against cases worked out by hand, and against the verdicts where both say the same."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter

from alexnet_repro.analysis import exploratory, rules
from alexnet_repro.analysis.conclusions import compare
from alexnet_repro.analysis.lookup import record_lookup
from alexnet_repro.paper.claims import claim
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store

from .runs import record, tiny

SIZE = 300


def run(seed, errors, status="finished", tests=None, metrics=None):
    """A run whose training errors and, where given, test errors are those, in percent, an epoch each."""
    tests = tests or [None] * len(errors)
    curve = [
        Measurement(
            epoch=float(e),
            images=e * SIZE,
            train_loss=error / 10,
            train_error=error / 100,
            test_error=None if test is None else test / 100,
        )
        for e, (error, test) in enumerate(zip(errors, tests, strict=True), 1)
    ]
    return record(tiny(seed=seed), status, curve, metrics)


def runs(*rows, **changes):
    return {seed: run(seed, errors, **changes) for seed, errors in enumerate(rows)}


BASE = runs([50, 40], [52, 41], [51, 42])


def test_an_effect_by_epoch_is_paired_in_points():
    # Differences: 1, 2, 3 in epoch 1, and 0, -1, -2 in epoch 2; sd 1 in both, t(2 df, 0.975) = 4.30265.
    found = exploratory.by_epoch(runs([51, 40], [54, 40], [54, 40]), BASE)
    assert found["epoch"].tolist() == [1.0, 2.0]
    assert found["mean"].to_numpy() == pytest.approx([2, -1])
    half = 4.30265 / math.sqrt(3)
    assert found["low"].to_numpy() == pytest.approx([2 - half, -1 - half], abs=1e-4)
    assert found["high"].to_numpy() == pytest.approx([2 + half, -1 + half], abs=1e-4)
    assert set(found["pairs"]) == {3}
    assert exploratory.last_change_of_sign(found) == 2.0


def test_losses_are_in_nats_and_test_errors_only_where_curves_have_them():
    arm = runs([51, 40], [54, 40], [54, 40])
    assert exploratory.by_epoch(arm, BASE, "train_loss")["mean"].to_numpy() == pytest.approx([0.2, -0.1])
    assert exploratory.by_epoch(arm, BASE, "test_error").empty
    tested = {seed: run(seed, [50, 40], tests=[60, 50 + seed]) for seed in range(3)}
    others = {seed: run(seed, [50, 40], tests=[59, 50]) for seed in range(3)}
    assert exploratory.by_epoch(tested, others, "test_error")["mean"].to_numpy() == pytest.approx([1, 1])


def test_only_epochs_that_every_pair_has_and_three_pairs_at_least():
    arm = runs([51, 40], [54, 40], [54])
    assert exploratory.by_epoch(arm, BASE)["epoch"].tolist() == [1.0]
    assert exploratory.by_epoch({s: arm[s] for s in (0, 1)}, BASE).empty


def test_a_diverged_run_is_at_chance_from_where_its_curve_ends():
    arm = runs([50, 40], [52, 41]) | {2: run(2, [51], status="diverged")}
    found = exploratory.by_epoch(arm, BASE)
    assert found["mean"].to_numpy() == pytest.approx([0, (90 - 42) / 3])
    lost = {seed: run(seed, [50], status="diverged") for seed in range(3)}
    assert exploratory.by_epoch(lost, lost).empty


def test_a_sign_that_never_changes_has_no_last_change():
    table = pd.DataFrame({"epoch": [1.0, 2.0, 3.0], "mean": [0.5, 1.0, 0.1]})
    assert math.isnan(exploratory.last_change_of_sign(table))


def metrics(train, test):
    return {"clean_train_error": train / 100, "test_error": test / 100, "gap": (test - train) / 100}


def test_parts_add_up_to_the_effect_on_the_test_error():
    arm = {s: run(s, [50], metrics=metrics(30 + s, 42 + 2 * s)) for s in range(4)}
    base = {s: run(s, [50], metrics=metrics(31, 40)) for s in range(4)}
    found = exploratory.parts(arm, base).set_index("part")
    # Training errors differ by -1, 0, 1, 2, gaps by 3, 4, 5, 6, and test errors by 2, 4, 6, 8.
    assert found["mean"].to_dict() == pytest.approx({"training error": 0.5, "gap": 4.5, "test error": 5.0})
    assert found["side"].to_dict() == {"training error": 0.5, "gap": 1.0, "test error": 1.0}
    scipys = stats.ttest_1samp([2, 4, 6, 8], 0).confidence_interval(0.95)
    assert found.loc["test error", ["low", "high"]].tolist() == pytest.approx(list(scipys))
    assert exploratory.parts({s: arm[s] for s in (0, 1)}, base).empty


def test_parts_of_a_diverged_run_add_up_and_a_metric_that_is_missing_leaves_none():
    arm = {s: run(s, [50], metrics=metrics(30, 40)) for s in range(2)}
    arm[2] = run(2, [50], status="diverged", metrics=dict.fromkeys(exploratory.PARTS))
    base = {s: run(s, [50], metrics=metrics(30, 40)) for s in range(3)}
    found = exploratory.parts(arm, base).set_index("part")["mean"]
    assert found.to_dict() == pytest.approx({"training error": 20, "gap": -10 / 3, "test error": 50 / 3})
    assert exploratory.parts(runs([1], [1], [1]), base).empty


@pytest.mark.parametrize("name", ["lrn", "overlapping_pooling", "dropout_overfit", "depth"])
def test_the_part_that_a_rule_judges_is_the_verdicts(name):
    find = record_lookup(Store())
    rule = next(each for each in rules.load() if each.claim == name and each.role == "primary")
    arm, base = find("ablations", rule.arm), find("ablations", rule.against)
    judged = compare(rule, "cifar10", arm, base)
    found = exploratory.parts(arm, base).set_index("metric").loc[rule.metric]
    assert found["mean"] == pytest.approx(judged.effect)
    assert (found["low"], found["high"]) == pytest.approx(judged.interval)
    assert (found["side"], found["pairs"]) == (judged.side, judged.seeds)


def table(**arms):
    rows = [
        (arm, seed, value) for arm, values in arms.items() for seed, value in enumerate(values) if value is not None
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "value"])


def test_balanced_estimates_are_paired_means_and_the_interval_pools():
    values = table(baseline=[10, 12, 11, 13], a=[12, 13, 14, 15], b=[9, 12, 10, 12])
    model = exploratory.pooled(values)
    found = model.table.set_index("arm")
    assert found["mean"].to_dict() == pytest.approx({"a": 2.0, "b": -0.75})
    assert found["mean"].to_dict() == pytest.approx(found["paired"].to_dict())
    # Two-way residuals y - arm mean - seed mean + grand mean (143 / 12), by hand:
    y = np.array([[10, 12, 11, 13], [12, 13, 14, 15], [9, 12, 10, 12]], dtype=float)
    rest = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    assert model.df == 6
    assert model.sd == pytest.approx(math.sqrt((rest**2).sum() / 6))
    half = stats.t.ppf(0.975, 6) * model.sd * math.sqrt(2 / 4)
    assert found.loc["a", "high"] - found.loc["a", "mean"] == pytest.approx(half)
    assert model.contrast("a", "b") == pytest.approx((2.75, 2.75 - half, 2.75 + half))


def test_a_seed_that_an_arm_lacks_is_no_harm():
    # Without noise, value = arm + seed: the effects are exact although seed 3 is the hardest and b lacks it.
    values = table(baseline=[10, 20, 30, 90], a=[12, 22, 32, 92], b=[9, 19, 29, None])
    model = exploratory.pooled(values)
    assert model.table.set_index("arm")["mean"].to_dict() == pytest.approx({"a": 2.0, "b": -1.0})
    assert model.table.set_index("arm")["seeds"].to_dict() == {"a": 4, "b": 3}
    assert model.sd == pytest.approx(0, abs=1e-9)


def test_differences_that_cancel_are_zero():
    values = table(baseline=[40.1, 40.2, 40.3], a=[40.2, 40.3, 40.1], b=[40.2, 40.5, 40.9])
    model = exploratory.pooled(values)
    assert (model.table["mean"][0], model.table["paired"][0]) == (0, 0)


def test_the_other_arms_of_a_seed_inform_an_estimate():
    # The model is that of statsmodels and R's lm: here solved by the normal equations with an intercept instead.
    rng = np.random.default_rng(0)
    values = table(**{arm: rng.normal(size=6).round(2).tolist() for arm in ("baseline", "a", "b")})
    values = values.drop(index=[7, 14])
    dummies = pd.get_dummies(values["seed"], drop_first=True).astype(float)
    design = np.column_stack([np.ones(len(values)), values["arm"] == "a", values["arm"] == "b", dummies])
    beta = np.linalg.solve(design.T @ design, design.T @ values["value"])
    found = exploratory.pooled(values).table.set_index("arm")
    assert found["mean"].to_dict() == pytest.approx({"a": beta[1], "b": beta[2]})
    assert found.loc["a", "mean"] != pytest.approx(found.loc["a", "paired"])


def test_too_little_to_compare_is_no_model():
    assert exploratory.pooled(table(baseline=[1, 2, 3], a=[1, 2, None])) is None
    assert exploratory.pooled(table(a=[1, 2, 3])) is None
    assert exploratory.pooled(table()) is None


def test_values_are_in_percent_and_left_out_where_a_run_has_none():
    arm = {0: run(0, [50], metrics=metrics(30, 42)), 1: run(1, [50], metrics={})}
    found = exploratory.values({"a": arm}, "test_error")
    assert found.to_numpy().tolist() == [["a", 0, 42.0]]


def test_by_chance_the_ratio_is_that_of_normal_differences():
    size = np.abs(np.random.default_rng(0).normal(size=1_000_000))
    assert pytest.approx(np.exp(np.log(size).mean()) / size.mean(), abs=2e-3) == exploratory.CHANCE_RATIO
    (entry,) = claim("filters").measured
    assert f"about {exploratory.CHANCE_RATIO:.2f}×" in entry.note


def test_dealt_kernels_come_near_it_with_normal_indices():
    kernels = np.random.default_rng(1).normal(size=64)
    ratio = exploratory.dealt_ratio(kernels[:32], kernels[32:])
    assert ratio == pytest.approx(exploratory.CHANCE_RATIO, abs=0.02)  # ln |z| scatters by 1.11: 10,000 deals, 0.007
    assert ratio == exploratory.dealt_ratio(kernels[:32], kernels[32:])


def test_dealt_kernels_by_hand():
    # Four kernels 0, 0, 0, 1 in pairs: every deal has a difference of 1 / 2; of 0, 0, 1, 1 those of 0 are left out.
    assert exploratory.dealt_ratio([0, 0], [0, 1]) == pytest.approx(1.0)
    assert exploratory.dealt_ratio([0, 0], [1, 1]) == pytest.approx(1.0)


def colours(*rows):
    names = ("color_gap", "color_gap_shuffled", "color_gap_p")
    return {s: run(s, [50], metrics=dict(zip(names, row, strict=True))) for s, row in enumerate(rows)}


def test_colours_against_their_null():
    null = exploratory.colour_null(colours((1, 2, 0.3), (2, 1, 0.04), (1, 1, 0.5)))
    assert null.ratio.estimate == pytest.approx(1.0)
    statistic = -2 * sum(math.log(p) for p in (0.3, 0.04, 0.5))
    assert null.p == pytest.approx(stats.chi2.sf(statistic, 6))
    assert null.below == 1
    assert exploratory.colour_null(runs([1], [1], [1])) is None


def test_orientation_finds_stripes_and_not_smooth_noise():
    rng = np.random.default_rng(1)
    y, x = np.indices((7, 7)) - 3
    for degrees in (0, 45, 90):
        across = x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees))
        stripes = np.tile(np.cos(2 * np.pi * across / 3.5 + 0.4), (1, 3, 1, 1))
        angle, share = exploratory.orientation(stripes, rng)
        assert abs((angle[0] - degrees + 90) % 180 - 90) < 3
        assert share[0] < 0.05
    smooth = gaussian_filter(rng.standard_normal((400, 3, 31, 31)), (0, 0, 1.5, 1.5))[:, :, 12:19, 12:19]
    _, share = exploratory.orientation(smooth, rng)
    assert 0.01 < np.mean(share < 0.05) < 0.1  # 0.05, give or take four standard errors of 400 kernels
