"""Text that others wrote, as a page may show it: nothing in it is taken for Markdown, MyST or HTML."""

import re

from .errors import printable

SPECIAL = re.compile(r"([\\`*_{}\[\]<>&|$~^])")
"""What has a meaning within a line of Markdown, and is taken from it by a backslash."""
CODE = re.compile(r"(`[^`]+`)")


def escaped(text: str) -> str:
    """The text in one line, for the middle of a line of Markdown: each of its characters stands for itself."""
    return _escaped(printable(text))


def escaped_but_code(text: str) -> str:
    """The same, but what stands in backticks is code, in which nothing else has a meaning."""
    parts = CODE.split(printable(text))
    return "".join(part if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text)
