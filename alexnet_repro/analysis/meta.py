"""A claim's effect side by side: in the paper, in the author's log, as others measured it, and here at each scale."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..common import paths
from ..common.files import read_csv
from ..common.text import with_unit
from ..paper.claims import Audited, Claim
from . import audit
from .conclusions import Comparison
from .rules import SETTINGS
from .verdicts import Verdict

OTHERS_TEXT = ("claim", "effect", "who", "value", "source")
OTHERS_ERRORS = ("with_error", "without_error")
ERRORS = {"top1_error": "top-1", "top5_error": "top-5"}


class Row(NamedTuple):
    """One measurement of the effect.

    value, low, high: positive, or above 1 if the unit is "×", is the paper's side; NaN without a number or an interval.
        In the log, the interval is the difference of two runs plus or minus the scatter between runs.
    n: number of pairs; None if the source does not say.
    printed: the source's own words or digits; empty if the number is computed here.
    """

    source: str
    what: str
    value: float
    low: float
    high: float
    unit: str
    n: int | None
    printed: str = ""

    @property
    def null(self) -> float:
        """The value that means no effect."""
        return 1.0 if self.unit == "×" else 0.0

    @property
    def agrees(self) -> bool | None:
        """Whether the effect has the paper's sign; None without a number."""
        return None if math.isnan(self.value) else self.value > self.null

    @property
    def clear(self) -> bool | None:
        """Whether the interval excludes no effect; None without an interval."""
        return None if math.isnan(self.low) else not self.low <= self.null <= self.high


def others(path: Path | None = None) -> pd.DataFrame:
    """data/others.csv: what others measured, a row each; errors in percent, NaN if a row is no pair with and without.

    Raises UserError if the file is missing or damaged.
    """
    columns = {**dict.fromkeys(OTHERS_TEXT, str), **dict.fromkeys(OTHERS_ERRORS, float)}
    return read_csv(path or paths.data() / "others.csv", columns, gaps=OTHERS_ERRORS)


def rows(claim: Claim, verdicts: Sequence[Verdict], found: Sequence[Comparison]) -> list[Row]:
    """Every measurement of a claim's effect: the paper's, the log's, others' and ours.

    verdicts: stage one's. found: comparisons of stage two; shown are the primary ones, except those of runs that stage
    one had judged already.
    """
    return [*_paper(claim), *_log(claim), *_others(claim), *_ours(claim, verdicts, found)]


def _paper(claim: Claim) -> list[Row]:
    numbers = [(label, _difference(first, second, paper=True)) for label, first, second in _audited(claim)]
    if not numbers or any(math.isnan(value) for _, value in numbers):
        values = [entry.paper_value for entry in claim.measured if entry.paper_value is not None]
        unit = claim.measured[0].unit if claim.measured else ""
        value = values[0] if values else math.nan
        return [Row("the paper", "", value, math.nan, math.nan, unit, None, claim.paper)]
    return [
        Row("the paper", label, value, math.nan, math.nan, "points", None, with_unit(f"{value:g}", "points"))
        for label, value in numbers
    ]


def _log(claim: Claim) -> list[Row]:
    result = []
    for label, first, second in _audited(claim):
        value = _difference(first, second, paper=False)
        nets = {first.net, first.against if second is None else second.net}
        scatter = audit.scatter(first.column).clear_from if len(nets) > 1 else math.nan
        result.append(Row("the author's log", label, value, value - scatter, value + scatter, "points", 1))
    return result


def _audited(claim: Claim) -> list[tuple[str, Audited, Audited | None]]:
    """The effects among what is audited: a difference, or two errors of one net in one view and in ten."""
    entries = [(each.label, each, None) for each in claim.audited if each.against is not None]
    errors = [each for each in claim.audited if each.unit == "%" and each.net is not None]
    views = [
        (ERRORS[one.column], one, ten)
        for one in errors
        for ten in errors
        if (one.net, one.column, one.views, ten.views) == (ten.net, ten.column, "center", "10-crop")
    ]
    return [*entries, *views]


def _difference(first: Audited, second: Audited | None, paper: bool) -> float:
    """The effect in points, as the paper prints it or as the log has it; NaN where it is not there."""
    values = [each.paper_value if paper else audit.check(each).value for each in (first, second) if each is not None]
    numbers = [math.nan if value is None else value for value in values]
    return round(numbers[0] - sum(numbers[1:]), 4)


def _others(claim: Claim) -> list[Row]:
    result = []
    for each in others().query("claim == @claim.id").to_dict("records"):
        value = round(each["without_error"] - each["with_error"], 4)
        printed = str(each["value"])
        result.append(Row(str(each["who"]), str(each["effect"]), value, math.nan, math.nan, "points", None, printed))
    return result


def _ours(claim: Claim, verdicts: Sequence[Verdict], found: Sequence[Comparison]) -> list[Row]:
    result = []
    for each in verdicts:
        if each.claim == claim.id and each.evidence == "measured" and each.effect is not None:
            low, high = each.interval or (math.nan, math.nan)
            setting = each.setting.partition(": speaks")[0]
            what = f"{each.label}: {setting}" if each.label else setting
            result.append(Row("here, stage one", what, each.effect, low, high, each.unit, each.seeds))
    for compared in found:
        primary = compared.claim == claim.id and compared.role == "primary" and not compared.in_advance
        if primary and compared.effect is not None:
            low, high = compared.interval or (math.nan, math.nan)
            title = SETTINGS[compared.scale].title
            result.append(Row("here, stage two", title, compared.effect, low, high, compared.unit, compared.seeds))
    return result
