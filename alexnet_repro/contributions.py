"""Runs of other people's machines: checked, kept apart by who made them and on what, never pooled with others."""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import imagenet, verify
from .ablations import ABLATIONS
from .claims import Measured, load
from .config import RunConfig
from .errors import UserError
from .records import RunRecord
from .store import SUMS, Store, read_rows, rows_by_key, write_table
from .studies import STUDIES, study
from .verdicts import SPEEDS, Records, Verdict, judge

SOURCE = re.compile(r"[a-z0-9](-?[a-z0-9]){0,38}")
"""Who made the runs: a name as on GitHub, in lower case."""
LARGEST = 32 * 2**20
"""Bytes of a table; one of a hundred full-size runs has a tenth."""
PLAIN = re.compile(r"[\w .,:+@()/\-]{1,160}", re.ASCII)
"""What the book shows of a record and no field of it limits: nothing that a page or a shell could take for its own."""

FULL_SIZE = "imagenet_ablations"
"""The study whose runs are judged at full size."""
METRIC = re.compile(r"[a-z0-9_]{1,40}")


@dataclass(frozen=True)
class Group:
    """Runs that one source made on one kind of device, of one collection of images: pairs are formed within it alone.

    images: of full-size runs, in words, and how they were computed; empty for CIFAR-10. runs: by key.
    """

    source: str
    device: str
    images: str
    runs: dict[str, RunRecord]


def root(store: Store) -> Path:
    """Where contributed tables lie, a folder per source and in it one per study."""
    return store.evidence.parent / "contributed"


def contribute(given: Path, source: str, store: Store) -> tuple[Path, list[RunRecord], list[str]]:
    """Check the published study in the folder ``given``, whose name is the study's, and add its runs to the source's.

    Returns (the folder of the tables, the runs that were new, faults: if any, nothing has been added). Raises UserError
    for what is no such folder.
    """
    if not SOURCE.fullmatch(source):
        raise UserError(f"bad source {source[:60]!r}: use a name of up to 39 small letters, digits and single hyphens")
    name = given.resolve().name
    if not verify.known(name):
        raise UserError(f"{given} is named after no study: name the folder as the study is, such as relu_speed")
    rows = _read(given)
    target = root(store) / source / name
    known = rows_by_key(target)
    faults = list(_faults(name, rows, store))
    for _, record in rows:
        if record.key in known and _bare(known[record.key][1]) != _bare(record):
            faults.append(f"run {record.key}: {source} has contributed it before, with other numbers")
    new = [(arm, record) for arm, record in rows if record.key not in known]
    if new and not faults:
        write_table(target, [*known.values(), *new])
    return target, [record for _, record in new], faults


def faults(store: Store) -> list[str]:
    """Every fault of what has been contributed, a line each that begins with the place; empty if sound."""
    found = []
    for source, name, folder in _folders(store):
        place = f"contributed/{source}/{name}"
        try:
            rows = _read(folder)
        except UserError as error:
            found.append(f"{place}: {error}")
            continue
        if not SOURCE.fullmatch(source):
            found.append(f"{place}: bad source")
        if not verify.known(name):
            found.append(f"{place}: no study has this name")
        found += [f"{place}: {fault}" for fault in _faults(name, rows, store)]
    return found


def groups(store: Store) -> list[Group]:
    """What has been contributed, by source, device and images. Raises UserError for a damaged table."""
    found: dict[tuple[str, str, str], Group] = {}
    for source, _, folder in _folders(store):
        for record in _records(folder):
            _sort(found, source, record)
    return list(found.values())


def full_size(store: Store) -> list[Group]:
    """Full-size runs alone: those contributed, and under the source "" those published or trained here."""
    found = {(g.source, g.device, g.images): g for g in groups(store) if g.images}
    for record in [*store.published().values(), *store.records()]:
        if record.config.data.dataset == "imagenet":
            _sort(found, "", record)
    return list(found.values())


def judged(group: Group) -> list[Verdict]:
    """A verdict on every measured comparison that the group has a run of, by its pairs alone.

    Not on those of a metric that its runs lack, nor of an arm that is none there. At full size the rule's smallest
    effect is half of the paper's number, where it gives one: see the page on verdicts.
    """
    verdicts = []
    find = partial(_find, group)
    for claim in load():
        for entry in claim.measured:
            if entry.study not in STUDIES or (group.images and not is_at_full_size(entry)):
                continue
            arm = find(entry, entry.arm)
            against = {} if isinstance(entry.against, float) else find(entry, entry.against)
            metrics = ((arm, entry.metric), (against, entry.against_metric or entry.metric))
            if (arm or against) and all(_measured(runs, metric) for runs, metric in metrics):
                verdicts.append(judge(claim, at_full_size(entry) if group.images else entry, arm, against))
    return verdicts


def paper_run(config: RunConfig) -> RunConfig:
    """The paper's own run on the images, and with the seed, of a full-size run."""
    return imagenet.behind(config).changed(seed=config.seed)


