"""Files that are either whole or absent: atomic writes, digests, locks; and what to do about a damaged one."""

import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from . import paths
from .errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Form = TypeVar("Form", bound=BaseModel)

FULL = (errno.ENOSPC, errno.EDQUOT)
READ_ONLY = (errno.EACCES, errno.EROFS, errno.EPERM)
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
NOT_CONTENT = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
"""Folders that systems and file servers put beside what people keep."""


def is_disk_error(error: OSError) -> bool:
    """Whether the disk is full or read-only: no other source of the same file would help."""
    return error.errno in FULL + READ_ONLY


def disk_error(error: OSError, path: Path) -> UserError:
    """The user's words for an operating-system error at ``path``."""
    if error.errno in FULL:
        return UserError(f"the disk is full while writing {path}: free some space and run this again", 1)
    if error.errno in READ_ONLY:
        return UserError(f"cannot write {path}: the folder is read-only; make it writable, or name another", 1)
    return UserError(f"cannot write {path}: {error.strerror or error}; mend that and run this again", 1)


def regular_file(path: Path) -> bool:
    """Whether a file lies at ``path`` that can be read to its end; False where nothing does, or a link to nothing.

    Raises UserError for all else: a folder, a device, a FIFO or a socket, which might never end, a link to itself.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): mend that, or move it away", 1) from error
    if kind != stat.S_IFREG:
        raise UserError(f"{path} is {KINDS.get(kind, 'something else')}, and a file belongs there: move it away", 1)
    return True


def is_hidden(name: str) -> bool:
    """Whether the file or folder of this name is nobody's content: .ipynb_checkpoints, ._x, __MACOSX."""
    return name.startswith(".") or name in NOT_CONTENT


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears at ``path`` whole when the block ends, or not at all.

    Written beside its place, flushed to the disk, then renamed. Raises UserError on a full or read-only disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp's 0600 would hide shared results from others
        os.replace(name, path)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        with suppress(OSError):
            Path(name).unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write ``content`` to ``path``: whole, or not at all."""
    with atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sweep(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it. Only for who holds the lock on it: nobody else writes."""
    for left in path.parent.glob(f".{path.name}.*.part"):
        with suppress(OSError):
            left.unlink()


def remedy(path: Path) -> str:
    """What mends a damaged file: git has what is published in data/, and the working store does without."""
    published = path.is_relative_to(paths.data()) and not path.is_relative_to(paths.store())
    return f"restore it with 'git checkout -- {path}'" if published else "delete it"


def read_json(path: Path, form: type[Form]) -> Form:
    """What a JSON file of data/ holds. Raises UserError for one that is missing, damaged, or of another ``form``."""
    try:
        return form.model_validate_json(path.read_bytes())
    except OSError as error:
        reason = error.strerror
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
    raise UserError(f"cannot read {path} ({reason}): restore it with 'git checkout -- {path}'", 1)


def read_csv(path: Path, columns: Mapping[str, type], gaps: Container[str] = ()) -> "pd.DataFrame":
    """A table of data/ that has these columns, in order: of text, str, or of numbers, float.

    Text may be empty, and the numbers of the columns ``gaps``: NaN. Raises UserError for a file that is missing, has
    other columns, or text where a number belongs.
    """
    import pandas as pd  # here: training needs none of it

    restore = f"restore it with 'git checkout -- {path}'"
    try:
        table = pd.read_csv(path, dtype={name: kind for name, kind in columns.items() if kind is str})
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UserError(f"cannot read {path} ({reason}): {restore}", 1) from error
    if list(table.columns) != list(columns):
        raise UserError(f"{path} must have the columns {', '.join(columns)}: {restore}", 1)
    for name in (name for name, kind in columns.items() if kind is not str):
        cells = table[name] if name not in gaps else table[name].dropna()
        wrong = cells[pd.to_numeric(cells, errors="coerce").isna()]
        if len(wrong):
            value = "an empty cell" if pd.isna(wrong.iloc[0]) else repr(wrong.iloc[0])
            raise UserError(f"{path} has {value} in the column {name}, where a number belongs: {restore}", 1)
    return table


def sha256(content: bytes | memoryview) -> str:
    """Hexadecimal SHA-256 of bytes or of a contiguous buffer."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def lock(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock for the block; the system frees it when the holder dies.

    Calls ``waiting`` once where another process holds it, then waits. Raises UserError on a read-only disk, and where
    something else than a file lies at ``path``.
    """
    regular_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise disk_error(error, path) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"cannot lock {path} ({error.strerror}): put the folder on a disk with locks", 1) from error
        yield
