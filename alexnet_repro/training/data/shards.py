"""Prepared images on disk in shards: .npy files of about a thousand images, written atomically, read image by image."""

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...common.errors import UserError
from ...common.files import atomic, regular_file, write_atomic
from ...experiments.manifest import Manifest
from .decode import BYTES, Pixels, Unreadable, square
from .image_folders import Source

IMAGES = 1_024
"""Source images per shard: 200 MB at 256 x 256 pixels."""
HEADER = 128
"""Bytes of a shard's .npy header, for any shape that occurs."""


class Written(NamedTuple):
    """A written shard.

    labels: of the images in it. sha256: of their pixels. color_sums, color_products: sums over all pixels of the three
    channels and of their products, exact. left_out, remarks: (file, reason) of source files.
    """

    file: str
    labels: list[int]
    sha256: str
    color_sums: list[int]
    color_products: list[list[int]]
    left_out: list[tuple[str, str]]
    remarks: list[tuple[str, str]]


def write(path: Path, sources: Sequence[Source], size: int, tick: Callable[[], object] = lambda: None) -> Written:
    """Prepare ``sources`` into the shard at ``path``; ``tick`` is called after each of them.

    Two files beside it hold the sum of its images and, written last, ``Written`` as JSON: without that the shard is
    incomplete. Raises UserError on a full or read-only disk.
    """
    pixel_sums = np.zeros((size, size, 3), np.int64)
    products = np.zeros((3, 3), np.int64)
    digest = hashlib.sha256()
    labels: list[int] = []
    left_out, remarks = [], []
    with atomic(path) as file:
        file.write(bytes(HEADER))
        for source in sources:
            try:
                pixels, said = square(read(source), source.name, size)
            except (Unreadable, OSError) as error:
                left_out.append((source.name, str(error)))
            except MemoryError as error:
                raise UserError(
                    f"out of memory at {source.name}: run it again to resume, with fewer --workers, or take it out", 1
                ) from error
            else:
                content = pixels.tobytes()
                file.write(content)
                digest.update(content)
                labels.append(source.label)
                pixel_sums += pixels
                products += _products(pixels)
                remarks += [(source.name, remark) for remark in said]
            tick()
        file.seek(0)
        file.write(_header((len(labels), size, size, 3)))
    with atomic(_sums(path)) as file:
        np.save(file, pixel_sums, allow_pickle=False)
    sums = pixel_sums.sum(axis=(0, 1)).tolist()
    written = Written(path.name, labels, digest.hexdigest(), sums, products.tolist(), left_out, remarks)
    write_atomic(_note(path), json.dumps(written._asdict()))
    return written


def read(source: Source) -> bytes:
    """The bytes of an image file. Raises Unreadable for a file larger than any image; OSError."""
    if source.size > BYTES:
        raise Unreadable(f"more than {BYTES:,} bytes")
    return source.read()


def whole(path: Path) -> Written | None:
    """The ``Written`` of the shard at ``path``; None if it is incomplete or damaged."""
    try:
        if not (regular_file(_note(path)) and regular_file(path) and regular_file(_sums(path))):
            return None
        values = json.loads(_note(path).read_text(encoding="utf-8"))
        values |= {name: [(str(file), str(why)) for file, why in values[name]] for name in ("left_out", "remarks")}
        values["labels"] = np.array(values["labels"], np.int32).reshape(-1).tolist()
        values["color_sums"] = _numbers(values["color_sums"], (3,))
        values["color_products"] = _numbers(values["color_products"], (3, 3))
        if not isinstance(values["sha256"], str) or values["file"] != path.name:
            raise ValueError(path)
        return Written(**values)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _numbers(values: Any, shape: tuple[int, ...]) -> list[Any]:
    numbers = np.array(values)
    if numbers.shape != shape or numbers.dtype != np.int64:
        raise ValueError(f"{numbers.dtype} of shape {numbers.shape}")
    return numbers.tolist()


def pixel_sums(path: Path) -> NDArray[np.int64]:
    """The sum of a shard's images: (size, size, 3)."""
    return np.load(_sums(path), allow_pickle=False)


