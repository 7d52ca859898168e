"""Check the published evidence: keys, digests, curves and metrics, all computed again from what is published.

Nothing is trained again: that is ``training.launch.rerun``. Needs no torch.
"""

import hashlib
import math
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..common import paths
from ..common.errors import UserError
from ..common.fields import PLAIN
from ..common.files import is_hidden, regular_file, remedy
from ..experiments import imagenet, step_timing
from ..experiments.config import DIGESTS, NUMERICS_VERSION, RunConfig
from ..experiments.registry import STUDIES, study
from ..experiments.study import FRESH_SEEDS, PILOT_SEEDS, Study
from . import outputs, pictures, predictions
from .copies import Curves
from .curves import EARLY_EPOCHS
from .metrics import TOP5
from .record import METRIC, PROVENANCE, RunRecord, convergence, curve_metrics, mean_loss
from .store import CURVES, RUNS, Placed, Store, read_placed

TEST_IMAGES = 10_000
"""Test images of CIFAR-10 and of Tiny ImageNet. Records of full-size runs do not say how many they have."""
ROUNDING = 1e-9
"""Largest difference between a number and the same number computed again: rounding, far below one image."""
FROM_0_TO_1 = ("knn_features", "knn_pixels", "color_gap", "color_gap_shuffled", "color_gap_p")
"""Metrics other than errors that lie between 0 and 1."""
TESTED = ("test_error", "top5_error", "test_top5_error", "ten_view_error", "ten_view_top5_error")
"""Errors on the test images."""
FROM_THE_CURVE = (
    "epochs",
    "train_loss",
    "train_error",
    "early_train_loss",
    "epochs_to_threshold",
    "epochs_to_converge",
)
METRICS = {*TESTED, *FROM_0_TO_1, *FROM_THE_CURVE, "clean_train_error", "gap"}
"""Every metric that a run of this version may have."""

DIGESTED = ("commit", "data", "weights", "started")
"""Texts of a record's provenance that have a format of their own."""
STARTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
FIRST_COMMIT_KEPT = datetime(2026, 11, 25, tzinfo=UTC)
"""Since this date, an interrupted run keeps the commit that started it: data/README.md."""
MOST_THREADS = 1024
SHORTEST, LONGEST = 0.001, 1e9
"""Shortest and longest training, in seconds."""
CEILING = 1e9
"""A run whose loss, in nats, is above this has diverged."""


def verify(store: Store) -> list[str]:
    """All faults in the published evidence, a line each that begins with the place; an empty list if it is sound.

    Checks the tables under ``store.evidence``, the predictions and weights beside them, and the times of a training
    step.
    """
    faults: list[str] = []
    homes: dict[str, str] = {}
    curves = Curves()
    for folder in store.folders():
        name = folder.name
        try:
            rows = read_placed(folder)
        except UserError as error:
            faults.append(f"{name}: {error}")
            continue
        if not known(name):
            faults.append(f"{name}: no study has this name")
        for run in rows:
            arm, record = run.arm, run.record
            place = f"{name}, arm {arm!r}, seed {record.config.seed}, run {record.key}"
            if record.key in homes:
                faults.append(f"{place}: published twice, first in {homes[record.key]}")
            homes.setdefault(record.key, name)
            faults += [f"{place}: {told(fault, run)}" for fault in check(name, arm, record)]
            twin = curves.twin(name, record)
            if twin is not None:
                faults.append(f"{place}: its curve is that of seed {twin.seed}, run {twin.key}")
            curves.add(name, record)
    if not faults:  # damaged tables hold no records to compare with
        faults = [*outputs.faults(store), *predictions.faults(store), *_weights(store), *pictures.faults(store)]
    for kind in ("cpu", "cuda"):
        try:
            step_timing.published(kind)
        except UserError as error:
            faults.append(str(error))
    return faults


def _weights(store: Store) -> Iterator[str]:
    """Faults in the published weights, a line each."""
    records = store.published()
    shown = outputs.published_weights(store, outputs.members()[0].key)
    if shown.stem in records and not shown.is_file():
        yield f"{shown} is missing, the weights of the page what_it_learned: {outputs.absent(shown)}"
    for path in sorted(shown.parent.glob("*.safetensors")):
        if is_hidden(path.name):
            continue
        try:
            digest = _weights_digest(path)
        except UserError as damage:
            yield str(damage)
            continue
        if path.stem not in records:
            yield f"{path}: no published run has this key"
        elif digest != records[path.stem].provenance.weights:
            yield f"{path}: these are other weights than its record says"


