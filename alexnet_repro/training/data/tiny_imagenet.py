"""Tiny ImageNet: read an archive, check it against a pinned digest, decode it once, and map the pixels from disk."""

import http.client
import io
import lzma
import re
import shutil
import stat
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from tqdm.auto import tqdm

from ...common import paths
from ...common.errors import UserError
from ...common.fields import Strict
from ...common.files import atomic, disk_error, is_disk_error, lock, sha256, sweep, write_atomic
from ...experiments.config import TINY_IMAGENET_CLASSES, TINY_IMAGENET_SIDE, TINY_IMAGENET_TRAIN_IMAGES
from .archives import scratch_folder
from .dataset import Dataset

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
"""Its home: Stanford's course CS231n, which made it of ImageNet."""
ROOT = "tiny-imagenet-200"
FILE = "tiny-imagenet.npy"
SCRATCH = ".tiny-imagenet-fetch-"
LARGEST = 4 * 2**20
"""Bytes. No file of the archive is larger: words.txt has 2.7 million."""

WNIDS, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"
USED = re.compile(rf"{WNIDS}|{WORDS}|{ANNOTATIONS}|train/[^/]+/images/[^/]+\.JPEG|val/images/[^/]+\.JPEG")

_Member = tuple[str, int, int, Callable[[], bytes]]
"""A file of an archive: its path, its kind as ``stat.S_IFMT`` gives it, its size in bytes, and how to read it."""

DAMAGE = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, ValueError, RuntimeError)
"""What tarfile and zipfile raise for a file that is damaged, encrypted or no archive. NotImplementedError, for a
compression that zipfile lacks, is a RuntimeError."""


@dataclass(frozen=True)
class Spec:
    """What an archive must hold: the number of classes, of training and validation images per class, and their side.

    digest: SHA-256 of the lines "path SHA-256", one for every image by path, then "file class" for every validation
    image by file. It is of the files and not of their pixels, because decoders round differently.
    """

    classes: int
    train: int
    val: int
    side: int
    digest: str


SPEC = Spec(
    classes=TINY_IMAGENET_CLASSES,
    train=TINY_IMAGENET_TRAIN_IMAGES // TINY_IMAGENET_CLASSES,
    val=50,
    side=TINY_IMAGENET_SIDE,
    digest="521556d9a5c67c58e327da86bc9d89f618fc5f3bb0337d21711d955e56e60446",
)
"""Tiny ImageNet as it is distributed."""


class Description(Strict):
    """The JSON file beside the stored images.

    files: SHA-256 of the image files, see Spec.digest. stored: SHA-256 of the stored bytes. pillow: the version that
    decoded the images. wnids, words: WordNet id and name of each class, in the order of the labels.
    """

    files: str
    stored: str
    pillow: str
    wnids: tuple[str, ...]
    words: tuple[str, ...]


def load(spec: Spec = SPEC) -> Dataset:
    """The stored images, mapped from disk in channels-last order; each process checks their digest once.

    The training images are ordered by number, then by class: the first of every class, the second of every class, and
    so on; classes are ordered by WordNet id. The test images are the validation images. Raises UserError with the
    remedy if they are absent or damaged.
    """
    path = _path()
    try:
        about = path.stat()
        return _load(path, spec, (about.st_ino, about.st_size, about.st_mtime_ns))
    except FileNotFoundError as error:
        raise UserError(f"Tiny ImageNet is not at {path}: run 'alexnet-repro data tiny-imagenet'", 1) from error
    except (ValueError, EOFError) as error:
        reason = "no description" if isinstance(error, ValidationError) else error
        raise UserError(f"{path} is damaged ({reason}): run 'alexnet-repro data tiny-imagenet' again", 1) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; make it readable", 1) from error


def describe() -> Description:
    """The description of the stored images. Raises OSError, and ValidationError if it is damaged."""
    return Description.model_validate_json(_path().with_suffix(".json").read_bytes())


