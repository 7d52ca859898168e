"""What a reader takes away from the site: the records behind its figures, as files beside the pages."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pandas as pd

from ..common import paths
from ..common.files import is_hidden, write_atomic

FOLDER = "_generated/records"
TABLES = ("runs.csv", "curves.csv")


def write(book: Path) -> None:
    """Put copies of the records of data/ where pages can offer them; drop those that are gone."""
    folder = book / FOLDER
    wanted = {record.relative_to(paths.data()): record for record in _records()}
    for left in [path for path in folder.rglob("*.*") if path.is_file() and path.relative_to(folder) not in wanted]:
        left.unlink()
    for name, record in wanted.items():
        content = record.read_bytes()
        copy = folder / name
        if not copy.is_file() or copy.read_bytes() != content:
            write_atomic(copy, content)


def link(record: str | PurePosixPath) -> str:
    """A record of data/, its path relative to there, as a link from a page of a notebook to its copy."""
    return f"[`data/{record}`](../{FOLDER}/{record})"


def homes(keys: Iterable[str]) -> list[str]:
    """The studies whose published tables hold these runs: an arm that studies share is in one of them."""
    wanted = set(keys)
    found = []
    for runs in sorted((paths.data() / "evidence").glob("*/runs.csv")):
        if not is_hidden(runs.parent.name) and wanted & set(pd.read_csv(runs, usecols=["key"], dtype=str)["key"]):
            found.append(runs.parent.name)
    return found


def _records() -> list[Path]:
    data = paths.data()
    found = [*data.glob("*.csv"), *(data / "evidence").glob("*/*.csv"), *data.glob("weights/*.safetensors")]
    return sorted(path for path in found if not any(map(is_hidden, path.relative_to(data).parts)))
