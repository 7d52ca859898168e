"""The door from a study to its records: trains what is missing, when asked, and nothing else."""

import os
from pathlib import Path
from typing import NamedTuple

from ...common.errors import UserError
from ...experiments.registry import scales
from ...experiments.study import Study
from ...records import predictions
from ...records.lookup import RunsByArm, records
from ...records.record import RunRecord
from ...records.store import Store, rows_by_key, write_table


def obtain(
    plan: Study,
    store: Store,
    train: bool,
    device: str = "cpu",
    workers: int | None = None,
    progress: bool = True,
    scheduler: str | None = None,
    stack: int = 1,
) -> RunsByArm:
    """The records of a study: those in the store, and with ``train`` the missing ones, trained now.

    Runs go to this machine's cores, or to its GPUs with device "cuda"; ``workers`` limits how many at once, and
    ``stack`` is how many seeds each trains in one computation. Or they go to the workers of a Dask ``scheduler``, an
    address.
    """
    configs = [config for _, config in plan.runs()]
    if train and scheduler is not None:
        from . import cluster

        cluster.launch(configs, store, scheduler, device, plan.name, progress)
    elif train and store.missing(configs):
        from .local import launch  # torch is imported only to train

        launch(configs, store, device=device, workers=workers, title=plan.name, progress=progress, stack=stack)
    return records(plan, store)


def start_together(plan: Study, devices: int, parallel: str, device: str) -> None:
    """Train what is missing, each run on ``devices`` devices of this machine: starts a process for each.

    Raises UserError where so many can't be arranged, or no arm has columns to spread.
    """
    from ..parallel.process_group import shareable
    from .devices import start

    shareable([config for _, config in plan.runs()], parallel, devices, device)
    words = ["run", plan.name, "--device", device, "--parallel", parallel]
    start([*words, *_options(plan)], devices)


def _options(plan: Study) -> list[str]:
    """What the command line needs beside a study's name to mean these runs."""
    base = plan.baseline
    return [
        *["--scale", plan.scale] * (plan.scale != "cifar10" and len(scales(plan.name)) > 1),
        *["--precision", base.precision] * (base.precision != "float32"),
        *["--compile"] * base.compiled,
        *["--first-seed", f"{plan.seeds[0]}"] * plan.moved,
    ]


def together(plan: Study, store: Store, parallel: str, device: str, progress: bool = True) -> None:
    """This process's part in training what is missing, each run by all the processes that torchrun has started.

    With "columns", the arms of nets that have two; the last line names those that are left.
    """
    from ..parallel.process_group import Group, shareable
    from ..parallel.trainer import train_together

    configs = [config for _, config in plan.runs()]
    able = shareable(configs, parallel, int(os.environ["WORLD_SIZE"]), device)
    group = Group(parallel, device)
    train_together(able, store, group, plan.name, progress)
    if group.rank == 0:
        left = {config.key for config in store.missing(configs)}
        arms = dict.fromkeys(arm for arm, config in plan.runs() if config.key in left)
        if arms:
            done = f"{len(configs) - len(left)} runs with two columns are in the store"
            print(f"{plan.name}: all {done}; {', '.join(arms)} has no two: train it with --parallel data")
        else:
            print(f"{plan.name}: all {len(configs)} runs are in the store")


class Published(NamedTuple):
    """runs: how many the table holds now. dirty: how many were left out, their code no clean commit.

    predicted, without: of the runs that are new in the table, how many predictions were published, and how many
    could not be, because the working store has no weights of them.
    """

    runs: int
    dirty: int
    predicted: int
    without: int


def publish(plan: Study, store: Store, into: Path | None = None) -> Published:
    """Write the study's finished runs into data/evidence/, each into the table of the study that had it first.

    What the table holds already stays in it, or makes way for a clean run of the same key. Or, to be contributed, into
    a folder of the study's name in ``into``: those of the working store alone. In data/, what new runs predict is
    published, too. Raises UserError where there is nothing to publish, and for seeds that are no study's here.
    """
    if plan.scale == "smoke":
        raise UserError(f"{plan.name} at smoke scale is a rehearsal, never evidence: publish the cifar10 scale")
    if plan.moved and into is None:
        raise UserError(f"first seed {plan.seeds[0]}: data/evidence/ holds the seeds of studies; add --to FOLDER")
    if plan.published_in and into is None:
        there = plan.published_in
        raise UserError(f"{plan.name} shares its runs with {there}: 'alexnet-repro publish {there}'")
    elsewhere = {key for key, home in store.published_in().items() if into is not None or home != plan.name}
    rows = [
        (arm, record)
        for arm, by_seed in records(plan, store).items()
        for record in by_seed.values()
        if record.key not in elsewhere
    ]
    clean = {record.key: (arm, record) for arm, record in rows if record.provenance.clean}
    if not clean:
        command = " ".join(["alexnet-repro run", plan.name, *_options(plan)])
        raise UserError(f"{plan.name} has no finished run of a clean commit: commit, then '{command}'", 1)
    folder = store.evidence / plan.name if into is None else into / plan.name
    before = rows_by_key(folder) if into is None else {}
    table = before | clean
    # First, so that a repeated call makes up for one that was interrupted: the runs are new until the table is written.
    new = [record for key, (_, record) in clean.items() if key not in before]
    predicted, without = _publish_predictions(new, store) if into is None else (0, 0)
    write_table(folder, list(table.values()))
    return Published(len(table), sum(not record.provenance.clean for _, record in rows), predicted, without)


def _publish_predictions(new: list[RunRecord], store: Store) -> tuple[int, int]:
    """How many predictions were published, and how many weights are not there to make them from."""
    wanted = predictions.due(new, store)
    kept = [record for record in wanted if store.weights(record.key).is_file()]
    if kept:
        from ..predict import publish_classes  # torch is imported only to compute

        for record in kept:
            publish_classes(record, store)
    return len(kept), len(wanted) - len(kept)