def get(source: Path | None, progress: bool = True, spec: Spec = SPEC) -> Dataset:
    """Read and store Tiny ImageNet from ``source``; if None, use the stored images, or fetch them if there are none.

    source: the distributed zip, a tar of any compression that tarfile reads, or the extracted folder. Raises UserError
    that names the archive and what is wrong with it.
    """
    if source is not None:
        _store(source.expanduser(), progress, spec)
        return load(spec)
    with suppress(UserError):
        return load(spec)
    with lock(_path().with_suffix(".fetch.lock")):
        with suppress(UserError):
            return load(spec)  # another process has fetched it
        _fetch(progress, spec)
    return load(spec)


def _path() -> Path:
    return paths.downloads() / FILE


@cache
def _load(path: Path, spec: Spec, version: tuple[int, ...]) -> Dataset:
    """The images at ``path``. ValueError for damage; ``version`` changes with the file."""
    description = describe()
    # Not "r": torch warns of memory that can't be written. Nothing writes, so processes share it all the same.
    stored = np.load(path, mmap_mode="c", allow_pickle=False)
    train, tests, side = spec.classes * spec.train, spec.classes * spec.val, spec.side
    pixels = (train + tests) * side * side * 3
    if stored.shape != (pixels + train + tests,) or stored.dtype != np.uint8:
        raise ValueError(f"shape {stored.shape} of {stored.dtype}")
    if description.files != spec.digest:
        raise ValueError("made of other files than those that are pinned")
    if sha256(stored.data) != description.stored:
        raise ValueError("does not have the SHA-256 that is written beside it")
    images = stored[:pixels].reshape(-1, side, side, 3).transpose(0, 3, 1, 2)
    labels = stored[pixels:]
    return Dataset(images[:train], labels[:train], images[train:], labels[train:], description.stored)


def _store(source: Path, progress: bool, spec: Spec) -> None:
    """Read and decode ``source`` into the data folder."""
    try:
        files = _read(source, progress)
        wnids, names, labels = _contents(source, files, spec)
        words = dict(line.split("\t", 1) for line in files[WORDS].decode().splitlines() if "\t" in line)
        pixels = np.empty((len(names), spec.side, spec.side, 3), dtype=np.uint8)
        for place, name in enumerate(tqdm(names, desc="decoding", unit=" images", disable=not progress)):
            with Image.open(io.BytesIO(files[name]), formats=("JPEG",)) as image:
                pixels[place] = np.asarray(image.convert("RGB"))
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or error
        raise _bad(source, f"it is damaged, cut off, or no zip, tar or folder ({reason})") from error
    records = np.concatenate([pixels.reshape(-1), labels])
    description = Description(
        files=spec.digest,
        stored=sha256(records.data),
        pillow=PIL.__version__,
        wnids=wnids,
        words=tuple(words.get(wnid, wnid).strip() for wnid in wnids),
    )
    path = _path()
    with lock(path.with_suffix(".lock")):
        for each in (path, path.with_suffix(".json")):
            sweep(each)
        with atomic(path) as file:
            np.save(file, records, allow_pickle=False)
        write_atomic(path.with_suffix(".json"), description.model_dump_json(indent=1) + "\n")


def _contents(
    source: Path, files: dict[str, bytes], spec: Spec
) -> tuple[tuple[str, ...], list[str], NDArray[np.uint8]]:
    """Class names (wnids) in the order of their labels; names of the images, training first; labels of the images.

    Raises UserError where a file is missing, and where the digest of all is not ``spec.digest``.
    """
    _check(source, [WNIDS, WORDS, ANNOTATIONS], files)
    wnids = tuple(sorted(files[WNIDS].decode().split()))
    train = [f"train/{wnid}/images/{wnid}_{number}.JPEG" for number in range(spec.train) for wnid in wnids]
    val = [f"val_{number}.JPEG" for number in range(spec.classes * spec.val)]
    names = train + [f"val/images/{name}" for name in val]
    _check(source, names, files)
    wnid_of = dict(line.split("\t")[:2] for line in files[ANNOTATIONS].decode().splitlines())
    lines = [f"{name} {sha256(files[name])}" for name in sorted(names)]
    lines += [f"{name} {wnid}" for name, wnid in sorted(wnid_of.items())]
    digest = sha256("".join(f"{line}\n" for line in lines).encode())
    if digest != spec.digest:
        raise _bad(source, f"its files are not those of Tiny ImageNet: their digest is {digest}, not {spec.digest}")
    labels = [place % spec.classes for place in range(len(train))] + [wnids.index(wnid_of[name]) for name in val]
    return wnids, names, np.array(labels, dtype=np.uint8)


