"""The command ``alexnet-repro``: options, messages and exit codes; the work is done by the rest of the package."""

import json
import math
import os
import shlex
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from .analysis.contributed import contribute
from .analysis.lookup import concluded
from .analysis.verdicts import MIN_PAIRS
from .common import paths
from .common.errors import UserError, one_of
from .common.machine import check_device, columns_of, launched
from .common.terminal import print_what_can_be_shown, text_table
from .experiments import manifest
from .experiments.config import DIGESTS, PRECISIONS, DeviceConfig, RunConfig
from .experiments.imagenet import RECIPES
from .experiments.registry import STUDIES, study
from .experiments.study import FRESH_SEEDS, PILOT_SEEDS, SCALES, SEEDS_END, Study, from_seed
from .records.lookup import records
from .records.outputs import MEMBERS
from .records.store import Store
from .report import verdict_tables
from .training.launch.rerun import rerun
from .training.launch.runs import launch_distributed, load_or_train, publish, train_distributed

app = typer.Typer(
    help="Replicate AlexNet (2012), claim by claim.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help=f"One of: {', '.join(STUDIES)}; at full size: {', '.join(RECIPES)}, each also with _128 behind it.",
    ),
]
FirstSeed = Annotated[
    int,
    typer.Option(
        help=f"Use seeds from this number up, for runs to contribute; 0: those of the study. At most {SEEDS_END - 1}; "
        f"{PILOT_SEEDS} to {FRESH_SEEDS - 1} are kept for pilots.",
    ),
]
PrecisionName = Annotated[
    str, typer.Option("--precision", help=f"imagenet: precision of matrix products: {', '.join(PRECISIONS)}.")
]
Compile = Annotated[bool, typer.Option("--compile", help="imagenet: train with torch.compile.")]
ScaleName = Annotated[str, typer.Option("--scale", help=f"One of: {', '.join(SCALES)}.")]
DATA_SETS = ("cifar10", "tiny-imagenet", "imagenet")


class Format(StrEnum):
    """Output format of ``verdict``."""

    table = "table"
    json = "json"
    csv = "csv"


def _study(name: str, scale: str, first_seed: int, precision: str, compiled: bool) -> Study:
    """The study with the options' scale, seeds and precision. Raises UserError for a bad option."""
    chosen = from_seed(study(name, scale), first_seed)
    if precision not in PRECISIONS:
        raise one_of("precision", precision, list(PRECISIONS))
    if chosen.baseline.data.dataset == "imagenet":
        return chosen.changed(precision=precision, compiled=compiled)
    if precision != "float32" or compiled:
        raise UserError(f"--precision and --compile are for imagenet: leave them out for {name}, which has its own")
    return chosen


@app.command()
def data(
    name: Annotated[str, typer.Argument(metavar="DATASET", help=f"One of: {', '.join(DATA_SETS)}.")] = "cifar10",
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="imagenet: the folder of the images; tiny-imagenet: its zip, a tar, or its folder."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="imagenet: pixels a side, 256 (default), or 128 for a quarter of the disk.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="imagenet: processes; default: one per core.")] = None,
    hold_out: Annotated[
        float | None, typer.Option(help="imagenet without val/: share of each class to set apart for it, such as 0.1.")
    ] = None,
) -> None:
    """Get a data set ready and verify it. It is downloaded, or read from --from; prints where it is."""
    if name not in DATA_SETS:
        raise one_of("data set", name, list(DATA_SETS))
    if name == "imagenet":
        return _imagenet(source, 256 if size is None else size, workers, hold_out)
    for option, value in {"hold-out": hold_out, "size": size, "workers": workers}.items():
        if value is not None:
            raise UserError(f"--{option} {value:g} is for imagenet: leave it out")
    if name == "tiny-imagenet":
        return _tiny_imagenet(source)
    if source is not None:
        raise UserError(f"--from {source} is for imagenet and tiny-imagenet: {name} is fetched")

    from .training.data import cifar10

    here = cifar10.cifar10()
    print(
        f"CIFAR-10: {len(here.train_labels):,} training and {len(here.test_labels):,} test images, "
        f"every batch as pinned, in {paths.downloads() / cifar10.FILE}"
    )


