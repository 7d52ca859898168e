"""A recorded run, trained afresh and held against its record."""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from tqdm.auto import tqdm

from .config import Placement
from .errors import UserError
from .files import lock
from .machine import check_device
from .records import Measurement, RunRecord
from .store import Store
from .studies import Study

EARLY, NATS = 3, 0.03
"""On another machine, the first points of the curve, and how far their losses may lie from the recorded ones.
Rounding has not grown into another course yet. Other instruction sets of one processor stayed within 0.017 nats in the
first three epochs of the ablations' net, where five of six pairs of its seeds lie farther apart than the tolerance."""
SHARES = ("gap", "knn_features", "knn_pixels")
POINTS = 0.03
"""How far an error, or another share of the images, may lie from the recorded one there: three points."""
FACTOR = 1.25
"""How far a number of epochs may lie from the recorded one there."""
TOLERANCE = (
    f"the first {EARLY} losses within {NATS:g} nats, shares of the images within {100 * POINTS:g} points, "
    f"times in epochs within a factor of {FACTOR:g}"
)
"""What is asked of a rerun on another machine, or with other versions."""
SAME = ("python", "torch", "numpy", "device", "threads", "data")
"""Parts of the provenance on which the last bit depends."""


@dataclass(frozen=True)
class Comparison:
    """A record beside a fresh run of the same config.

    exact: weights, curve and metrics are the same to the last bit. same_place: they are to be, since the machine's name
    and the versions are the same. off: what lies outside the tolerance, in words.
    """

    record: RunRecord
    fresh: RunRecord
    exact: bool
    same_place: bool
    off: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether the record is met: to the last bit in the same place, within the tolerance elsewhere."""
        return self.exact or (not self.same_place and not self.off)


def rerun(plan: Study, arm: str, seed: int, store: Store, device: str = "cpu", progress: bool = True) -> Comparison:
    """Train one recorded run of a study again, and compare. The store stays as it is.

    An interrupted rerun resumes from its last checkpoint. Raises UserError for an arm or seed that the study lacks, or
    one without a record, and for another device than "cpu" and "cuda".
    """
    check_device(device)
    if arm in plan.arms and seed not in plan.seeds_of(arm):
        raise UserError(
            f"{plan.name}, arm {arm!r}, has no seed {seed}: it has {len(plan.seeds_of(arm))}, from {plan.seeds[0]} up"
        )
    config = plan.config(arm, seed)
    record = store.find(config)
    if record is None:
        raise UserError(
            f"{plan.name}, arm {arm!r}, seed {seed} has no record to meet: 'alexnet-repro run {plan.name}' makes one", 1
        )
    from .lab.training import Stopped, train  # the lab is opened only to train

    checkpoint = store.root / "reruns" / f"{config.key}.safetensors"
    with lock(checkpoint.with_suffix(".lock")), tqdm(desc=f"{plan.name} {arm} {seed}", disable=not progress) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        with _interruptible() as asked:
            try:
                fresh = train(config, Placement(device=device), checkpoint, show, asked)
            except Stopped:
                raise KeyboardInterrupt from None
        checkpoint.unlink(missing_ok=True)
    return compare(record, fresh)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Says whether Ctrl-C was pressed, so that a checkpoint can be written first; pressed again, it ends at once."""
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


def compare(record: RunRecord, fresh: RunRecord) -> Comparison:
    """Hold a fresh run against the record of the same config.

    Metrics that the record lacks are not compared: it may be older than they are.
    """
    metrics = {name: fresh.metrics.get(name) for name in record.metrics}
    exact = (
        record.provenance.weights == fresh.provenance.weights
        and record.curve == fresh.curve
        and record.status == fresh.status
        and record.metrics == metrics
    )
    same = all(getattr(record.provenance, name) == getattr(fresh.provenance, name) for name in SAME)
    off = [] if record.status == fresh.status else [f"it is {fresh.status}, the record {record.status}"]
    off += [
        f"after {there.epoch:g} epochs the loss is {_shown(here)}, the record has {_shown(there)}"
        for here, there in zip(fresh.curve[:EARLY], record.curve[:EARLY], strict=False)
        if not _within(NATS, there.train_loss, here.train_loss)
    ]
    off += [
        f"{name} is {fresh.metric(name):.4g}, the record has {record.metric(name):.4g}"
        for name in record.metrics
        if not _near(name, record.metric(name), fresh.metric(name))
    ]
    return Comparison(record, fresh, exact, same, tuple(off))


def _shown(point: Measurement) -> str:
    return "no number" if point.train_loss is None else f"{point.train_loss:.4g}"


def _near(name: str, recorded: float, found: float) -> bool:
    """Whether a metric is within the tolerance; only shares of the images and times to an end have one."""
    if name.endswith("error") or name in SHARES:
        return _within(POINTS, recorded, found)
    if name.startswith("epochs_to_"):
        return _within(math.log(FACTOR), math.log(recorded), math.log(found))
    return True


def _within(tolerance: float, recorded: float | None, found: float | None) -> bool:
    """Whether two numbers are as near as that; two that are none are."""
    first, second = (math.nan if each is None else each for each in (recorded, found))
    return abs(second - first) <= tolerance or (math.isnan(first) and math.isnan(second))
