"""The rules of stage two, data/rules_stage_2.toml: which arms are compared at which scale, and what would matter."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from ..common import paths
from ..common.errors import UserError
from ..common.fields import STRICT
from ..paper.claims import Name, Text

FILE = "rules_stage_2.toml"
Role = Literal["primary", "control", "secondary"]
Count = Annotated[int, Field(ge=1)]


class Setting(NamedTuple):
    """Where the runs of a scale of stage two come from: a study, its scale, and what a page calls it."""

    study: str
    scale: str
    title: str


SETTINGS: Mapping[str, Setting] = {
    "cifar10": Setting("ablations", "cifar10", "CIFAR-10, 24 epochs"),
    "cifar10-fresh": Setting("lrn_fresh", "cifar10", "CIFAR-10, 24 epochs, fresh seeds"),
    "cifar10-long": Setting("ablations", "cifar10-long", "CIFAR-10, 96 epochs"),
    "tiny-imagenet": Setting("ablations", "tiny-imagenet", "Tiny ImageNet"),
}
SettingName = Literal["cifar10", "cifar10-fresh", "cifar10-long", "tiny-imagenet"]


class Rule(BaseModel):
    """One comparison of two arms, at one or more scales. The file's first lines say what each field means."""

    model_config = STRICT
    claim: Name
    role: Role
    label: str = ""
    explains: str = ""
    metric: Name
    against_metric: Name | None = None
    comparison: Literal["difference", "ratio"]
    arm: Name
    against: Name
    unit: Literal["points", "nats", "×"]
    threshold: float
    why: Text
    seeds: dict[SettingName, Count]
    seen: dict[SettingName, Count] = {}

    @property
    def null(self) -> float:
        """No effect, in the unit of the comparison."""
        return 1.0 if self.comparison == "ratio" else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """The threshold against the paper's side and the one on it, in the unit of the comparison."""
        return (1 / self.threshold if self.comparison == "ratio" else -self.threshold), self.threshold

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.unit == "×") != (self.comparison == "ratio"):
            raise ValueError(f"a {self.comparison} cannot be in {self.unit!r}: a ratio is in '×', a difference is not")
        if self.threshold <= self.null:
            raise ValueError(f"threshold={self.threshold} is not on the paper's side: give one above {self.null:g}")
        if (self.arm, self.metric) == (self.against, self.against_metric or self.metric):
            raise ValueError(f"{self.arm!r} is compared with itself: name another arm or against_metric")
        if bool(self.explains) != (self.role == "control"):
            raise ValueError(f"explains={self.explains!r} and role={self.role!r}: a control, and no other, explains")
        for scale, count in self.seen.items():
            if count > self.seeds.get(scale, 0):
                raise ValueError(f"seen {count} pairs at {scale}, and seeds has {self.seeds.get(scale, 0)}")
        return self


def load(path: Path | None = None) -> tuple[Rule, ...]:
    """All rules of stage two, in the order of the file; ``path`` defaults to data/rules_stage_2.toml.

    Raises UserError that names the rule and the field at fault, a second primary rule of a claim at one scale, and two
    rules of a claim with one label.
    """
    path = path if path is not None else paths.data() / FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; restore it with 'git checkout -- {path}'", 1) from error
    except ValueError as error:
        raise UserError(f"{path} is no TOML ({error}): mend that line", 1) from error
    entries = values.get("rule")
    if set(values) != {"version", "rule"} or values["version"] != 2 or not isinstance(entries, list):
        raise UserError(f"{path} must hold version = 2 and [[rule]] entries, and nothing else", 1)
    rules = tuple(_rule(entry, i, path) for i, entry in enumerate(entries, 1))
    taken: set[tuple[str, str]] = set()
    for i, rule in enumerate(rules, 1):
        places = [(rule.claim, scale) for scale in rule.seeds] if rule.role == "primary" else []
        twice = [place for place in [*places, (rule.claim, f"label {rule.label!r}")] if place in taken]
        if twice:
            raise UserError(f"{path}: rule {i}, on {rule.claim!r}, is the second for {twice[0][1]}: keep one", 1)
        taken |= {*places, (rule.claim, f"label {rule.label!r}")}
    return rules


def _rule(entry: object, position: int, path: Path) -> Rule:
    try:
        return Rule.model_validate_json(json.dumps(entry, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: rule {position}{f' at {where}' if where else ''}: {message}", 1) from None
