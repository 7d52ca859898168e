"""Tiny ImageNet: read from its archive, checked against a pinned digest, decoded once, mapped from disk."""

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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ValidationError
from tqdm.auto import tqdm

from ...common import paths
from ...common.errors import UserError
from ...common.fields import STRICT
from ...common.files import atomic, disk_error, is_disk_error, lock, sha256, sweep, write_atomic
from ...experiments.config import TINY_IMAGENET_CLASSES, TINY_IMAGENET_SIDE, TINY_IMAGENET_TRAIN_IMAGES
from .dataset import Dataset, Records

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
"""Its home: Stanford's course CS231n, which made it of ImageNet."""
ROOT = "tiny-imagenet-200"
FILE = "tiny-imagenet.npy"
SCRATCH = ".fetch-tiny-imagenet-"
LARGEST = 4 * 2**20
"""Bytes of a file of the archive: words.txt has 2.7 million, an image some thousand."""

WNIDS, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"
TRAIN = re.compile(r"train/([^/]+)/images/([^/.][^/]*\.JPEG)")
VAL = re.compile(r"val/images/([^/.][^/]*\.JPEG)")

DAMAGE = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, ValueError, RuntimeError)
"""What tarfile and zipfile raise for an archive that is damaged, cut off, encrypted or none. NotImplementedError, for a
compression that zipfile lacks, is a RuntimeError."""


@dataclass(frozen=True)
class Spec:
    """What an archive must hold: classes, images a class for training and validation, their side in pixels.

    digest: SHA-256 of its files, see ``_digest``. Of the files and not of their pixels, because decoders round
    differently.
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


class Description(BaseModel):
    """What stands beside the stored images.

    files, stored: SHA-256 of the files that they were decoded from, and of the stored bytes. pillow: the version that
    decoded them. wnids, words: WordNet's number and its words for each class, in the order of the labels.
    """

    model_config = STRICT
    files: str
    stored: str
    pillow: str
    wnids: tuple[str, ...]
    words: tuple[str, ...]


class _Member(NamedTuple):
    """A file of an archive or folder: its path below tiny-imagenet-200, and how to read it."""

    name: str
    read: Callable[[], bytes]


class _Found(NamedTuple):
    """What an archive holds: its classes in order, their words, the place of each image, and each image's label."""

    wnids: tuple[str, ...]
    words: tuple[str, ...]
    places: dict[str, int]
    labels: NDArray[np.uint8]
    annotations: list[str]


