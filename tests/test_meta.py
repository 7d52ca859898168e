"""Every measurement of an effect side by side: numbers of their sources, signs, and what is clear."""

import math

import pytest

from alexnet_repro.analysis import audit, meta
from alexnet_repro.analysis.conclusions import Comparison
from alexnet_repro.analysis.lookup import record_lookup
from alexnet_repro.analysis.verdicts import scorecard
from alexnet_repro.paper.claims import claim, load
from alexnet_repro.records.store import Store


@pytest.fixture(scope="module")
def verdicts():
    return scorecard(record_lookup(Store()))


def rows(name, verdicts, found=()):
    return meta.rows(claim(name), verdicts, found)


def test_paper_log_others_and_ours(verdicts):
    every = rows("lrn", verdicts)
    assert [(each.source, each.what.partition(":")[0]) for each in every] == [
        ("the paper", "top-1"),
        ("the paper", "top-5"),
        ("the author's log", "top-1"),
        ("the author's log", "top-5"),
        ("Mishkin, Sergievskiy & Matas", "LRN on ImageNet at 128 px, CaffeNet"),
        ("here, stage one", "constants as printed"),
        ("here, stage one", "as strong as on raw pixels"),
    ]
    assert [each.value for each in every[:2]] == [1.4, 1.2]
    assert every[4].value == pytest.approx(-0.1)
    assert [each.agrees for each in every] == [True, True, True, True, False, True, True]
    ours = next(each for each in verdicts if each.claim == "lrn" and each.evidence == "measured")
    assert (every[5].value, (every[5].low, every[5].high), every[5].n) == (ours.effect, ours.interval, ours.seeds)


def test_the_log_is_read_with_its_scatter(verdicts):
    top1 = next(each for each in rows("overlapping_pooling", verdicts) if each.source == "the author's log")
    scatter = audit.scatter("top1_error").clear_from
    (effect,) = [
        each["points"]
        for each in audit.effects().to_dict("records")
        if (each["net"], each["column"]) == ("147", "top1_error")
    ]
    assert top1.value == effect
    assert (top1.low, top1.high) == pytest.approx((effect - scatter, effect + scatter))
    assert (top1.agrees, top1.clear) == (True, False)


def test_two_views_of_one_net_have_no_scatter_between_runs(verdicts):
    every = rows("ten_crop", verdicts)
    assert [each.value for each in every[:2]] == pytest.approx([1.5, 1.3])  # 39.0 - 37.5 and 18.3 - 17.0
    log = [each for each in every if each.source == "the author's log"]
    assert [each.value for each in log] == pytest.approx([39.0247 - 37.4727, 18.2953 - 16.9987], abs=1e-4)
    assert all(each.clear is None for each in log)


def test_a_paper_without_a_number_is_quoted(verdicts):
    paper, *_ = rows("weight_decay", verdicts)
    assert (paper.printed, paper.agrees) == ("lower training error", None)
    paper, *_ = rows("relu_speed", verdicts)
    assert (paper.printed, paper.value, paper.unit, paper.agrees) == ("6×", 6.0, "×", True)


def test_stage_two_adds_its_primary_comparisons_on_runs_of_its_own(verdicts):
    made = {"claim": "depth", "label": "", "verdict": "equivalent", "unit": "points", "threshold": 1.0}
    one = Comparison(
        role="primary", scale="cifar10-long", declared=5, seeds=5, effect=0.1, interval=(-0.2, 0.4), **made
    )
    found = [
        one,
        Comparison(role="primary", scale="cifar10", declared=20, seeds=20, seen=20, effect=0.1, **made),
        Comparison(role="control", scale="cifar10-long", declared=5, seeds=5, effect=0.3, **made),
        Comparison(**made | {"role": "primary", "scale": "tiny-imagenet", "declared": 3, "verdict": "not run"}),
    ]
    added = [each for each in rows("depth", verdicts, found) if each.source == "here, stage two"]
    assert [(each.what, each.value, each.n, each.clear) for each in added] == [("CIFAR-10, 96 epochs", 0.1, 5, False)]


def test_no_effect_of_a_ratio_is_one():
    row = meta.Row("here", "", 0.9, 0.5, 1.2, "×", 3)
    assert (row.agrees, row.clear) == (False, False)
    assert meta.Row("here", "", 1.3, 1.1, 1.5, "×", 3).clear


@pytest.mark.parametrize("name", [each.id for each in load()])
def test_every_claim_has_a_row_for_the_paper(name, verdicts):
    assert rows(name, verdicts)[0].source == "the paper"


def test_errors_of_others_are_those_that_they_print():
    for each in meta.others().to_dict("records"):
        for name in meta.OTHERS_ERRORS:
            error = each[name]
            assert math.isnan(error) or f"{error:.1f} %" in each["value"] or f"{100 - error:.1f} %" in each["value"]
