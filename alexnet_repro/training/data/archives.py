"""Find the image files inside tar archives without unpacking them. A damaged archive is refused as a whole."""

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from ...common import paths
from ...common.errors import UserError
from ...common.files import disk_error, is_hidden, regular_file

MOST = 2**28
"""Bytes of a decompressed development kit at most; ILSVRC's have less than 30 MB."""
PADDING = 2**20
"""Bytes of zeros at the end of an archive at most; tar pads to a multiple of 10,240."""
OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""First bytes of a compressed file -> the function that opens it."""


class File(NamedTuple):
    """A file of ``size`` bytes: at ``path``, or at ``offset`` in that archive. name: path below the class folder."""

    name: str
    path: str
    offset: int
    size: int


def packed(path: Path) -> list[File]:
    """The visible files of an archive, by their base names. Raises UserError if it is damaged; OSError."""
    with _open(path) as file, _whole(path):
        return _files(file, path, 0)


def list_class_archives(path: Path) -> dict[str, list[File]]:
    """The files of an archive of class archives (n01440764.tar, ...), by class.

    Raises UserError if an archive is damaged, or holds anything beside the class archives; OSError.
    """
    found: dict[str, list[File]] = {}
    with _open(path) as file, _whole(path), tarfile.open(fileobj=file, mode="r:") as archive:
        for member in _members(archive, path):
            name, inner = Path(member.name), archive.extractfile(member)
            if name.suffix != ".tar" or inner is None:
                raise UserError(f"{path} holds {member.name}, which is no archive of a class: unpack it into train/", 1)
            if name.stem in found:
                raise UserError(f"{path} holds {name.name} twice: unpack it into train/, and keep one", 1)
            found[name.stem] = _files(inner, path, member.offset_data)
    return found


def contents(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Read the ``wanted`` files of a small archive, compressed or not. Raises UserError if it is damaged; OSError."""
    with _open(path) as file, _whole(path):
        head = file.read(8)
        file.seek(0)
        opener = next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)
        content = (opener(file) if opener else file).read(MOST + 1)
        if len(content) > MOST:
            raise UserError(f"{path} holds more than {MOST:,} bytes, as no development kit does: take it away", 1)
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            files = [(PurePosixPath(member.name).name, member) for member in _members(archive, path)]
        return {
            name: content[member.offset_data : member.offset_data + member.size]
            for name, member in files
            if wanted(name)
        }


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A new folder in the data folder, removed at the end; those that killed processes have left are removed first.

    Two processes must not use one prefix at the same time. Raises UserError on a full or read-only disk.
    """
    folder = paths.downloads()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        scratch = tempfile.TemporaryDirectory(prefix=prefix, dir=folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    with scratch as place:
        yield Path(place)


def _files(file: IO[bytes], path: Path, start: int) -> list[File]:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        return [
            File(PurePosixPath(member.name).name, str(path), start + member.offset_data, member.size)
            for member in _members(archive, path)
        ]


def _members(archive: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    """The visible files of an archive. Raises ValueError if it is damaged.

    tarfile alone would take a damaged header, or zeros in an incomplete download, for the end of the archive, and would
    go backwards for a negative size. Images would be lost or repeated.
    """
    file: Any = archive.fileobj
    end = file.seek(0, io.SEEK_END)
    for member in archive:
        if not 0 <= member.size <= end - member.offset_data:
            raise ValueError(f"{member.name} does not end in it")
        if member.isdir() or any(is_hidden(part) for part in PurePosixPath(member.name).parts if part != ".."):
            continue
        if not member.isreg() or member.issparse():
            raise UserError(f"{path} holds {member.name}, which is no plain file: unpack it", 1)
        yield member
    file.seek(archive.offset)
    rest = file.read(PADDING + 1)
    if not tarfile.BLOCKSIZE <= len(rest) <= PADDING or any(rest):
        raise ValueError(f"it breaks off at byte {archive.offset:,} of {end:,}")


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn all errors of tarfile and the decompressors into a UserError."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"the archive {path} is damaged ({why}): fetch it again, unpacked of any .gz", 1) from error


def _open(path: Path) -> IO[bytes]:
    if not regular_file(path):
        raise UserError(f"{path} has gone: put it back and run this again", 1)
    return path.open("rb")
