"""What is off in the published evidence: keys, digests, curves and metrics derived anew. Needs no torch."""

import hashlib
import math
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from . import ensembles, imagenet, predictions, step_times
from .config import DIGESTS, RECIPE, RunConfig
from .errors import UserError
from .files import remedy
from .records import RunRecord
from .statistics import EARLY_EPOCHS, epochs_to_converge, mean_until
from .store import Store, read_rows
from .studies import FRESH_SEEDS, PILOT_SEEDS, STUDIES, Study, study

TEST_IMAGES = 10_000
"""Of CIFAR-10 and of Tiny ImageNet. How many a collection of full-size images has, its records do not say."""
ROUNDING = 1e-9
"""How far a number may be from the same number computed anew: rounding, far below one image."""
FROM_0_TO_1 = ("knn_features", "knn_pixels", "color_gap", "color_gap_shuffled", "color_gap_p")
"""Metrics that lie between 0 and 1, as errors do."""


def verify(store: Store) -> list[str]:
    """Every fault of what is published, a line each that begins with the place; empty if sound.

    The tables under ``store.evidence``, the predictions and weights beside them, and the times of a training step.
    """
    faults: list[str] = []
    homes: dict[str, str] = {}
    for folder in store.folders():
        name = folder.name
        try:
            rows = read_rows(folder)
        except UserError as error:
            faults.append(f"{name}: {error}")
            continue
        if not known(name):
            faults.append(f"{name}: no study has this name")
        for arm, record in rows:
            place = f"{name}, arm {arm!r}, seed {record.config.seed}, run {record.key}"
            if record.key in homes:
                faults.append(f"{place}: published twice, first in {homes[record.key]}")
            homes.setdefault(record.key, name)
            faults += [f"{place}: {fault}" for fault in check(name, arm, record)]
    if not faults:  # damaged tables hold no records to compare with
        faults = [*ensembles.faults(store), *predictions.faults(store), *_weights(store)]
    for kind in ("cpu", "cuda"):
        try:
            step_times.published(kind)
        except UserError as error:
            faults.append(str(error))
    return faults


def _weights(store: Store) -> Iterator[str]:
    """What is off in the published weights, a line each."""
    plan, records = study(ensembles.MEMBERS), store.published()
    shown = ensembles.published_weights(store, plan.config("baseline", plan.seeds[0]).key)
    if shown.stem in records and not shown.is_file():
        yield f"{shown} is missing, the weights of the page what_it_learned: {ensembles.absent(shown)}"
    for path in sorted(shown.parent.glob("*.safetensors")):
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
    """As ``lab.provenance`` makes it of the network in a published file. Raises UserError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    net, whole = hashlib.sha256(), hashlib.sha256()
    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata()
            whole.update(said["values"].encode())
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name)
                # As lab.checkpoint writes it: with torch's name of the type.
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


def check(name: str, arm: str, record: RunRecord, any_seed: bool = False) -> list[str]:
    """Every fault of one record in the table of a study; with ``any_seed``, it may have another than the study's."""
    return [*_identity(name, arm, record, any_seed), *_provenance(record), *_curve(record), *_metrics(record)]


def _identity(name: str, arm: str, record: RunRecord, any_seed: bool) -> Iterator[str]:
    config = record.config
    if record.recipe != RECIPE:
        yield f"recipe {record.recipe} is not this version's {RECIPE}: its key cannot be derived"
    elif record.key != config.key:
        yield f"its config has the key {config.key}"
    if config.data.dataset == "sample":
        yield "trained on the bundled sample, which is never evidence"
    try:
        plan = _plan(name, config)
    except UserError as error:
        yield str(error)
        return
    if plan is None:
        if known(name):
            yield f"trained on {config.data.dataset}, which this study is not about"
        return
    if arm not in plan.arms:
        yield f"the study has no such arm (it has {', '.join(plan.arms)})"
    elif plan.config(arm, config.seed) != config:
        yield "its config is not that of its arm"
    elif not (any_seed and not PILOT_SEEDS <= config.seed < FRESH_SEEDS) and config.seed not in plan.seeds_of(arm):
        yield f"the arm has no seed {config.seed}"


def _plan(name: str, config: RunConfig) -> Study | None:
    """The study, at the scale of the images that the run was trained on; None where it has no such.

    Raises UserError as it does.
    """
    if name in imagenet.names():
        whole = config.data.dataset == "imagenet"
        if not whole:
            return None
        return imagenet.plan(name, imagenet.Images.behind(config)).changed(**imagenet.computing(config))
    if name not in STUDIES or config.data.dataset == "imagenet":
        return None
    return study(name, "tiny-imagenet" if config.data.dataset == "tiny-imagenet" else "cifar10")


def _provenance(record: RunRecord) -> Iterator[str]:
    source = record.provenance
    if not source.clean:
        yield "its code was not a clean commit"
    if not re.fullmatch(r"[0-9a-f]{40}", source.commit):
        yield f"its commit {source.commit!r} is no commit"
    if not re.fullmatch(r"[0-9a-f]{64}", source.weights):
        yield f"the digest of its weights {source.weights!r} is no SHA-256"
    data = record.config.data
    if data.dataset == "tiny-imagenet":  # JPEG decoders round differently: its files are pinned, not its pixels
        if not re.fullmatch(r"[0-9a-f]{64}", source.data):
            yield f"the digest of its data {source.data!r} is no SHA-256"
    elif source.data != (data.digest or DIGESTS[data.dataset]):
        yield f"its data {source.data!r} are not the pinned {data.dataset}"
    try:
        dated = datetime.fromisoformat(source.started).tzinfo is not None
    except ValueError:
        dated = False
    if not dated:
        yield f"its start {source.started!r} is no date with a time zone"
    if source.threads < 1 or source.wall_seconds <= 0:
        yield f"{source.threads} threads for {source.wall_seconds} s is no training"
    elif record.curve:
        rate = record.curve[-1].images / source.wall_seconds
        # Rounded to 0.1, of a time rounded to 0.001 s.
        if abs(source.images_per_second - rate) > 0.051 + rate * 0.0005 / source.wall_seconds:
            yield f"{source.images_per_second} images/s is not its images over its seconds, {rate:.1f}"


