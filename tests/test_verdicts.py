import json
import math

import pandas as pd
import pytest

from alexnet_repro.analysis.verdicts import classify, judge, observed, scorecard, sourced
from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.common.text import probability
from alexnet_repro.experiments import step_timing
from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT
from alexnet_repro.paper.claims import Claim, Measured, Observed, Sourced, load

from .runs import record as made

RATIO = Measured(
    study="relu_speed", setting="the paper's own", metric="epochs_to_threshold", comparison="ratio", arm="tanh",
    against="relu", unit="×", paper_value=6.0, size=3.0, rule="half the paper's factor",
)  # fmt: skip
POINTS = Measured(
    study="lrn", label="points", setting="CIFAR size", metric="test_error", comparison="difference", arm="without",
    against="with", unit="points", paper_value=1.4, size=0.7, rule="half the paper's points",
)  # fmt: skip
CLAIM = Claim(
    id="relu_speed", version=1, section="3.1", title="t", statement="s", paper="6×", measured=(RATIO, POINTS)
)  # fmt: skip


def record(seed, dataset="cifar10", status="finished", **metrics):
    config = CUDA_CONVNET_19PCT.changed(**{"seed": seed, "data.dataset": dataset, "data.train_images": 2_000})
    return made(config, status, metrics=metrics)


def times(*values, status="stopped"):
    return {i: record(i, status=status, epochs_to_threshold=value) for i, value in enumerate(values)}


def errors(*values):
    return {i: record(i, test_error=value / 100) for i, value in enumerate(values)}


RELU = times(6.0, 6.1, 5.9, 6.0, 6.2)
WITH = errors(20.0, 20.2, 19.9, 20.1, 20.0)


@pytest.mark.parametrize(
    ("tanh", "verdict"),
    [
        ((36, 37, 35, 36, 38), "reproduced"),
        ((12, 13, 12, 14, 12), "direction only"),
        ((6.1, 6.3, 5.7, 6.1, 6.2), "no effect found"),
        ((2, 30, 5, 40, 9), "inconclusive"),
        ((4, 4.1, 3.9, 4, 4.1), "contradicted"),
        ((10, 30, 18, 40, 15), "direction only"),  # the estimate is beyond the size, the interval is not
    ],
)
def test_every_branch_of_a_ratio(tanh, verdict):
    judged = judge(CLAIM, RATIO, times(*tanh), RELU)
    assert judged.verdict == verdict
    assert judged.seeds == 5
    low, high = judged.interval
    assert low < judged.effect < high


@pytest.mark.parametrize(
    ("without", "verdict"),
    [
        ((21.5, 21.6, 21.3, 21.5, 21.6), "reproduced"),
        ((20.4, 20.7, 20.3, 20.4, 20.5), "direction only"),
        ((20.1, 20.2, 19.8, 20.1, 20.0), "no effect found"),
        ((19.0, 22.0, 20.0, 23.0, 19.5), "inconclusive"),
        ((19.0, 19.3, 18.9, 19.2, 19.0), "contradicted"),
    ],
)
def test_every_branch_of_a_difference(without, verdict):
    assert judge(CLAIM, POINTS, errors(*without), WITH).verdict == verdict


def test_errors_become_points():
    judged = judge(CLAIM, POINTS, errors(21.5, 21.6, 21.3, 21.5, 21.6), WITH)
    assert judged.effect == pytest.approx(1.46)
    assert (judged.unit, judged.paper, judged.paper_value, judged.size) == ("points", "6×", 1.4, 0.7)
    assert judged.note == ""


def test_the_ends_of_the_rule_are_exact():
    assert classify(3.0, 4.0, RATIO.size, RATIO.null) == "reproduced"
    assert classify(2.99, 4.0, RATIO.size, RATIO.null) == "direction only"
    assert classify(1.0, 2.0, RATIO.size, RATIO.null) == "no effect found"
    assert classify(1.0, 3.0, RATIO.size, RATIO.null) == "inconclusive"
    assert classify(0.5, 1.0, RATIO.size, RATIO.null) == "no effect found"
    assert classify(0.0, 0.0, POINTS.size, POINTS.null) == "no effect found"


def test_inconclusive_says_how_many_seeds_would_settle_it():
    judged = judge(CLAIM, POINTS, errors(19.0, 22.0, 20.0, 23.0, 19.5), WITH)
    # sd 1.6 points and size 0.7: the interval 2 * 1.96 * 1.6 / sqrt(n) is narrower than 0.7 near n = 84.
    needed = int(judged.note.split("about ")[1].split(" seeds")[0])
    assert 70 < needed < 100