def load(spec: Spec = SPEC) -> Dataset:
    """The stored images, mapped from disk, in channels-last memory; their digest is compared once per process.

    Training images stand in turns, the first of every class before the second of any, classes in the order of their
    WordNet numbers; the validation images are the test images. Raises UserError that says what to do where they are
    absent or damaged.
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
    """What is written beside the stored images. Raises OSError, and ValidationError for a damaged one."""
    return Description.model_validate_json(_path().with_suffix(".json").read_bytes())


def get(source: Path | None, progress: bool = True, spec: Spec = SPEC) -> Dataset:
    """Tiny ImageNet from ``source``, stored anew; where that is None, what is stored already, else fetched.

    source: the distributed zip, a tar of any compression that tarfile reads, or the extracted folder. Raises UserError
    that names the archive and the file at fault; nothing half-written stays.
    """
    if source is not None:
        _store(source.expanduser(), progress, spec)
        return load(spec)
    try:
        return load(spec)
    except UserError:
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
    found = _survey(source, spec)
    pixels, digest = _decode(source, found, progress, spec)
    if digest != spec.digest:
        raise _bad(source, f"its files are not those of Tiny ImageNet: their digest is {digest}, not {spec.digest}")
    records = np.concatenate([pixels.reshape(-1), found.labels])
    description = Description(
        files=digest,
        stored=sha256(records.data),
        pillow=PIL.__version__,
        wnids=found.wnids,
        words=found.words,
    )
    path = _path()
    with lock(path.with_suffix(".lock")):
        for each in (path, path.with_suffix(".json")):
            sweep(each)
        with atomic(path) as file:
            np.save(file, records, allow_pickle=False)
        write_atomic(path.with_suffix(".json"), description.model_dump_json(indent=1) + "\n")


def _fetch(progress: bool, spec: Spec) -> None:
    """Fetch the zip into the data folder, store what it holds, and delete it."""
    folder = paths.downloads()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{SCRATCH}*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        scratch = TemporaryDirectory(prefix=SCRATCH, dir=folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    with scratch as place:
        archive = Path(place) / f"{ROOT}.zip"
        try:
            with urllib.request.urlopen(URL, timeout=60) as answer, archive.open("wb") as file:
                size = int(answer.headers.get("Content-Length") or 0)
                with tqdm(total=size, desc="fetching", unit="B", unit_scale=True, disable=not progress) as bar:
                    while part := answer.read(2**20):
                        file.write(part)
                        bar.update(len(part))
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, OSError) and is_disk_error(error):
                raise disk_error(error, folder) from error
            reason = getattr(error, "reason", None) or error or type(error).__name__
            raise UserError(
                f"cannot fetch {URL} ({reason}): download it where there is a network, and run "
                f"'alexnet-repro data tiny-imagenet --from {ROOT}.zip'",
                1,
            ) from error
        _store(archive, progress, spec)


def _bad(source: Path, fault: str) -> UserError:
    return UserError(f"{source}: {fault}; get it again from {URL}", 1)


@contextmanager
def _explained(source: Path) -> Iterator[None]:
    """What goes wrong while ``source`` is read becomes a UserError."""
    try:
        yield
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or error
        raise _bad(source, f"it is damaged, cut off, or no zip, tar or folder ({reason})") from error


def _members(source: Path) -> Iterator[_Member]:
    """Every plain file of the archive or folder, in its order; nothing is extracted to disk.

    Raises UserError for a path that leaves the archive, for a link or another special file, and for a file that is
    larger than any of Tiny ImageNet.
    """
    name_one = "name the zip, tar or folder of Tiny ImageNet"
    try:
        kind = source.stat().st_mode
    except OSError as error:
        raise UserError(f"cannot read {source} ({error.strerror}): {name_one}") from error
    if stat.S_ISDIR(kind):
        return _of_folder(source)
    if not stat.S_ISREG(kind):
        raise UserError(f"{source} is neither a file nor a folder: {name_one}")
    return _of_zip(source) if zipfile.is_zipfile(source) else _of_tar(source)


def _of_folder(source: Path) -> Iterator[_Member]:
    root = source / ROOT if (source / ROOT).is_dir() else source
    wanted = [*root.glob("*.txt"), *root.glob("val/*.txt"), *root.glob("val/images/*"), *root.glob("train/*/images/*")]
    for path in sorted(wanted):
        about, name = path.stat(), path.relative_to(root).as_posix()
        if _plain(source, name, stat.S_IFMT(about.st_mode), about.st_size):
            yield _Member(name, path.read_bytes)


def _of_zip(source: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFDIR if entry.is_dir() else stat.S_IFMT(entry.external_attr >> 16) or stat.S_IFREG
            if _plain(source, entry.filename, kind, entry.file_size):
                yield _Member(_below_root(entry.filename), lambda entry=entry: archive.read(entry))  # type: ignore[misc]


def _of_tar(source: Path) -> Iterator[_Member]:
    with tarfile.open(source, "r|*") as archive:
        for entry in archive:
            kind = stat.S_IFDIR if entry.isdir() else stat.S_IFREG if entry.isreg() else 0
            if _plain(source, entry.name, kind, entry.size):
                yield _Member(_below_root(entry.name), lambda entry=entry: archive.extractfile(entry).read())  # type: ignore


def _plain(source: Path, name: str, kind: int, size: int) -> bool:
    """Whether a member is a file; False for a folder. Raises UserError for what no such archive holds."""
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise _bad(source, f"the path {name!r} leaves the archive")
    if kind == stat.S_IFDIR:
        return False
    if kind != stat.S_IFREG:
        raise _bad(source, f"{name} is a link or another special file")
    if size > LARGEST:
        raise _bad(source, f"{name} has {size:,} bytes, more than any file of Tiny ImageNet")
    return True


def _below_root(name: str) -> str:
    """The path of a member below tiny-imagenet-200."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[1:] if parts[:1] == (ROOT,) else parts)


def _survey(source: Path, spec: Spec) -> _Found:
    """Look through the archive without decoding. Raises UserError where an image or a label is missing or too many."""
    images: list[str] = []
    texts: dict[str, str] = {}
    with _explained(source):
        for name, read in _members(source):
            if name in (WNIDS, WORDS, ANNOTATIONS):
                texts[name] = read().decode()
            elif TRAIN.fullmatch(name) or VAL.fullmatch(name):
                images.append(name)
    for name in (WNIDS, WORDS, ANNOTATIONS):
        if name not in texts:
            raise _bad(source, f"it has no {name}")
    twice = [name for name, count in Counter(images).items() if count > 1]
    if twice:
        raise _bad(source, f"{twice[0]} stands in it twice")
    wnids = tuple(sorted(texts[WNIDS].split()))
    if len(wnids) != spec.classes or len(set(wnids)) != spec.classes:
        raise _bad(source, f"{WNIDS} names {len(set(wnids))} classes in {len(wnids)} lines, not {spec.classes}")
    train = _training(source, images, wnids, spec)
    val, labels, annotations = _validation(source, images, texts[ANNOTATIONS], wnids, spec)
    words = dict(line.split("\t", 1) for line in texts[WORDS].splitlines() if "\t" in line)
    names = tuple(words.get(wnid, wnid).strip() for wnid in wnids)
    everything = np.array([place % spec.classes for place in range(len(train))] + labels, dtype=np.uint8)
    places = {name: place for place, name in enumerate([*train, *val])}
    return _Found(wnids, names, places, everything, annotations)