def _weights_digest(path: Path) -> str:
    """As ``training.provenance`` makes it of the network in a published file. Raises UserError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    net, whole = hashlib.sha256(), hashlib.sha256()
    try:
        regular_file(path)
        with safe_open(path, framework="numpy") as file:
            said = file.metadata()
            whole.update(said["values"].encode())
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name)
                # As training.checkpoint writes it: with torch's name of the type.
                whole.update(f"{name} torch.{tensor.dtype} {tensor.shape}".encode() + tensor.tobytes())
                if name != "mean":
                    net.update(name.encode() + tensor.tobytes())
        if whole.hexdigest() != said["sha256"]:
            raise ValueError("does not have its SHA-256")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): {remedy(path)}", 1) from error
    return net.hexdigest()


def known(name: str) -> bool:
    """Whether a study has this name."""
    return name in STUDIES or name in imagenet.names()


class Fault(NamedTuple):
    """A fault in a record and its column: of runs.csv or, with a ``point`` of the curve, of curves.csv."""

    said: str
    column: str
    point: int | None = None


def told(fault: Fault, run: Placed) -> str:
    """A fault with its place: file, row and column."""
    file, row = (RUNS, run.row) if fault.point is None else (CURVES, run.points[fault.point])
    return f"{fault.said} ({file}, row {row}, column {fault.column})"


def check(name: str, arm: str, record: RunRecord, contributed: bool = False) -> list[Fault]:
    """All faults of one record in the table of a study. With ``contributed``, it may have a seed that the study has
    not.

    Nothing is derived from faulty values: neither from a wrong config, nor from a curve with wrong points.
    """
    found = [*_identity(name, arm, record, contributed), *_provenance(record, contributed)]
    if any(fault.column in ("key", "recipe", "arm", "config") for fault in found):
        return found
    wrong = list(_points(record))
    return found + (wrong or [*_rate(record), *_ending(record), *_metrics(record)])


def _identity(name: str, arm: str, record: RunRecord, any_seed: bool) -> Iterator[Fault]:
    config = record.config
    if record.recipe != NUMERICS_VERSION:
        yield Fault(
            f"recipe {record.recipe} is not this version's {NUMERICS_VERSION}: its key cannot be derived", "recipe"
        )
    elif record.key != config.key:
        yield Fault(f"its config has the key {config.key}", "key")
    if config.data.dataset == "sample":
        yield Fault("trained on the bundled sample, which is never evidence", "config")
    try:
        plan = _plan(name, config)
    except UserError as error:
        yield Fault(str(error), "config")
        return
    if plan is None:
        if known(name):
            yield Fault(f"trained on {config.data.dataset}, which this study is not about", "config")
        return
    if arm not in plan.arms:
        yield Fault(f"the study has no such arm (it has {', '.join(plan.arms)})", "arm")
    elif plan.config(arm, config.seed) != config:
        yield Fault("its config is not that of its arm", "config")
    elif not (any_seed and not PILOT_SEEDS <= config.seed < FRESH_SEEDS) and config.seed not in plan.seeds_of(arm):
        yield Fault(f"the arm has no seed {config.seed}", "seed")


def _plan(name: str, config: RunConfig) -> Study | None:
    """The study, at the scale of the images that the run was trained on; None where it has no such.

    Raises UserError as it does.
    """
    if name in imagenet.names():
        if config.data.dataset != "imagenet":
            return None
        return imagenet.study_on(name, imagenet.Images.behind(config)).changed(**imagenet.computing(config))
    if name not in STUDIES or config.data.dataset == "imagenet":
        return None
    return study(name, "tiny-imagenet" if config.data.dataset == "tiny-imagenet" else "cifar10")


def _provenance(record: RunRecord, contributed: bool) -> Iterator[Fault]:
    source = record.provenance
    if not source.clean:
        yield Fault("its code was not a clean commit", PROVENANCE + "clean")
    for name, field in type(source).model_fields.items():
        value = getattr(source, name)
        if not isinstance(value, str) or name in DIGESTED or value == field.default:
            continue
        if not re.fullmatch(PLAIN, value):
            yield Fault(f"its {name} {value[:60]!r} is no plain name", PROVENANCE + name)
    if not re.fullmatch(r"[0-9a-f]{40}", source.commit):
        yield Fault(f"its commit {source.commit[:60]!r} is no commit", PROVENANCE + "commit")
    if not re.fullmatch(r"[0-9a-f]{64}", source.weights):
        yield Fault(f"the digest of its weights {source.weights[:80]!r} is no SHA-256", PROVENANCE + "weights")
    data = record.config.data
    if data.dataset == "tiny-imagenet":  # JPEG decoders round differently: its files are pinned, not its pixels
        if not re.fullmatch(r"[0-9a-f]{64}", source.data):
            yield Fault(f"the digest of its data {source.data[:80]!r} is no SHA-256", PROVENANCE + "data")
    elif source.data != (data.digest or DIGESTS[data.dataset]):
        yield Fault(f"its data {source.data[:80]!r} are not the pinned {data.dataset}", PROVENANCE + "data")
    why = _when(source.started, source.commit, contributed)
    if why:
        yield Fault(f"its start {source.started[:60]!r} {why}", PROVENANCE + "started")
    if not 1 <= source.threads <= MOST_THREADS or not SHORTEST <= source.wall_seconds <= LONGEST:
        column = PROVENANCE + ("wall_seconds" if 1 <= source.threads <= MOST_THREADS else "threads")
        yield Fault(f"{source.threads} threads for {source.wall_seconds} s is no training", column)


def _when(started: str, commit: str, contributed: bool) -> str:
    """Why a run can't have started then; empty where it can."""
    try:
        date = datetime.fromisoformat(started) if STARTED.fullmatch(started) else None
    except ValueError:
        date = None
    if date is None:
        return "is no date with a time zone, written as 2026-01-31T12:00:00+00:00"
    if date > datetime.now(UTC):
        return "lies in the future"
    made = commit_dates().get(commit)
    if made is not None and date < made and (contributed or date >= FIRST_COMMIT_KEPT):
        return f"lies before its commit was made, {made:%Y-%m-%dT%H:%M:%S+00:00}"
    return ""


