"""A reader's own runs behind a claim beside the published ones: effects, intervals, and whether they agree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..common.errors import UserError
from ..common.text import number, probability, with_interval
from ..experiments.cifar_alexnet import SCALED
from ..experiments.config import RunConfig
from ..experiments.registry import STUDIES, study
from ..experiments.study import Study, from_seed
from ..paper import claims
from ..paper.claims import Measured
from ..records.lookup import records
from ..records.store import Store
from . import rules
from .rules import SETTINGS, Rule
from .statistics import LEVEL, t_quantile
from .verdicts import ALPHA, MIN_PAIRS, effect_of, outcomes

FRESH = 3_000
"""First seed of runs with fresh seeds: no study has seeds from here up."""


@dataclass(frozen=True)
class Goal:
    """A comparison of two arms that a reader wants to reproduce, and the seeds to train both arms with.

    plan: the study that has both arms. seeds: of the runs to train; published: the study with its own seeds.
    """

    claim: str
    entry: Measured | Rule
    plan: Study
    published: Study
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """The claim, and what tells this comparison from its others."""
        return ": ".join(filter(None, [self.claim, self.entry.label]))

    def pair(self, seed: int) -> list[RunConfig]:
        """The runs of both arms at a seed."""
        return [self.plan.config(str(arm), seed) for arm in dict.fromkeys((self.entry.arm, self.entry.against))]


@dataclass(frozen=True)
class Side:
    """The effect of a comparison in somebody's runs, in its unit, with its 95 % interval; None with too few pairs.

    each: the effect of every pair, in logarithms if it is a ratio; empty if a run has no number or a time is censored.
    """

    unit: str
    pairs: int
    effect: float | None = None
    interval: tuple[float, float] | None = None
    each: tuple[float, ...] = ()

    def __str__(self) -> str:
        return with_interval(self.effect, self.interval, self.unit)

    def half_width(self, pairs: int) -> float:
        """Half the 95 % interval that so many pairs would give, if they scatter as these do; NaN if that is unknown."""
        if len(self.each) < MIN_PAIRS:
            return math.nan
        return t_quantile(pairs - 1, LEVEL) * float(np.std(self.each, ddof=1)) / math.sqrt(pairs)


@dataclass(frozen=True)
class Beside:
    """A comparison reproduced: the reader's effect, the published one, and in words whether they agree."""

    goal: Goal
    yours: Side
    published: Side
    agreement: str


def goals(names: Sequence[str], scale: str, fresh: bool = False, most: int | None = None) -> list[Goal]:
    """The comparisons of these claims that training can reproduce at a scale, ``claims.FIRST`` first; all for no names.

    fresh: with seeds that no study has. most: pairs of each, at most. Raises UserError for an unknown claim, one that
    no runs can reproduce, and a number of pairs that is too small for an interval.
    """
    if most is not None and most < MIN_PAIRS:
        raise UserError(f"--seeds {most}: an interval needs {MIN_PAIRS} pairs or more")
    every: dict[str, list[Goal]] = {name: [] for name in (*claims.FIRST, *(each.id for each in claims.load()))}
    for name in names:
        claims.claim(name)
    for entry_of, plan, entry, count in _entries(scale):
        moved = from_seed(plan, FRESH) if fresh else plan
        seeds = set(moved.seeds_of(entry.arm)) & set(moved.seeds_of(str(entry.against)))
        every[entry_of].append(Goal(entry_of, entry, moved, plan, tuple(sorted(seeds))[: min(count, most or count)]))
    able = [name for name, found in every.items() if found]
    for name in names:
        if not every[name]:
            raise UserError(f"claim {name!r} has no comparison to train at the scale {scale}: name {', '.join(able)}")
    return [goal for name, found in every.items() if not names or name in names for goal in found]


def _entries(scale: str) -> list[tuple[str, Study, Measured | Rule, int]]:
    """(claim, study, comparison, pairs declared): those of stage two, and at its first scale those of stage one.

    Arms that several rules of a claim compare by the same metric come once.
    """
    at = scale if scale in SCALED else "cifar10"  # a rehearsal, scale "smoke", has the arms of CIFAR-10
    every: list[tuple[str, Study, Measured | Rule, int]] = []
    if at == "cifar10":
        known = [(each.id, entry) for each in claims.load() for entry in each.measured if entry.study in STUDIES]
        every = [(claim, study(entry.study, scale), entry, entry.seeds) for claim, entry in known]
    for rule in rules.load():
        places = [(SETTINGS[name], count) for name, count in rule.seeds.items()]
        every += [(rule.claim, study(name, scale), rule, count) for (name, its, _), count in places if its == at]
    found: dict[tuple[str, ...], tuple[str, Study, Measured | Rule, int]] = {}
    for each in every:
        claim, plan, entry, _ = each
        if {entry.arm, entry.against} <= plan.arms.keys():
            keys = (plan.config(str(arm), 0).key for arm in (entry.arm, entry.against))
            found.setdefault((claim, entry.metric, *keys), each)
    return list(found.values())


def side(goal: Goal, store: Store, own: bool) -> Side:
    """The effect from the pairs that the store has: at the seeds of the goal (``own``), or at the published seeds."""
    entry, plan = goal.entry, goal.plan if own else goal.published
    runs = records(plan, store)
    arm, against = runs[entry.arm], runs[str(entry.against)]
    seeds = [s for s in (goal.seeds if own else plan.seeds) if s in arm and s in against]
    if len(seeds) < MIN_PAIRS:
        return Side(entry.unit, len(seeds))
    ours, others, _ = outcomes(entry, arm, against, seeds)
    if any(math.isnan(value) for value, _ in ours + others):
        return Side(entry.unit, len(seeds))
    found = effect_of(entry, ours, others, resample=False)
    first, second = np.array([[value for value, _ in part] for part in (ours, others)])
    scale = 100.0 if entry.unit == "points" else 1.0
    pairs = np.log(first / second) if entry.comparison == "ratio" else scale * (first - second)
    estimate = None if math.isnan(found.estimate) else found.estimate
    each = tuple(pairs.tolist()) if found.bound == "exact" else ()
    return Side(entry.unit, len(seeds), estimate, (found.low, found.high), each)


def beside(goal: Goal, own: Store, published: Store) -> Beside:
    """A comparison in the reader's runs beside the published ones."""
    yours, theirs = side(goal, own, own=True), side(goal, published, own=False)
    return Beside(goal, yours, theirs, _agreement(yours, theirs))


def _agreement(yours: Side, published: Side) -> str:
    """Whether two effects agree: by Welch's t test of the difference between their pairs."""
    if yours.pairs < MIN_PAIRS:
        return f"{yours.pairs} of {MIN_PAIRS} pairs that an interval needs"
    if published.pairs < MIN_PAIRS:
        return "nothing published to compare with"
    if not yours.each or not published.each:
        return "not comparable: a run has no number, or took longer than its budget"
    if yours.each == published.each[: yours.pairs]:
        return "the same numbers"
    from scipy.stats import ttest_ind

    test = ttest_ind(yours.each, published.each, equal_var=False)
    low, high = test.confidence_interval(LEVEL)
    apart = float(np.mean(yours.each) - np.mean(published.each))
    if yours.unit == "×":
        apart, low, high = (math.exp(each) for each in (apart, low, high))
    said = "agrees" if test.pvalue >= ALPHA else "differs"
    what = "times the published ratio" if yours.unit == "×" else f"{yours.unit} from the published effect"
    return f"{said}: {number(apart)} ({number(low)} to {number(high)}) {what}, {probability(test.pvalue)}"