def _training(source: Path, images: list[str], wnids: tuple[str, ...], spec: Spec) -> list[str]:
    """The training images in turns: the first of every class, then the second of every class, and so on."""
    by_class: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for name in images:
        match = TRAIN.fullmatch(name)
        if match:
            if match[1] not in by_class:
                raise _bad(source, f"{name} is of the class {match[1]!r}, which {WNIDS} does not name")
            by_class[match[1]].append(name)
    for wnid, names in by_class.items():
        if len(names) != spec.train:
            raise _bad(source, f"the class {wnid} has {len(names)} training images, not {spec.train}")
        names.sort(key=_by_number)
    return [by_class[wnid][turn] for turn in range(spec.train) for wnid in wnids]


def _validation(
    source: Path, images: list[str], text: str, wnids: tuple[str, ...], spec: Spec
) -> tuple[list[str], list[int], list[str]]:
    """The validation images by number, their labels, and the annotations as lines "file class"."""
    label = {wnid: number for number, wnid in enumerate(wnids)}
    wanted: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, _, rest = line.partition("\t")
        wnid = rest.split("\t")[0].strip()
        if wnid not in label:
            raise _bad(source, f"{ANNOTATIONS}, line {number}, names the unknown class {wnid!r}")
        if name in wanted:
            raise _bad(source, f"{ANNOTATIONS}, line {number}, names {name!r} again")
        wanted[name] = wnid
    here = {match[1] for each in images if (match := VAL.fullmatch(each))}
    if here - wanted.keys():
        raise _bad(source, f"val/images/{min(here - wanted.keys())} has no label in {ANNOTATIONS}")
    if wanted.keys() - here:
        raise _bad(source, f"val/images/{min(wanted.keys() - here)} is missing, which {ANNOTATIONS} names")
    count = Counter(wanted.values())
    for wnid in wnids:
        if count[wnid] != spec.val:
            raise _bad(source, f"the class {wnid} has {count[wnid]} validation images, not {spec.val}")
    names = sorted(wanted, key=_by_number)
    return (
        [f"val/images/{name}" for name in names],
        [label[wanted[name]] for name in names],
        [f"{name} {wnid}" for name, wnid in sorted(wanted.items())],
    )


def _by_number(name: str) -> tuple[int, str]:
    """The order of names that differ in their number: val_9 before val_10."""
    return len(name), name


def _decode(source: Path, found: _Found, progress: bool, spec: Spec) -> tuple[Records, str]:
    """All pixels (n, side, side, 3), each image in its place, and the digest of all files."""
    pixels = np.empty((len(found.places), spec.side, spec.side, 3), dtype=np.uint8)
    digests = {}
    total = len(found.places)
    with _explained(source), tqdm(total=total, desc="decoding", unit=" images", disable=not progress) as bar:
        for name, read in _members(source):
            if name in found.places:
                content = read()
                digests[name] = sha256(content)
                pixels[found.places[name]] = _pixels(source, name, content, spec.side)
                bar.update()
    if len(digests) != total:
        raise _bad(source, "it changed while it was read")
    return pixels, _digest(digests, found.annotations)


def _digest(digests: dict[str, str], annotations: list[str]) -> str:
    """SHA-256 of lines: "name digest" of every image by name, then "file class" of every validation image by file."""
    lines = [f"{name} {digest}" for name, digest in sorted(digests.items())] + annotations
    return sha256("".join(f"{line}\n" for line in lines).encode())


def _pixels(source: Path, name: str, content: bytes, side: int) -> Records:
    """The pixels (side, side, 3) of a JPEG, grey ones as RGB. Raises UserError that names the file."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.size == (side, side):
                return np.asarray(image.convert("RGB"))
            width, height = image.size
        fault = f"has {width} x {height} pixels, not {side} x {side}"
    except Image.UnidentifiedImageError:
        fault = "is no JPEG"
    except Exception as error:  # a decoder meets a damaged file with whatever comes to hand
        fault = f"is damaged or cut off ({error})"
    raise _bad(source, f"{name} {fault}")
