"""Where the paper and the 2012 source agree, differ, or only the source says something; and which one each preset
follows.

Read from data/unsaid.toml. The source itself is not run.
"""

from typing import Annotated, Any, Literal, Self

import pandas as pd
from IPython.display import Markdown
from pydantic import BaseModel, Field, ValidationError, model_validator

from ..common import paths
from ..common.errors import UserError, one_of
from ..common.fields import STRICT
from ..common.files import first_fault, read_toml
from ..networks.config import CIFAR_ALEXNET, PAPER, SOURCE, AlexNetConfig

PRESETS = {"paper": PAPER, "source": SOURCE, "CIFAR": CIFAR_ALEXNET}
"""Presets by the name that the table's columns have; "CIFAR" is the baseline of the ablations."""

TREE = "https://github.com/computerhistory/AlexNet-Source-Code/blob/2f8b81f76470bf873c865754ad8f4a5e0dbbeb7b"

Text = Annotated[str, Field(min_length=1)]


class Row(BaseModel):
    """One item of data/unsaid.toml, which explains the fields."""

    model_config = STRICT
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


class _Rows(BaseModel):
    model_config = STRICT
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
    found: Any = config
    for name in field.split("."):
        found = getattr(found, name)
    return _words(found)


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


def differences() -> pd.DataFrame:
    """Table of all items: what the paper says and what the source does."""
    return pd.DataFrame(
        {
            "item": row.item,
            "§": row.section,
            "the source": {"same": "agrees", "differs": "differs", "silent": "fills a gap"}[row.says],
            "the paper says": row.paper,
            "net 145 of the source": row.source,
        }
        for row in rows()
    )


def presets() -> pd.DataFrame:
    """Table of the items that a field of the network holds: the field, and its value in each preset."""
    return pd.DataFrame(
        {
            "item": row.item,
            "field": row.field,
            **{f"{name} preset": _follower(row, name) for name in PRESETS},
        }
        for row in rows()
        if row.of_network
    )


def places() -> Markdown:
    """Table of where in the source each item is found, with links to the files."""
    lines = ["| item | place in the source |", "|---|---|"]
    for row in rows():
        lines.append(f"| {row.item} | {'; '.join(map(_linked, row.places))} |")
    return Markdown("\n".join(lines))


def words() -> Markdown:
    """How many items agree, differ or are missing in the paper, as a paragraph."""
    every = rows()
    same, differs, silent = (sum(row.says == word for row in every) for word in ("same", "differs", "silent"))
    fields = [row for row in every if row.of_network]
    paper, source = ([follows(row, name) for row in fields] for name in ("paper", "source"))
    silent_fields = [(row.item, side) for row, side in zip(fields, paper, strict=True) if row.says == "silent"]
    taken = [item for item, side in silent_fields if side == "source"]
    own = [item for item, side in silent_fields if side == "neither"]
    return Markdown(
        f"Of the {len(every)} items below, the source does in {same} what the paper says; in {differs} it does "
        f"otherwise, or more; in {silent} the paper is silent. {len(fields)} are answered by a field of the network. "
        f"There the source preset follows the source {sum(side in ('both', 'source') for side in source)} times, and "
        f"the paper preset follows the paper {sum(side in ('both', 'paper') for side in paper)} times. Where the "
        f"paper is silent, the paper preset takes from the source: {', '.join(taken) or 'nothing'}; it goes its own "
        f"way in: {', '.join(own) or 'nothing'}."
    )


def _follower(row: Row, preset: str) -> str:
    side = follows(row, preset)
    words = {"both": "as both", "paper": "as the paper", "source": "as the source", "neither": "its own"}
    return f"{value(PRESETS[preset], row.field or '')} ({words[side]})"


def _linked(place: str) -> str:
    path, _, rest = place.partition(" ")
    comma = "," if path.endswith(",") else ""
    path = path.rstrip(",")
    return f"[{path}]({TREE}/{path}){comma} {rest}".strip()


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
