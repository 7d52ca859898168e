"""Published benchmarks: each measures this package and what one would use instead in one run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from ..common import paths
from ..common.fields import Count, Plain
from ..common.files import read_json, write_atomic
from ..common.markup import escaped, escaped_but_code
from ..common.text import slug

TITLES = {
    "step": "A training step of cuda-convnet's 11pct net, data path included",
    "alexnet": "A training step of AlexNet in CIFAR size, without the data path",
    "augment": "Batches with crops, reflections and colour noise",
    "lrn": "Local response normalization, forward and backward",
    "launch": "Many runs on one machine",
    "stack": "Several seeds in one computation",
    "imagenet": "Full-size images, read and prepared for the net",
    "book": "The book and the command line",
}

Median = Annotated[float, Field(ge=1e-12, le=1e12)]


class Row(TypedDict):
    """One comparison: medians of ours and of the peer in ``unit``.

    bar: how many times as good ours is to be, None where nothing was promised.
    """

    case: str
    peer_is: str
    unit: str
    ours: Median
    peer: Median
    bar: Annotated[float | None, Field(ge=0, le=1e12)]


class Published(BaseModel):
    """What a page shows of a measurement."""

    model_config = ConfigDict(allow_inf_nan=False)
    device: Plain
    cores: Count
    load_average: Annotated[float, Field(ge=0, le=1e6)]
    started: Plain
    python: Plain
    torch: Plain
    commit: Plain
    clean: bool
    rows: list[Row]


def row(case: str, peer_is: str, unit: str, ours: float, peer: float, bar: float | None = None) -> Row:
    """A comparison; units of time and of memory are better small, all others large."""
    return Row(case=case, peer_is=peer_is, unit=unit, ours=ours, peer=peer, bar=bar)


def times_as_good(found: Row) -> float:
    """How many times as good ours is."""
    small = found["unit"] in ("s", "ms", "MiB")
    return found["peer"] / found["ours"] if small else found["ours"] / found["peer"]


def path(name: str, gpu: str = "") -> Path:
    """The published file of a benchmark. gpu: the name of the GPU that it was measured on; empty for a CPU."""
    kind = slug(gpu)
    return paths.data() / "benchmarks" / f"{name}{f'-{kind}' if kind else ''}.json"


def on_gpus(name: str) -> list[str]:
    """The names under which the benchmark is published for kinds of GPUs, in order."""
    return sorted(each.stem for each in path(name).parent.glob(f"{name}-*.json"))


def write(where: Path, about: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Write a measurement."""
    write_atomic(where, json.dumps({**about, "rows": list(rows)}, indent=1) + "\n")


def read(name: str) -> Published:
    """The last published measurement. Raises UserError for a file that is missing or damaged."""
    return read_json(path(name), Published)


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """A measurement in words and rounded, a comparison a row."""
    return pd.DataFrame(
        {
            "case": escaped_but_code(found["case"]),
            "ours": _rounded(found["ours"]),
            "beside": _rounded(found["peer"]),
            "unit": escaped(found["unit"]),
            "which is": escaped_but_code(found["peer_is"]),
            "times as good": f"{times_as_good(found):.2f}×",
            "bar": "" if found["bar"] is None else f"{found['bar']:g}×",
        }
        for found in rows
    )


def _rounded(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
