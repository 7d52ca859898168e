"""The home page's figure: all measured effects with their intervals, each divided by its rule's threshold.

The effects of one page by seed are drawn in figures.py.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from ..analysis.lookup import record_lookup
from ..analysis.verdicts import Name, Verdict, effect_text, scorecard
from ..common.files import write_atomic
from ..records.store import Store
from . import format
from .figures import CLEAR, canvas, svg

FURTHEST = (-4.0, 6.0)
"""Limits of the axis, in thresholds; an arrow marks an interval that goes beyond, its number is printed beside it."""

BESIDE = 0.45
"""Distance of the mark of an effect beyond the axis from the axis' end, where its arrow is."""


class Look(NamedTuple):
    """Colour and marker of a verdict; either alone identifies it."""

    color: str
    marker: str
    fill: str = "full"


LOOKS: dict[Name, Look] = {
    "reproduced": Look("#009e73", "o"),
    "direction only": Look("#0072b2", "^"),
    "no effect found": Look("#b87300", "s"),
    "inconclusive": Look("#666666", "o", "none"),
    "contradicted": Look("#d55e00", "X"),
}


def write(book: Path) -> None:
    """Write the figure and its caption for the home page; a sentence if nothing was measured yet."""
    verdicts = scorecard(record_lookup(Store()))
    generated = book / "_generated"
    if shown(verdicts):
        write_atomic(generated / "effects.svg", svg(figure(verdicts)))
    write_atomic(generated / "effects.md", page(verdicts))


def page(verdicts: Sequence[Verdict]) -> str:
    """The figure directive in MyST, with paths relative to the book's folder."""
    if not shown(verdicts):
        return "No measured comparison has its runs yet.\n"
    alt = "Interval plot, a row per measured effect, largest first; the scorecard has the same numbers."
    return format.figure("effects", alt, caption(verdicts))


def caption(verdicts: Sequence[Verdict]) -> str:
    """The figure's caption: counts of verdicts first, then how to read it."""
    drawn, judged = shown(verdicts), run(verdicts)
    planned = sum(verdict.evidence == "measured" for verdict in verdicts)
    counts = Counter(verdict.verdict for verdict in judged)
    came = ", ".join(f"{counts[name]} {name}" for name in LOOKS if counts[name])
    provisional = " Provisional: not all seeds are run." if any(verdict.provisional for verdict in drawn) else ""
    unbounded = f" Without a bound, and not drawn: {len(judged) - len(drawn)}." if len(judged) > len(drawn) else ""
    return (
        f"**Measured so far, {len(judged)} of {planned} comparisons: {came}.** Each effect has its 95 % interval, in "
        "units of the size that its rule names (ratios by their logarithms), so that an interval wholly at or right of "
        "1 reproduces the claim. The tick is the paper's value, where it gives one; an arrow points to what lies "
        f"beyond the axis.{provisional}{unbounded}"
    )


def run(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The measured comparisons that have been run; without an effect if too many runs failed to give a bound."""
    return [each for each in verdicts if each.evidence == "measured" and each.verdict != "not run"]


def shown(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The comparisons that have an effect, sorted by ``in_units``, largest first."""
    drawn = [each for each in run(verdicts) if each.effect is not None]
    return sorted(drawn, key=lambda each: -in_units(each, each.effect))


def in_units(verdict: Verdict, value: float | None) -> float:
    """``value`` divided by the rule's threshold, for ratios log by log; 0 is no effect, NaN if either is None."""
    if value is None or verdict.size is None:
        return math.nan
    if verdict.unit != "×":
        return value / verdict.size
    return (math.log(value) if value > 0 else -math.inf) / math.log(verdict.size)


def figure(verdicts: Sequence[Verdict]) -> Figure:
    """A row per measured effect: name, interval, a marker for the verdict, a tick for the paper's value, number."""
    drawn = shown(verdicts)
    figure, (axes,) = canvas(width=5.8, height=1.35 + 0.46 * len(drawn))
    left, right = _limits(drawn)
    text_at = blended_transform_factory(axes.transAxes, axes.transData)
    for row, verdict in enumerate(drawn):
        look = LOOKS[verdict.verdict]
        middle, paper = in_units(verdict, verdict.effect), in_units(verdict, verdict.paper_value)
        low, high = (in_units(verdict, end) for end in verdict.interval or (verdict.effect, verdict.effect))
        axes.plot(
            [max(low, left), min(high, right)], [row, row], color=look.color, linewidth=2.4, solid_capstyle="butt"
        )
        for beyond, end, arrow in ((low < left, left, "<"), (high > right, right, ">")):
            if beyond:
                axes.plot(end, row, arrow, color=look.color, markersize=7, clip_on=False)
        if left <= paper <= right:
            axes.plot([paper, paper], [row - 0.2, row + 0.2], color="black", linewidth=2)
        axes.plot(
            middle if left <= middle <= right else min(max(middle, left + BESIDE), right - BESIDE), row, look.marker,
            color=look.color, fillstyle=look.fill, markersize=6.5, markeredgewidth=1.6,
        )  # fmt: skip
        label = ", ".join(filter(None, [verdict.label, "provisional" if verdict.provisional else ""]))
        name = f"{verdict.title} ({label})" if label else verdict.title
        axes.text(0, row - 0.42, name, transform=text_at, fontsize=9, va="center", in_layout=False, bbox=CLEAR)
        axes.text(1.02, row, effect_text(verdict), transform=text_at, fontsize=9, va="center")
    for x, label, side, line in ((0, "no effect", "right", "-"), (1, "the rule", "left", "--")):
        axes.axvline(x, color="0.35", linewidth=1.2, linestyle=line, zorder=0)
        axes.annotate(
            label, (x, 1), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points", ha=side,
            fontsize=9, color="0.25",
        )  # fmt: skip
    axes.set(xlim=(left, right), ylim=(len(drawn) - 0.4, -0.75), yticks=[])
    axes.tick_params(labelsize=9)
    sns.despine(figure, left=True)
    axes.set_xlabel("effect, in units of the size that the rule names", fontsize=9)
    for name in (each for each in LOOKS if any(verdict.verdict == each for verdict in drawn)):
        look = LOOKS[name]
        axes.plot([], [], look.marker, color=look.color, fillstyle=look.fill, markeredgewidth=1.6, label=name)
    axes.plot([], [], "|", color="black", markersize=9, markeredgewidth=2, label="the paper")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, handletextpad=0.2)
    return figure


def _limits(drawn: Sequence[Verdict]) -> tuple[float, float]:
    """Limits of the axis: wide enough for every interval and paper value, but within ``FURTHEST``."""
    ends = [-0.5, 1.5]
    for verdict in drawn:
        values = (verdict.effect, verdict.paper_value, *(verdict.interval or ()))
        ends += [x for x in (in_units(verdict, value) for value in values) if not math.isnan(x)]
    return max(min(ends) - 0.2, FURTHEST[0]), min(max(ends) + 0.2, FURTHEST[1])
