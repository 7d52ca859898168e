"""The scorecard's figure: stage one's effects with their intervals, each divided by its rule's threshold.

The effects of one page by seed are drawn in figures.py, those at every scale in scales.py.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis.lookup import concluded
from ..analysis.verdicts import Name, Verdict, effect_text
from ..common.files import write_atomic
from ..records.store import Store
from . import format, scales
from .figures import canvas, svg

FURTHEST = 6.0
"""Effects that are more thresholds than that away from 0, interval included, have a panel of their own."""

MARGIN = 37
"""Characters per line in the left margin, which has the number, too."""
LINE = 0.155
"""Height of one of these lines, in inches."""


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
    """Write this figure and that of scales.py, with their captions; a sentence if nothing was measured yet."""
    conclusions = concluded(Store())
    verdicts = [verdict for each in conclusions for verdict in each.verdicts]
    generated = book / "_generated"
    if shown(verdicts):
        write_atomic(generated / "effects.svg", svg(figure(verdicts)))
    write_atomic(generated / "effects.md", page(verdicts))
    if drawn := scales.shown(conclusions):
        write_atomic(generated / "scales.svg", svg(scales.figure(drawn)))
    write_atomic(generated / "scales.md", scales.page(conclusions))


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
        f"**Stage one measured {len(judged)} of {planned} comparisons: {came}.** Each effect with its 95 % interval, "
        "scaled so that 0 is no effect and 1 is the threshold for *reproduced* (ratios by their logarithms): an "
        "interval wholly at or right of 1 reproduces the claim. The tick is the paper's value, where it gives one. "
        f"Effects beyond {FURTHEST:g} thresholds have a panel of their own.{provisional}{unbounded}"
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
    """A row per measured effect: name and number, interval, a marker for the verdict, a tick for the paper's value.

    Effects beyond ``FURTHEST`` are in a panel of their own, above the others.
    """
    drawn = shown(verdicts)
    groups = [[each for each in drawn if _far(each) is side] for side in (True, False)]
    groups = [group for group in groups if group]
    labels = [[_label(each) for each in group] for group in groups]
    heights = [[0.07 + LINE * len(lines) for lines in group] for group in labels]
    ratios = [sum(each) + 0.2 for each in heights]
    figure, (empty,) = canvas(height=1.6 + 0.3 * len(groups) + sum(ratios))
    empty.remove()
    panels = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": ratios})[:, 0]
    for axes, group, texts, height in zip(panels, groups, labels, heights, strict=True):
        bottoms = [sum(height[: row + 1]) for row in range(len(height))]
        middles = [bottom - own / 2 for bottom, own in zip(bottoms, height, strict=True)]
        left, right = _limits(group)
        axes.set(xlim=(left, right), ylim=(bottoms[-1] + 0.1, -0.1))
        axes.set_yticks(middles, ["\n".join(lines) for lines in texts], linespacing=1.05)
        axes.grid(visible=False, axis="y")
        axes.axvline(0, color="0.35", linewidth=1.2, zorder=0, label="no effect")
        axes.axvline(1, color="0.35", linewidth=1.2, linestyle="--", zorder=0, label="threshold")
        for y, verdict in zip(middles, group, strict=True):
            _row(axes, y, verdict, left, right)
    sns.despine(figure, left=True)
    panels[-1].set_xlabel("effect, in thresholds\nof its rule")
    marks = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    names = [name for name in (*LOOKS, "the paper", "no effect", "threshold") if name in marks]
    figure.legend(
        [marks[name] for name in names], names, loc="outside upper center", ncols=2, frameon=False, handletextpad=0.4
    )
    return figure


def _row(axes: Axes, y: float, verdict: Verdict, left: float, right: float) -> None:
    """Draw an effect; an arrow at an end of the axis stands for an end of the interval that is not finite."""
    look = LOOKS[verdict.verdict]
    middle, paper = in_units(verdict, verdict.effect), in_units(verdict, verdict.paper_value)
    low, high = (in_units(verdict, end) for end in verdict.interval or (verdict.effect, verdict.effect))
    axes.plot([max(low, left), min(high, right)], [y, y], color=look.color, linewidth=2.4, solid_capstyle="butt")
    for infinite, end, arrow in ((math.isinf(low), left, "<"), (math.isinf(high), right, ">")):
        if infinite:
            axes.plot(end, y, arrow, color=look.color, markersize=7, clip_on=False)
    if not math.isnan(paper):
        axes.plot([paper], [y], "|", color="black", markersize=13, markeredgewidth=2, label="the paper")
    axes.plot(
        middle, y, look.marker, color=look.color, fillstyle=look.fill, markersize=6.5, markeredgewidth=1.6,
        label=verdict.verdict,
    )  # fmt: skip


def _label(verdict: Verdict) -> list[str]:
    """The lines in the left margin: name of the comparison, effect with its interval."""
    label = ", ".join(filter(None, [verdict.label, "provisional" if verdict.provisional else ""]))
    return [*wrap(f"{verdict.title} ({label})" if label else verdict.title, MARGIN), effect_text(verdict)]


def _drawn(verdict: Verdict) -> list[float]:
    """The finite numbers of an effect on the axis: the effect, the ends of its interval, the paper's value."""
    values = (verdict.effect, *(verdict.interval or ()), verdict.paper_value)
    return [x for x in (in_units(verdict, value) for value in values) if math.isfinite(x)]


def _far(verdict: Verdict) -> bool:
    return max(map(abs, _drawn(verdict))) > FURTHEST


def _limits(drawn: Sequence[Verdict]) -> tuple[float, float]:
    """Limits of the axis: wide enough for every interval and paper value."""
    ends = [-0.5, 1.5, *(x for verdict in drawn for x in _drawn(verdict))]
    room = 0.03 * (max(ends) - min(ends))
    return min(ends) - room, max(ends) + room
