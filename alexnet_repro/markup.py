"""Text that others wrote, as a page may show it: nothing in it is taken for Markdown, MyST or HTML."""

import re

from .errors import printable

SPECIAL = re.compile(r"([!-/:-@\[-`{-~])")
"""ASCII punctuation: what Markdown gives a meaning to, and lets a backslash take it from."""
CODE = re.compile(r"(`[^`]+`)")


def escaped(text: str) -> str:
    """The text in one line, each of its characters standing for itself."""
    return SPECIAL.sub(r"\\\1", printable(text))


def escaped_but_code(text: str) -> str:
    """The same, but what stands in backticks is code, in which nothing else has a meaning."""
    parts = CODE.split(printable(text))
    return "".join(part if i % 2 else escaped(part) for i, part in enumerate(parts))