def test_what_came_to_light_after_the_rule_is_said_first():
    noted = RATIO.model_copy(update={"note": "chance alone gives another ratio"})
    verdict = judge(CLAIM, noted, times(60, 62, 61), times(8, 8, 8))
    assert verdict.note.startswith("chance alone gives another ratio; ")
    assert verdict.verdict == judge(CLAIM, RATIO, times(60, 62, 61), times(8, 8, 8)).verdict


def test_probabilities_in_words():
    assert [probability(p) for p in (3.4e-12, 0.0032, 0.5, 1.0)] == ["p < 0.0001", "p = 0.0032", "p = 0.5", "p > 0.99"]


def test_fewer_seeds_than_declared_are_said():
    four = {seed: run for seed, run in errors(21.5, 21.6, 21.3, 21.5, 21.6).items() if seed < 4}
    judged = judge(CLAIM, POINTS, four, WITH)
    assert judged.verdict == "reproduced"
    assert judged.seeds == 4
    assert "provisional: 4 of the 5 seeds" in judged.note
    assert "left out so far: seeds 4" in judged.note
    many = POINTS.model_copy(update={"seeds": 4})
    assert "5 seeds, where the rule declares 4" in judge(CLAIM, many, WITH, WITH).note


@pytest.mark.parametrize("pairs", [0, 1, 2])
def test_fewer_than_three_pairs_are_not_run(pairs):
    judged = judge(CLAIM, POINTS, {seed: WITH[seed] for seed in range(pairs)}, WITH)
    assert judged.verdict == "not run"
    assert (judged.seeds, judged.effect, judged.interval) == (pairs, None, None)
    assert "alexnet-repro run lrn" in judged.note


def test_a_late_tanh_run_bounds_the_ratio_below():
    judged = judge(CLAIM, RATIO, times(36, 37, 35, None, 38), RELU)
    assert judged.verdict == "reproduced"
    assert judged.interval[1] == math.inf
    assert "1 of 5 runs of 'tanh' did not reach the threshold" in judged.note
    assert "at least" in judged.note
    assert judged.row()["interval"] == [judged.interval[0], None]


def test_all_tanh_runs_late():
    judged = judge(CLAIM, RATIO, times(*[None] * 5), RELU)
    assert judged.verdict == "reproduced"  # every ratio is at least 60 / 6.2
    assert judged.interval[0] > 9


def test_a_late_relu_run_bounds_the_ratio_above():
    relu = times(6, 6, None, 6.1, 6)
    judged = judge(CLAIM, RATIO, times(30, 31, 30, 30, 31), relu)
    assert (judged.verdict, judged.interval[0]) == ("inconclusive", 0)
    assert "longer budget" in judged.note
    assert judge(CLAIM, RATIO, times(5, 5.5, 5, 5, 5), relu).verdict == "no effect found"
    assert judge(CLAIM, RATIO, times(3, 3.1, 3, 3, 3), times(*[None] * 5)).verdict == "contradicted"


def test_both_late_is_inconclusive():
    judged = judge(CLAIM, RATIO, times(36, None, 36, 36, 36), times(6, 6, None, 6, 6))
    assert (judged.verdict, judged.effect, judged.interval) == ("inconclusive", None, (0, math.inf))


def test_a_diverged_run_never_reaches_the_threshold():
    tanh = times(36, 37, 35, 36) | {4: record(4, status="diverged", epochs_to_threshold=None)}
    judged = judge(CLAIM, RATIO, tanh, RELU)
    assert (judged.verdict, judged.seeds) == ("reproduced", 5)
    assert "1 of 5 runs of 'tanh' diverged and count as never reaching the threshold" in judged.note
    assert "did not reach" not in judged.note


@pytest.mark.parametrize("last", [None, 0.15])
def test_a_diverged_run_counts_at_chance(last):
    diverged = errors(21.5, 21.6, 21.3, 21.5) | {4: record(4, status="diverged", test_error=last)}
    judged = judge(CLAIM, POINTS, diverged, WITH)
    assert judged.effect == pytest.approx((1.5 + 1.4 + 1.4 + 1.4 + 70) / 5)
    assert judged.verdict == "inconclusive"  # one failure is no effect of any size, and none is excluded
    assert "diverged and count at chance" in judged.note


