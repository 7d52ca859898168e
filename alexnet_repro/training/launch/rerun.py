"""Train a recorded run again, and compare the result with its record."""

import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from tqdm.auto import tqdm

from ...analysis.statistics import prediction_interval
from ...common.errors import UserError
from ...common.files import lock, sweep
from ...common.machine import check_device
from ...experiments.config import DeviceConfig
from ...experiments.study import Study
from ...records.lookup import records
from ...records.record import Measurement, RunRecord, mean_loss
from ...records.store import Store
from .runs import options

NAMES = ("device", "threads", "python", "torch", "numpy", "data")
"""Fields of the provenance that the last bits depend on, and that every record has."""
PLACE = ("instructions", "processor", "onednn", "capability", "driver")
"""Further such fields, which records made before 28 November 2026, 10:15 UTC lack."""
LEVEL = 0.99
"""Level of the prediction intervals, for all metrics together (Bonferroni)."""
REPEATS = 3
"""Repeats of the first epoch with other rounding errors."""
FEWEST = 3
"""Other seeds needed for a prediction interval: with two it would be sixty standard deviations wide."""

Outcome = Literal[
    "bit-exact", "equal within rounding over the first epoch", "like another seed", "not met", "cannot be judged"
]
MET: tuple[Outcome, ...] = ("bit-exact", "equal within rounding over the first epoch", "like another seed")


@dataclass(frozen=True)
class Comparison:
    """A record and a fresh run of the same config.

    same_place: whether machine and versions are the record's; None if the record does not say. where: the same as a
    sentence. why: the numbers that decided the outcome, as a sentence.
    """

    record: RunRecord
    fresh: RunRecord
    same_place: bool | None
    where: str
    outcome: Outcome
    why: str

    @property
    def met(self) -> bool:
        """Whether the fresh run confirms the record."""
        return self.outcome in MET


def rerun(plan: Study, arm: str, seed: int, store: Store, device: str = "cpu", progress: bool = True) -> Comparison:
    """Train a recorded run of a study again, and compare it with its record. The store is not changed.

    An interrupted rerun resumes from its last checkpoint. Raises UserError for an unknown arm or seed, for a run
    without a record, and for other devices than "cpu", "cuda" and "mps".
    """
    check_device(device)
    if arm in plan.arms and seed not in plan.seeds_of(arm):
        raise UserError(
            f"{plan.name}, arm {arm!r}, has no seed {seed}: it has {len(plan.seeds_of(arm))}, from {plan.seeds[0]} up"
        )
    config, placement = plan.config(arm, seed), DeviceConfig(device=device)
    record = store.find(config)
    if record is None:
        command = " ".join(["alexnet-repro run", plan.name, *options(plan)])
        raise UserError(f"{plan.name}, arm {arm!r}, seed {seed} has no record to meet: '{command}' makes one", 1)
    from ..trainer import Stopped, repeats_with_other_rounding, train  # torch is imported only to train

    checkpoint = store.root / "reruns" / f"{config.key}.safetensors"
    with lock(checkpoint.with_suffix(".lock"), lambda: print("waiting for another rerun of this run", file=sys.stderr)):
        sweep(checkpoint)
        with _interruptible() as asked, _bar(f"{plan.name} {arm} {seed}", progress) as show:
            try:
                fresh = train(config, placement, checkpoint, show, asked)
            except Stopped:
                raise KeyboardInterrupt from None

        def repeat() -> list[float]:
            with _bar("its first epoch, rounded otherwise", progress) as show:
                return [_first_loss(curve) for curve in repeats_with_other_rounding(config, placement, REPEATS, show)]

        others = [other for number, other in records(plan, store)[arm].items() if number != seed]
        found = compare(record, fresh, others, repeat)
        checkpoint.unlink(missing_ok=True)
    return found


