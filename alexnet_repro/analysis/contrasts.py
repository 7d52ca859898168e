"""The pairs of arms behind a claim's rules of both stages, for pages that compare their curves by any metric."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..common.errors import NoRuns
from ..experiments import step_timing
from ..experiments.cifar_alexnet import ABLATIONS, SCALED, arm_label
from ..experiments.registry import study
from ..experiments.study import Study
from ..paper.claims import claim
from ..records.outputs import MEMBERS
from . import rules
from .exploratory import Quantity
from .rules import SETTINGS

DATA = {"cifar10": "CIFAR-10", "sample": "the sample"}
"""Data sets as pages call them."""
ALL_ARMS = "ablations"
"""The study whose runs the arms of most claims share."""

Pair = tuple[str, str, str]
"""(study, arm, against): two arms compared without a rule."""


@dataclass(frozen=True)
class Contrast:
    """Two arms of a study at a scale.

    quantity: which part of their curves is compared. judged: metrics that a rule of either stage compares.
    setting: data set and budget in words. stops: whether its runs end at a training error, so that their final errors
    are not comparable.
    """

    study: str
    scale: str
    arm: str
    against: str
    setting: str
    quantity: Quantity = "train_error"
    judged: frozenset[str] = frozenset()
    stops: bool = False

    @property
    def label(self) -> str:
        """The two arms in words: "no dropout minus the whole net"."""
        return f"{arm_label(self.arm)} minus {arm_label(self.against)}"

    @property
    def shared(self) -> bool:
        """Whether its runs belong to the study of all arms at its scale."""
        return self.study in ABLATIONS


def contrasts(what: Sequence[str | Pair], scale: str) -> list[Contrast]:
    """The pairs of arms of these claims: those of stage one at ``scale``, those of stage two at every scale with runs.

    A pair that has several rules comes once. Those that need no second arm, no runs, or predictions have none, nor has
    a study or an arm that the scale lacks. A rehearsal, scale "smoke", stands for every scale. Raises UserError for an
    unknown claim or study.
    """
    found: dict[tuple[str, str], Contrast] = {}
    for each in what:
        for one in _of_claim(each, scale) if isinstance(each, str) else _at(each, scale):
            plan = study(one.study, one.scale)
            if one.scale in SCALED and not {one.arm, one.against} <= plan.arms.keys():
                continue
            first, second = (plan.config(arm, plan.seeds[0]).key for arm in (one.arm, one.against))
            if first == second:
                continue
            before = found.get((first, second))
            found[first, second] = one if before is None else replace(before, judged=before.judged | one.judged)
    return list(found.values())


def _of_claim(name: str, scale: str) -> list[Contrast]:
    result = []
    for entry in claim(name).measured:
        if isinstance(entry.against, str) and entry.study != MEMBERS and entry.study not in step_timing.STUDIES:
            pair, judged = (entry.study, entry.arm, entry.against), frozenset({entry.metric})
            result += [replace(one, quantity=_quantity(entry.unit), judged=judged) for one in _at(pair, scale)]
    for rule in rules.load():
        if rule.claim != name or rule.role == "secondary":
            continue
        for place, (where, size, title) in ((each, SETTINGS[each]) for each in rule.seeds):
            if scale == "smoke" and place == "cifar10":
                size, title = "smoke", ""
            if (size == "smoke") == (scale == "smoke"):
                one = _without_rule((where, rule.arm, rule.against), size)
                judged = frozenset({rule.metric})
                result.append(replace(one, setting=title or one.setting, quantity=_quantity(rule.unit), judged=judged))
    return result


def _quantity(unit: str) -> Quantity:
    return "train_loss" if unit == "nats" else "train_error"


def _at(pair: Pair, scale: str) -> list[Contrast]:
    """The pair at a scale; none where its study has no runs there."""
    try:
        return [_without_rule(pair, scale)]
    except NoRuns:
        return []


def _without_rule(pair: Pair, scale: str) -> Contrast:
    name, arm, against = pair
    plan = study(name, scale)
    stops = plan.baseline.budget.stop_at_train_error is not None
    return Contrast(name, scale, arm, against, _setting(plan), stops=stops)


def _setting(plan: Study) -> str:
    """ "CIFAR-10, 24 epochs"; "at most" where runs stop at a threshold."""
    budget = plan.baseline.budget
    most = "at most " if budget.stop_at_train_error is not None else ""
    data = DATA.get(plan.baseline.data.dataset, plan.baseline.data.dataset)
    return f"{data}, {most}{budget.epochs} epochs"