def test_a_failed_run_without_a_number_is_inconclusive_not_dropped():
    entry = POINTS.model_copy(update={"metric": "knn_features"})
    runs = {i: record(i, knn_features=0.1) for i in range(5)}
    judged = judge(CLAIM, entry, runs | {2: record(2, status="diverged", test_error=None)}, runs)
    assert (judged.verdict, judged.effect, judged.seeds) == ("inconclusive", None, 5)
    assert judged.p == 1.0  # it stays among the comparisons that Holm's method corrects for
    assert "have no knn_features" in judged.note


def test_a_missing_metric_is_an_error():
    with pytest.raises(UserError, match="no metric 'gap': it has test_error"):
        judge(CLAIM, POINTS.model_copy(update={"metric": "gap"}), WITH, WITH)
    with pytest.raises(UserError, match="compare them as a ratio"):
        judge(CLAIM, POINTS.model_copy(update={"metric": "epochs_to_threshold"}), times(6, 6, None), RELU)


def test_smoke_runs_are_marked():
    runs = {i: record(i, dataset="sample", test_error=0.5) for i in range(5)}
    assert judge(CLAIM, POINTS, runs, runs).note.startswith("smoke runs on the bundled sample: no evidence")


def test_two_metrics_of_the_same_runs():
    entry = POINTS.model_copy(update={"arm": "with", "against_metric": "ten_view_error"})
    runs = {i: record(i, test_error=0.20, ten_view_error=0.19 + i / 10_000) for i in range(5)}
    assert judge(CLAIM, entry, runs, runs).effect == pytest.approx(0.98)


def test_an_arm_against_a_number_of_the_paper():
    entry = RATIO.model_copy(update={"metric": "images_per_second", "against": 250.0, "size": 1.5})
    judged = judge(CLAIM, entry, RELU, {})
    assert (judged.verdict, judged.effect) == ("reproduced", pytest.approx(2.0))


def test_the_scorecard_shows_every_claim(monkeypatch):
    monkeypatch.setattr("alexnet_repro.analysis.verdicts.load", lambda: (CLAIM,))
    found = {("relu_speed", "tanh"): times(36, 37, 35, 36, 38), ("relu_speed", "relu"): RELU,
             ("lrn", "with"): WITH, ("lrn", "without"): errors(20.4, 20.7, 20.3, 20.4, 20.5)}  # fmt: skip
    first, second = scorecard(lambda study, arm: found[study, arm])
    assert (first.verdict, second.verdict) == ("reproduced", "direction only")
    assert first.p_holm == pytest.approx(2 * first.p)
    assert second.p_holm == pytest.approx(second.p)
    assert not first.lost_after_holm
    assert not second.lost_after_holm
    assert {v.verdict for v in scorecard(lambda study, arm: {})} == {"not run"}


def test_an_effect_that_no_correction_leaves_says_so(monkeypatch):
    more = CLAIM.model_copy(update={"measured": (POINTS, POINTS.model_copy(update={"label": "again"}))})
    monkeypatch.setattr("alexnet_repro.analysis.verdicts.load", lambda: (more,))
    found = {("lrn", "with"): WITH, ("lrn", "without"): errors(20.4, 20.35, 20.5, 20.15, 20.5)}
    first, _ = scorecard(lambda study, arm: found[study, arm])
    assert first.p < 0.05 < first.p_holm
    assert first.lost_after_holm
    assert (
        f"corrected for all 2 comparisons of the scorecard, an effect is not shown (p = {first.p_holm:.2g})"
        in first.note
    )


SEEN = Observed(
    study="relu_speed", label="seen", setting="s", metric="test_error", comparison="difference", arm="without",
    against="with", unit="points", note="its own note",
)  # fmt: skip


def test_an_observed_effect_has_an_interval_and_no_rule():
    seen = observed(CLAIM, SEEN, errors(20.4, 20.7, 20.3, 20.4, 20.5), WITH)
    judged_ = judge(CLAIM, POINTS, errors(20.4, 20.7, 20.3, 20.4, 20.5), WITH)
    assert (seen.evidence, seen.verdict, seen.seeds, seen.note) == ("observed", "no rule", 5, "its own note")
    assert (seen.effect, seen.interval) == (judged_.effect, judged_.interval)
    assert (seen.p, seen.size, seen.declared) == (None, None, None)


def test_one_or_two_pairs_are_seen_without_an_interval():
    seen = observed(CLAIM, SEEN, errors(20.4, 20.9), WITH)
    assert (seen.verdict, seen.seeds, seen.interval) == ("no rule", 2, None)
    assert seen.effect == pytest.approx((0.4 + 0.7) / 2)
    assert seen.note == "its own note; 2 pairs: too few for an interval"
    assert observed(CLAIM, SEEN, {}, WITH).verdict == "not run"


