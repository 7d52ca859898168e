import math

import pandas as pd
import pytest

from alexnet_repro.analysis import exploratory
from alexnet_repro.analysis.contrasts import Contrast
from alexnet_repro.analysis.meta import Row
from alexnet_repro.analysis.statistics import paired_ratio
from alexnet_repro.report import tables

NONE = "–"
PARTS = pd.DataFrame(
    [
        ("training error", "clean_train_error", -17.0, -18.0, -16.0, 0.0, 5),
        ("gap", "gap", 16.5, 15.5, 17.5, 1.0, 5),
        ("test error", "test_error", -0.5, -1.0, 0.0, 0.2, 5),
    ],
    columns=["part", "metric", "mean", "low", "high", "side", "pairs"],
)


def contrast(setting="CIFAR-10, 24 epochs"):
    return Contrast("augmentation", "cifar10", "no_crops", "baseline", setting, judged=frozenset({"test_error"}))


def test_parts_of_an_effect_with_what_a_rule_judges_in_bold():
    text = tables.parts([(contrast(), PARTS, [None, None, (-0.4, -1.1, 0.2)])]).data
    assert "| no crops, no flips minus the baseline | training error | −17 points (−18 to −16) | 0 % of 5 | –" in text
    assert "| test error | **−0.50 points (−1 to 0)** | 20 % of 5 | −0.40 points (−1.10 to 0.20) |" in text
    assert "CIFAR-10, 24 epochs. Test error = " in text
    assert tables.parts([]).data.startswith("No comparison")


def test_settings_stand_beside_the_arms_where_they_differ():
    blocks = [(contrast(setting), PARTS, [None] * 3) for setting in ("24 epochs", "48 epochs")]
    text = tables.parts(blocks).data
    assert "minus the baseline (24 epochs) |" in text
    assert "minus the baseline (48 epochs) |" in text


def test_the_pooled_model_says_how_far_variances_differ():
    values = [("baseline", s, s) for s in range(4)]
    values += [("no_lrn", s, s + 4 + 0.1 * (s % 2)) for s in range(4)]
    values += [("half", s, s + 3 + 2 * (s % 2)) for s in range(4)]
    model = exploratory.pooled(pd.DataFrame(values, columns=["arm", "seed", "value"]))
    text = tables.pooled(model).data
    assert "| no normalization | 4 | 4.05 points (" in text
    assert "scatter by 0.06 (no normalization) to 1.15 (one column (half the kernels))" in text
    assert f"for all arms, {model.sd:.2f} points (6 degrees of freedom)" in text
    assert tables.pooled(None).data.startswith("No arm")


@pytest.mark.parametrize(
    ("p", "below", "said"),
    [(0.68, 0, "There is no sign that the two columns differ in"), (0.001, 9, "The two columns differ in colour more")],
)
def test_colours_against_chance(p, below, said):
    null = exploratory.ColourNull(paired_ratio([0.5, 1.0, 0.7], [1.0, 1.0, 1.0], resample=False), p, below)
    text = tables.colours(null, 0.67).data
    assert said in text
    assert "By chance alone the ratio is 0.66×" in text
    assert "10,000 deals of the pictured net's kernels (seed 0) give 0.67×" in text
    assert f"have {below} below 5 %, where 0.15 is expected" in text
    assert "deals of the pictured" not in tables.colours(null, None).data
    assert tables.colours(None, None).data.startswith("No three runs")


def test_every_source_beside_the_others():
    gap = math.nan
    rows = [
        Row("the paper", "top-1", 1.4, gap, gap, "points", None, "1.4 points"),
        Row("the author's log", "top-1", 1.37, 0.35, 2.39, "points", 1),
        Row("Somebody", "with and without", -0.1, gap, gap, "points", None, "47.0 % with; 47.1 % without"),
        Row("here, stage one", "", 0.2, -0.1, 0.5, "points", 5),
        Row("Another", "not so", gap, gap, gap, "points", None, "82 %"),
    ]
    text = tables.side_by_side(rows).data
    assert f"| the paper | top-1 | 1.4 points | {NONE} | {NONE} |" in text
    assert "| the author's log | top-1 | 1.37 points (0.35 to 2.39) | 1 | yes |" in text
    assert f"| Somebody | with and without | −0.10 points: 47.0 % with; 47.1 % without | {NONE} | no |" in text
    assert f"| here, stage one | {NONE} | 0.20 points (−0.10 to 0.50) | 5 | yes, not clearly |" in text
    assert f"| Another | not so | 82 % | {NONE} | {NONE} |" in text
    assert "scatter between two runs" in text
    assert "scatter between two runs" not in tables.side_by_side(rows[3:]).data
