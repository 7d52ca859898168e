"""Stage two: judge each comparison by the rules of data/rules_stage_2.toml, and conclude on each claim from all
evidence.

Verdicts of stage one are in ``verdicts``; the rules themselves in ``rules``.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ..common.errors import UserError
from ..common.text import NONE, number, probability, with_interval
from ..experiments import step_timing
from ..paper import claims
from ..paper.claims import ArmComparison, Claim
from . import rules
from .rules import SETTINGS, Role, Rule
from .statistics import holm
from .verdicts import ALPHA, MIN_PAIRS, Find, Records, Verdict, effect_of, outcomes, plain

Name = Literal[
    "supported",
    "direction only",
    "equivalent",
    "inconclusive",
    "opposite direction",
    "contradicted",
    "not run",
]
POSITIVE: tuple[Name, ...] = ("supported", "direction only")
NEGATIVE: tuple[Name, ...] = ("opposite direction", "contradicted")
NOT_RUN: Name = "not run"
TWO_ONE_SIDED = 0.90
"""Confidence of the interval for equivalence.

It lies between the thresholds if two one-sided tests at 5 % both reject."""

PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
OPTIONAL = re.compile(r"\[\[(.*?)\]\]")

FindAt = Callable[[str, str], Records]
"""(scale of stage two, arm) -> records by seed, empty if there are none."""


@dataclass(frozen=True)
class Comparison:
    """The verdict of one rule of stage two at one scale.

    effect, interval (95 %), narrow (90 %), threshold: in ``unit``; None or infinite ends as in a Verdict.
    declared, seeds: pairs that the rule declares, and pairs judged. seen: of these, how many had been published when
    the rule was written. unseen: the verdict on the other pairs, if only some had been.
    side: fraction of the pairs with an effect on the paper's side.
    p: of no effect; p_holm: corrected over all primary comparisons, None for others. uncorrected: the verdict that this
    correction made "inconclusive".
    """

    claim: str
    role: Role
    label: str
    scale: str
    verdict: Name
    unit: str
    threshold: float
    declared: int
    seeds: int = 0
    seen: int = 0
    effect: float | None = None
    interval: tuple[float, float] | None = None
    narrow: tuple[float, float] | None = None
    side: float | None = None
    unseen: Name | None = None
    p: float | None = None
    p_holm: float | None = None
    uncorrected: Name | None = None
    note: str = ""

    @property
    def provisional(self) -> bool:
        """Whether fewer pairs are judged than the rule declares."""
        return 0 < self.seeds < self.declared

    @property
    def pairs_judged(self) -> str:
        """Number of pairs judged, and of how many if there are fewer than the rule declares: "5", "3 of 5"."""
        return str(self.seeds) if self.seeds == self.declared else f"{self.seeds} of {self.declared}"

    @property
    def in_advance(self) -> bool:
        """Whether every pair had been published when the rule was written."""
        return self.seen == self.declared

    @property
    def remark(self) -> str:
        """What is printed behind the verdict: "seen in advance", or its corrected p-value; often empty."""
        if self.in_advance:
            return "seen in advance"
        if self.p_holm is None or not (self.uncorrected or self.verdict in POSITIVE + NEGATIVE):
            return ""
        before = f"{self.uncorrected} before correction, " if self.uncorrected else ""
        return f"{before}corrected {probability(self.p_holm)}"


@dataclass(frozen=True)
class Conclusion:
    """What all evidence on one claim comes to: a few words by the declared rule, and a sentence for readers.

    finding: a short clause with the claim's main numbers, empty where the conclusion is another than that for which it
    was written; heading: the same without intervals.
    """

    claim: str
    conclusion: str
    reading: str
    comparisons: tuple[Comparison, ...]
    verdicts: tuple[Verdict, ...]
    finding: str = ""
    heading: str = ""

    @property
    def in_full(self) -> str:
        """The conclusion; where only some scales were seen in advance, their names follow in brackets."""
        judged = [each for each in self.comparisons if each.role == "primary" and each.verdict != NOT_RUN]
        seen = [SETTINGS[each.scale].title for each in judged if each.in_advance]
        some = f" ({'; '.join(seen)}: seen in advance)" if 0 < len(seen) < len(judged) else ""
        return f"{self.conclusion}{some}"

    def row(self) -> dict[str, Any]:
        """The claim as plain JSON values: conclusion, reading, and every comparison of both stages with its scale."""
        small = [each.evidence == "measured" and self.claim not in step_timing.STUDIES for each in self.verdicts]
        scales = ["cifar10" if each else None for each in small]
        one = [{"stage": 1, "scale": scale, **each.row()} for scale, each in zip(scales, self.verdicts, strict=True)]
        two = [{"stage": 2, **plain(asdict(each))} for each in self.comparisons]
        first = self.verdicts[0]
        return {
            "claim": self.claim,
            "section": first.section,
            "title": first.title,
            "paper": first.paper,
            "conclusion": self.conclusion,
            "reading": self.reading,
            "finding": self.finding,
            "comparisons": [*one, *two],
        }


def classify_two_sided(
    interval: tuple[float, float], narrow: tuple[float, float], bounds: tuple[float, float], null: float
) -> Name:
    """The verdict on an effect, from its 95 % ``interval``, its 90 % interval ``narrow`` and the thresholds on both
    sides.
    """
    low, high = interval
    against, towards = bounds
    if low >= towards:
        return "supported"
    if high <= against:
        return "contradicted"
    if against < narrow[0] and narrow[1] < towards:
        return "equivalent"
    if low > null:
        return "direction only"
    return "opposite direction" if high < null else "inconclusive"


def compare(rule: Rule, scale: str, arm: Records, against: Records) -> Comparison:
    """Judge one rule at one scale, from the records of its two arms by seed; p-values are not yet corrected.

    Uses the first so many seeds that both arms have, as the rule declares; with fewer than three the verdict is "not
    run". Raises UserError for a record without the metric.
    """
    declared, seen = rule.seeds[scale], rule.seen.get(scale, 0)  # type: ignore[index, call-overload]
    seeds = sorted(arm.keys() & against.keys())[:declared]
    empty = Comparison(rule.claim, rule.role, rule.label, scale, "not run", rule.unit, rule.threshold, declared,
                       len(seeds), min(seen, len(seeds)))  # fmt: skip
    if len(seeds) < MIN_PAIRS:
        return replace(empty, note=f"{len(seeds)} of {declared} pairs so far" if seeds else "")
    judged = _judged(rule, empty, arm, against, seeds)
    if 0 < seen < declared and len(seeds) - seen >= MIN_PAIRS:
        judged = replace(judged, unseen=_judged(rule, empty, arm, against, seeds[seen:]).verdict)
    return judged


def _judged(rule: Rule, empty: Comparison, arm: Records, against: Records, seeds: Sequence[int]) -> Comparison:
    ours, others, _ = outcomes(rule, arm, against, seeds)
    if any(math.isnan(value) for value, _ in ours + others):
        return replace(empty, verdict="inconclusive", p=1.0, note="a run has no such number: the effect is unbounded")
    wide, narrow = (effect_of(rule, ours, others, level, resample=False) for level in (1 - ALPHA, TWO_ONE_SIDED))
    interval, inner = (wide.low, wide.high), (narrow.low, narrow.high)
    return replace(
        empty,
        verdict=classify_two_sided(interval, inner, rule.bounds, rule.null),
        effect=None if math.isnan(wide.estimate) else wide.estimate,
        interval=interval,
        narrow=inner,
        side=sum(a > b for (a, _), (b, _) in zip(ours, others, strict=True)) / len(seeds),
        p=wide.p,
        note="; ".join(_failures(rule, seeds, arm, against)),
    )


def _failures(rule: Rule, seeds: Sequence[int], arm: Records, against: Records) -> list[str]:
    """Diverged runs among those judged, by arm."""
    parts = {rule.arm: arm, rule.against: against}
    counts = {name: sum(runs[seed].status == "diverged" for seed in seeds) for name, runs in parts.items()}
    return [f"{count} of {len(seeds)} runs of {name!r} diverged" for name, count in counts.items() if count]


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's correction over the primary ones; an effect that it loses becomes "inconclusive"."""
    family = [
        i for i, each in enumerate(comparisons) if each.role == "primary" and each.p is not None and not each.in_advance
    ]
    result = list(comparisons)
    for i, p in zip(family, holm([comparisons[i].p or 0.0 for i in family]), strict=True):
        each = replace(result[i], p_holm=float(p))
        if p >= ALPHA and each.verdict in POSITIVE + NEGATIVE:
            each = replace(each, verdict="inconclusive", uncorrected=each.verdict)
        result[i] = each
    return result


