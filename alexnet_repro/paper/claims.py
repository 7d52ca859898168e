"""The paper's claims, read from data/claims.toml: what each says, and which evidence is to judge it.

Nothing here computes: numbers that follow by arithmetic are in ``derivations``, verdicts in ``analysis.verdicts``.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..common import paths
from ..common.errors import UserError, one_of
from ..common.fields import Strict
from ..common.files import parse_entry, read_toml

Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
Text = Annotated[str, Field(min_length=1)]

KINDS = ("measured", "observed", "audited", "published", "sourced", "derived", "untested")
"""The kinds of evidence that a claim may list; data/claims.toml explains each."""
FIRST = ("relu_speed", "lrn", "two_gpu_error", "augmentation", "dropout_overfit")
"""The claims that matter most: the home page and the README tell their findings, and ``reproduce`` plans them first."""


class ArmComparison(Strict):
    """Two arms compared by one metric, paired by seed; what Measured, Observed and a rule of stage two share.

    label: what tells it from the claim's other comparisons ("conv3").
    metric: a metric of RunRecord; ``against_metric`` if the other arm is read by another one.
    comparison, unit: "difference", arm - against: errors in "points" of percent, losses in "nats"; or "ratio",
        arm / against: "×". Above ``null`` is the paper's side.
    """

    remedy: ClassVar[str] = "name another arm or against_metric"
    label: str = ""
    metric: Name
    against_metric: Name | None = None
    comparison: Literal["difference", "ratio"]
    arm: Text
    against: Text | float
    unit: Literal["points", "nats", "×"]

    @property
    def null(self) -> float:
        """The value that means no effect: 1 for a ratio, 0 for a difference."""
        return 1.0 if self.comparison == "ratio" else 0.0

    def of_itself(self) -> bool:
        """Whether both sides are the same metric of the same arm."""
        return (self.arm, self.metric) == (self.against, self.against_metric or self.metric)

    @model_validator(mode="after")
    def _check_arms(self) -> Self:
        if (self.unit == "×") != (self.comparison == "ratio"):
            raise ValueError(f"a {self.comparison} cannot be in {self.unit!r}: a ratio is in '×', a difference is not")
        if self.of_itself():
            raise ValueError(f"{self.arm!r} is compared with itself: {self.remedy}")
        return self


class Measured(ArmComparison):
    """A comparison of runs made for it, with the rule that judges it, written before the runs.

    study, arm, against: which records; ``against`` may be a number that the paper states instead of an arm.
    size: the smallest effect that counts as the paper's. paper_value: the paper's own, where it gives one.
    seeds: number of pairs, fixed in advance.
    cost: what the runs take. note: what came to light after the rule was written, and does not change it.
    """

    study: Name
    setting: Text
    arm: Name
    against: Name | float
    paper_value: float | None = None
    size: float
    seeds: Annotated[int, Field(ge=3)] = 5
    rule: Text
    cost: Text | None = None
    note: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.size <= self.null:
            raise ValueError(f"size={self.size} is not on the paper's side: give one above {self.null:g}")
        return self


class Observed(ArmComparison):
    """A comparison of runs that existed before the question was asked: an effect with its interval, and no rule.

    A rule written now would know its outcome, so the only verdict is "no rule".
    study, arm, against: as of Measured; arms of pilots may have spaces. against_study: the study of the other arm, if
    that is another one; it has the same seeds.
    """

    remedy = "name another arm, against_study or against_metric"
    study: Name
    setting: Text
    against: Text
    against_study: Name | None = None
    note: str = ""

    def of_itself(self) -> bool:
        """Whether both sides are the same metric of the same arm of the same study."""
        return self.against_study in (None, self.study) and super().of_itself()


class Audited(Strict):
    """A number of the paper compared with the first author's log, data/author_log.csv.

    Its value is ``column`` in the row (net, views, eval_set), minus that in the row (against, views,
    against_eval_set) if given; errors in percent. Without ``net``, any row of ``train_set`` may hold the number.
    "epochs" and "drops" (of the learning rate) are read from data/author_schedule.csv.
    eval_set: needed only if the log has the net on two sets of images.
    comparison: the value must "equal" paper_value as printed, or differ from 0 by "at most" it.
    paper_value: None if the paper gives no number; the log then tests only the direction.
    digits: decimals that the paper prints; -1 for a number rounded to tens. note: what a reader must know.
    """

    label: str = ""
    column: Literal["top1_error", "top5_error", "epochs", "drops"]
    train_set: Text
    net: Text | None = None
    views: Literal["10-crop", "center"] = "10-crop"
    eval_set: Text | None = None
    against: Text | None = None
    against_eval_set: Text | None = None
    unit: Literal["%", "points", "epochs", "drops"]
    comparison: Literal["equal", "at most"] = "equal"
    paper_value: float | None = None
    digits: Annotated[int, Field(ge=-1, le=3)] = 1
    note: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        unit = self.column if self.column in ("epochs", "drops") else "%" if self.against is None else "points"
        if self.unit != unit:
            raise ValueError(f"unit={self.unit!r} does not fit the column and the rows compared: it is {unit!r}")
        if self.paper_value is None and self.against is None:
            raise ValueError("without a paper_value there must be a row to compare against")
        if self.against is not None and self.net is None:
            raise ValueError(f"{self.against!r} is compared with no net: name one")
        if self.comparison == "at most" and (self.against is None or self.paper_value is None):
            raise ValueError("at most is of a difference: name the row to compare against and a paper_value")
        return self


class Published(Strict):
    """A number of the paper compared with what the competition's organizers or the cited authors published.

    entry: a row's name in data/published_results.csv. quantity: its error in percent; or, for a submission whose file
        name lists its nets, the number of nets ("nets"), of nets shared with the entry ``others`` ("shared nets"), or
        of nets marked as pre-trained on Fall 2011 ("pre-trained nets").
    """

    label: Text
    entry: Text
    quantity: Literal["top1_error", "top5_error", "nets", "shared nets", "pre-trained nets"]
    others: Text | None = None
    unit: Literal["%", "nets"]
    paper_value: float
    digits: Annotated[int, Field(ge=0, le=3)] = 1
    note: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.unit == "%") != self.quantity.endswith("error"):
            raise ValueError(f"unit={self.unit!r} does not fit {self.quantity!r}: errors are in '%', counts in 'nets'")
        if (self.quantity == "shared nets") != (self.others is not None):
            raise ValueError("others goes with 'shared nets', and only there: it is the other entry")
        return self


class Sourced(Strict):
    """A statement of the paper compared with the 2012 source: the row of data/unsaid.toml named ``item``.

    It agrees if the row has the same value for both.
    """

    item: Text

    @property
    def label(self) -> str:
        """What tells it from the claim's other entries."""
        return self.item