def _check(source: Path, names: list[str], files: dict[str, bytes]) -> None:
    missing = [name for name in names if name not in files]
    if missing:
        raise _bad(source, f"{missing[0]} is missing, one of {len(missing):,} files")


def _fetch(progress: bool, spec: Spec) -> None:
    """Fetch the zip into the data folder, store what it holds, and delete it."""
    with scratch_folder(SCRATCH) as place:
        archive = place / f"{ROOT}.zip"
        try:
            with urllib.request.urlopen(URL, timeout=60) as answer, archive.open("wb") as file:
                size = int(answer.headers.get("Content-Length") or 0)
                with tqdm.wrapattr(answer, "read", total=size, desc="fetching", disable=not progress) as body:
                    shutil.copyfileobj(body, file, 2**20)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, OSError) and is_disk_error(error):
                raise disk_error(error, place.parent) from error
            reason = getattr(error, "reason", None) or error or type(error).__name__
            raise UserError(
                f"cannot fetch {URL} ({reason}): download it where there is a network, and run "
                f"'alexnet-repro data tiny-imagenet --from {ROOT}.zip'",
                1,
            ) from error
        _store(archive, progress, spec)


def _bad(source: Path, fault: str) -> UserError:
    return UserError(f"{source}: {fault}; get it again from {URL}", 1)


def _read(source: Path, progress: bool) -> dict[str, bytes]:
    """Name below tiny-imagenet-200 -> content, of the files that are used; nothing is extracted to disk.

    Raises UserError for a path that leaves the archive, for a link or another special file, and for a file that is
    larger than any of Tiny ImageNet.
    """
    name_one = "name the zip, tar or folder of Tiny ImageNet"
    try:
        kind = source.stat().st_mode
    except OSError as error:
        raise UserError(f"cannot read {source} ({error.strerror}): {name_one}") from error
    if not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
        raise UserError(f"{source} is neither a file nor a folder: {name_one}")
    members = _of_folder if stat.S_ISDIR(kind) else _of_zip if zipfile.is_zipfile(source) else _of_tar
    files: dict[str, bytes] = {}
    for path, kind, size, read in tqdm(members(source), desc="reading", unit=" files", disable=not progress):
        parts = PurePosixPath(path).parts
        if path.startswith("/") or ".." in parts:
            raise _bad(source, f"the path {path!r} leaves the archive")
        if kind not in (stat.S_IFDIR, stat.S_IFREG):
            raise _bad(source, f"{path} is a link or another special file")
        if kind == stat.S_IFREG and size > LARGEST:
            raise _bad(source, f"{path} has {size:,} bytes, more than any file of Tiny ImageNet")
        name = "/".join(parts[parts[:1] == (ROOT,) :])
        if kind == stat.S_IFREG and USED.fullmatch(name):
            if name in files:
                raise _bad(source, f"{name} stands in it twice")
            files[name] = read()
    return files


def _of_folder(source: Path) -> Iterator[_Member]:
    root = source / ROOT if (source / ROOT).is_dir() else source
    for pattern in ("*.txt", "val/*.txt", "val/images/*", "train/*/images/*"):
        for path in root.glob(pattern):
            about = path.stat()
            yield path.relative_to(root).as_posix(), stat.S_IFMT(about.st_mode), about.st_size, path.read_bytes


def _of_zip(source: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFDIR if entry.is_dir() else stat.S_IFMT(entry.external_attr >> 16) or stat.S_IFREG
            yield entry.filename, kind, entry.file_size, partial(archive.read, entry)


def _of_tar(source: Path) -> Iterator[_Member]:
    with tarfile.open(source, "r|*") as archive:
        for entry in archive:
            kind = stat.S_IFDIR if entry.isdir() else stat.S_IFREG if entry.isreg() else 0
            file = archive.extractfile(entry) if entry.isreg() else None
            yield entry.name, kind, entry.size, file.read if file else bytes
