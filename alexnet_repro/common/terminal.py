"""Print tables that fit the terminal, and "x" where its encoding has no "×"."""

import codecs
import io
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

PLAIN = {
    "×": "x",
    "–": "-",
    "—": "-",
    "−": "-",
    "†": "*",
    "·": "*",
    "→": "->",
    "…": "...",
    "’": "'",
    "“": '"',
    "”": '"',
}
"""Replacements for characters that the output's encoding lacks; others lose their accents, or become "?"."""


def plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handler of encoding errors named "plain": (what to print for one character, where to go on)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name: the byte itself
        return bytes([ord(character) - 0xDC00]), error.start + 1
    bare = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return PLAIN.get(character, bare or "?"), error.start + 1


codecs.register_error("plain", plain)


def print_what_can_be_shown() -> None:
    """Make stdout and stderr replace characters that their encoding lacks, from here on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # none where it is closed; a notebook has its own kind
            stream.reconfigure(errors="plain")


def text_table(columns: Mapping[str, Sequence[str]]) -> str:
    """The columns as a text table, with cells folded to fit the width of the terminal (or COLUMNS)."""
    heads = [Column(name, overflow="fold") for name in columns]
    table = Table(*heads, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    folded = io.StringIO()
    Console(file=folded, width=shutil.get_terminal_size((400, 24)).columns, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in folded.getvalue().splitlines())