def commit_dates() -> dict[str, datetime]:
    """When each commit of this repository was made; empty without git."""
    return _dates(paths.repository())


@cache
def _dates(repository: Path) -> dict[str, datetime]:
    command = ["git", "-C", str(repository), "log", "--all", "--format=%H %ct"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {commit: datetime.fromtimestamp(int(seconds), UTC) for commit, seconds in map(str.split, lines)}


def _rate(record: RunRecord) -> Iterator[Fault]:
    source = record.provenance
    if source.wall_seconds < SHORTEST or not record.curve:
        return
    rate = record.curve[-1].images / source.wall_seconds
    # Rounded to 0.1, of a time rounded to 0.001 s.
    if abs(source.images_per_second - rate) > 0.051 + rate * 0.0005 / source.wall_seconds:
        said = f"{source.images_per_second} images/s is not its images over its seconds, {rate:.1f}"
        yield Fault(said, PROVENANCE + "images_per_second")


def _within(config: RunConfig) -> list[int]:
    """Images seen in an epoch at each of its measurements."""
    size, batch = config.data.train_images, config.optimizer.batch_size
    return [min(step * batch, size) for step in config.measured_steps]


def _points(record: RunRecord) -> Iterator[Fault]:
    """Faults in single points of a curve."""
    curve, config, within = record.curve, record.config, _within(record.config)
    if not curve:
        yield Fault("it has no curve", "key")
        return
    size = config.data.train_images
    before = 0
    for i, m in enumerate(curve):
        epoch, place = divmod(i, len(within))
        if epoch >= config.budget.epochs or m.images != epoch * size + within[place]:
            yield Fault(f"its curve, at {m.images} images, is not measured where its budget says", "images", i)
            return
        if abs(m.epoch - m.images / size) > ROUNDING:
            yield Fault(f"its epochs are not its images over the training set, {m.images / size}", "epoch", i)
        after, since = f"after {m.images} images", m.images - before
        if not _share(m.train_error, since):
            yield Fault(f"train_error {m.train_error} {after} is no share of {since} images", "train_error", i)
        if m.test_error is not None and not _tested(m.test_error, config):
            yield Fault(f"test_error {m.test_error} {after} is no share of {_tests(config)}", "test_error", i)
        if m.train_loss is not None and m.train_loss < 0:
            yield Fault(f"train_loss {m.train_loss} {after} is negative", "train_loss", i)
        if m.train_loss is not None and m.train_loss > CEILING and record.status != "diverged":
            yield Fault(f"train_loss {m.train_loss} {after} is above {CEILING:g}, and it went on", "train_loss", i)
        before = m.images


def _ending(record: RunRecord) -> Iterator[Fault]:
    curve, config = record.curve, record.config
    lost = [m.train_loss is None for m in curve]
    if any(lost[:-1]) or lost[-1] != (record.status == "diverged"):
        yield Fault(f"it is {record.status}, and its losses say otherwise", "status")
    if record.status == "finished" and len(curve) != len(_within(config)) * config.budget.epochs:
        yield Fault(f"it is finished after {curve[-1].epoch:g} of {config.budget.epochs} epochs", "status")
    threshold = config.budget.stop_at_train_error
    _, trailing = record.trailing()
    crossed = [] if threshold is None else [error <= threshold for error in trailing]
    ruled = config.optimizer.plateau is None and record.status != "diverged"
    if any(crossed[:-1]) or (ruled and any(crossed) != (record.status == "stopped")):
        yield Fault(f"it is {record.status}, and the stopping rule says otherwise", "status")


def _metrics(record: RunRecord) -> Iterator[Fault]:
    curve, config = record.curve, record.config
    expected = curve_metrics(config, curve, record.status)
    if "gap" in record.metrics:
        gap = record.metric("test_error") - record.metric("clean_train_error")
        expected["gap"] = None if math.isnan(gap) else gap
    if "early_train_loss" in record.metrics:
        expected["early_train_loss"] = None if record.status == "diverged" else mean_loss(curve, EARLY_EPOCHS)
    if "epochs_to_converge" in record.metrics:
        expected["epochs_to_converge"] = None if record.status == "diverged" else convergence(curve)
    if config.data.dataset == "cifar10" and curve[-1].test_error is not None and record.status != "diverged":
        expected["test_error"] = curve[-1].test_error
    for name, value in expected.items():
        given = record.metrics.get(name)
        if name not in record.metrics or not _same(given, value):
            yield Fault(f"its {name} is {given}, and its curve gives {value}", METRIC + name)
    if record.metrics.get("test_error") is None and record.status != "diverged":
        yield Fault("it has no test_error", METRIC + "test_error")
    for name, value in record.metrics.items():
        column = METRIC + name
        if name not in METRICS:
            yield Fault(f"no run of this version has a metric {name!r}", column)
        elif value is None:
            continue
        elif name in TESTED and not _tested(value, config):
            yield Fault(f"its {name} {value} is no share of {_tests(config)}", column)
        elif name == "clean_train_error" and not _cleaned(value, config):
            yield Fault(f"its {name} {value} is no share of its training images", column)
        elif name in FROM_0_TO_1 and not 0 <= value <= 1:
            yield Fault(f"its {name} {value} is not from 0 to 1", column)
    for five in TOP5:
        one = "ten_view_error" if five == "ten_view_top5_error" else "test_error"
        if record.metric(five) > record.metric(one):
            yield Fault(f"its {five} {record.metric(five)} is above its {one}", METRIC + five)


def _tests(config: RunConfig) -> str:
    return "the test images" if config.data.dataset == "imagenet" else f"{_test_images(config)} images"


def _test_images(config: RunConfig) -> int:
    """How many images a run is tested on that is not of full size."""
    return config.data.held_out or TEST_IMAGES


def _tested(value: float, config: RunConfig) -> bool:
    """Whether ``value`` can be the test error of a run."""
    return 0 <= value <= 1 if config.data.dataset == "imagenet" else _share(value, _test_images(config))


def _cleaned(value: float, config: RunConfig) -> bool:
    """Whether ``value`` can be the error on training images; of full-size ones, as many as there are test images."""
    return 0 <= value <= 1 if config.data.dataset == "imagenet" else _share(value, config.data.train_images)


def _share(value: float, images: int) -> bool:
    """Whether ``value`` is a whole number of ``images``, as a fraction of them."""
    return 0 <= value <= 1 and abs(value * images - round(value * images)) < 1e-6


def _same(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING)