def _due(config: RunConfig) -> list[int]:
    """Images seen at every measurement that the budget holds."""
    size, batch, count = config.data.train_images, config.optimizer.batch_size, config.budget.measurements
    steps = math.ceil(size / batch)
    within = sorted({min(math.ceil(k * steps / count) * batch, size) for k in range(1, count + 1)})
    return [epoch * size + images for epoch in range(config.budget.epochs) for images in within]


def _curve(record: RunRecord) -> Iterator[str]:
    curve, config = record.curve, record.config
    if not curve:
        yield "it has no curve"
        return
    due = _due(config)
    if [m.images for m in curve] != due[: len(curve)]:
        yield "its curve is not measured where its budget says"
        return
    if any(abs(m.epoch - m.images / config.data.train_images) > ROUNDING for m in curve):
        yield "its epochs are not its images over the training set"
    for before, m in zip([0, *(m.images for m in curve)], curve, strict=False):
        if not _share(m.train_error, m.images - before):
            yield f"train_error {m.train_error} after {m.images} images is no share of {m.images - before} images"
        if m.test_error is not None and not _tested(m.test_error, config):
            yield f"test_error {m.test_error} after {m.images} images is no share of {_tests(config)}"
        if m.train_loss is not None and m.train_loss < 0:
            yield f"train_loss {m.train_loss} after {m.images} images is negative"
    lost = [m.train_loss is None for m in curve]
    if any(lost[:-1]) or lost[-1] != (record.status == "diverged"):
        yield f"it is {record.status}, and its losses say otherwise"
    if record.status == "finished" and len(curve) != len(due):
        yield f"it is finished after {curve[-1].epoch:g} of {config.budget.epochs} epochs"
    threshold = config.budget.stop_at_train_error
    _, trailing = record.trailing()
    crossed = [] if threshold is None else [error <= threshold for error in trailing]
    ruled = config.optimizer.plateau is None and record.status != "diverged"
    if any(crossed[:-1]) or (ruled and any(crossed) != (record.status == "stopped")):
        yield f"it is {record.status}, and the stopping rule says otherwise"


def _metrics(record: RunRecord) -> Iterator[str]:
    curve, config = record.curve, record.config
    if not curve:
        return
    _, trailing = record.trailing()
    expected: dict[str, float | None] = {
        "epochs": curve[-1].epoch,
        "train_loss": curve[-1].train_loss,
        "train_error": float(trailing[-1]) if len(trailing) else None,
    }
    threshold = config.budget.stop_at_train_error
    if threshold is not None:
        crossed = record.epochs_to(threshold)
        expected["epochs_to_threshold"] = None if math.isnan(crossed) or record.status == "diverged" else crossed
    if "gap" in record.metrics:
        gap = record.metric("test_error") - record.metric("clean_train_error")
        expected["gap"] = None if math.isnan(gap) else gap
    if "early_train_loss" in record.metrics:
        early = mean_until([m.epoch for m in curve], [m.train_loss for m in curve], EARLY_EPOCHS)
        expected["early_train_loss"] = None if record.status == "diverged" else early
    if "epochs_to_converge" in record.metrics:
        tested = [(m.epoch, m.test_error) for m in curve if m.test_error is not None]
        converged = epochs_to_converge([epoch for epoch, _ in tested], [e for _, e in tested])
        expected["epochs_to_converge"] = None if record.status == "diverged" else converged
    for name, value in expected.items():
        given = record.metrics.get(name)
        if name not in record.metrics or not _same(given, value):
            yield f"its {name} is {given}, and its curve gives {value}"
    test_error = record.metrics.get("test_error")
    if test_error is None:
        if record.status != "diverged":
            yield "it has no test_error"
    elif not _tested(test_error, config):
        yield f"its test_error {test_error} is no share of {_tests(config)}"
    for name, value in record.metrics.items():
        if (name.endswith("error") or name in FROM_0_TO_1) and value is not None and not 0 <= value <= 1:
            yield f"its {name} {value} is not from 0 to 1"
    for five, one in (
        ("top5_error", "test_error"),
        ("test_top5_error", "test_error"),
        ("ten_view_top5_error", "ten_view_error"),
    ):
        if record.metric(five) > record.metric(one):
            yield f"its {five} {record.metric(five)} is above its {one}"


def _tests(config: RunConfig) -> str:
    return "the test images" if config.data.dataset == "imagenet" else f"{_test_images(config)} images"


def _test_images(config: RunConfig) -> int:
    """How many images a run is tested on that is not of full size."""
    return config.data.held_out or TEST_IMAGES


def _tested(value: float, config: RunConfig) -> bool:
    """Whether ``value`` can be the test error of a run."""
    return 0 <= value <= 1 if config.data.dataset == "imagenet" else _share(value, _test_images(config))


def _share(value: float, images: int) -> bool:
    """Whether ``value`` is a whole number of ``images``, as a fraction of them."""
    return 0 <= value <= 1 and abs(value * images - round(value * images)) < 1e-6


def _same(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING)
