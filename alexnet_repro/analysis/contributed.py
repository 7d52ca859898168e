"""Runs contributed by other people: check them, and judge them separately by who made them and on which device.

They are never pooled with this project's runs or with each other.
"""

import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from ..common.errors import UserError, printable
from ..common.files import LARGEST, is_hidden
from ..experiments import imagenet
from ..experiments.cifar_alexnet import ABLATIONS
from ..experiments.config import RunConfig
from ..experiments.registry import STUDIES, study
from ..paper.claims import Measured, load
from ..records import verify
from ..records.copies import Curves
from ..records.metrics import SPEEDS
from ..records.record import RunRecord
from ..records.store import CURVES, RUNS, SUMS, Placed, Store, read_placed, rows_by_key, write_table
from .verdicts import Records, Verdict, judge

SOURCE = re.compile(r"[a-z0-9](-?[a-z0-9]){0,38}")
"""Who made the runs: a user name as on GitHub, in lower case."""
FULL_SIZE = "imagenet_ablations"
"""The study whose runs are judged at full size."""
OURS = "this project"
"""The owner of the published runs."""
REMEDY = "write it anew with 'alexnet-repro publish STUDY --to'"


@dataclass(frozen=True)
class Group:
    """Runs of one source on one kind of device and one collection of images: pairs are formed only within a group.

    images: for full-size runs, the images and the precision in words; empty for others. runs: by key.
    """

    source: str
    device: str
    images: str
    runs: dict[str, RunRecord]


def root(store: Store) -> Path:
    """The folder of contributed tables: a folder per source, and in it one per study."""
    return store.evidence.parent / "contributed"


def contribute(given: Path, source: str, store: Store) -> tuple[Path, list[RunRecord], list[str]]:
    """Check the published study in the folder ``given``, which is named after it, and add its runs to those of the
    source.

    Returns (folder of the tables, runs that were new, faults); with faults, nothing is added. Raises UserError if it is
    no such folder.
    """
    if not SOURCE.fullmatch(source):
        raise UserError(
            f"bad source {source[:60]!r}: use a name of up to 39 lower-case letters, digits and single hyphens"
        )
    name = given.resolve().name
    if not given.is_dir():
        raise UserError(f"no folder {given}: name the one that 'alexnet-repro publish STUDY --to' wrote")
    if not verify.known(name):
        raise UserError(f"{given} is named after no study: name the folder as the study is, such as relu_speed")
    runs = _read(given)
    target = root(store) / source / name
    known = rows_by_key(target)
    curves = _published_curves(store)
    for other, _, folder in _folders(store):
        with suppress(UserError):  # which verify tells: no fault of these runs
            for run in _read(folder):
                curves.add(other, run.record)
    faults = list(_faults(name, source, runs, store, curves))
    for run in runs:
        before = known.get(run.record.key)
        if before is not None and _bare(before[1]) != _bare(run.record):
            faults.append(f"run {run.record.key}: {source} has contributed it before, with other numbers")
    new = [(run.arm, run.record) for run in runs if run.record.key not in known]
    if new and not faults:
        write_table(target, [*known.values(), *new])
    return target, [record for _, record in new], faults


def faults(store: Store) -> list[str]:
    """All faults in contributed runs, a line each that begins with the place; an empty list if they are sound."""
    found = []
    curves = _published_curves(store)
    for source, name, folder in _folders(store):
        place = f"contributed/{source}/{name}"
        try:
            runs = _read(folder)
        except UserError as error:
            found.append(f"{place}: {error}")
            continue
        if not SOURCE.fullmatch(source):
            found.append(f"{place}: bad source")
        if not verify.known(name):
            found.append(f"{place}: no study has this name")
        found += [f"{place}: {fault}" for fault in _faults(name, source, runs, store, curves)]
    return [printable(fault) for fault in found]


def groups(store: Store) -> list[Group]:
    """All contributed runs, by source, device and images. Raises UserError for a damaged table."""
    found: dict[tuple[str, str, str], Group] = {}
    for source, _, folder in _folders(store):
        for run in _read(folder):
            _sort(found, source, run.record)
    return list(found.values())


def full_size(store: Store) -> list[Group]:
    """Groups of full-size runs: contributed ones, and under the source "" those published or trained here."""
    found = {(g.source, g.device, g.images): g for g in groups(store) if g.images}
    for record in [*store.published().values(), *store.records()]:
        if record.config.data.dataset == "imagenet":
            _sort(found, "", record)
    return list(found.values())


def judged(group: Group) -> list[Verdict]:
    """The verdict on every measured comparison that the group has runs for, from its own pairs only.

    Comparisons by a metric that its runs lack, or of an arm without runs, are left out. At full size, the smallest
    effect of the rule is half of the paper's number, if there is one: see the page on verdicts.
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
    """The paper's own run on the images and with the seed of a full-size run."""
    return imagenet.behind(config).changed(seed=config.seed)


def is_at_full_size(entry: Measured) -> bool:
    """Whether both arms of a comparison are also arms of the full-size study."""
    arms = ABLATIONS[entry.study].arms if entry.study in ABLATIONS else {}
    whole = imagenet.RECIPES[FULL_SIZE].arms.values()
    return all(arms.get(arm) in whole for arm in (entry.arm, entry.against) if isinstance(arm, str))


def at_full_size(entry: Measured) -> Measured:
    """The rule of a comparison of the small net, changed to apply to the paper's own net and images."""
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
    """(source, study, folder) of every contributed table, in order; hidden folders are none."""
    for folder in sorted(root(store).glob("*/*")):
        if folder.is_dir() and not is_hidden(folder.name) and not is_hidden(folder.parent.name):
            yield folder.parent.name, folder.name, folder


def _read(folder: Path) -> list[Placed]:
    """The runs of a published folder, from plain files of a sensible size. Raises UserError."""
    for name in (SUMS, RUNS, CURVES):
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
        return read_placed(folder)
    except UserError as error:
        reason = str(error).rpartition(": restore")[0]
        raise UserError(f"{reason}: {REMEDY}", 1) from error


def _published_curves(store: Store) -> Curves:
    curves = Curves()
    for record in store.published().values():
        curves.add(OURS, record)
    return curves


def _faults(name: str, source: str, runs: list[Placed], store: Store, curves: Curves) -> Iterator[str]:
    """Faults in the runs of one table, a line each; adds their curves to ``curves``, which has those of all others."""
    if not runs:
        yield "it holds no run"
    if name in STUDIES and study(name).pilot:
        yield f"{name} is a pilot, which supports no claim: contribute the study that follows it"
    ours = store.published()
    for run in runs:
        record = run.record
        place = f"arm {run.arm[:60]!r}, seed {record.config.seed}, run {record.key[:60]}"
        same, twin = ours.get(record.key), curves.twin(source, record)
        if same is not None and _instant(same) == _instant(record):
            yield f"{place}: it is this project's own run ({RUNS}, row {run.row}, column provenance.started)"
        elif twin is not None:
            whose = "this project's own run" if twin.owner == OURS else f"the run of {twin.owner}"
            yield (
                f"{place}: its curve is that of seed {twin.seed}, run {twin.key}, {whose} ({CURVES}, row "
                f"{run.points[0]}, column train_loss): the same run once more is no evidence; train other seeds"
            )
        curves.add(source, record)
        yield from (f"{place}: {verify.told(fault, run)}" for fault in verify.check(name, run.arm, record, True))


def _instant(record: RunRecord) -> datetime | str:
    """When a run began: the same instant, however it is written."""
    try:
        return datetime.fromisoformat(record.provenance.started)
    except ValueError:
        return record.provenance.started
