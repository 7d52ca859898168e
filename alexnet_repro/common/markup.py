"""Show text that others wrote on a page: none of it is interpreted as Markdown, MyST or HTML."""

import re

from .errors import printable

SPECIAL = re.compile(r"([\\`*_{}\[\]<>&|$~^])")
"""Characters with a meaning in a line of Markdown; a backslash takes it away."""
CODE = re.compile(r"(`[^`]+`)")


def escaped(text: str) -> str:
    """The text on one line, with every special character of Markdown escaped."""
    return _escaped(printable(text))


def escaped_but_code(text: str) -> str:
    """The same, but text in backticks stays code and is not escaped."""
    parts = CODE.split(printable(text))
    return "".join(part if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text)
