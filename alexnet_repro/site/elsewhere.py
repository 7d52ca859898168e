"""Generated parts of the book on full-size runs and on runs that others contributed, group by group.

The scorecard's other columns are in pages.py; which runs make a group is decided in analysis/contributed.py.
"""

import math
from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from ..analysis import contributed
from ..analysis.contributed import FULL_SIZE, Group
from ..analysis.verdicts import Verdict, effect_text
from ..common.markup import escaped
from ..common.text import NONE
from ..paper.claims import Claim
from ..records.metrics import scored_metric
from ..report.format import badge, markdown

Column = dict[tuple[str, str], str]
"""(claim, label) of a measured comparison -> its cell in the scorecard's column ImageNet."""

ERRORS = {
    "test_error": "top-1",
    "top5_error": "top-5",
    "ten_view_error": "top-1, ten views",
    "ten_view_top5_error": "top-5, ten views",
}


def column(every: Sequence[Claim], groups: Sequence[Group]) -> Column:
    """The scorecard's column ImageNet: for each full-size comparison, the result of the group with the most pairs.

    "Not run" where no group has three pairs.
    """
    best: dict[tuple[str, str], Verdict] = {}
    for verdict in (each for group in groups for each in contributed.judged(group)):
        before = best.get((verdict.claim, verdict.label))
        if before is None or (verdict.seeds or 0) > (before.seeds or 0):
            best[verdict.claim, verdict.label] = verdict
    cells = {}
    for claim in every:
        for entry in claim.measured:
            if contributed.is_at_full_size(entry):
                whole = best.get((claim.id, entry.label))
                run = whole is not None and whole.verdict != "not run"
                cells[claim.id, entry.label] = (
                    f"{effect_text(whole)} {badge(whole.verdict)}" if whole and run else badge("not run")
                )
    return cells


def full_size(groups: Sequence[Group]) -> str:
    """Every group of full-size runs: its source and device, the mean errors of the paper's net, and the verdicts."""
    if not groups:
        return (
            f"*None yet.* `alexnet-repro run {FULL_SIZE} --device cuda` makes them, and the column ImageNet of the "
            "[scorecard](scorecard.md) fills.\n"
        )
    return (
        "\n".join(line for group in groups for line in [_title(group), "", *_errors(group), *_verdicts(group)]) + "\n"
    )


def by_others(groups: Sequence[Group]) -> str:
    """Every group of contributed runs: its source and device, and the verdicts from these runs alone."""
    if not groups:
        return "*None yet.*\n"
    return "\n".join(line for group in groups for line in [_title(group), "", *_verdicts(group)]) + "\n"


def _title(group: Group) -> str:
    whose = f"Runs of {escaped(group.source)}" if group.source else "Runs of this project"
    images = f", {escaped(group.images)}" if group.images else ""
    return f"**{whose}** on {escaped(group.device)}: {len(group.runs)}{images}."


def _errors(group: Group) -> list[str]:
    """Mean errors of the paper's own net over the group's seeds."""
    runs = [r for r in group.runs.values() if r.config == contributed.paper_run(r.config)]
    told = [
        f"{words} {100 * mean:.1f} %"
        for name, words in ERRORS.items()
        if runs and not math.isnan(mean := fmean(scored_metric(r, name) for r in runs))
    ]
    return [f"The paper's net, {len(runs)} runs: {', '.join(told)}.", ""] if told else []


def _verdicts(group: Group) -> list[str]:
    verdicts = contributed.judged(group)
    if not verdicts:
        return ["No comparison has a run of it yet.", ""]
    rows = [
        {
            "Claim": verdict.title,
            "Comparison": verdict.label or NONE,
            "Paper": verdict.paper,
            "Found": effect_text(verdict),
            "Verdict": badge(verdict.verdict),
            "Seeds": verdict.pairs_judged,
        }
        for verdict in verdicts
    ]
    return [markdown(pd.DataFrame(rows)), ""]
