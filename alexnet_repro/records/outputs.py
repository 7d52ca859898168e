"""Softmax outputs of the runs that form ensembles, as .npz files, and the error of their average (section 6, Table 2).

For other runs only the predicted classes are kept: see ``predictions``.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.errors import UserError
from ..common.files import read_regular, remedy, sha256, write_atomic
from ..experiments.config import RunConfig
from ..experiments.registry import study
from .metrics import scored_metric
from .record import RunRecord
from .store import Store

MEMBERS = "ensemble"
"""The study whose runs form the ensembles."""
FOLDER = "predictions"

DAMAGE = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError, TypeError, IndexError, AttributeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, SyntaxError, struct.error),
)
"""What np.load and zipfile raise for a corrupt .npz file."""

LARGEST = 64 * 2**20
"""Most bytes of an archive, packed or not; that of 10,000 images and ten classes has 210,000."""

ROUNDED = 5
"""So many test images may change between right and wrong when outputs are rounded to half precision, or computed on
another processor."""

Outputs = npt.NDArray[np.float16]
Labels = npt.NDArray[np.uint8]


def published(store: Store, key: str) -> Path:
    """The published predictions of a run."""
    return store.evidence.parent / FOLDER / f"{key}.npz"


def working(store: Store, key: str) -> Path:
    """The predictions of a run in the working store."""
    return store.root / FOLDER / f"{key}.npz"


def published_weights(store: Store, key: str) -> Path:
    """The published weights of a run, with the pixel mean that goes with them."""
    return store.evidence.parent / "weights" / f"{key}.safetensors"


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever a corrupt archive raises into a UserError that names ``path``.

    FileNotFoundError is raised as it is.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise UserError(f"{path} is damaged ({error}): {remedy(path)}", 1) from error


def write_arrays(path: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write arrays to a compressed .npz file, whole or not at all."""
    content = BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_atomic(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz file of at most ``LARGEST`` bytes, packed or not."""
    content = BytesIO(read_regular(path, LARGEST))
    with zipfile.ZipFile(content) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
    content.seek(0)
    with np.load(content, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def digest_of(about: list[object], *arrays: npt.NDArray[Any]) -> str:
    """Hexadecimal SHA-256 of ``about``, as JSON, followed by the bytes of the arrays."""
    return sha256(json.dumps(about).encode() + b"".join(each.tobytes() for each in arrays))


def as_bytes(digest: str) -> Labels:
    """A hexadecimal digest as uint8, as an archive keeps it."""
    return np.frombuffer(bytes.fromhex(digest), np.uint8)


def write(path: Path, outputs: Outputs, labels: Labels) -> None:
    """Save the softmax outputs of a run on the test images, (images, classes) float16, and their labels, (images,)
    uint8.
    """
    write_arrays(path, outputs=outputs, labels=labels, sha256=as_bytes(_digest(outputs, labels)))


def read(path: Path) -> tuple[Outputs, Labels]:
    """The outputs and labels that ``write`` saved.

    Raises UserError for a damaged file, FileNotFoundError if there is none.
    """
    with damage_named(path):
        arrays = read_arrays(path)
        outputs, labels, digest = arrays["outputs"], arrays["labels"], bytes(arrays["sha256"]).hex()
        if (outputs.dtype, labels.dtype) != (np.float16, np.uint8) or outputs.shape[:1] != labels.shape:
            raise ValueError("it holds no outputs of labelled images")
        if outputs.ndim != 2 or 0 in outputs.shape:
            raise ValueError("it holds no outputs of classes")
        if _digest(outputs, labels) != digest:
            raise ValueError("does not have its SHA-256")
    return outputs, labels


def _digest(outputs: Outputs, labels: Labels) -> str:
    return digest_of([outputs.shape, str(outputs.dtype), labels.shape, str(labels.dtype)], outputs, labels)


def members() -> list[RunConfig]:
    """The configs of the runs whose outputs are averaged in ensembles, ordered by seed."""
    return [config for _, config in study(MEMBERS).runs()]


def predictions(config: RunConfig, store: Store) -> tuple[Outputs, Labels] | None:
    """Outputs and labels of a run, from the working store or as published; None if there are none."""
    for path in (working(store, config.key), published(store, config.key)):
        try:
            return read(path)
        except FileNotFoundError:
            continue
    return None


def error(outputs: list[Outputs], labels: Labels) -> float:
    """Top-1 error, as a fraction, of the mean of several networks' outputs."""
    mean = np.mean([each.astype(np.float64) for each in outputs], axis=0)
    return float((mean.argmax(1) != labels).mean())


def faults(store: Store) -> list[str]:
    """The published runs of ensembles whose outputs are missing, a line each."""
    found = []
    for path in (published(store, config.key) for config in members()):
        if path.stem in store.published() and not path.is_file():
            found.append(f"{path} is missing, the predictions of a published run: {absent(path)}")
    return found


def absent(path: Path) -> str:
    """How to restore a file that is published with the ensembles."""
    return f"restore it with 'git checkout -- {path}', or make it with 'alexnet-repro publish {MEMBERS}'"


def off(outputs: Outputs, labels: Labels, record: RunRecord) -> int:
    """By how many test images the error of these outputs differs from that in the record."""
    return round(abs(error([outputs], labels) - scored_metric(record, "test_error")) * len(labels))
