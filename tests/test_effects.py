"""The figure of all effects, with none, one and many: sorted, in units of the rule, drawn in full."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from alexnet_repro.analysis.verdicts import Verdict
from alexnet_repro.report import effects, figures

from . import legible

POINTS = Verdict(
    "c", "3", "A claim", "", "p", "measured", "reproduced", 1.4, (1.0, 1.8), "points", 5, "", size=0.7, paper_value=1.4
)  # fmt: skip
RATIO = replace(POINTS, title="A ratio", verdict="direction only", effect=2.0, interval=(1.5, math.inf))
RATIO = replace(RATIO, unit="×", size=4.0)
FAR = replace(POINTS, title="Far away", effect=70.0, interval=(60.0, 80.0))
AGAINST = replace(POINTS, title="The other way", verdict="contradicted", effect=-70.0, interval=(-80.0, -60.0))
NOT_RUN = replace(POINTS, title="Not run", verdict="not run", effect=None, interval=None)
AUDITED = replace(POINTS, title="Audited", evidence="audited", verdict="audited: agrees", interval=None)
ALL = [POINTS, RATIO, AUDITED, AGAINST, NOT_RUN, FAR]


def test_effects_are_sorted_in_units_of_their_rules() -> None:
    assert [each.title for each in effects.shown(ALL)] == ["Far away", "A claim", "A ratio", "The other way"]
    assert effects.in_units(POINTS, 0.7) == 1.0
    assert effects.in_units(RATIO, 2.0) == pytest.approx(0.5)
    assert effects.in_units(RATIO, 0.0) == -math.inf
    assert math.isnan(effects.in_units(POINTS, None))


def labels(figure: Figure) -> list[str]:
    """The labels in the left margins, each on one line."""
    return [text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.get_yticklabels()]


@pytest.mark.parametrize("verdicts", [[POINTS], [RATIO, POINTS], ALL, ALL * 6], ids=len)
def test_every_effect_has_its_name_and_number_in_the_margin(verdicts: list[Verdict]) -> None:
    figure = effects.figure(verdicts)
    shown = labels(figure)
    assert len(shown) == len(effects.shown(verdicts))
    for each in effects.shown(verdicts):
        assert any(label.startswith(each.title) for label in shown)
    assert shown.count("A claim 1.40 points (1 to 1.80)") == verdicts.count(POINTS)
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == []
    assert legible.smallest(figure, cut=False) >= legible.LEAST


def test_effects_far_from_the_others_have_a_panel_of_their_own() -> None:
    figure = effects.figure(ALL)
    far, near = figure.axes
    assert [len(axes.get_yticks()) for axes in (far, near)] == [2, 2]
    assert far.get_xlim()[0] < -80 / 0.7
    assert far.get_xlim()[1] > 80 / 0.7
    left, right = near.get_xlim()
    assert -effects.FURTHEST < left < 0 < 1.8 / 0.7 < right < effects.FURTHEST
    one = effects.figure([FAR])
    assert len(one.axes) == 1


def test_an_interval_without_an_end_is_an_arrow() -> None:
    figure = effects.figure([RATIO, POINTS])
    (axes,) = figure.axes
    arrows = [line for line in axes.lines if line.get_marker() == ">"]
    assert [float(line.get_xdata()[0]) for line in arrows] == [axes.get_xlim()[1]]


def test_every_mark_is_in_the_legend() -> None:
    figure = effects.figure(ALL)
    (legend,) = figure.legends
    named = ["reproduced", "direction only", "contradicted", "the paper", "no effect", "threshold"]
    assert [text.get_text() for text in legend.get_texts()] == named


def test_drawing_is_the_same_from_every_run() -> None:
    first, second = effects.figure(ALL), effects.figure(ALL)
    assert figures.svg(first) == figures.svg(second)


def test_page_says_what_there_is() -> None:
    assert "4 of 5 comparisons: 2 reproduced, 1 direction only, 1 contradicted." in effects.page(ALL)
    unbounded = replace(POINTS, verdict="inconclusive", effect=None, interval=None)
    assert "5 of 5 comparisons: 2 reproduced" in effects.page(
        [each for each in ALL if each is not NOT_RUN] + [unbounded]
    )
    assert "and not drawn: 1." in effects.page([POINTS, unbounded])
    assert effects.page([NOT_RUN, AUDITED]) == "No measured comparison has its runs yet.\n"


def test_every_measured_verdict_has_a_look() -> None:
    page = (Path(__file__).parent.parent / "book" / "verdicts.md").read_text()
    table = page.split("## Measured")[1].split("**Pairs.**")[0]
    assert [name for name in effects.LOOKS if f"| {name} |" not in table] == []
