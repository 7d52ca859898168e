"""Stage one: judge each comparison of each claim in data/claims.toml from its records.

A verdict is a value; the sentences about it are in ``report``. Stage two is in ``conclusions``.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ..common.errors import UserError
from ..common.text import probability, with_interval, with_unit
from ..experiments import step_timing
from ..paper import source_code
from ..paper.claims import (
    ArmComparison,
    Audited,
    Claim,
    Derived,
    Measured,
    Observed,
    Published,
    Sourced,
    Untested,
    load,
)
from ..paper.derivations import Agreement, Finding, derive
from ..records.metrics import ERRORS, outcome
from ..records.record import RunRecord
from . import audit, gpu_hours
from .statistics import LEVEL, Effect, holm, paired_difference, paired_ratio, seeds_to_settle, smallest_detectable

Name = Literal[
    "reproduced",
    "direction only",
    "no effect found",
    "inconclusive",
    "contradicted",
    Agreement,
    "not run",
    "no rule",
    "not testable here",
]
Evidence = Literal["measured", "observed", "audited", "derived", "untested"]
Beside = Literal["", "log", "results", "source"]
Records = Mapping[int, RunRecord]
Find = Callable[[str, str], Records]
"""(study, arm) -> records by seed, empty if there are none."""

MIN_PAIRS = 3
UNBOUNDED = "without a number for every run the effect is unbounded"
ALPHA = 0.05
"""Error rate of a 95 % interval."""
Outcomes = list[tuple[float, bool]]
"""(value, censored) of each run of an arm."""
Entry = Measured | Observed | Audited | Published | Sourced | Derived | Untested


@dataclass(frozen=True)
class Verdict:
    """The verdict on one comparison of a claim.

    effect, interval, bootstrap, paper_value, size, detectable: in ``unit``; an interval may have an infinite end. For
    audited and derived numbers, the effect is the log's number or the computed one.
    seeds: pairs judged, of the ``declared``; None if the evidence has no seeds.
    beside: what an audited number is compared with: the author's "log", others' published "results", the "source" code.
    note: what a reader must know beside the verdict.
    bootstrap: the interval by another method. detectable: the smallest effect that so many pairs would show with
    probability 0.8. p: of no effect; p_holm: corrected for all comparisons on the scorecard.
    """

    claim: str
    section: str
    title: str
    label: str
    paper: str
    evidence: Evidence
    verdict: Name
    effect: float | None = None
    interval: tuple[float, float] | None = None
    unit: str = ""
    seeds: int | None = None
    note: str = ""
    setting: str = ""
    paper_value: float | None = None
    size: float | None = None
    bootstrap: tuple[float, float] | None = None
    detectable: float | None = None
    p: float | None = None
    p_holm: float | None = None
    declared: int | None = None
    beside: Beside = ""

    @property
    def pairs_judged(self) -> str:
        """Number of pairs judged, and of how many if there are fewer than the rule declares: "20", "3 of 20"."""
        if self.seeds is None:
            return ""
        return f"{self.seeds} of {self.declared}" if self.provisional else str(self.seeds)

    @property
    def provisional(self) -> bool:
        """Whether fewer pairs are judged than the rule declares."""
        return self.seeds is not None and self.declared is not None and self.seeds < self.declared

    @property
    def lost_after_holm(self) -> bool:
        """Whether the interval excludes no effect, but no longer after Holm's correction for all comparisons."""
        return self.p is not None and self.p_holm is not None and self.p < ALPHA <= self.p_holm

    def row(self) -> dict[str, Any]:
        """The fields as plain JSON values; an infinite end of an interval is None."""
        values: dict[str, Any] = plain(asdict(self))
        return values