def comparisons(find: FindAt) -> list[Comparison]:
    """Judge every rule at every scale that it declares, in the order of the rules, with correction."""
    return corrected(
        [compare(rule, s, find(s, rule.arm), find(s, rule.against)) for rule in rules.load() for s in rule.seeds]
    )


def conclude(claim: str, found: Sequence[Comparison], explains: str) -> str:
    """The conclusion on a claim from its comparisons of stage two, by the rule declared in data/rules_stage_2.toml.

    explains: what its control would leave as the explanation; empty without a control. "not run" without runs.
    """
    every = [each for each in found if each.claim == claim and each.role != "secondary"]
    ours = [each for each in every if each.verdict != "not run"]
    so_far = ", so far" if any(each.seeds < each.declared for each in every) else ""
    primary = [each.verdict for each in ours if each.role == "primary"]
    if not primary:
        return NOT_RUN
    seen = ", seen in advance" if all(each.in_advance for each in ours if each.role == "primary") else ""
    positive, none, negative = (sum(name in kind for name in primary) for kind in (POSITIVE, ("equivalent",), NEGATIVE))
    control = [each.verdict for each in ours if each.role == "control"]
    alike = sum(name in ("equivalent", *NEGATIVE) for name in control)
    if positive and alike and not none + negative:
        part = "" if alike == len(control) else f" at {alike} of {len(control)} scales"
        return f"explained by {explains}{part}{seen}{so_far}"
    declared = sum(each.role == "primary" for each in every)
    return f"{_over_scales(primary, positive, none, negative, declared)}{seen}{so_far}"


