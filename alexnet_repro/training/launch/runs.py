"""Load a study's records, train the missing runs, and publish the finished ones."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...common.errors import UserError
from ...experiments.registry import scales
from ...experiments.study import FRESH_SEEDS, Study
from ...records import predictions
from ...records.lookup import RunsByArm, records
from ...records.record import RunRecord
from ...records.store import Store, rows_by_key, write_table


def load_or_train(
    plan: Study,
    store: Store,
    train: bool,
    device: str = "cpu",
    workers: int | None = None,
    progress: bool = True,
    scheduler: str | None = None,
    stack: int = 1,
) -> RunsByArm:
    """Load a study's records; with train=True, first train the missing runs.

    They are trained on this machine's cores, or with device "cuda" or "mps" on its GPUs. workers: how many runs at
    once; by default one per core, and on CUDA devices as many as a measurement finds worth it. stack: how many seeds
    each worker trains in one computation. scheduler: the address of a Dask scheduler, whose workers train instead.
    """
    configs = [config for _, config in plan.runs()]
    if train and scheduler is not None:
        from . import cluster

        cluster.launch(configs, store, scheduler, device, plan.name, progress)
    elif train and store.missing(configs):
        from .local import launch  # torch is imported only to train
        from .sharing import sharing

        if workers is None and stack == 1:
            together = sharing(store.missing(configs), device)
            workers = together.workers
            if together.runs > 1:
                print(together, file=sys.stderr)
        launch(configs, store, device=device, workers=workers, title=plan.name, progress=progress, stack=stack)
    return records(plan, store)


def launch_distributed(plan: Study, devices: int, parallel: str, device: str) -> None:
    """Train the missing runs of a study, each on ``devices`` devices of this machine: starts a process per device.

    Raises UserError for an odd number of devices with "columns", and if no arm has two columns.
    """
    from ..parallel.process_group import check_parallel
    from .devices import start

    check_parallel([config for _, config in plan.runs()], parallel, devices, device)
    words = ["run", plan.name, "--device", device, "--parallel", parallel]
    start([*words, *options(plan)], devices)


def options(plan: Study) -> list[str]:
    """The command line's options, beside the study's name, for the runs of this study."""
    base = plan.baseline
    return [
        *["--scale", plan.scale] * (plan.scale != "cifar10" and len(scales(plan.name)) > 1),
        *["--precision", base.precision] * (base.data.dataset == "imagenet"),
        *["--compile"] * base.compiled,
        *["--first-seed", f"{plan.seeds[0]}"] * plan.moved,
    ]


def train_distributed(plan: Study, store: Store, parallel: str, device: str, progress: bool = True) -> None:
    """Train the missing runs of a study, each in all the processes that torchrun has started; this is one of them.

    With "columns", only networks with two columns are trained; the last line printed names the arms that are left.
    """
    from ..parallel.process_group import Group, check_parallel
    from ..parallel.trainer import train_runs

    configs = [config for _, config in plan.runs()]
    able = check_parallel(configs, parallel, int(os.environ["WORLD_SIZE"]), device)
    try:
        group = Group(parallel, device)
    except (RuntimeError, ValueError) as error:
        remedy = "set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to the interface of their network"
        raise UserError(
            f"the processes cannot meet ({error}): check MASTER_ADDR and the firewall; with several machines, {remedy}",
            1,
        ) from error
    train_runs(able, store, group, plan.name, progress)
    if group.rank == 0:
        left = {config.key for config in store.missing(configs)}
        arms = dict.fromkeys(arm for arm, config in plan.runs() if config.key in left)
        if arms:
            done = f"{len(configs) - len(left)} runs with two columns are in the store"
            print(f"{plan.name}: all {done}; {', '.join(arms)} has no two: train it with --parallel data")
        else:
            print(f"{plan.name}: all {len(configs)} runs are in the store")


class Published(NamedTuple):
    """The result of ``publish``.

    runs: how many the table has now. dirty: how many were left out because their code had uncommitted changes.
    predicted: of how many new runs the predictions were published. without: of how many they could not be, because the
    working store lacks their weights.
    """

    runs: int
    dirty: int
    predicted: int
    without: int


def publish(plan: Study, store: Store, into: Path | None = None) -> Published:
    """Write a study's finished runs into its table in data/evidence/, and the predictions of the new ones.

    Runs that another study has published are left out. Published runs stay, unless there is a clean run of the same
    key. into: write a table of the working store's runs into a folder of the study's name there instead, to be
    contributed. Raises UserError if there is nothing to publish, and for seeds that belong to no study here.
    """
    if plan.scale == "smoke":
        raise UserError(f"{plan.name} at smoke scale is a rehearsal, never evidence: publish the cifar10 scale")
    if plan.moved and into is None:
        raise UserError(f"first seed {plan.seeds[0]}: data/evidence/ holds the seeds of studies; add --to FOLDER")
    if plan.published_in and into is None:
        there = plan.published_in
        raise UserError(f"{plan.name} shares its runs with {there}: 'alexnet-repro publish {there}'")
    elsewhere = {key for key, home in store.published_in().items() if into is not None or home != plan.name}
    found = [(arm, record) for arm, by_seed in records(plan, store).items() for record in by_seed.values()]
    rows = [(arm, record) for arm, record in found if record.key not in elsewhere]
    clean = {record.key: (arm, record) for arm, record in rows if record.provenance.clean}
    if not clean:
        command = " ".join(["alexnet-repro run", plan.name, *options(plan)])
        if into is not None and found and not rows:
            again = " ".join(["alexnet-repro run", plan.name, *options(replace(plan, moved=False))])
            others = f"'{again} --first-seed {FRESH_SEEDS}'"
            raise UserError(f"the runs of {plan.name} are all published already: contribute others, as of {others}", 1)
        raise UserError(f"{plan.name} has no finished run of a clean commit: commit, then '{command}'", 1)
    folder = store.evidence / plan.name if into is None else into / plan.name
    before = rows_by_key(folder) if into is None else {}
    table = before | clean
    # First, so that a repeated call makes up for one that was interrupted: the runs are new until the table is written.
    new = [record for key, (_, record) in clean.items() if key not in before]
    predicted, without = _publish_predictions(new, store) if into is None else (0, 0)
    write_table(folder, list(table.values()))
    store.reread()
    return Published(len(table), sum(not record.provenance.clean for _, record in rows), predicted, without)


def _publish_predictions(new: list[RunRecord], store: Store) -> tuple[int, int]:
    """How many predictions were published, and how many weights are not there to make them from."""
    wanted = predictions.due(new, store)
    kept = [record for record in wanted if store.weights(record.key).is_file()]
    if kept:
        from ..predict import publish_predicted_classes  # torch is imported only to compute

        for record in kept:
            publish_predicted_classes(record, store)
    return len(kept), len(wanted) - len(kept)
