"""The five most likely classes of each test image, by run, as .npz files. Needs no torch.

``training.predict`` makes them.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..common.errors import UserError
from ..common.files import is_hidden, remedy, sha256, write_atomic
from . import outputs
from .curves import TOP
from .metrics import scored_metric
from .outputs import DAMAGE, ROUNDED, as_bytes, damage_named, digest_of, published, read_arrays, write_arrays
from .record import RunRecord
from .store import Store

LABELS = "labels"
"""The folder beside the predictions with the labels, one file for all runs tested on the same images."""

Classes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Predictions:
    """A run's predictions: ``top`` (images, 5), the most likely class first, and ``labels`` (images,), both uint8."""

    top: Classes
    labels: Classes

    @property
    def wrong(self) -> tuple[int, int]:
        """Number of misclassified images: (top-1, top-5)."""
        right = self.top == self.labels[:, None]
        return int((~right[:, 0]).sum()), int((~right.any(1)).sum())

    def off(self, record: RunRecord) -> int:
        """By how many images these errors differ from those in the record: the larger difference of top-1 and top-5."""
        metrics = ["test_error"] + ["test_top5_error"] * ("test_top5_error" in record.metrics)
        count = len(self.labels)
        return max(
            round(abs(wrong - scored_metric(record, metric) * count))
            for wrong, metric in zip(self.wrong, metrics, strict=False)
        )


def ranked(scores: npt.NDArray[np.floating]) -> Classes:
    """The ``TOP`` classes with the largest outputs, from ``scores`` (images, classes), largest first.

    On a tie, the lower class.
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP].astype(np.uint8)


def due(records: list[RunRecord], store: Store) -> list[RunRecord]:
    """Those of ``records`` whose predictions should be published but are not.

    Not those of diverged or full-size runs, nor of ensembles' runs, whose whole outputs are published.
    """
    members = {config.key for config in outputs.members()}
    return [
        record
        for record in records
        if record.status != "diverged"
        and record.config.data.dataset != "imagenet"
        and record.key not in members
        and not published(store, record.key).is_file()
    ]


def write(path: Path, predictions: Predictions) -> None:
    """Save predictions, and their labels beside them if they are not there yet."""
    labels = _labels(path, sha256(predictions.labels.tobytes()))
    if not labels.is_file():
        content = BytesIO()
        np.save(content, predictions.labels, allow_pickle=False)
        write_atomic(labels, content.getvalue())
    digest = as_bytes(_digest(predictions.top, labels.stem))
    write_arrays(path, top=predictions.top, labels_sha256=as_bytes(labels.stem), sha256=digest)


def read(path: Path) -> Predictions:
    """The predictions at ``path``: what ``write`` saved, or the top classes of the outputs that ``outputs.write``
    saved.

    Raises UserError for a damaged file or missing labels, FileNotFoundError if there is no file.
    """
    with damage_named(path):
        arrays = read_arrays(path)
        if "outputs" in arrays:
            softmax, labels = outputs.read(path)
            return Predictions(ranked(softmax), labels)
        top, name, digest = arrays["top"], bytes(arrays["labels_sha256"]).hex(), bytes(arrays["sha256"]).hex()
        if _digest(top, name) != digest:
            raise ValueError("does not have its SHA-256")
    return Predictions(top, _read_labels(_labels(path, name), len(top)))


def _labels(path: Path, digest: str) -> Path:
    return path.parent / LABELS / f"{digest}.npy"


def _read_labels(path: Path, count: int) -> Classes:
    try:
        labels: Classes = np.load(path, allow_pickle=False)
        if sha256(labels.tobytes()) != path.stem or labels.shape != (count,) or labels.dtype != np.uint8:
            raise ValueError("not the labels that its name says")
    except DAMAGE as error:
        raise UserError(f"{path} is missing or damaged ({error}): {remedy(path)}", 1) from error
    return labels


def _digest(top: Classes, labels: str) -> str:
    return digest_of([top.shape, str(top.dtype), labels], top)


def faults(store: Store) -> list[str]:
    """Check the published predictions; a line for each fault.

    Damaged, without a run, or with other errors than its record.
    """
    found = []
    alike: dict[tuple[str, str | None, int], tuple[Path, Classes]] = {}
    for path in sorted(published(store, "").parent.glob("*.npz")):
        if is_hidden(path.name):
            continue
        record = store.published().get(path.stem)
        try:
            predictions = read(path)
        except UserError as damage:
            found.append(str(damage))
            continue
        if record is None:
            found.append(f"{path}: no published run has this key")
            continue
        data = record.config.data
        first, labels = alike.setdefault((data.dataset, data.digest, data.held_out), (path, predictions.labels))
        if not np.array_equal(predictions.labels, labels):
            found.append(f"{path}: its images are not those of {first.name}, of the same data set")
        elif predictions.off(record) > ROUNDED:
            found.append(f"{path}: these predictions err on {predictions.off(record)} other images than their record")
    return found