def plain(value: Any) -> Any:
    """Convert dicts, tuples and numbers to JSON values; infinity and NaN become None."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def judge(claim: Claim, entry: Measured, arm: Records, against: Records) -> Verdict:
    """The verdict on one measured comparison, from the records of its two arms by seed.

    Only seeds that both arms have are judged; fewer than three pairs are "not run". If the entry compares with a
    number, ``against`` is ignored. Failed runs count: a threshold that was not reached, by a diverged run or not, is a
    time censored at the budget, and errors of a diverged run are those of chance. If such a run has no number at all,
    the effect is unbounded and the verdict "inconclusive". Raises UserError for a record without the metric.
    """
    constant = isinstance(entry.against, float)
    seeds = sorted(arm.keys() if constant else arm.keys() & against.keys())
    if len(seeds) < MIN_PAIRS:
        return _not_run(claim, entry, len(seeds), f"{len(seeds)} of {entry.seeds} pairs so far" if seeds else "")
    first, second, failed = outcomes(entry, arm, against, seeds)
    notes = [
        *_first_note(entry, [runs[seed] for runs in (arm, {} if constant else against) for seed in seeds if runs]),
        *_seed_notes(entry, seeds, arm.keys() if constant else arm.keys() | against.keys()),
        *failed,
    ]
    return _judged(claim, entry, first, second, notes)


def timed(claim: Claim, entry: Measured, found: step_timing.StepTimes | None) -> Verdict:
    """The verdict on the published times of training steps, paired by round, and the hours of the paper's run at that
    speed.

    "not run", with the command that measures them, if there are none or they do not fit the rule.
    """
    why = step_timing.unfit(found, entry.study, entry.seeds)
    if found is None or why:
        settles = f"{why}; '{step_timing.COMMAND}' settles it ({entry.cost})"
        return replace(_empty(claim, entry), note=_joined(settles, entry.note))
    ours = step_timing.images_per_second(found, entry.study, entry.arm)
    if isinstance(entry.against, float):
        others = [entry.against] * len(ours)
        hours = gpu_hours.hours(statistics.median(ours))
        note = f"on one {found['device']}; 90 epochs of ILSVRC-2012 at that pace: {hours:,.0f} hours"
    else:
        others = step_timing.images_per_second(found, entry.study, entry.against)
        note = f"on {len(found['devices'])} × {found['device']}"
    first, second = ([(speed, False) for speed in speeds] for speeds in (ours, others))
    return _judged(claim, entry, first, second, [note, *filter(None, [entry.note])])


def paired(entry: Measured | Observed, arm: Records, against: Records | None) -> dict[int, float]:
    """The effect at every seed that both arms have, in the entry's unit; NaN if a run has no number.

    against: None if the entry compares with a number. A censored time counts as it is.
    """
    seeds = sorted(arm.keys() if against is None else arm.keys() & against.keys())
    first, second, _ = outcomes(entry, arm, against or {}, seeds)
    scale = 100.0 if entry.unit == "points" else 1.0
    pairs = zip(seeds, first, second, strict=True)
    return {seed: a / b if entry.comparison == "ratio" else scale * (a - b) for seed, (a, _), (b, _) in pairs}


def observed(claim: Claim, entry: Observed, arm: Records, against: Records) -> Verdict:
    """The effect with its interval in runs that existed before the question: no rule, so no verdict.

    With one or two pairs there is no interval. Failed runs count as in `judge`.
    """
    empty = _about(claim, entry, evidence="observed", verdict="not run", seeds=0, setting=entry.setting)
    seeds = sorted(arm.keys() & against.keys())
    if not seeds:
        return replace(empty, note=f"run it with 'alexnet-repro run {entry.study}'")
    first, second, failed = outcomes(entry, arm, against, seeds)
    notes = [*_first_note(entry, [runs[seed] for runs in (arm, against) for seed in seeds]), *failed]
    verdict = replace(empty, verdict="no rule", seeds=len(seeds), note=_joined(*notes))
    if any(math.isnan(value) for value, _ in first + second):
        return replace(verdict, note=_joined(*notes, UNBOUNDED))
    if len(seeds) < MIN_PAIRS:
        mean = statistics.fmean(paired(entry, arm, against).values())
        few = f"{len(seeds)} pair{'s' if len(seeds) > 1 else ''}: too few for an interval"
        return replace(verdict, effect=mean, note=_joined(*notes, few))
    effect = effect_of(entry, first, second, resample=False)
    estimate = None if math.isnan(effect.estimate) else effect.estimate
    return replace(verdict, effect=estimate, interval=(effect.low, effect.high))


def audited(claim: Claim, entry: Audited) -> Verdict:
    """The verdict on a number of the paper, from the first author's log."""
    setting = f"the first author's log: {entry.train_set}"
    return replace(_single(claim, entry, "audited", audit.check(entry), setting), beside="log")


def published(claim: Claim, entry: Published) -> Verdict:
    """The verdict on a number of the paper that the competition's organizers or cited authors published, too."""
    found = audit.check_published(entry)
    return replace(_single(claim, entry, "audited", found, "what others published"), beside="results")


def sourced(claim: Claim, entry: Sourced) -> Verdict:
    """The verdict on a statement of the paper, from the 2012 source. Raises UserError for an unknown item."""
    row = source_code.row_of(entry.item)
    if row.says == "silent":
        raise UserError(f"claim {claim.id!r}: the paper is silent on {entry.item!r}: name an item that it speaks of", 1)
    same = row.paper_value == row.source_value
    return _about(
        claim,
        entry,
        evidence="audited",
        verdict="audited: agrees" if same else "audited: disagrees",
        note=f"the paper: {row.paper}; the source: {row.source}",
        setting="the source of 2012, net 145",
        beside="source",
    )