class Untested(Strict):
    """A part of a claim that this project cannot test, with the ``reason``."""

    label: str = ""
    reason: Text


class Derived(Strict):
    """A number that follows by arithmetic from the paper's own description.

    quantity: its name in derivations.py. comparison: it must "equal" paper_value within the relative tolerance (0:
        exactly), be "above" it, or be "at most" it. rule: why, and what a reader must know.
    """

    label: str = ""
    quantity: Name
    unit: Text
    comparison: Literal["equal", "above", "at most"] = "equal"
    paper_value: float
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rule: Text

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.comparison != "equal" and self.tolerance:
            raise ValueError(f"tolerance={self.tolerance} has no meaning {self.comparison} a number: leave it out")
        return self


class Claim(Strict):
    """One claim of Krizhevsky, Sutskever & Hinton (2012), with all its evidence.

    paper: the paper's number, as the scorecard shows it. version: increased when a rule changes.
    reading: what all evidence comes to, for readers; analysis/conclusions.py fills in the numbers. finding: the same in
    one short clause, for titles and the home page; ``holds`` says how the conclusion begins for which it is true.
    """

    id: Name
    version: Annotated[int, Field(ge=1)]
    section: Text
    title: Text
    statement: Text
    paper: Text
    reading: str = ""
    finding: str = ""
    holds: str = ""
    measured: tuple[Measured, ...] = ()
    observed: tuple[Observed, ...] = ()
    audited: tuple[Audited, ...] = ()
    published: tuple[Published, ...] = ()
    sourced: tuple[Sourced, ...] = ()
    derived: tuple[Derived, ...] = ()
    untested: tuple[Untested, ...] = ()

    @property
    def where(self) -> str:
        """The claim's place in the paper: "section 6, Table 2", "sections 4.1 and 6", "sections 3 to 5"."""
        first, _, second = self.section.partition(", ")
        if second[:1].isdigit():
            return f"sections {first} and {second}"
        return f"section{'s' * (' to ' in self.section)} {self.section}"

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = {kind: getattr(self, kind) for kind in KINDS}
        if not any(kinds.values()):
            raise ValueError(f"has no evidence: add one of {', '.join(f'[[claim.{kind}]]' for kind in kinds)}")
        if self.holds and not self.finding:
            raise ValueError(f"holds={self.holds!r} without a finding: give both, or neither")
        for entries in kinds.values():
            labels = [entry.label for entry in entries]
            if len(set(labels)) < len(labels):
                raise ValueError(f"labels {labels} must tell its entries of one kind apart")
        return self


def load(path: Path | None = None) -> tuple[Claim, ...]:
    """All claims, in the paper's order, from ``path`` or data/claims.toml.

    Raises UserError that names the entry and the field at fault.
    """
    path = path or paths.data() / "claims.toml"
    values = read_toml(path)
    entries = values.pop("claim", None)
    if values or not isinstance(entries, list):
        found = ", ".join(values) or "none"
        raise UserError(f"{path} must hold [[claim]] entries and nothing else: other names found: {found}", 1)
    claims = tuple(_claim(entry, i, path) for i, entry in enumerate(entries, 1))
    name, count = Counter(each.id for each in claims).most_common(1)[0] if claims else ("", 0)
    if count > 1:
        raise UserError(f"{path}: claim {name!r} stands there twice: give each its own id", 1)
    return claims


def claim(name: str) -> Claim:
    """A claim of the paper: its statement, its evidence, and the rules that judge it.

    name: the ``id`` of its entry in data/claims.toml. Raises UserError that lists the valid ones.

    >>> claim("lrn").section
    '3.3'
    """
    claims = {each.id: each for each in load()}
    if name not in claims:
        raise one_of("claim", name, list(claims))
    return claims[name]


def _claim(entry: Any, position: int, path: Path) -> Claim:
    name = entry.get("id", f"number {position}") if isinstance(entry, dict) else f"number {position}"
    return parse_entry(Claim, entry, f"{path}: claim {str(name)[:60]!r}")
