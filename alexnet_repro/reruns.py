"""A recorded run, trained afresh and held against its record."""

import math
from dataclasses import dataclass

from tqdm.auto import tqdm

from .config import Placement
from .errors import UserError
from .files import lock
from .machine import check_device
from .records import RunRecord
from .store import Store
from .studies import Study

POINTS = 0.03
"""How far an error may lie from the recorded one on another machine, as a fraction of the images: three points."""
FACTOR = 1.25
"""How far a number of epochs may lie from the recorded one on another machine."""
SAME = ("python", "torch", "numpy", "device", "threads", "data")
"""Parts of the provenance on which the last bit depends."""


@dataclass(frozen=True)
class Comparison:
    """A record beside a fresh run of the same config.

    exact: weights, curve and metrics are the same to the last bit. same_place: they are to be, since the machine and
    versions are the same. off: what lies outside the tolerance, in words.
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
    config = plan.config(arm, seed)
    if seed not in plan.seeds_of(arm):
        raise UserError(
            f"{plan.name}, arm {arm!r}, has no seed {seed}: it has {len(plan.seeds_of(arm))}, from {plan.seeds[0]} up"
        )
    record = store.find(config)
    if record is None:
        raise UserError(
            f"{plan.name}, arm {arm!r}, seed {seed} has no record to meet: 'alexnet-repro run {plan.name}' makes one", 1
        )
    from .lab.training import train  # the lab is opened only to train

    checkpoint = store.root / "reruns" / f"{config.key}.safetensors"
    with lock(checkpoint.with_suffix(".lock")), tqdm(desc=f"{plan.name} {arm} {seed}", disable=not progress) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        fresh = train(config, Placement(device=device), checkpoint, show)
        checkpoint.unlink(missing_ok=True)
    return compare(record, fresh)


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
        f"{name} is {fresh.metric(name):.4g}, the record has {record.metric(name):.4g}"
        for name in record.metrics
        if not _near(name, record.metric(name), fresh.metric(name))
    ]
    return Comparison(record, fresh, exact, same, tuple(off))


def _near(name: str, recorded: float, found: float) -> bool:
    """Whether a metric is within the tolerance; only errors and times to an end have one."""
    if math.isnan(recorded) or math.isnan(found):
        return math.isnan(recorded) == math.isnan(found)
    if name.endswith("error"):
        return abs(found - recorded) <= POINTS
    if name.startswith("epochs_to_"):
        return recorded / FACTOR <= found <= recorded * FACTOR
    return True
