"""Print to terminals whose encoding lacks some characters: "×" becomes "x" instead of an error."""

import codecs
import io
import sys
import unicodedata

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