def untested(claim: Claim, entry: Untested) -> Verdict:
    """The verdict on a part of a claim that this project cannot test, with the reason."""
    return _about(claim, entry, evidence="untested", verdict="not testable here", note=entry.reason)


def derived(claim: Claim, entry: Derived) -> Verdict:
    """The verdict on a number that follows by arithmetic.

    A bound that it must exceed is not shown as the paper's number.
    """
    judged = _single(claim, entry, "derived", derive(entry), "arithmetic on the network of Fig. 2")
    return replace(judged, paper_value=None) if entry.comparison == "above" else judged


def scorecard(find: Find) -> list[Verdict]:
    """The verdict on every comparison of every claim, in the paper's order, with p-values corrected by Holm."""
    verdicts: list[Verdict] = []
    for claim in load():
        for entry in claim.measured:
            if entry.study in step_timing.STUDIES:
                verdicts.append(timed(claim, entry, step_timing.published("cuda", entry.study)))
                continue
            arm = find(entry.study, entry.arm)
            against = {} if isinstance(entry.against, float) else find(entry.study, entry.against)
            verdicts.append(judge(claim, entry, arm, against))
        for seen in claim.observed:
            second = find(seen.against_study or seen.study, seen.against)
            verdicts.append(observed(claim, seen, find(seen.study, seen.arm), second))
        verdicts += [audited(claim, entry) for entry in claim.audited]
        verdicts += [published(claim, entry) for entry in claim.published]
        verdicts += [sourced(claim, entry) for entry in claim.sourced]
        verdicts += [derived(claim, entry) for entry in claim.derived]
        verdicts += [untested(claim, entry) for entry in claim.untested]
    tested = [i for i, verdict in enumerate(verdicts) if verdict.p is not None]
    for i, p in zip(tested, holm([verdicts[i].p or 0.0 for i in tested]), strict=True):
        verdicts[i] = replace(verdicts[i], p_holm=float(p))
        if verdicts[i].lost_after_holm:
            note = f"corrected for all {len(tested)} comparisons of the scorecard, an effect is not shown"
            verdicts[i] = replace(verdicts[i], note=_joined(verdicts[i].note, f"{note} ({probability(p)})"))
    return verdicts


def _judged(claim: Claim, entry: Measured, first: Outcomes, second: Outcomes, notes: list[str]) -> Verdict:
    """The verdict on pairs of (value, censored), and after ``notes`` what else a reader must know."""
    if any(math.isnan(value) for value, _ in first + second):
        note = _joined(*notes, UNBOUNDED)
        return replace(_empty(claim, entry), verdict="inconclusive", seeds=len(first), note=note, p=1.0)
    effect = effect_of(entry, first, second)
    name = classify(effect.low, effect.high, entry.size, entry.null)
    notes += _size_notes(name, effect, entry)
    return replace(
        _empty(claim, entry),
        verdict=name,
        effect=None if math.isnan(effect.estimate) else effect.estimate,
        interval=(effect.low, effect.high),
        bootstrap=effect.bootstrap,
        seeds=len(first),
        note="; ".join(notes),
        detectable=_detectable(effect, entry),
        p=effect.p,
    )


def classify(low: float, high: float, size: float, null: float) -> Name:
    """The verdict on an interval. size: the smallest effect that counts as the paper's; null: that of no effect."""
    if low >= size:
        return "reproduced"
    if low > null:
        return "direction only"
    if high < null:
        return "contradicted"
    return "no effect found" if high < size else "inconclusive"


def outcomes(
    entry: ArmComparison, arm: Records, against: Records, seeds: Sequence[int]
) -> tuple[Outcomes, Outcomes, list[str]]:
    """The outcomes of both arms at these seeds, and notes on runs that failed. A number to compare with is repeated."""
    metric = entry.against_metric or entry.metric
    ours = [outcome(arm[seed], entry.metric) for seed in seeds]
    notes = _failures(entry.arm, entry.metric, [arm[seed] for seed in seeds], ours)
    if isinstance(entry.against, float):
        return ours, [(entry.against, False)] * len(seeds), notes
    others = [outcome(against[seed], metric) for seed in seeds]
    return ours, others, notes + _failures(entry.against, metric, [against[seed] for seed in seeds], others)


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def effect_of(
    entry: ArmComparison, first: Outcomes, second: Outcomes, level: float = LEVEL, resample: bool = True
) -> Effect:
    """The paired effect in the entry's unit, from the outcomes of both arms. resample=False: without the bootstrap."""
    scale = 100.0 if entry.unit == "points" else 1.0
    a, b = [scale * value for value, _ in first], [scale * value for value, _ in second]
    a_censored, b_censored = [censored for _, censored in first], [censored for _, censored in second]
    if entry.comparison == "ratio":
        return paired_ratio(a, b, a_censored, b_censored, level, resample)
    if any(a_censored + b_censored):
        raise UserError(f"{entry.metric} has censored times; compare them as a ratio")
    return paired_difference(a, b, level, resample)