def test_a_failed_run_that_was_seen_counts():
    diverged = errors(20.4, 20.7, 20.3) | {3: record(3, status="diverged", test_error=None)}
    seen = observed(CLAIM, SEEN, diverged, WITH)
    assert seen.effect == pytest.approx((0.4 + 0.5 + 0.4 + 90 - 20.1) / 4)
    assert "1 of 4 runs of 'without' diverged and count at chance" in seen.note


def test_observed_effects_change_no_p_value(monkeypatch):
    found = {("relu_speed", "tanh"): times(36, 37, 35, 36, 38), ("relu_speed", "relu"): RELU,
             ("lrn", "with"): WITH, ("lrn", "without"): errors(20.4, 20.7, 20.3, 20.4, 20.5)}  # fmt: skip
    found |= {("relu_speed", arm): found["lrn", arm] for arm in ("with", "without")}
    monkeypatch.setattr("alexnet_repro.analysis.verdicts.load", lambda: (CLAIM,))
    before = scorecard(lambda study, arm: found[study, arm])
    monkeypatch.setattr(
        "alexnet_repro.analysis.verdicts.load", lambda: (CLAIM.model_copy(update={"observed": (SEEN,)}),)
    )
    after = scorecard(lambda study, arm: found[study, arm])
    assert [each for each in after if each.evidence == "measured"] == before
    assert len(after) == len(before) + 1


def test_the_other_arm_may_be_another_studys(monkeypatch):
    longer = SEEN.model_copy(update={"arm": "baseline", "against": "baseline", "against_study": "longer"})
    monkeypatch.setattr(
        "alexnet_repro.analysis.verdicts.load",
        lambda: (CLAIM.model_copy(update={"measured": (), "observed": (longer,)}),),
    )
    found = {("relu_speed", "baseline"): errors(21.0, 21.0, 21.0), ("longer", "baseline"): errors(20.0, 20.0, 20.0)}
    (seen,) = scorecard(lambda study, arm: found[study, arm])
    assert seen.effect == pytest.approx(1.0)


def test_a_statement_beside_the_source_is_judged_by_its_values():
    same, other = (sourced(CLAIM, Sourced(item=item)) for item in ("batch", "crops"))
    assert (same.verdict, other.verdict) == ("audited: agrees", "audited: disagrees")
    assert (other.effect, other.beside, other.label) == (None, "source", "crops")
    assert "2048-fold" in other.note
    assert "33 × 33" in other.note
    with pytest.raises(UserError, match="the paper is silent on 'border of conv1'"):
        sourced(CLAIM, Sourced(item="border of conv1"))


def test_the_pace_of_2012_is_said_to_test_little():
    (pace,) = [each for each in scorecard(lambda study, arm: {}) if each.claim == "throughput"]
    assert "one GPU of today passes by its peak rate alone" in pace.note
    gpus = pd.read_csv(paths.data() / "gpus.csv").set_index("gpu")["single"]
    assert gpus.drop("GTX 580").min() > 2 * gpus["GTX 580"]


def test_the_scorecard_of_the_whole_file(monkeypatch):
    """Without a single run or time: every claim once or more, in order, and the kinds of evidence never mixed."""
    monkeypatch.setattr("alexnet_repro.experiments.step_timing.published", lambda kind, study: None)
    verdicts = scorecard(lambda study, arm: {})
    assert list(dict.fromkeys(verdict.claim for verdict in verdicts)) == [claim.id for claim in load()]
    for verdict in verdicts:
        of_runs = verdict.evidence in ("measured", "observed")
        assert (verdict.verdict == "not run") == of_runs
        assert (verdict.seeds is None) != of_runs
        assert verdict.evidence not in ("audited", "derived") or verdict.verdict.startswith(verdict.evidence)
        assert (verdict.verdict == "not testable here") == (verdict.evidence == "untested")
        assert (verdict.beside != "") == (verdict.evidence == "audited")
        command = step_timing.COMMAND if verdict.claim in step_timing.STUDIES else "alexnet-repro run"
        bare = verdict.evidence == "untested" or verdict.beside == "source"
        assert command in verdict.note if of_runs else (verdict.effect is None) == bare
        assert verdict.note
        json.dumps(verdict.row(), allow_nan=False)


def test_a_verdict_at_cifar_scale_says_what_it_speaks_of():
    found = [each for each in scorecard(lambda study, arm: {}) if "AlexNet in CIFAR size" in each.setting]
    assert found
    assert all("of CIFAR-10 only" in each.setting for each in found if each.evidence == "measured")
