"""Figures of records: what is drawn, where it stands, and that every mark is named."""

import matplotlib.pyplot as plt
import pytest

from alexnet_repro.analysis.verdicts import Verdict
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.record import Measurement, RunRecord
from alexnet_repro.report import figures

from .runs import record

CURVES = {"baseline": [(60, 50), (64, 58)], "no_lrn": [(70, 62), (70, 66)]}
LABELS = {"baseline": "the baseline", "no_lrn": "no normalization"}


def verdict(unit: str, effect: float, size: float, paper: float | None = None) -> Verdict:
    return Verdict(
        "c", "3", "A claim", "", "p", "measured", "reproduced", effect, (effect, effect), unit, 5, "", size=size,
        paper_value=paper,
    )  # fmt: skip


@pytest.fixture
def found() -> dict[str, dict[int, RunRecord]]:
    plan = study("lrn")
    return {
        arm: {
            seed: record(
                plan.config(arm, seed),
                curve=[
                    Measurement(epoch=float(e), images=e, train_loss=1.0, train_error=percent / 100)
                    for e, percent in enumerate(errors, 1)
                ],
                metrics={},
            )
            for seed, errors in enumerate(runs)
        }
        for arm, runs in CURVES.items()
    }


def names(figure: plt.Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_are_a_mean_in_a_band_from_the_lowest_to_the_highest_seed(found) -> None:
    figure = figures.training_curves(found, LABELS, None)
    (axes,) = figure.axes
    means = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert means["the baseline"] == pytest.approx([62, 54])
    assert means["no normalization"] == pytest.approx([70, 64])
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((50, 64))
    assert names(figure) == ["the baseline", "no normalization", "lowest to highest seed"]


def test_curves_that_stop_at_a_threshold_are_a_line_per_seed(found) -> None:
    figure = figures.training_curves(found, LABELS, 55)
    (axes,) = figure.axes
    assert sum(len(line.get_xdata()) == 2 and line.get_linestyle() in "---" for line in axes.lines) == 4
    assert names(figure) == ["the baseline, one seed", "no normalization, one seed", "threshold, 55 %"]
    assert list(axes.texts) == []


def test_a_unit_and_an_outlier_have_a_panel_of_their_own() -> None:
    near, further = verdict("points", 0.5, 1.0), verdict("points", 2.0, 1.0)
    far, ratio = verdict("points", 16.0, 5.0), verdict("×", 7.5, 3.0)
    verdicts = {"near": near, "far": far, "ratio": ratio, "further": further}
    assert figures.panels(verdicts, {name: [] for name in verdicts}) == [["far"], ["near", "further"], ["ratio"]]
    del verdicts["near"], verdicts["ratio"]
    assert figures.panels(verdicts, {"far": [16.0], "further": [2.0, 4.5]}) == [["far", "further"]]
    assert figures.panels(verdicts, {"far": [17.0], "further": [2.0, 4.0]}) == [["far"], ["further"]]


def test_effects_have_their_names_in_the_margin_and_every_mark_in_the_legend() -> None:
    effects = {"one": [1.0, 2.0, float("nan")]}
    figure = figures.paired_effects(effects, {"one": verdict("points", 1.5, 1.0, paper=2.0)}, dots="one group")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one"]
    assert list(axes.texts) == []
    assert sorted(names(figure)) == ["mean, 95 % interval", "no effect", "one group", "the paper", "threshold"]
    (dots,) = [line for line in axes.lines if line.get_label() == "one group"]
    assert list(dots.get_xdata()) == [1.0, 2.0]
