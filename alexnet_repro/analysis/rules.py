"""The rules of stage two, read from data/rules_stage_2.toml.

Which arms are compared at which scale, and which threshold.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from ..common import paths
from ..common.errors import UserError
from ..common.files import parse_entry, read_toml
from ..paper.claims import ArmComparison, Name, Text

FILE = "rules_stage_2.toml"
Role = Literal["primary", "control", "secondary"]
Count = Annotated[int, Field(ge=1)]


class Setting(NamedTuple):
    """Which runs a scale of stage two uses: a study, its scale, and the name on pages."""

    study: str
    scale: str
    title: str


SETTINGS: Mapping[str, Setting] = {
    "cifar10": Setting("ablations", "cifar10", "CIFAR-10, 24 epochs"),
    "cifar10-fresh": Setting("lrn_fresh", "cifar10", "CIFAR-10, 24 epochs, fresh seeds"),
    "cifar10-threshold": Setting("relu_speed_alexnet", "cifar10", "AlexNet in CIFAR size, to 50 % training error"),
    "cifar10-early": Setting("bias_early", "cifar10", "CIFAR-10, initial weights like the paper's, 5 epochs"),
    "cifar10-long": Setting("ablations", "cifar10-long", "CIFAR-10, 96 epochs"),
    "tiny-imagenet": Setting("ablations", "tiny-imagenet", "Tiny ImageNet"),
}
SettingName = Literal["cifar10", "cifar10-fresh", "cifar10-threshold", "cifar10-early", "cifar10-long", "tiny-imagenet"]


class Rule(ArmComparison):
    """One comparison of two arms, at one or more scales. data/rules_stage_2.toml says what each field means."""

    claim: Name
    role: Role
    explains: str = ""
    arm: Name
    against: Name
    threshold: float
    why: Text
    seeds: dict[SettingName, Count]
    seen: dict[SettingName, Count] = Field(default_factory=dict)

    @property
    def bounds(self) -> tuple[float, float]:
        """The threshold on the side against the paper and the one on its side, in the unit of the comparison."""
        return (1 / self.threshold if self.comparison == "ratio" else -self.threshold), self.threshold

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.threshold <= self.null:
            raise ValueError(f"threshold={self.threshold} is not on the paper's side: give one above {self.null:g}")
        if bool(self.explains) != (self.role == "control"):
            raise ValueError(f"explains={self.explains!r} and role={self.role!r}: a control, and no other, explains")
        for scale, count in self.seen.items():
            if count > self.seeds.get(scale, 0):
                raise ValueError(f"seen {count} pairs at {scale}, and seeds has {self.seeds.get(scale, 0)}")
        return self


def load(path: Path | None = None) -> tuple[Rule, ...]:
    """All rules of stage two, in the order of the file, from ``path`` or data/rules_stage_2.toml.

    Raises UserError that names the rule and the field at fault; also for a second primary rule of a claim at one scale,
    and for two rules of a claim with one label.
    """
    path = path or paths.data() / FILE
    values = read_toml(path)
    entries = values.get("rule")
    if set(values) != {"version", "rule"} or values["version"] != 2 or not isinstance(entries, list):
        raise UserError(f"{path} must hold version = 2 and [[rule]] entries, and nothing else", 1)
    rules = tuple(parse_entry(Rule, entry, f"{path}: rule {i}") for i, entry in enumerate(entries, 1))
    taken: set[tuple[str, str]] = set()
    for i, rule in enumerate(rules, 1):
        places = [(rule.claim, scale) for scale in rule.seeds] if rule.role == "primary" else []
        twice = [place for place in [*places, (rule.claim, f"label {rule.label!r}")] if place in taken]
        if twice:
            raise UserError(f"{path}: rule {i}, on {rule.claim!r}, is the second for {twice[0][1]}: keep one", 1)
        taken |= {*places, (rule.claim, f"label {rule.label!r}")}
    return rules