def _over_scales(primary: Sequence[Name], positive: int, none: int, negative: int, declared: int) -> str:
    """The conclusion if no control explains the effect, from the primary verdicts and the number of each kind.

    declared: how many scales have a primary comparison, with runs or without.
    """
    whole = len(primary)
    if set(primary) == {"supported"}:
        several = "supported at every scale" if whole == declared else f"supported at {whole} scales"
        return several if whole > 1 else "supported"
    if positive == whole:
        return "right in direction"
    if none == whole:
        return "no effect"
    if negative == whole:
        return "contradicted"
    if none + negative == whole:
        return "not supported at any scale"
    if positive and none + negative:
        return "depends on scale"
    return "supported, with a scale inconclusive" if set(primary) == {"supported", "inconclusive"} else "not shown"


def without_rule(verdicts: Sequence[Verdict]) -> str:
    """The conclusion on a claim without a rule of stage two, from stage one, the log and arithmetic."""
    by_kind: dict[str, list[str]] = {}
    for each in verdicts:
        by_kind.setdefault(each.evidence, []).append(each.verdict.split(": ")[-1])
    words = []
    for kind, names in by_kind.items():
        counts = {name: names.count(name) for name in dict.fromkeys(names)}
        parts = [name if len(counts) == 1 else f"{count} {_plural(name, count)}" for name, count in counts.items()]
        told = {"observed": "observed, without a rule", "untested": "not testable here"}.get(kind)
        told = told or (f"{', '.join(parts)} in stage one" if kind == "measured" else f"{kind}: {', '.join(parts)}")
        words.append(told)
    return words[0] if "measured" in by_kind else "; ".join(words)


def _plural(name: str, count: int) -> str:
    """ "agrees", of several: "agree"."""
    return name.removesuffix("s") if count > 1 and name in ("agrees", "disagrees") else name


def concluded(verdicts: Sequence[Verdict], found: Sequence[Comparison], find: Find) -> list[Conclusion]:
    """The conclusion on every claim, in the paper's order, from the verdicts of stage one and the comparisons of stage
    two.

    find: looks up records for other numbers in the readings.
    """
    explains = {rule.claim: rule.explains for rule in rules.load() if rule.role == "control"}
    result = []
    for claim in claims.load():
        ours = tuple(each for each in found if each.claim == claim.id)
        theirs = tuple(each for each in verdicts if each.claim == claim.id)
        name = conclude(claim.id, ours, explains.get(claim.id, "")) if ours else without_rule(theirs)
        short = finding(claim, name, theirs, ours, find)
        result.append(Conclusion(claim.id, name, reading(claim, theirs, ours, find), ours, theirs, *short))
    return result


