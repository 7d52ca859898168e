"""Ensembles: the predictions of single runs, and what the average of five of them errs (section 6, Table 2)."""

import json
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .config import RunConfig
from .errors import UserError
from .files import remedy, sha256, write_atomic
from .records import RunRecord
from .store import Store
from .studies import Study, study
from .verdicts import counted

MEMBERS = "ensemble"
"""The study that trains the members."""
GROUP = 5
"""Networks to an ensemble, as in Table 2."""
FOLDER = "predictions"

DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile raise for a bent archive."""

ROUNDED = 5
"""So many test images may change sides when predictions are rounded to half precision, or made on another processor."""

Outputs = npt.NDArray[np.float16]
Labels = npt.NDArray[np.uint8]


def published(store: Store, key: str) -> Path:
    """Where the predictions of a run are published."""
    return store.evidence.parent / FOLDER / f"{key}.npz"


def working(store: Store, key: str) -> Path:
    """Where the working store keeps them."""
    return store.root / FOLDER / f"{key}.npz"


def published_weights(store: Store, key: str) -> Path:
    """Where the weights of one run, and the pixel mean that goes with them, are published."""
    return store.evidence.parent / "weights" / f"{key}.safetensors"


def write(path: Path, outputs: Outputs, labels: Labels) -> None:
    """Keep the softmax outputs (images, classes) of a run over the test images, and their labels (images,)."""
    content = BytesIO()
    digest = np.frombuffer(bytes.fromhex(_digest(outputs, labels)), np.uint8)
    np.savez_compressed(content, outputs=outputs, labels=labels, sha256=digest)
    write_atomic(path, content.getvalue())


def read(path: Path) -> tuple[Outputs, Labels]:
    """What ``write`` wrote. Raises UserError for a damaged file, FileNotFoundError for none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            outputs, labels, digest = file["outputs"], file["labels"], bytes(file["sha256"]).hex()
        if _digest(outputs, labels) != digest:
            raise ValueError("does not have its SHA-256")
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise UserError(f"{path} is damaged ({error}): {remedy(path)}", 1) from error
    return outputs, labels


def _digest(outputs: Outputs, labels: Labels) -> str:
    shape = json.dumps([outputs.shape, str(outputs.dtype), labels.shape, str(labels.dtype)])
    return sha256(shape.encode() + outputs.tobytes() + labels.tobytes())


def predictions(config: RunConfig, store: Store) -> tuple[Outputs, Labels] | None:
    """The predictions of a run, from the working store or as published; None where there are none."""
    for path in (working(store, config.key), published(store, config.key)):
        try:
            return read(path)
        except FileNotFoundError:
            continue
    return None


def error(outputs: list[Outputs], labels: Labels) -> float:
    """Fraction misclassified (top-1) by the mean of the outputs of several networks."""
    mean = np.mean([each.astype(np.float64) for each in outputs], axis=0)
    return float((mean.argmax(1) != labels).mean())


def faults(store: Store) -> list[str]:
    """Which members' predictions are missing of those that are published, a line each."""
    found, plan = [], study(MEMBERS)
    for path in (published(store, plan.config("baseline", seed).key) for seed in plan.seeds):
        if path.stem in store.published() and not path.is_file():
            found.append(f"{path} is missing, the predictions of a published run: {absent(path)}")
    return found


def absent(path: Path) -> str:
    """What brings back a file that is published with the ensembles."""
    return f"restore it with 'git checkout -- {path}', or make it with 'alexnet-repro publish {MEMBERS}'"


def off(outputs: Outputs, labels: Labels, record: RunRecord) -> int:
    """By how many test images these predictions err more or less often than the record says."""
    return round(abs(error([outputs], labels) - counted(record, "test_error")) * len(labels))


def judged(store: Store, scale: str = "cifar10") -> dict[str, dict[int, RunRecord]]:
    """What the claim compares, by group of ``GROUP`` seeds in order, for groups that are whole.

    "one": the members' mean test error; "five": the test error of the mean of their predictions. Each stands as the
    record of the group's first member with that metric alone, finished whether that member was or not.
    """
    plan = study(MEMBERS, scale)
    arms: dict[str, dict[int, RunRecord]] = {"one": {}, "five": {}}
    for number, seeds in enumerate(_groups(plan)):
        configs = [plan.config("baseline", seed) for seed in seeds]
        records = [record for config in configs if (record := store.find(config)) is not None]
        found = [each for config in configs if (each := predictions(config, store)) is not None]
        if len(records) < len(configs) or len(found) < len(configs):
            continue
        single = float(np.mean([counted(record, "test_error") for record in records]))
        together = error([outputs for outputs, _ in found], found[0][1])
        for arm, value in (("one", single), ("five", together)):
            arms[arm][number] = records[0].model_copy(update={"status": "finished", "metrics": {"test_error": value}})
    return arms


def sizes(store: Store, scale: str = "cifar10") -> dict[int, list[float]]:
    """Test error of the average of the first n members, for every n up to ``GROUP``, over the whole groups."""
    plan = study(MEMBERS, scale)
    found: dict[int, list[float]] = {n: [] for n in range(1, GROUP + 1)}
    for seeds in _groups(plan):
        members = [predictions(plan.config("baseline", seed), store) for seed in seeds]
        outputs = [each for each in members if each is not None]
        if len(outputs) == GROUP:
            for n in found:
                found[n].append(error([each for each, _ in outputs[:n]], outputs[0][1]))
    return found


def _groups(plan: Study) -> list[tuple[int, ...]]:
    return [plan.seeds[i : i + GROUP] for i in range(0, len(plan.seeds) - GROUP + 1, GROUP)]
