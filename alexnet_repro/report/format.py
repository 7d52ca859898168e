"""Badges, notes and tables in Markdown, so that every page formats them alike.

The numbers in them are formatted by common/text.py.
"""

import re
from collections.abc import Sequence

import pandas as pd

from ..analysis.conclusions import NOT_RUN, Comparison
from ..analysis.rules import SETTINGS
from ..analysis.verdicts import Verdict, effect_text
from ..common.text import NONE, with_unit

TITLE = "title"
"""In the metadata of a Markdown output: it goes on with the title of the page."""
CAPTION = "caption"
"""In the metadata of a Markdown output: it belongs to the figure of its cell."""
SHOWN = 4
"""Up to so many numbers of one verdict are listed in a row of the scorecard; of more, it gives the count."""
MANY = 4
"""Columns that a phone shows side by side."""


def halved(unit: str, size: float | None, paper_value: float | None) -> bool:
    """Whether a rule's threshold is half of the difference that the paper prints, in points."""
    return unit == "points" and size is not None and paper_value == 2 * size


def badge(name: str, short: bool = False) -> str:
    """A verdict's name in MyST, coloured by its CSS class; ``short``: without the kind of evidence before the colon."""
    last = name.split(": ")[-1]
    return f"[{last if short else name}]{{.verdict .{last.replace(' ', '-')}}}"


def marked(verdict: Verdict) -> str:
    """A verdict's effect and interval, with a † where Holm's correction for all comparisons leaves no effect."""
    return f"{effect_text(verdict)} †" if verdict.lost_after_holm else effect_text(verdict)


def papers(same: Sequence[Verdict]) -> str:
    """The paper's values for these comparisons, with as many decimals as the paper prints; a dash if it has none."""
    if same[0].paper_value is None:
        return NONE
    values = [verdict.paper_value for verdict in same if verdict.paper_value is not None]
    if len(values) < len(same) or len(same) > SHOWN or len({verdict.unit for verdict in same}) > 1:
        return same[0].paper
    digits = max(int(same[0].unit == "%"), *(len(f"{value:g}".partition(".")[2]) for value in values))
    return with_unit(" / ".join(f"{value:,.{digits}f}".replace("-", "−") for value in values), same[0].unit)


def markdown(table: pd.DataFrame, right: Sequence[str] = (), wide: bool = False) -> str:
    """A data frame as a Markdown table, its index left out and every ``|`` in a cell escaped.

    right: the columns aligned right. wide: a table of more than ``MANY`` columns scrolls sideways on a phone.
    """
    cells = table.map(_cell).rename(columns=_cell)
    align = ["right" if name in right else None for name in table.columns]
    text = re.sub(" {2,}", " ", cells.to_markdown(index=False, disable_numparse=True, colalign=align))  # no padding
    return f":::{{div}} wide-table\n{text}\n:::" if wide and len(table.columns) > MANY else text


def figure(name: str, alt: str, caption: str) -> str:
    """A MyST figure directive for ``_generated/NAME.svg``, for a page in the book's folder."""
    return f":::{{figure}} _generated/{name}.svg\n:name: fig-{name}\n:width: 32em\n:alt: {alt}\n\n{caption}\n:::\n"


def with_commands(note: str) -> str:
    """A verdict's note in Markdown: a quoted command becomes code, a URL becomes a link."""
    linked = re.sub(r"https?://[^\s;]+", r"<\g<0>>", note)
    return re.sub(r"'((?:alexnet-repro|python) [^']*)'", r"`\1`", linked)


def unbroken(text: str) -> str:
    """The text with a no-break space before each percent sign."""
    return text.replace(" %", "\u00a0%")


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def with_pairs(each: Comparison) -> str:
    """The scale of a comparison and, if it has fewer pairs than declared, how many: "Tiny ImageNet, 3 of 5 pairs"."""
    pairs = f", {each.pairs_judged} pairs" * each.provisional
    return f"{SETTINGS[each.scale].title}{pairs}"


def waiting(primary: Sequence[Comparison]) -> str:
    """At which scales there are too few pairs for a verdict; empty if there are none."""
    missing = [with_pairs(each) for each in primary if each.verdict == NOT_RUN]
    return f"no verdict yet: {'; '.join(missing)}" if missing else ""
