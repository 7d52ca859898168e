"""Each claim's effect on the error in the paper, in the author's log, by others, and here at every scale.

The home page shows all claims in one figure, and the page of a claim its own, with its control and its gap.
"""

import math
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import NamedTuple

import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..analysis import meta
from ..analysis.conclusions import NOT_RUN, Comparison, Conclusion
from ..paper.claims import Claim, claim, load
from . import format
from .figures import PALETTE, WIDTH, canvas

PAPER, LOG, OTHERS = "the paper", "the author's log", "others"
UNIT = "points"
MARGIN = 20
"""Characters per line in the left margin."""
STEP = 0.15
"""Distance between two marks of a claim, in inches."""


class Look(NamedTuple):
    """Marker, colour and fill of a mark, and its name in the legend."""

    marker: str
    color: object
    fill: str
    name: str


LOOKS: Mapping[str, Look] = {
    PAPER: Look("|", "black", "full", "the paper"),
    LOG: Look("D", "0.35", "full", "the author's log"),
    OTHERS: Look("o", "0.35", "none", "others"),
    "cifar10": Look("o", PALETTE[0], "full", "24 epochs"),
    "cifar10-fresh": Look("o", PALETTE[0], "none", "24 epochs, fresh seeds"),
    "cifar10-long": Look("s", PALETTE[2], "full", "96 epochs"),
    "tiny-imagenet": Look("^", PALETTE[3], "full", "Tiny ImageNet"),
}
"""By source or scale, in the order of the legend."""


class Mark(NamedTuple):
    """An effect in points and its interval, which is NaN where there is none; source: a key of ``LOOKS``."""

    source: str
    effect: float
    low: float
    high: float


def marks(of: Claim, found: Conclusion) -> list[Mark]:
    """A claim's effects in points: top-1 in the paper and the log, others', and our primary comparison at each scale.

    Empty where no primary comparison in points has runs.
    """
    ours = _ours([each for each in found.comparisons if each.role == "primary"])
    theirs = [
        Mark(row.source if row.source in LOOKS else OTHERS, row.value, row.low, row.high)
        for row in meta.rows(of, [], [])
        if row.unit == UNIT and not math.isnan(row.value) and row.what != "top-5"
    ]
    return [*theirs, *ours] if ours else []


def _ours(comparisons: Sequence[Comparison]) -> list[Mark]:
    return [
        Mark(each.scale, each.effect, *(each.interval or (math.nan, math.nan)))
        for each in comparisons
        if each.effect is not None and each.unit == UNIT and each.scale in LOOKS
    ]


def with_controls(conclusions: Sequence[Conclusion]) -> dict[str, list[Mark]]:
    """``shown``, and below each claim its control and its secondary comparisons, under their labels."""
    rows: dict[str, list[Mark]] = {}
    for each in conclusions:
        rows |= shown([each])
        for label in dict.fromkeys(other.label for other in each.comparisons if other.label):
            rows[label] = _ours([other for other in each.comparisons if other.label == label])
    return {title: found for title, found in rows.items() if found}


def verdicts(conclusions: Sequence[Conclusion]) -> str:
    """The primary verdicts on each claim by scale, as one paragraph, with the scales that have too few runs yet."""
    parts = []
    for each in conclusions:
        primary = [other for other in each.comparisons if other.role == "primary"]
        found = [f"{other.verdict} ({format.with_pairs(other)})" for other in primary if other.verdict != NOT_RUN]
        told = "; ".join(filter(None, [", ".join(found), format.waiting(primary)]))
        parts.append(f"{claim(each.claim).title}: {told}.")
    return " ".join(parts)


def page(conclusions: Sequence[Conclusion]) -> str:
    """The figure directive in MyST, with paths relative to the book's folder; a sentence if there are no runs."""
    drawn = shown(conclusions)
    if not drawn:
        return "No comparison has its runs yet.\n"
    alt = "Interval plot, a row per claim: a mark for the paper, the log, others, and each scale that was run here."
    return format.figure("scales", alt, caption(conclusions, drawn))


def shown(conclusions: Sequence[Conclusion]) -> dict[str, list[Mark]]:
    """Title of a claim -> its marks, for the claims that have any."""
    known = {each.id: each for each in load()}
    every = {known[each.claim].title: marks(known[each.claim], each) for each in conclusions}
    return {title: found for title, found in every.items() if found}


def caption(conclusions: Sequence[Conclusion], drawn: Mapping[str, Sequence[Mark]]) -> str:
    """The figure's caption: how many claims are supported at every scale with a verdict, then how to read it."""
    titles = {each.id: each.title for each in load()}
    judged = {
        title: {each.verdict for each in found.comparisons if each.role == "primary"} - {NOT_RUN}
        for found in conclusions
        if (title := titles[found.claim]) in drawn
    }
    large = [title for title, verdicts in judged.items() if verdicts == {"supported"}]
    named = f" ({'; '.join(large)})" if large else ""
    return (
        "**Claims about the error that have an effect of at least their threshold, on the paper's side, at every scale "
        f"with a verdict so far: {len(large)} of {len(drawn)}{named}.** What causes it is another question: see the "
        "conclusions. In percentage points, with 95 % intervals; right of 0 is the paper's side. The author's log has "
        "one run of each network; its bar is the scatter between two such runs. For the paper and the log, the top-1 "
        "error is shown. Claims about speed are ratios, and not shown: see [ReLU](pages/relu_speed.ipynb)."
    )


def figure(drawn: Mapping[str, Sequence[Mark]]) -> Figure:
    """A row per claim or comparison, its marks one below the other in the order of the legend."""
    names = ["\n".join(wrap(title, MARGIN)) for title in drawn]
    heights = [
        max(STEP * len(found), 0.17 * (name.count("\n") + 1)) + 0.14
        for name, found in zip(names, drawn.values(), strict=True)
    ]
    figure, (axes,) = canvas(width=WIDTH - 0.1, height=1.9 + sum(heights))  # the last tick stands out
    top, middles = 0.0, []
    for height, found in zip(heights, drawn.values(), strict=True):
        middle = top + height / 2
        middles.append(middle)
        for place, mark in enumerate(sorted(found, key=lambda each: [*LOOKS].index(each.source))):
            y, look = middle + STEP * (place - (len(found) - 1) / 2), LOOKS[mark.source]
            if not math.isnan(mark.low):
                axes.plot([mark.low, mark.high], [y, y], color=look.color, linewidth=1.8, solid_capstyle="butt")
            axes.plot(
                mark.effect, y, look.marker, color=look.color, fillstyle=look.fill, markersize=6, markeredgewidth=1.6,
                label=look.name,
            )  # fmt: skip
        top += height
        axes.axhline(top, color="0.88", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.35", linewidth=1.2, zorder=0)
    axes.set(ylim=(top, 0), xlabel="effect on the error, in points\n(right of 0: as in the paper)")
    axes.set_yticks(middles, names, linespacing=1.05)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(visible=False, axis="y")
    sns.despine(figure, left=True)
    handles, labels = axes.get_legend_handles_labels()
    by_name = dict(zip(labels, handles, strict=True))
    order = [look.name for look in LOOKS.values() if look.name in by_name]
    figure.legend(
        [by_name[name] for name in order], order, loc="outside upper center", ncols=2, frameon=False, handletextpad=0.4
    )
    return figure
