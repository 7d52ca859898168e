"""``judge``: the verdicts on one claim at one scale, as an object that a notebook shows as a table.

The rules are applied in verdicts.py and conclusions.py, not here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

import pandas as pd

from ..common.errors import one_of
from ..common.text import NONE, number, with_interval, with_unit
from ..experiments.cifar_alexnet import SCALED
from ..experiments.study import SCALES
from ..paper import claims
from ..paper.claims import Claim, Measured, Observed
from ..records.query import store_at
from . import rules
from .conclusions import Comparison, Conclusion
from .lookup import concluded, record_lookup
from .rules import SETTINGS, Rule
from .verdicts import Verdict, scorecard


@dataclass(frozen=True)
class Judged:
    """One comparison of two arms, paired by seed, and its verdict.

    stage: 1 for a rule of data/claims.toml, or a comparison without one (verdict "no rule"); 2 for a rule of
    data/rules_stage_2.toml. name: a formula, "no_lrn - baseline". against: an arm, or a number of the paper. effect,
    low and high (the 95 % interval) and threshold are in ``unit``; NaN if missing, infinite if an end is open.
    declared: how many pairs the rule asks for, 0 without one. remark: "seen in advance" if all of these runs had been
    published when stage two's rule was written, or how the verdict fared in the correction for many comparisons.
    """

    stage: Literal[1, 2]
    setting: str
    label: str
    name: str
    arm: str
    against: str | float
    metric: str
    unit: str
    pairs: int
    declared: int
    effect: float
    low: float
    high: float
    threshold: float
    verdict: str
    remark: str


@dataclass(frozen=True)
class Judgement:
    """The verdicts on a claim at one scale, and the claim's conclusion, which counts all scales."""

    claim: Claim
    scale: str
    conclusion: str
    reading: str
    comparisons: tuple[Judged, ...]

    @property
    def table(self) -> pd.DataFrame:
        """The comparisons as a data frame: a row per comparison, a column per field of ``Judged``."""
        return pd.DataFrame([vars(each) for each in self.comparisons], columns=list(Judged.__dataclass_fields__))

    def effects(self, metric: str | None = None) -> pd.DataFrame:
        """Columns effect, low and high, indexed by (arm, against); metric: only comparisons of this metric.

        A pair of arms that both stages judge is listed once, since the effect is the same. NaN: not run.
        """
        table = self.table if metric is None else self.table[self.table["metric"] == metric]
        found = table.set_index(["arm", "against"])[["effect", "low", "high"]]
        return found[~found.index.duplicated()]

    def _head(self) -> str:
        one = f", by {' '.join(self._metrics())}" * (len(self._metrics()) == 1)
        return f"{self.claim.title} (section {self.claim.section}), at the scale {self.scale}{one}"

    def _rows(self) -> pd.DataFrame:
        """The table with formatted cells."""
        rows = []
        for each in self.comparisons:
            effect = None if math.isnan(each.effect) else each.effect
            interval = None if math.isnan(each.low) else (each.low, each.high)
            rows.append(
                {
                    "stage": each.stage,
                    "comparison": each.name,
                    "runs": each.setting if each.stage == 2 else "",
                    "effect (95 % interval)": with_interval(effect, interval, each.unit),
                    "verdict": "; ".join(filter(None, [each.verdict, each.remark])),
                    "threshold": NONE if math.isnan(each.threshold) else with_unit(number(each.threshold), each.unit),
                    "pairs": f"{each.pairs} of {each.declared}" if each.pairs < each.declared else str(each.pairs),
                    "metric": each.metric,
                }
            )
        settings = {each.setting for each in self.comparisons if each.stage == 2}
        same = [name for name, found in (("runs", settings), ("metric", self._metrics())) if len(found) < 2]
        return pd.DataFrame(rows).drop(columns=same)

    def _metrics(self) -> set[str]:
        return {each.metric for each in self.comparisons}

    def __repr__(self) -> str:
        lines = [self._head()]
        lines += [self._rows().to_string(index=False)] if self.comparisons else ["No comparison of runs."]
        lines += [f"Conclusion, over all scales: {self.conclusion}."] if self.conclusion else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        table = self._rows().to_html(index=False, border=0) if self.comparisons else "<p>No comparison of runs.</p>"
        said = f"<p>Conclusion, over all scales: <b>{escape(self.conclusion)}</b>.</p>"
        head = f"<p><b>{escape(self._head())}</b></p>"
        return f'{head}<div class="judgement">{table}</div>{said if self.conclusion else ""}'