def reading(claim: Claim, verdicts: Sequence[Verdict], found: Sequence[Comparison], find: Find) -> str:
    """The claim's sentence for readers, with its placeholders (see data/claims.toml) filled from the records.

    If a number is missing, a sentence that says so. Raises UserError for a placeholder that nothing fills.
    """
    sentence = filled(claim.reading, claim.id, verdicts, found, find)
    return "Not all of the runs that this sentence needs are there yet." if sentence is None else sentence


def finding(
    claim: Claim, conclusion: str, verdicts: Sequence[Verdict], found: Sequence[Comparison], find: Find
) -> tuple[str, str]:
    """The claim's finding and heading, as in ``Conclusion``; empty if it holds for another conclusion than this."""
    if not conclusion.startswith(claim.holds):
        return "", ""
    text, heading = (filled(claim.finding, claim.id, verdicts, found, find, each) or "" for each in (True, False))
    used = [each for each in found if f"{{{each.label or each.role}@{each.scale}}}" in claim.finding]
    return text, f"{heading}, so far" if heading and any(each.provisional for each in used) else heading


def filled(
    text: str,
    claim: str,
    verdicts: Sequence[Verdict],
    found: Sequence[Comparison],
    find: Find,
    intervals: bool = True,
) -> str | None:
    """A text with its placeholders filled by effects of a claim; None while one of them has no number.

    A part in [[double brackets]] is left out while a placeholder in it has no number. intervals: each effect with its
    95 % interval, or without. Raises UserError for a placeholder that nothing fills.
    """

    def shown(each: Verdict | Comparison) -> str:
        text = with_interval(each.effect, each.interval if intervals else None, each.unit)
        few = isinstance(each, Comparison) and each.provisional and intervals
        return f"{text.removesuffix(')')}; {each.pairs_judged} pairs so far)" if few else text

    known = {each.label or "effect": shown(each) for each in verdicts}
    known |= {
        f"{each.label or each.role}@{each.scale}": NOT_RUN if each.verdict == NOT_RUN else shown(each) for each in found
    }

    def value(name: str) -> str:
        try:
            return known[name] if name in known else _of_two_arms(name, find, intervals)
        except (KeyError, UserError):
            raise UserError(f"claim {claim!r}: nothing fills {{{name}}} of its reading", 1) from None

    def fill(part: str) -> str | None:
        values = {name: value(name) for name in PLACEHOLDER.findall(part)}
        complete = not {NOT_RUN, NONE} & {*values.values()}
        return PLACEHOLDER.sub(lambda match: values[match[1]], part) if complete else None

    return fill(OPTIONAL.sub(lambda match: fill(match[1]) or "", text))


def _of_two_arms(name: str, find: Find, interval: bool) -> str:
    """The effect of "arm-against@study" or "arm/against@study", over all pairs that have runs. Raises KeyError."""
    parts = re.fullmatch(r"(\w+)([-/])(\w+)@(\w+)", name)
    if parts is None:
        raise KeyError(name)
    arm, sign, against, study = parts.groups()
    ratio = {"comparison": "ratio", "unit": "×", "metric": "epochs_to_threshold"}
    difference = {"comparison": "difference", "unit": "points", "metric": "test_error"}
    entry = ArmComparison(arm=arm, against=against, **(ratio if sign == "/" else difference))  # type: ignore[arg-type]
    first, second = find(study, arm), find(study, against)
    seeds = sorted(first.keys() & second.keys())
    if len(seeds) < MIN_PAIRS:
        return NOT_RUN
    ours, others, _ = outcomes(entry, first, second, seeds)
    effect = effect_of(entry, ours, others, resample=False)
    return with_interval(effect.estimate, (effect.low, effect.high) if interval else None, entry.unit)


def comparison_text(each: Comparison) -> str:
    """The effect with its unit and 95 % interval, and the 90 % interval of "equivalent"; "not run" if there is none."""
    if each.verdict == NOT_RUN:
        return NOT_RUN
    text = with_interval(each.effect, each.interval, each.unit)
    if each.verdict != "equivalent" or each.narrow is None:
        return text
    low, high = map(number, each.narrow)
    return f"{text}; 90 %: {low} to {high}"
