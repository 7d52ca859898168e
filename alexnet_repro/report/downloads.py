"""Copies of the published records in the book, for readers to download. It computes nothing."""

from pathlib import Path, PurePosixPath

from ..common import paths
from ..common.files import is_hidden, write_atomic

FOLDER = "_generated/records"
TABLES = ("runs.csv", "curves.csv")


def write(book: Path) -> None:
    """Copy the published tables, weights and pictures of data/ into the book; delete copies whose original is gone."""
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
    """A link from a notebook's page to the copy of a file; record: its path relative to data/."""
    return f"[`data/{record}`](../{FOLDER}/{record})"


def _records() -> list[Path]:
    data = paths.data()
    kinds = ("*.csv", "evidence/*/*.csv", "weights/*.safetensors", "pictures/*.npz")
    found = [path for kind in kinds for path in data.glob(kind)]
    return sorted(path for path in found if not any(map(is_hidden, path.relative_to(data).parts)))