def _imagenet(source: Path | None, size: int, workers: int | None, hold_out: float | None) -> None:
    if size not in manifest.SIZES:
        raise UserError(f"--size {size}: no study takes such images; use {' or '.join(map(str, manifest.SIZES))}")
    from .training.data import prepare

    if source is not None:
        prepare.prepare(source, size, workers, progress=sys.stderr.isatty(), hold_out=hold_out)
        return
    for option, value in {"hold-out": hold_out, "workers": workers}.items():
        if value is not None:
            raise UserError(f"--{option} {value:g} without --from: name the folder of the images, too")
    folder = manifest.folder(size)
    prepared = prepare.verify(folder, progress=sys.stderr.isatty())
    print(*prepare.summary(folder, prepared), f"every byte as prepared, in {folder}", sep="\n")


def _tiny_imagenet(source: Path | None) -> None:
    from .training.data import tiny_imagenet

    here = tiny_imagenet.get(source, progress=sys.stderr.isatty())
    print(
        f"Tiny ImageNet: {len(here.train_labels):,} training and {len(here.test_labels):,} validation images, every "
        f"file as pinned, in {paths.downloads() / tiny_imagenet.FILE}; SHA-256 of the pixels: {here.digest}"
    )
    if here.digest != DIGESTS["tiny-imagenet"]:
        print("some pixels were rounded otherwise than in the published runs, by another JPEG decoder: no fault")


@app.command()
def plan(
    name: StudyName,
    scale: ScaleName = "cifar10",
    device: Annotated[
        str, typer.Option(help="imagenet: where to time a hundred steps: cpu, cuda or mps (never tried).")
    ] = "cpu",
    first_seed: FirstSeed = 0,
    precision: PrecisionName = "float32",
    compiled: Compile = False,
) -> None:
    """Print the arms of a study and its missing runs. For imagenet, also what a run would cost on this machine."""
    check_device(device)
    chosen, store = _study(name, scale, first_seed, precision, compiled), Store()
    arms = records(chosen, store)
    seeds = {arm: len(chosen.seeds_of(arm)) for arm in arms}
    missing = {arm: seeds[arm] - len(runs) for arm, runs in arms.items()}
    changes = [", ".join(f"{field}={value}" for field, value in chosen.arms[arm].items()) for arm in arms]
    table = {"arm": list(arms), "changes": changes, "seeds": list(seeds.values()), "missing": list(missing.values())}
    print(pd.DataFrame(table).to_string(index=False))
    lacking, of = sum(missing.values()), sum(seeds.values())
    images = lacking * chosen.baseline.budget.epochs * chosen.baseline.data.train_images
    print(f"\n{chosen.title}: {lacking} of {of} runs missing, at most {images:,} images")
    if chosen.baseline.data.dataset == "imagenet":
        _cost(chosen.config(next(iter(arms)), chosen.seeds[0]), device)


def _cost(config: RunConfig, device: str) -> None:
    from .training.cost import measure

    cost = measure(config, DeviceConfig(device=device))
    energy = "" if cost.kilowatt_hours is None else f"; {cost.kilowatt_hours:,.1f} kWh by the GPU alone"
    print(
        f"measured on {device}: {cost.steps} steps in {cost.seconds:.1f} s, {cost.images_per_second:,.0f} images/s\n"
        f"a run, estimated: {cost.training_hours:,.1f} hours of training at most, "
        f"{cost.testing_hours:,.1f} of testing; memory {cost.memory_bytes / 1e9:.1f} GB{energy}\n"
        f"disk: {cost.images_bytes / 1e9:.1f} GB of prepared images, {cost.checkpoint_bytes / 1e9:.1f} GB a checkpoint"
    )


