"""What the paper and the 2012 source say of each detail (data/unsaid.toml), and which of them a preset follows."""

from operator import attrgetter
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from ..common import paths
from ..common.errors import UserError, one_of
from ..common.fields import Strict
from ..common.files import first_fault, read_toml
from ..networks.config import CIFAR_ALEXNET, PAPER, SOURCE, AlexNetConfig
from .claims import Text

PRESETS = {"paper": PAPER, "source": SOURCE, "CIFAR": CIFAR_ALEXNET}
"""Presets by the name that the table's columns have; "CIFAR" is the baseline of the ablations."""


class Row(Strict):
    """One item of data/unsaid.toml, which explains the fields."""

    item: Text
    says: Literal["same", "differs", "silent"]
    section: Text
    paper: Text
    source: Text
    places: Annotated[list[Text], Field(min_length=1)]
    field: Text | None = None
    paper_value: Text | None = None
    source_value: Text | None = None

    @property
    def of_network(self) -> bool:
        """Whether a field of AlexNetConfig holds the item's value."""
        return self.field is not None and self.field.split(".")[0] in AlexNetConfig.model_fields

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.says == "silent":
            return self
        if self.paper_value is None or self.source_value is None:
            raise ValueError(f"{self.item!r} {self.says}, so it needs paper_value and source_value")
        if (self.paper_value == self.source_value) != (self.says == "same"):
            raise ValueError(f"{self.item!r} {self.says}, but its values are {self.paper_value}, {self.source_value}")
        return self


class _Rows(Strict):
    row: list[Row]


def rows() -> list[Row]:
    """All items. Raises UserError for a damaged file."""
    path = paths.data() / "unsaid.toml"
    try:
        return _Rows.model_validate(read_toml(path)).row
    except ValidationError as error:
        raise UserError(
            f"cannot read {path} ({first_fault(error)}): restore it with 'git checkout -- {path}'", 1
        ) from error


def row_of(item: str) -> Row:
    """The item with this name. Raises UserError that lists the valid names."""
    found = {each.item: each for each in rows()}
    if item not in found:
        raise one_of("item of unsaid.toml", item, list(found))
    return found[item]


def value(config: AlexNetConfig, field: str) -> str:
    """The value of a (dotted) field of a config, as text."""
    return _words(attrgetter(field)(config))


def follows(row: Row, preset: str) -> Literal["both", "paper", "source", "neither", ""]:
    """Whether a preset has the paper's value of an item, the source's, both or neither.

    "" if no field of the net holds it.
    """
    if not row.of_network or row.field is None:
        return ""
    shown = value(PRESETS[preset], row.field)
    if shown == row.paper_value:
        return "both" if row.paper_value == row.source_value else "paper"
    return "source" if shown == row.source_value else "neither"


def _words(found: Any) -> str:
    if isinstance(found, BaseModel):
        return ", ".join(f"{name} {_words(getattr(found, name))}" for name in type(found).model_fields)
    if isinstance(found, bool):
        return "yes" if found else "no"
    if found is None:
        return "none"
    if isinstance(found, tuple):
        return ", ".join(map(_words, found))
    return f"{found:g}" if isinstance(found, float) else str(found)
