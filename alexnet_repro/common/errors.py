"""The kind of error that a user is meant to read."""


class UserError(Exception):
    """Something that the user can mend: one line that names the value and the remedy.

    The command line prints it without a traceback and exits with ``code``: 2 for what was asked wrongly
    (a name, a value, a path), 1 for what went wrong while doing it (a download, a disk, a damaged file).
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(printable(" ".join(message.split())))
        self.code = code


class NoRuns(UserError):
    """A study that exists, asked for at a scale that it does not have."""


def printable(text: str) -> str:
    """A text whose names come from files: what would move the cursor of a terminal, or ends no UTF-8, spelled out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_of(kind: str, value: str, valid: list[str]) -> UserError:
    """The error for an unknown name: names the value and lists the valid ones."""
    return UserError(f"unknown {kind} {value!r}: choose one of {', '.join(sorted(valid))}")