def judge(claim: str, scale: str = "cifar10", store: str | Path | None = None) -> Judgement:
    """The verdicts of both stages on a claim's comparisons at one scale, as the book prints them.

    claim: an id of data/claims.toml; scale, store: as for ``load_runs``. At the scale smoke, a rehearsal, there is no
    conclusion. Raises UserError for an unknown claim, and as ``load_runs`` does.

    >>> effects = judge("lrn").effects("test_error")  # a data frame
    >>> effects.loc[("no_lrn", "baseline")].index.tolist()
    ['effect', 'low', 'high']
    """
    named, where = claims.claim(claim), store_at(store)
    if scale not in SCALES:
        raise one_of("scale", scale, list(SCALES))
    first = None if scale in SCALED else scorecard(record_lookup(where, scale))
    comparisons = [] if first is None else _stage_one(named, first)
    if scale == "smoke":
        return Judgement(named, scale, "", "", tuple(comparisons))
    conclusion = next(each for each in concluded(where, first) if each.claim == claim)
    comparisons += _stage_two(conclusion, scale)
    return Judgement(named, scale, conclusion.conclusion, conclusion.reading, tuple(comparisons))


def _stage_one(claim: Claim, verdicts: Sequence[Verdict]) -> list[Judged]:
    """A claim's measured and observed comparisons, with their verdicts from those of the whole scorecard."""
    ours = [each for each in verdicts if each.claim == claim.id and each.evidence in ("measured", "observed")]
    entries: list[Measured | Observed] = [*claim.measured, *claim.observed]
    pairs = zip(entries, ours, strict=True)
    return [_judged(1, each.setting, each.label, entry, each, each.size) for entry, each in pairs]


def _stage_two(conclusion: Conclusion, scale: str) -> list[Judged]:
    """A claim's comparisons of stage two at one scale."""
    listed = {(rule.role, rule.label): rule for rule in rules.load() if rule.claim == conclusion.claim}
    return [
        _judged(
            2, SETTINGS[each.scale].title, each.label or each.role, listed[each.role, each.label], each, each.threshold
        )
        for each in conclusion.comparisons
        if SETTINGS[each.scale].scale == scale
    ]


def _judged(
    stage: Literal[1, 2],
    setting: str,
    label: str,
    entry: Measured | Observed | Rule,
    found: Verdict | Comparison,
    threshold: float | None,
) -> Judged:
    """What was found by the rule ``entry``; numbers that are missing become NaN."""
    low, high = found.interval or (math.nan, math.nan)
    effect, threshold = (math.nan if each is None else each for each in (found.effect, threshold))
    return Judged(stage, setting, label, formula(entry), entry.arm, entry.against, entry.metric, found.unit,
                  found.seeds or 0, found.declared or 0, effect, low, high, threshold, found.verdict,
                  found.remark if isinstance(found, Comparison) else "")  # fmt: skip


def formula(entry: Measured | Observed | Rule) -> str:
    """The comparison as a formula: "no_lrn - baseline", "tanh / relu"; for one arm twice, with metric or study."""
    first, second = entry.arm, str(entry.against)
    if first == second and entry.against_metric:
        first, second = f"{first}: {entry.metric}", entry.against_metric
    elif first == second and isinstance(entry, Observed):
        second = f"{second} of {entry.against_study}"
    return f"{first} {'/' if entry.unit == '×' else '-'} {second}"