def remove_notes(path: Path) -> None:
    """Remove the two files beside a shard, which only the preparation needs."""
    _note(path).unlink(missing_ok=True)
    _sums(path).unlink(missing_ok=True)


def digest(path: Path) -> str:
    """SHA-256 of the pixels of a shard. Raises OSError, and UserError if it is a folder or a device."""
    regular_file(path)
    with path.open("rb") as file:
        file.seek(HEADER)
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums(folder: Path, manifest: Manifest) -> NDArray[np.int64]:
    """The sum of the training images, (size, size, 3). Raises UserError if it is missing or damaged."""
    return _load(folder, manifest.pixel_sums, (manifest.size, manifest.size, 3), np.int64)


def _load(folder: Path, file: str, shape: tuple[int, ...], kind: type) -> NDArray[Any]:
    """Load an array of known shape and type. Raises UserError if the file is different."""
    path = folder / file
    try:
        size = HEADER + math.prod(shape) * np.dtype(kind).itemsize
        if regular_file(path) and os.stat(path).st_size != size:
            raise ValueError(f"{file} has the wrong size")
        array = np.load(path, allow_pickle=False)
        if array.shape != shape or array.dtype != kind:
            raise ValueError(f"{file} has shape {array.shape}")
        return array
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: Exception) -> UserError:
    """The error for a folder of prepared images that does not match its manifest."""
    return UserError(
        f"the images in {folder} are damaged ({error}): delete that folder and run 'alexnet-repro data imagenet "
        "--from DIR' again",
        1,
    )


class Shards:
    """The prepared images of one part (train, val or test), and their ``labels`` (n,) int64.

    Raises UserError if a file is missing or does not have the size that follows from the manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest, part: str) -> None:
        self.size, here = manifest.size, manifest.parts[part]
        self._bytes = self.size**2 * 3
        self._paths = [str(folder / shard.file) for shard in here.shards]
        self._ends = np.cumsum([shard.images for shard in here.shards])
        try:
            for path, shard in zip(self._paths, here.shards, strict=True):
                if os.stat(path).st_size != HEADER + shard.images * self._bytes:
                    raise ValueError(f"{path} has the wrong size")
        except (OSError, ValueError) as error:
            raise damaged(folder, error) from error
        self.labels = _load(folder, here.labels, (here.images,), np.int32).astype(np.int64)
        if self.labels.size and not 0 <= self.labels.min() <= self.labels.max() < len(manifest.classes):
            raise damaged(folder, ValueError(f"{here.labels} has labels of no class"))

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: Sequence[int] | NDArray[np.int64], into: Pixels, top: int = 0) -> None:
        """Copy rows of the images at ``index``, from row ``top`` on, into an array (len(index), rows, size, 3).

        Each image is read in one system call: a memory map would read a cold disk page by page, fifty times as often.
        """
        for row, number in zip(into, index, strict=True):
            shard = int(np.searchsorted(self._ends, number, side="right"))
            place = number - (self._ends[shard - 1] if shard else 0)
            try:
                with open(self._paths[shard], "rb", buffering=0) as file:
                    file.seek(HEADER + int(place) * self._bytes + top * self.size * 3)
                    if file.readinto(row.data) != row.nbytes:
                        raise OSError("it ends too early")
            except OSError as error:
                raise UserError(
                    f"cannot read {self._paths[shard]} ({error}): mend that, and resume the run", 1
                ) from error


def _products(pixels: Pixels) -> NDArray[np.int64]:
    """Sums over an image of the products of each two channels, (3, 3): exact, because float64 holds such integers."""
    colors = pixels.reshape(-1, 3).astype(np.float64)
    return (colors.T @ colors).astype(np.int64)


def _header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    values: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, values)
    assert len(file.getvalue()) == HEADER
    return file.getvalue()


def _sums(path: Path) -> Path:
    return path.with_suffix(".sums.npy")


def _note(path: Path) -> Path:
    return path.with_suffix(".json")
