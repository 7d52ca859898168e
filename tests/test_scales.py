"""The home page's figure of every claim at every scale: what is drawn of each, and what its caption says."""

import math

import pytest

from alexnet_repro.analysis.conclusions import Comparison, Conclusion
from alexnet_repro.analysis.lookup import concluded
from alexnet_repro.paper.claims import claim
from alexnet_repro.records.store import Store
from alexnet_repro.report import scales
from alexnet_repro.report.scales import Mark

from . import legible


def compared(name, scale, effect, low, high, **changes):
    about = {
        "role": "primary",
        "label": "",
        "verdict": "supported",
        "unit": "points",
        "threshold": 1.0,
        "declared": 5,
        "seeds": 5,
    }
    return Comparison(name, scale=scale, effect=effect, interval=(low, high), **(about | changes))


def conclusion(name, *comparisons):
    return Conclusion(name, "supported", "", comparisons, ())


LRN = conclusion(
    "lrn",
    compared("lrn", "cifar10", 4.0, 3.0, 5.0),
    compared("lrn", "tiny-imagenet", 1.0, 0.5, 1.5),
    compared("lrn", "cifar10-long", None, 0.0, 0.0, verdict="not run", seeds=0),
    compared("lrn", "cifar10", 3.0, 2.0, 4.0, role="control"),
)
CROPS = conclusion("augmentation", compared("augmentation", "cifar10", -0.5, -1.0, 0.1, verdict="inconclusive"))
SPEED = conclusion("relu_consistent", compared("relu_consistent", "cifar10-threshold", 2.4, 2.2, 2.7, unit="×"))


def test_a_claim_has_the_papers_the_logs_others_and_our_effects():
    paper, log, other, *ours = scales.marks(claim("lrn"), LRN)
    assert (paper.source, paper.effect) == ("the paper", 1.4)
    assert (log.source, log.effect) == ("the author's log", 1.37)
    assert log.low < 1.37 < log.high
    assert other.source == "others"
    assert ours == [Mark("cifar10", 4.0, 3.0, 5.0), Mark("tiny-imagenet", 1.0, 0.5, 1.5)]


def test_ratios_and_claims_without_runs_are_left_out():
    assert scales.marks(claim("relu_consistent"), SPEED) == []
    assert scales.marks(claim("lrn"), conclusion("lrn")) == []
    assert [*scales.shown([LRN, SPEED, CROPS])] == [claim("lrn").title, claim("augmentation").title]


def test_the_caption_counts_claims_that_are_supported_at_every_scale():
    assert "so far: 1 of 2 (" in scales.page([LRN, CROPS])
    against = conclusion(
        "lrn", *LRN.comparisons, compared("lrn", "cifar10-fresh", 0.5, -0.1, 1.1, verdict="inconclusive")
    )
    assert "so far: 0 of 2.**" in scales.page([against, CROPS])
    assert scales.page([SPEED]) == "No comparison has its runs yet.\n"


def test_the_page_of_a_claim_adds_its_control_and_its_verdicts():
    found = conclusion(
        "lrn", *LRN.comparisons[:3], compared("lrn", "cifar10", 3.0, 2.0, 4.0, role="control", label="x")
    )
    drawn = scales.with_controls([found, CROPS, SPEED])
    assert [*drawn] == [claim("lrn").title, "x", claim("augmentation").title]
    assert drawn["x"] == [Mark("cifar10", 3.0, 2.0, 4.0)]
    assert scales.verdicts([found]) == (
        f"{claim('lrn').title}: supported (CIFAR-10, 24 epochs), supported (Tiny ImageNet); "
        "no verdict yet: CIFAR-10, 96 epochs."
    )
    unjudged = conclusion("lrn", compared("lrn", "cifar10-long", None, 0.0, 0.0, verdict="not run", seeds=0))
    assert scales.verdicts([unjudged]) == f"{claim('lrn').title}: no verdict yet: CIFAR-10, 96 epochs."
    begun = conclusion(
        "lrn",
        compared("lrn", "cifar10-long", 4.0, 3.0, 5.0, seeds=3),
        compared("lrn", "tiny-imagenet", None, 0.0, 0.0, verdict="not run", seeds=1),
    )
    assert scales.verdicts([begun]) == (
        f"{claim('lrn').title}: supported (CIFAR-10, 96 epochs, 3 of 5 pairs); "
        "no verdict yet: Tiny ImageNet, 1 of 5 pairs."
    )


def test_every_mark_is_drawn_and_named():
    figure = scales.figure(scales.shown([LRN, CROPS]))
    (axes,) = figure.axes
    places = {line.get_label(): float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() != "None"}
    assert places["Tiny ImageNet"] == 1.0
    assert places["the paper"] == 1.4
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "the paper", "the author's log", "others", "24 epochs", "Tiny ImageNet",
    ]  # fmt: skip
    labels = [text.get_text().replace("\n", " ") for text in axes.get_yticklabels()]
    assert labels == [claim("lrn").title, claim("augmentation").title]
    assert legible.smallest(figure) >= legible.LEAST


@pytest.mark.slow
def test_the_published_effects_are_drawn_whole():
    conclusions = concluded(Store())
    figure = scales.figure(scales.shown(conclusions))
    (axes,) = figure.axes
    left, right = axes.get_xlim()
    ends = [end for found in scales.shown(conclusions).values() for mark in found for end in mark[1:]]
    assert all(left < end < right for end in ends if not math.isnan(end))
    assert legible.smallest(figure) >= legible.LEAST