def is_at_full_size(entry: Measured) -> bool:
    """Whether the arms of a comparison are runs of the full-size study, too."""
    arms = ABLATIONS[entry.study].arms if entry.study in ABLATIONS else {}
    whole = imagenet.RECIPES[FULL_SIZE].arms.values()
    return all(arms.get(arm) in whole for arm in (entry.arm, entry.against) if isinstance(arm, str))


def at_full_size(entry: Measured) -> Measured:
    """The rule of a comparison in CIFAR size, for the paper's own net and images."""
    size = entry.paper_value / 2 if entry.paper_value is not None and entry.unit == "points" else entry.size
    setting = "the paper's net at full size"
    rule = {"study": FULL_SIZE, "setting": setting, "size": size, "seeds": imagenet.RECIPES[FULL_SIZE].seeds}
    return entry.model_copy(update=rule | {"cost": None, "note": ""})


def _find(group: Group, entry: Measured, arm: str) -> Records:
    """The group's runs of an arm by seed."""
    seeds = sorted({record.config.seed for record in group.runs.values()})
    if not group.images:
        plan = study(entry.study)
        # Some arms are made of others' predictions, which no record holds.
        configs = [plan.config(arm, seed) for seed in seeds if arm in plan.arms]
    else:
        base = imagenet.behind(next(iter(group.runs.values())).config)
        configs = [base.changed(**ABLATIONS[entry.study].arms[arm], seed=seed) for seed in seeds]
    return {config.seed: group.runs[config.key] for config in configs if config.key in group.runs}


def _bare(record: RunRecord) -> RunRecord:
    """The record without the empty metrics that it has from other runs of its table."""
    return record.model_copy(update={"metrics": {name: v for name, v in record.metrics.items() if v is not None}})


def _measured(runs: Records, metric: str) -> bool:
    """Whether the runs know a metric, which a smaller or larger net may not have."""
    return all(metric in (*r.metrics, *SPEEDS) or r.status == "diverged" for r in runs.values())


def _sort(found: dict[tuple[str, str, str], Group], source: str, record: RunRecord) -> None:
    config, device = record.config, record.provenance.device
    whole = config.data.dataset == "imagenet"
    images = f"{imagenet.Images.behind(config).words} ({config.data.digest}), {_computed(config)}" if whole else ""
    group = found.setdefault((source, device, images), Group(source, device, images, {}))
    group.runs.setdefault(record.key, record)


def _computed(config: RunConfig) -> str:
    return f"in {config.precision}{', compiled' if config.compiled else ''}"


def _folders(store: Store) -> Iterator[tuple[str, str, Path]]:
    """(source, study, folder) of every contributed table, in order."""
    for folder in sorted(root(store).glob("*/*")):
        if folder.is_dir():
            yield folder.parent.name, folder.name, folder


def _records(folder: Path) -> Iterator[RunRecord]:
    return (record for _, record in _read(folder))


def _read(folder: Path) -> list[tuple[str, RunRecord]]:
    """The (arm, record) pairs of a published folder, from plain files of a sensible size. Raises UserError."""
    for name in (SUMS, "runs.csv", "curves.csv"):
        path = folder / name
        try:
            about = path.lstat()
        except OSError as error:
            raise UserError(
                f"cannot read {path} ({error.strerror}): give a folder that 'alexnet-repro publish STUDY --to' wrote"
            ) from error
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            raise UserError(f"{path} is no plain file of at most {LARGEST >> 20} MB: give what 'publish' wrote", 1)
    try:
        return read_rows(folder)
    except UserError as error:
        reason = str(error).rpartition(": restore")[0]
        raise UserError(f"{reason}: write it anew with 'alexnet-repro publish STUDY --to'", 1) from error


def _faults(name: str, rows: list[tuple[str, RunRecord]], store: Store) -> Iterator[str]:
    """What is off in the rows of one table, a line each."""
    if not rows:
        yield "it holds no run"
    if name in STUDIES and study(name).pilot:
        yield f"{name} is a pilot, which supports no claim: contribute the study that follows it"
    seen = set()
    ours = store.published()
    for arm, record in rows:
        place = f"arm {arm[:60]!r}, seed {record.config.seed}, run {record.key}"
        source = record.provenance
        if record.key in seen:
            yield f"{place}: it stands there twice"
        seen.add(record.key)
        for field in ("device", "python", "torch", "numpy"):
            if not PLAIN.fullmatch(getattr(source, field)):
                yield f"{place}: its {field} {getattr(source, field)[:60]!r} is no plain name"
        strange = [metric for metric in record.metrics if not METRIC.fullmatch(metric)]
        if strange:
            yield f"{place}: {strange[0][:60]!r} is no name of a metric"
        same = ours.get(record.key)
        if same is not None and (same.provenance.started, same.curve) == (source.started, record.curve):
            yield f"{place}: it is this project's own run"
        yield from (f"{place}: {fault}" for fault in verify.check(name, arm, record, any_seed=True))
