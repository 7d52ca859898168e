"""What there is to draw of one trained network, after the paper's Figs. 3 and 4: kernels, guesses and neighbours.

``training.pictures`` makes it; ``report.features`` draws it. Needs no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import UserError
from .outputs import as_bytes, damage_named, digest_of, read_arrays, write_arrays
from .store import Store

TINY_IMAGENET = "pictures/tiny_imagenet.npz"
"""The published pictures of Tiny ImageNet, below data/: all of its images that this project publishes are in it."""


@dataclass(frozen=True)
class Pictures:
    """One network's kernels, and what it makes of a few test images; everything is an array.

    key: of the run, (). classes: names, (classes,).
    kernels: of conv1, the first column's first, (kernels, 3, height, width) float32. colour: their colour indices.
        columns: how many there are, ().
    images: the test images drawn, (images, side, side, 3) uint8. labels: their classes. guesses, probabilities: the
        most probable classes of each, the most probable first, (images, 5).
    right: of all test images, how many there are, have the right class at first guess, and among the first five, (3,).
    shown: which of ``images`` have neighbours here. near: the training images nearest to each by the last hidden layer,
        then by the pixels, (2, shown, 6, side, side, 3) uint8. near_labels: their classes, (2, shown, 6).
    same: by layer and by pixels, the share of neighbours with the class of their test image, (2,), over the first
        ``queries`` test images, ().
    """

    key: NDArray[np.str_]
    classes: NDArray[np.str_]
    kernels: NDArray[np.float32]
    colour: NDArray[np.float64]
    columns: NDArray[np.int64]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    guesses: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    right: NDArray[np.int64]
    shown: NDArray[np.int64]
    near: NDArray[np.uint8]
    near_labels: NDArray[np.int64]
    same: NDArray[np.float64]
    queries: NDArray[np.int64]

    def by_column(self, of: NDArray[Any]) -> list[NDArray[Any]]:
        """``kernels`` or ``colour``, an array per column."""
        return np.split(of, int(self.columns))


def write(path: Path, pictures: Pictures) -> None:
    """Save pictures, with their SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {each.name: getattr(pictures, each.name) for each in fields(pictures)}
    write_arrays(path, **arrays, sha256=as_bytes(_digest(arrays)))


def read(path: Path) -> Pictures:
    """What ``write`` saved. Raises UserError for a damaged file, FileNotFoundError if there is none."""
    with damage_named(path):
        arrays = read_arrays(path)
        if bytes(arrays.pop("sha256")).hex() != _digest(arrays):
            raise ValueError("does not have its SHA-256")
        return Pictures(**arrays)


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    return digest_of([[name, str(each.dtype), each.shape] for name, each in arrays.items()], *arrays.values())


def published(store: Store) -> Path:
    """The published pictures of Tiny ImageNet; the file need not be there."""
    return store.evidence.parent / TINY_IMAGENET


def faults(store: Store) -> Iterator[str]:
    """A line if the published pictures are damaged, or of a run that is not published."""
    path = published(store)
    try:
        if path.is_file() and (key := read(path).key.item()) not in store.published():
            yield f"{path}: no published run has the key {key}"
    except UserError as damage:
        yield str(damage)