@app.command()
def run(
    name: StudyName,
    scale: ScaleName = "cifar10",
    device: Annotated[str, typer.Option(help="cpu, cuda for GPUs, or mps (Apple's, never tried).")] = "cpu",
    workers: Annotated[
        int | None, typer.Option(help="Runs at once; default: one per core, or what suits the GPUs.")
    ] = None,
    stack: Annotated[int, typer.Option(min=1, help="Seeds that a process trains together, for small nets.")] = 1,
    devices: Annotated[int, typer.Option(help="Devices that train each run together.")] = 1,
    parallel: Annotated[
        str, typer.Option(help="How they share it: data, a part of the batch each; columns, one each.")
    ] = "data",
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler: its workers train.")] = None,
    first_seed: FirstSeed = 0,
    precision: PrecisionName = "float32",
    compiled: Compile = False,
) -> None:
    """Train the missing runs of a study. Run it again to resume. Under torchrun, all processes train one run."""
    chosen, store = _study(name, scale, first_seed, precision, compiled), Store()
    check_device(device)
    if not launched():
        columns_of(parallel, devices)
    if scheduler is not None and (workers is not None or devices != 1 or stack != 1):
        raise UserError("--scheduler with --workers, --stack or --devices: leave those out, the workers decide")
    if devices > 1 or launched():
        if workers is not None or stack != 1:
            raise UserError("--workers or --stack with several devices to a run: leave them out, one trains at a time")
        if launched():
            train_distributed(chosen, store, parallel, device, progress=sys.stderr.isatty())
        else:
            launch_distributed(chosen, devices, parallel, device)
        return
    if devices < 1:
        raise UserError(f"devices={devices}: ask for at least one")
    progress = sys.stderr.isatty()
    arms = load_or_train(
        chosen, store, train=True, device=device, workers=workers, progress=progress, scheduler=scheduler, stack=stack
    )
    print(f"{chosen.name}: all {sum(len(runs) for runs in arms.values())} runs are in the store")


@app.command()
def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="CLAIM", help="Ids of claims, such as lrn; default: every claim.")
    ] = None,
    scale: ScaleName = "cifar10",
    device: Annotated[str, typer.Option(help="cpu, cuda, or mps (Apple's, never tried).")] = "cpu",
    budget: Annotated[
        str | None, typer.Option(help="How long to train, such as 8h or 1h30m; default: until all is done.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Pairs of each comparison, at most; 3 or more.")] = None,
    fresh_seeds: Annotated[bool, typer.Option("--fresh-seeds", help="Use seeds that no published run has.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Runs at once; default: one per core, or what suits the GPUs.")
    ] = None,
) -> None:
    """Train the runs behind claims. Compare them with the published ones."""
    from .analysis.reproduction import beside, goals
    from .training.launch import reproduce as plans
    from .training.launch.local import launch, places
    from .training.launch.sharing import sharing

    whole = math.inf if budget is None else plans.seconds_of(budget)
    wanted = goals(names or [], scale, fresh_seeds, seeds)
    places(device, workers)  # checks them
    own, published = plans.stores(device)
    every = own.missing([config for goal in wanted for seed in goal.seeds for config in goal.pair(seed)])
    together = sharing(every, device, workers)
    at_once = len(places(device, together.workers))
    durations = plans.Durations(wanted, published, device, together)
    if every:
        print(f"measuring, some {plans.SECONDS:g} s for each network that is still to be trained", file=sys.stderr)
    shares, runs = plans.allot(wanted, own, durations, whole * at_once)
    if not any(each.pairs for each in shares):
        quickest = plans.spoken(plans.least(wanted, own, durations) / at_once)
        raise UserError(
            f"--budget {budget} is too short for {MIN_PAIRS} pairs of any comparison: the quickest takes {quickest}", 1
        )
    print(text_table(plans.table(shares, published)))
    expected = sum(each.seconds for each in shares) / min(at_once, max(len(runs), 1))
    energy = sum(each.kilowatt_hours or 0 for each in shares)
    least = "at least " * (together.runs > 1)  # runs that share a GPU draw more power than the one that was measured
    if together.runs > 1:
        print(f"\n{together}")
    print(
        f"\n{len(runs)} runs to train, {at_once} at once: about {plans.spoken(expected)}"
        f"{f' and {least}{energy:.2g} kWh of the GPU' if energy else ''}; Ctrl-C stops, the same command goes on"
    )
    launch(runs, own, device, together.workers, "reproduce", sys.stderr.isatty(), seconds=whole)
    print(text_table(plans.results([beside(each.goal, own, published) for each in shares if each.pairs])))
    print(plans.next_steps(own, wanted, fresh_seeds))