@contextmanager
def _bar(title: str, progress: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a callback: is given (steps done, steps in all)."""
    with tqdm(desc=title, disable=not progress) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed, so that a checkpoint can be written. A second Ctrl-C exits."""
    pressed = training = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed or not training:  # nothing to save yet
            signal.default_int_handler(number, frame)
        pressed = True

    def asked() -> bool:
        nonlocal training
        training = True
        return pressed

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def compare(
    record: RunRecord, fresh: RunRecord, others: Sequence[RunRecord], repeat: Callable[[], Sequence[float]]
) -> Comparison:
    """Compare a fresh run with the record of the same config; ``others`` are records of other seeds of the arm.

    repeat: called if needed; gives the mean loss of the first epoch for repeats of the fresh run with other rounding
    errors. Metrics that the record lacks are not compared: older records have fewer.
    """
    same, where = _place(record, fresh)

    def found(outcome: Outcome, why: str) -> Comparison:
        return Comparison(record, fresh, same, where, outcome, why)

    difference = _difference(record, fresh)
    if difference is None:
        return found("bit-exact", "status, curve, metrics and weights are the same to the last bit")
    if same and not _on_gpu(record):
        return found("not met", f"the last bits differ, and here they should not: {difference}")
    fits, end = _like_others(record, fresh, others)
    if fits is False:
        return found("not met", end)
    equal, start = _like_repeats(record, fresh, others, repeat)
    if equal:
        return found("equal within rounding over the first epoch", f"{start}; {end}")
    if fits:
        return found("like another seed", f"{end}; {start}")
    return found("cannot be judged", f"{end}; {start}")


def _on_gpu(record: RunRecord) -> bool:
    """Whether a GPU made a record. There, not even the same run repeats its bits: where pooling windows overlap,
    gradients are added in any order, and convolutions are computed in the way that was timed as the fastest.
    """
    return record.provenance.capability is not None or record.provenance.device.startswith("Apple GPU")


def _place(record: RunRecord, fresh: RunRecord) -> tuple[bool | None, str]:
    """Whether machine and versions are the record's (None if the record does not say), and a sentence about it."""
    there, here = record.provenance, fresh.provenance
    known = NAMES if there.instructions is None else NAMES + PLACE
    for name in known:
        ours, theirs = getattr(here, name), getattr(there, name)
        if ours != theirs:
            return False, f"elsewhere ({name} {ours}, recorded {theirs})"
    if there.instructions is None:
        return None, "on a machine of the same name and versions, whose instructions the record does not say"
    return True, "in the record's place (machine, instructions and versions are the same)"


def _difference(record: RunRecord, fresh: RunRecord) -> str | None:
    """The first number in which the two differ, as a sentence; None if all bits are the same."""
    if record.status != fresh.status:
        return f"it is {fresh.status}, the record {record.status}"
    for there, here in zip(record.curve, fresh.curve, strict=False):
        if there != here:
            return f"after {there.epoch:g} epochs {_unlike(there, here)}"
    for name, value in record.metrics.items():
        if fresh.metrics.get(name) != value:
            return f"{name} is {fresh.metrics.get(name)!r}, the record has {value!r}"
    if len(record.curve) != len(fresh.curve):
        return f"its curve has {len(fresh.curve)} measurements, the record's {len(record.curve)}"
    if record.provenance.weights != fresh.provenance.weights:
        return "the digests of the final weights differ, and no number before"
    return None


def _unlike(there: Measurement, here: Measurement) -> str:
    """The first field in which two measurements differ."""
    fields = ((name, getattr(here, name), getattr(there, name)) for name in Measurement.model_fields)
    name, ours, theirs = next(each for each in fields if each[1] != each[2])
    return f"{name} is {ours!r}, the record has {theirs!r}"


def judged_metrics(record: RunRecord) -> list[str]:
    """The metrics that are compared with those of other seeds: the test error and one metric of training.

    The latter is the number of epochs to the threshold if the run has one (its final training error is the threshold),
    else the training error of the final network in eval mode, or if that was not recorded, of the last epoch.
    """
    training = ("epochs_to_threshold", "clean_train_error", "train_error")
    return ["test_error", next(name for name in training if name in record.metrics or name == training[-1])]


def _like_others(record: RunRecord, fresh: RunRecord, others: Sequence[RunRecord]) -> tuple[bool | None, str]:
    """Whether the fresh run's metrics are those of one more seed (None for too few seeds), and a sentence why."""
    known = {record.status, *(other.status for other in others)}
    if fresh.status not in known:
        return False, f"it is {fresh.status}, the record and the other seeds are {' or '.join(sorted(known))}"
    names = judged_metrics(record)
    level = f"prediction interval at {100 * LEVEL:.0f} % for {len(names)} metrics together"
    said = []
    for name in names:
        theirs = [value for other in others if not math.isnan(value := other.metric(name))]
        value = fresh.metric(name)
        if math.isnan(value) and any(math.isnan(each.metric(name)) for each in (record, *others)):
            said.append(f"{name} is no number, nor is it for every seed")
            continue
        if len(theirs) < FEWEST:
            return None, f"{len(theirs)} other seeds have a {name}, of which an interval needs {FEWEST}"
        low, high = prediction_interval(theirs, 1 - (1 - LEVEL) / len(names))
        where = f"{low:.4g} to {high:.4g}, where {len(theirs)} other seeds put it ({level})"
        if not low <= value <= high:
            return False, f"{name} is {value:.4g}, outside {where}"
        said.append(f"{name} is {value:.4g}, within {where}")
    return True, ", ".join(said)


def _like_repeats(
    record: RunRecord, fresh: RunRecord, others: Sequence[RunRecord], repeat: Callable[[], Sequence[float]]
) -> tuple[bool, str]:
    """Whether the first epoch differs from the record's by no more than rounding errors, and a sentence why.

    The size of that difference is measured, because it grows at a different rate in each network: the repeats move
    every weight to a neighbouring float after each step, which is at least what another order of summation does. If
    rounding makes as much of a difference as another seed, the first epoch decides nothing.
    """
    recorded, ours = _first_loss(record.curve), _first_loss(fresh.curve)
    if math.isnan(recorded) or math.isnan(ours):
        return False, "the loss of the first epoch is no number"
    low, high = prediction_interval([ours, *repeat()], LEVEL)
    seeds = [value for other in others if not math.isnan(value := _first_loss(other.curve))]
    if len(seeds) >= FEWEST:
        least, most = prediction_interval(seeds, LEVEL)
        if high - low >= most - least:
            return False, "over the first epoch rounding makes as much of a difference as another seed"
    equal = low <= recorded <= high
    side = "within" if equal else "outside"
    return equal, (
        f"the loss of the first epoch is {ours:.5g}, the record's {recorded:.5g} is {side} {low:.5g} to {high:.5g}, "
        f"the {100 * LEVEL:.0f} % prediction interval of it and {REPEATS} repeats that round otherwise"
    )


def _first_loss(curve: Sequence[Measurement]) -> float:
    """The mean training loss over the first epoch; NaN if it was not finite."""
    loss = mean_loss(curve, 1)
    return math.nan if loss is None else loss
