"""Read and write files safely: atomic writes, locks, digests, and one-line errors for damaged files.

Not for the formats of the project: those of records are in ``records``, those of images in ``training.data``.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import stat
import tempfile
import tomllib
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from . import paths
from .errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Form = TypeVar("Form", bound=BaseModel)

LARGEST = 16 * 2**20
"""Largest file of data/ that is read, in bytes; the largest so far has a twentieth of it."""
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
"""Folders that operating systems and file servers add to a user's own."""


def is_disk_error(error: OSError) -> bool:
    """Whether the disk is full or read-only, so that fetching the file from elsewhere would not help."""
    return error.errno in FULL + READ_ONLY


def disk_error(error: OSError, path: Path) -> UserError:
    """The UserError for an operating-system error while writing ``path``."""
    if error.errno in FULL:
        return UserError(f"the disk is full while writing {path}: free some space and run this again", 1)
    if error.errno in READ_ONLY:
        return UserError(f"cannot write {path}: the folder is read-only; make it writable, or name another", 1)
    return UserError(f"cannot write {path}: {error.strerror or error}; mend that and run this again", 1)


def regular_file(path: Path) -> bool:
    """Whether ``path`` is a regular file; False if nothing is there, or a link to nothing.

    Raises UserError for anything else: a folder, a device, a FIFO or socket (reading might never end), a circular link.
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
    """Whether a file or folder of this name is to be skipped: .ipynb_checkpoints, ._x, __MACOSX."""
    return name.startswith(".") or name in NOT_CONTENT


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing; the file appears complete when the block ends, or not at all.

    Written to a temporary file beside it, flushed to disk, then renamed. Raises UserError on a full or read-only disk.
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
    """Write ``content`` to ``path``: complete, or not at all."""
    with atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sweep(path: Path) -> None:
    """Remove temporary files that killed writers of ``path`` left behind.

    Call it only while holding the lock on ``path``.
    """
    for left in path.parent.glob(f".{path.name}.*.part"):
        with suppress(OSError):
            left.unlink()


def remedy(path: Path) -> str:
    """How to repair a damaged file: restore it from git if it is published in data/, else delete it."""
    published = path.is_relative_to(paths.data()) and not path.is_relative_to(paths.store())
    return f"restore it with 'git checkout -- {path}'" if published else "delete it"


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The bytes of a regular file.

    Raises UserError if it is something else, OSError if it has more than ``most`` bytes.
    """
    if regular_file(path) and most is not None and path.stat().st_size > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return path.read_bytes()


def read_json(path: Path, form: type[Form]) -> Form:
    """Read a JSON file of data/ as the pydantic model ``form``.

    Raises UserError if it is missing, damaged or does not fit.
    """
    try:
        return form.model_validate_json(read_regular(path, LARGEST))
    except OSError as error:
        reason = error.strerror
    except ValidationError as error:
        reason = first_fault(error)
    raise UserError(f"cannot read {path} ({reason}): restore it with 'git checkout -- {path}'", 1)


def first_fault(error: ValidationError) -> str:
    """The first error of a failed validation, with its place: "rows.3.item: Field required"."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), message]))


def parse_entry(form: type[Form], entry: object, place: str) -> Form:
    """An entry of a TOML file as a pydantic model. Raises UserError: "PLACE at FIELD: what is wrong with it"."""
    try:
        # JSON mode: strict types then accept a list for a tuple, as TOML gives it.
        return form.model_validate_json(json.dumps(entry, default=str))
    except ValidationError as error:
        at = " at " if error.errors()[0]["loc"] else ": "
        raise UserError(f"{place}{at}{first_fault(error)}", 1) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of data/ as a dict. Raises UserError if it is missing or not valid TOML."""
    try:
        return tomllib.loads(read_regular(path, LARGEST).decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; restore it with 'git checkout -- {path}'", 1) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no TOML ({error}): mend that line", 1) from error


def read_csv(path: Path, columns: Mapping[str, type], gaps: Container[str] = ()) -> "pd.DataFrame":
    """Read a CSV file of data/ as a data frame with exactly these columns, of text (str) or numbers (float).

    Text may be empty; so may numbers in the columns ``gaps`` (NaN). Raises UserError if the file is missing, has other
    columns, or has text where a number belongs.
    """
    import pandas as pd  # here: training needs none of it

    restore = f"restore it with 'git checkout -- {path}'"
    try:
        content = BytesIO(read_regular(path, LARGEST))
        table = pd.read_csv(content, dtype={name: kind for name, kind in columns.items() if kind is str})
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UserError(f"cannot read {path} ({reason}): {restore}", 1) from error
    if list(table.columns) != list(columns):
        raise UserError(f"{path} must have the columns {', '.join(columns)}: {restore}", 1)
    for name in (name for name, kind in columns.items() if kind is not str):
        cells = table[name] if name not in gaps else table[name].dropna()
        wrong = cells[~pd.to_numeric(cells, errors="coerce").abs().lt(math.inf)]
        if len(wrong):
            value, row = wrong.iloc[0], 2 + int(str(wrong.index[0]))
            shown = "an empty cell" if pd.isna(value) else repr(str(value)[:60])
            raise UserError(f"{path} has {shown} in row {row}, column {name}, where a number belongs: {restore}", 1)
    return table


def sha256(content: bytes | memoryview) -> str:
    """Hexadecimal SHA-256 of bytes or of a contiguous buffer."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def lock(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive file lock for the block; the system releases it when the process dies.

    If another process holds the lock, calls ``waiting`` once and then waits. Raises UserError on a read-only disk, and
    if ``path`` is not a regular file.
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