@app.command("rerun")
def rerun_(
    name: StudyName,
    arm: Annotated[str, typer.Option(help="An arm, as 'plan STUDY' lists them.")],
    seed: Annotated[int, typer.Option(help="The seed of the recorded run.")],
    scale: ScaleName = "cifar10",
    device: Annotated[str, typer.Option(help="cpu, cuda, or mps (Apple's, never tried).")] = "cpu",
) -> None:
    """Train a recorded run again and compare. Exit code 1 if it does not match its record."""
    chosen = study(name, scale)
    found = rerun(chosen, arm, seed, Store(), device, progress=sys.stderr.isatty())
    for each in sorted(found.record.metrics.keys() & found.fresh.metrics.keys()):
        print(f"{each:<20} recorded {found.record.metric(each):<12.6g} now {found.fresh.metric(each):.6g}")
    said = f"the record of {name}, arm {arm!r}, seed {seed}: {found.outcome}, {found.where}: {found.why}"
    if not found.met:
        raise UserError(said, 1)
    print(said)


@app.command()
def verdict(
    output: Annotated[Format, typer.Option("--format", help="How to print them.")] = Format.table,
) -> None:
    """Print every conclusion and comparison. All of it is computed from the records."""
    claims = concluded(Store())
    if output is Format.table:
        print(verdict_tables.text(claims))
    elif output is Format.csv:
        print(verdict_tables.flat(claims).to_csv(index=False), end="")
    else:
        print(json.dumps([each.row() for each in claims], indent=1))


@app.command("publish")
def publish_(
    name: StudyName,
    scale: ScaleName = "cifar10",
    to: Annotated[Path | None, typer.Option(help="Write to this folder instead, to contribute them.")] = None,
    first_seed: FirstSeed = 0,
    precision: PrecisionName = "float32",
    compiled: Compile = False,
) -> None:
    """Write a study's finished runs to data/evidence/. Also the predictions of new ones; commit both."""
    chosen, store = _study(name, scale, first_seed, precision, compiled), Store()
    if name == MEMBERS and to is None and chosen.scale != "smoke" and not chosen.moved:
        from .training.predict import publish_ensembles

        print(f"{name}: predictions of {publish_ensembles(store)} of {len(chosen.seeds)} runs in data/predictions")
        return
    done = publish(chosen, store, to)
    print(f"{chosen.name}: {done.runs} runs published to {to or Path('data', 'evidence')}/{chosen.name}")
    if done.dirty:
        print(f"left out: {done.dirty} runs whose code was not a clean commit; commit and run them again")
    if done.predicted:
        print(f"predictions of {done.predicted} new runs written to data/predictions")
    if done.without:
        print(f"no predictions of {done.without} new runs: the working store has no weights of them")
    if name in ("tiny_imagenet", "tiny_imagenet_rates") and to is None:
        from .training.pictures import publish as publish_pictures

        if publish_pictures(store):
            print("the pictures of what the first run learned are written to data/pictures")


