"""Verdicts, notes and tables in Markdown, the same on every page."""

import re
from collections.abc import Sequence

import pandas as pd

from ..analysis.verdicts import Verdict, effect_text
from ..common.text import NONE, with_unit

TITLE = "title"
"""In the metadata of a Markdown output: it goes on with the title of the page."""
CAPTION = "caption"
"""In the metadata of a Markdown output: it belongs to the figure of its cell."""
SHOWN = 4
"""So many numbers of one verdict share a row of the scorecard; of more, it gives the count."""


def halved(unit: str, size: float | None, paper_value: float | None) -> bool:
    """Whether the smallest effect that a rule names is half of the paper's points."""
    return unit == "points" and size is not None and paper_value == 2 * size


def badge(name: str, short: bool = False) -> str:
    """A verdict's name with a class that the style sheet colours; ``short``: without the kind of evidence."""
    last = name.split(": ")[-1]
    return f"[{last if short else name}]{{.verdict .{last.replace(' ', '-')}}}"


def marked(verdict: Verdict) -> str:
    """The same with a † where a correction for all comparisons would leave no effect."""
    return f"{effect_text(verdict)} †" if verdict.lost_after_holm else effect_text(verdict)


def papers(same: Sequence[Verdict]) -> str:
    """The paper's values for these comparisons, errors with the decimal that it prints; a dash without any."""
    if same[0].paper_value is None:
        return NONE
    values = [verdict.paper_value for verdict in same if verdict.paper_value is not None]
    if len(values) < len(same) or len(same) > SHOWN or len({verdict.unit for verdict in same}) > 1:
        return in_cell(same[0].paper)
    digits = max(int(same[0].unit == "%"), *(len(f"{value:g}".partition(".")[2]) for value in values))
    return with_unit(" / ".join(f"{value:,.{digits}f}".replace("-", "−") for value in values), same[0].unit)


def markdown(frame: pd.DataFrame) -> str:
    """A table of words in Markdown."""
    head = [str(name) for name in frame.columns]
    lines = [row(head), row(["---"] * len(head)), *map(row, frame.to_numpy().tolist())]
    return "\n".join(lines) + "\n"


def with_commands(note: str) -> str:
    """A verdict's note in Markdown: a command keeps its double dashes, an address becomes a link."""
    linked = re.sub(r"https?://[^\s;]+", r"<\g<0>>", note)
    return re.sub(r"'((?:alexnet-repro|python) [^']*)'", r"`\1`", linked)


def in_cell(text: str) -> str:
    return text.replace("|", "\\|")


def row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return "| " + " | ".join(cells) + " |"