def _detectable(effect: Effect, entry: Measured) -> float | None:
    if effect.bound != "exact":
        return None
    detectable = smallest_detectable(effect.n, effect.sd)
    return math.exp(detectable) if entry.comparison == "ratio" else detectable


def _seed_notes(entry: Measured, seeds: list[int], known: Any) -> list[str]:
    notes = []
    if len(seeds) < entry.seeds:
        notes.append(f"provisional: {len(seeds)} of the {entry.seeds} seeds that the rule declares")
    elif len(seeds) > entry.seeds:
        notes.append(f"{len(seeds)} seeds, where the rule declares {entry.seeds}")
    alone = sorted(set(known) - set(seeds))
    if alone:
        notes.append(f"run in one arm only, and left out so far: seeds {', '.join(map(str, alone))}")
    return notes


def _first_note(entry: Measured | Observed, records: list[RunRecord]) -> list[str]:
    """The entry's own note; of a rehearsal, that it is one."""
    if any(record.config.data.dataset == "sample" for record in records):
        return ["smoke runs on the bundled sample: no evidence"]
    return [entry.note] if entry.note else []


def _failures(arm: str, metric: str, records: list[RunRecord], outcomes: Outcomes) -> list[str]:
    notes, censored = [], [late for _, late in outcomes]
    diverged = sum(record.status == "diverged" for record in records)
    if diverged:
        time = "count as never reaching the threshold"
        counted = time if any(censored) else "count at chance" if metric in ERRORS else f"have no {metric}"
        notes.append(f"{diverged} of {len(records)} runs of {arm!r} diverged and {counted}")
    late = sum(censored) - (diverged if any(censored) else 0)
    if late:
        notes.append(f"{late} of {len(records)} runs of {arm!r} did not reach the threshold within their budget")
    return notes


def _size_notes(name: Name, effect: Effect, entry: Measured) -> list[str]:
    notes = []
    size = with_unit(f"{entry.size:g}", entry.unit)
    if effect.bound in ("at least", "at most"):
        notes.append(f"the effect is {effect.bound} the number given")
    if name == "direction only":
        notes.append(f"the interval is not wholly at or beyond {size}, the threshold of the rule")
    if name == "no effect found":
        notes.append(f"an effect of {size} is excluded")
    if name == "inconclusive" and effect.bound == "exact":
        ratio = entry.comparison == "ratio"
        needed = seeds_to_settle(math.log(entry.size) if ratio else entry.size, effect.sd)
        scatter = f"{effect.sd:.2g} in the logarithm of the ratio" if ratio else f"{effect.sd:.2g} {entry.unit}"
        notes.append(f"about {needed} seeds would settle it (standard deviation over seeds {scatter})")
    elif name == "inconclusive":
        notes.append("a longer budget would settle it, not more seeds")
    other = classify(*effect.bootstrap, entry.size, entry.null)
    if other != name:
        notes.append(f"the bootstrap interval alone would say {other!r}")
    return notes


def _about(claim: Claim, entry: Entry, **rest: Any) -> Verdict:
    """A verdict with what it takes from its claim and entry, where that has it, and the ``rest``."""
    return Verdict(
        claim=claim.id,
        section=claim.section,
        title=claim.title,
        label=entry.label,
        paper=claim.paper,
        unit=getattr(entry, "unit", ""),
        paper_value=getattr(entry, "paper_value", None),
        **rest,
    )


def _empty(claim: Claim, entry: Measured) -> Verdict:
    rule: dict[str, Any] = {"declared": entry.seeds, "setting": entry.setting, "size": entry.size}
    return _about(claim, entry, evidence="measured", verdict="not run", seeds=0, **rule)


def _single(
    claim: Claim,
    entry: Audited | Published | Derived,
    evidence: Literal["audited", "derived"],
    found: Finding,
    setting: str,
) -> Verdict:
    said = {"verdict": found.verdict, "effect": found.value, "note": found.note}
    return _about(claim, entry, evidence=evidence, setting=setting, **said)


def _not_run(claim: Claim, entry: Measured, pairs: int, why: str) -> Verdict:
    cost = f" ({entry.cost})" if entry.cost else ""
    command = f"'alexnet-repro run {entry.study}'{cost}"
    note = f"{why}; then {command}" if why else f"run it with {command}"
    return replace(_empty(claim, entry), seeds=pairs, note=note)


def effect_text(verdict: Verdict) -> str:
    """The effect with its unit and interval: "1.52× (1.40 to 1.66)"; a dash if there is none."""
    return with_interval(verdict.effect, verdict.interval, verdict.unit)
