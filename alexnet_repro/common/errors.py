"""Errors that are a message to the user: one line, without a traceback."""

from difflib import get_close_matches

FEW = 5
"""So many valid names are read at a glance: none of them is suggested."""


class UserError(Exception):
    """An error that the user can fix: one line that names the value at fault and the remedy.

    The command line prints it without a traceback and exits with ``code``: 2 for a wrong argument (a name, a value, a
    path), 1 for what failed while running (a download, a full disk, a damaged file).
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(printable(" ".join(message.split())))
        self.code = code


class NoRuns(UserError):
    """A study that exists has no runs at the scale asked for."""


def printable(text: str) -> str:
    """Escape characters that would move a terminal's cursor or are not valid UTF-8, as names of files may hold."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_of(kind: str, value: str, valid: list[str]) -> UserError:
    """The error for an unknown name: it repeats the name, suggests a similar one, and lists all that are valid."""
    close = get_close_matches(value, valid, 1)
    meant = f" (did you mean {close[0]!r}?)" if close and len(valid) > FEW else ""
    return UserError(f"unknown {kind} {value!r}{meant}: choose one of {', '.join(sorted(valid))}")