@app.command("contribute")
def contribute_(
    folder: Annotated[Path, typer.Argument(help="What 'publish STUDY --to' wrote: a folder of the study's name.")],
    source: Annotated[str, typer.Option(help="Who trained them: a name as on GitHub, in lower case.")],
) -> None:
    """Check and add runs that somebody else trained. They go to data/contributed/."""
    target, new, faults = contribute(folder, source, Store())
    for fault in faults:
        print(fault)
    if faults:
        raise UserError(f"{_faults(faults)} in {folder}: nothing was added; mend them, and contribute again", 1)
    on = " and ".join(sorted({record.provenance.device for record in new}))
    print(f"{len(new)} new runs{f' on {on}' if on else ''} in {target}: commit them, and open a pull request")


@app.command()
def verify() -> None:
    """Check the published and contributed evidence. Keys, digests, curves and metrics; every fault is listed."""
    from .analysis.published import faults

    listed = faults(Store())
    for fault in listed:
        print(fault)
    if listed:
        raise UserError(f"{_faults(listed)} in the published evidence, listed above with what mends them", 1)
    print("the published evidence is sound")


@app.command()
def sums() -> None:
    """Update data/SHA256SUMS. For files of data/ that were changed on purpose."""
    from .analysis.published import renew

    changed = renew()
    print(f"data/SHA256SUMS has new digests of {', '.join(changed)}" if changed else "data/SHA256SUMS is up to date")


@app.command()
def notebook(
    name: Annotated[str, typer.Argument(help="A notebook of notebooks/, without .ipynb.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the executed copy goes; default: NAME.out.ipynb.")
    ] = None,
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="name=value; repeatable.")] = None,
) -> None:
    """Execute a notebook with papermill. Its parameters are checked first."""
    from .site.notebooks import execute

    values = {}
    for given in parameter or []:
        key, equals, value = given.partition("=")
        if not equals:
            raise UserError(f"bad parameter {given!r}: write name=value")
        values[key] = value
    target = output or Path(f"{name}.out.ipynb")
    execute(name, target, values)
    print(f"executed {name} into {target}")


@app.command()
def book() -> None:
    """Execute the notebooks that changed and build the site."""
    from .site.build import build

    build()


@app.command()
def pdf() -> None:
    """Build the site and print it as one PDF."""
    from .site.pdf import write

    write()


@app.command()
def readme() -> None:
    """Update the README's findings from the published records."""
    from .site.readme import write

    write()


@app.command()
def doctor() -> None:
    """Print what this machine has and can train. Versions, GPUs, data sets, records."""
    from .training.doctor import rows

    for name, text in rows(Store()).items():
        print(f"{name:<13} {text.removeprefix(f'{name} is ')}")


def _faults(listed: list[str]) -> str:
    return "1 fault" if len(listed) == 1 else f"{len(listed)} faults"


def main() -> None:
    """Run the command. A UserError is printed as one line on stderr, without a traceback."""
    print_what_can_be_shown()
    try:
        if app(sys.argv[1:] or ["--help"], standalone_mode=False) == 130:
            raise KeyboardInterrupt  # which typer has made an exit code of
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where what goes wrong can still be said
    except UserError as error:
        _fail(str(error), error.code)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted: run it again to resume", 130)
    except BrokenPipeError:
        _close()  # the reader of our output has gone: nothing more to say, to nobody
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            _fail(str(UserError(f"cannot use {error.filename} ({error.strerror}): mend that, and run this again")), 1)
        _close()
        _fail(f"cannot write the output ({error.strerror}): free some space, or send it elsewhere", 1)
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is None:
            raise
        typed = shlex.join(["alexnet-repro", *sys.argv[1:]])
        said = usage().rstrip(".")
        _fail(f"{said}{' In' if said.endswith('?') else ', in'} '{typed}'; try 'alexnet-repro --help'", 2)


def _fail(message: str, code: int) -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()  # what came before the error
    except OSError:
        _close()
    with suppress(OSError):  # nobody reads that either
        print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _close() -> None:
    """Redirect stdout to os.devnull, so that Python does not try to flush it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
