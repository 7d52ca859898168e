"""Prepare ImageNet, or any folder of classes, for training: decoded squares in shards, a manifest and a report."""

import csv
import hashlib
import io
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features
from tqdm.auto import tqdm

from ...common.errors import UserError, printable
from ...common.files import lock, regular_file, sha256, write_atomic
from ...common.machine import cores
from ...experiments import manifest
from ...experiments.manifest import Manifest, Part, Shard
from . import shards
from .decode import Unreadable, check, square
from .image_folders import Found, Source, find
from .pool import Task, write_shards
from .shards import Written

REPORT = "report.csv"
PLAN = "plan.json"
LOCK = "lock"
TRIAL = 24
"""Images that are decoded to estimate the time."""

Say = Callable[[str], None]


def prepare(
    source: Path,
    size: int,
    workers: int | None = None,
    progress: bool = True,
    say: Say = print,
    hold_out: float | None = None,
) -> Manifest:
    """Prepare the images in ``source`` (see ``image_folders.find``) as squares of ``size`` x ``size`` pixels.

    They are written into ``manifest.folder(size)``. If killed and called again, it resumes. The result is the same for
    any number of ``workers`` (processes; by default one per core). The report lists every file that was left out or
    changed. ``say`` is given lines about what was found, what it will take, and what each part holds. Raises UserError
    if images or disk space are missing, if the folder lies inside the source or holds other prepared images, and if no
    training image of a class can be read.
    """
    folder, source = manifest.folder(size), source.expanduser()
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers}: ask for at least one")
    if folder.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{folder} lies in {source}: set ALEXNET_REPRO_DATA to a folder outside of the images'")
    say(printable(f"looking through {source}"))
    found = find(source, hold_out)
    with lock(folder / LOCK, lambda: say(f"waiting for another preparation into {folder}")):
        _sweep(folder)
        tasks = _tasks(folder, found)
        if _same_plan(folder, found, size) and regular_file(folder / manifest.FILE):
            prepared = manifest.read(folder)
            _forget(tasks)
            for line in summary(folder, prepared):
                say(line)
            say(f"already prepared in {folder}")
            return prepared
        _images_in_each_class(found)
        missing = [task for task in tasks if shards.whole(task.path) is None]
        count = workers or cores()
        _announce(found, tasks, missing, folder, size, count, say)
        write_shards(missing, size, count, progress)
        prepared = _finish(folder, found, tasks, size)
    for line in summary(folder, prepared):
        say(line)
    say(f"prepared in {folder}; {REPORT} there lists what was left out or mended")
    return prepared


def summary(folder: Path, prepared: Manifest) -> list[str]:
    """A line per part (train, val, test): how many images and classes it has, and why files were left out."""
    reasons = _reasons(folder / REPORT)
    lines = []
    for name in prepared.parts:
        counts = np.bincount(shards.Shards(folder, prepared, name).labels, minlength=len(prepared.classes))
        line = f"{name}: {_counted(counts.tolist(), prepared.classes)}"
        why = [f"{count:,} {reason}" for reason, count in reasons.get(name, Counter()).most_common(4)]
        lines.append(f"{line}; left out: {', '.join(why)}" if why else f"{line}; none left out")
    return lines


def _counted(counts: list[int], classes: tuple[str, ...]) -> str:
    """A sentence with the number of images and classes, and the smallest and largest class."""
    there = [count for count in counts if count]
    of = f"all {len(classes):,}" if len(there) == len(classes) else f"{len(there):,} of {len(classes):,}"
    least, most = (f"{pick(there):,} ({classes[counts.index(pick(there))]})" for pick in (min, max))
    each = f"{there[0]:,} of each" if len(set(there)) == 1 else f"from {least} to {most} of each"
    return f"{sum(there):,} images of {of} classes, {each}"


def _reasons(report: Path) -> dict[str, Counter[str]]:
    """Part -> reasons why its files were left out, without numbers and details, counted; empty without a report."""
    found: dict[str, Counter[str]] = {}
    try:
        if regular_file(report):
            with report.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    if row.get("what") == "left out":
                        reason = re.sub(r"\(.*?\)|[\d,.]*\d", "", row.get("why") or "")
                        found.setdefault(row.get("part") or "", Counter())[" ".join(reason.split())] += 1
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{report} is damaged ({error}): delete its folder, and prepare the images again", 1) from error
    return found


def _images_in_each_class(found: Found) -> None:
    """Raise UserError, before images are decoded, if by their first bytes no training file of a class is an image."""
    without, why = dict(enumerate(found.classes)), {}
    files = Counter(source.label for source in found.parts["train"])
    for source in found.parts["train"]:
        if source.label in without:
            try:
                check(shards.read(source))
                del without[source.label]
            except (Unreadable, OSError) as error:
                why[source.label] = f"{source.name}: {error}"
        elif not without:
            return
    for label, name in without.items():
        raise UserError(
            f"none of the {files[label]:,} files of class {name!r} is an image ({why[label]}): mend them, or take its "
            "folder out",
            1,
        )


def verify(folder: Path, progress: bool = True) -> Manifest:
    """Check every file of a folder of prepared images against its digest.

    Raises UserError that names the first fault.
    """
    prepared = manifest.read(folder)
    wanted = {shard.file: shard.sha256 for part in prepared.parts.values() for shard in part.shards}
    try:
        for file, digest in tqdm(wanted.items(), desc="verifying", unit="shard", disable=not progress):
            if shards.digest(folder / file) != digest:
                raise ValueError(file)
        rest = {part.labels: part.labels_sha256 for part in prepared.parts.values()}
        for file, digest in (rest | {prepared.pixel_sums: prepared.pixel_sums_sha256}).items():
            regular_file(folder / file)
            if sha256((folder / file).read_bytes()) != digest:
                raise ValueError(file)
    except (OSError, ValueError) as error:
        raise shards.damaged(folder, error) from error
    return prepared


def _same_plan(folder: Path, found: Found, size: int) -> bool:
    """Whether the folder holds a preparation of the same images, complete or not. In an empty folder, starts one."""
    digest = hashlib.sha256(json.dumps([size, found.classes, PIL.__version__]).encode())
    for part, sources in found.parts.items():
        digest.update(part.encode())
        for each in sources:
            digest.update(f"{each.name}\0{each.label}\0{each.size}\n".encode(errors="surrogateescape"))
    path = folder / PLAN
    if regular_file(path):
        try:
            begun = json.loads(path.read_bytes())["sources"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path} is damaged ({type(error).__name__}): delete {folder}, and run it again", 1
            ) from error
        if begun == digest.hexdigest():
            return True
        raise UserError(
            f"{folder} holds a preparation of other images, or by another Pillow: move it away or delete it"
        )
    write_atomic(path, json.dumps({"sources": digest.hexdigest()}))
    return False


def _tasks(folder: Path, found: Found) -> list[Task]:
    return [
        Task(part, folder / f"{part}-{number:05d}.npy", sources[start : start + shards.IMAGES])
        for part, sources in found.parts.items()
        for number, start in enumerate(range(0, len(sources), shards.IMAGES))
    ]


def _announce(
    found: Found, tasks: list[Task], missing: list[Task], folder: Path, size: int, workers: int, say: Say
) -> None:
    """Say what there is and what it will take. Raises UserError where the disk has no room for it."""
    few = len(found.classes) <= 6
    names = ", ".join(found.classes if few else [*found.classes[:3], "...", *found.classes[-2:]])
    say(f"layout: {found.layout}; {len(found.classes):,} classes: {names}")
    for part, sources in found.parts.items():
        counts = Counter(source.label for source in sources)
        say(f"{part}: {_counted([counts[label] for label in range(len(found.classes))], found.classes)}")
    for remark in found.remarks:
        say(printable(remark))
    left = sum(len(task.sources) for task in missing)
    if len(missing) < len(tasks):
        say(f"resuming: {len(tasks) - len(missing)} of {len(tasks)} shards are there")
    if not left:
        return
    need, free = left * size**2 * 3 + len(missing) * size**2 * 24, shutil.disk_usage(folder).free
    seconds = _seconds_each([source for task in missing for source in task.sources], size) * left / workers
    say(
        f"about {_duration(seconds)} with {workers} processes, and {need / 1e9:.1f} GB of the {free / 1e9:.1f} GB free "
        f"in {folder}"
    )
    if need > free:
        raise UserError(
            f"{need / 1e9:.1f} GB are needed in {folder} and {free / 1e9:.1f} GB are free: free some, set "
            "ALEXNET_REPRO_DATA to a larger disk, or ask for --size 128",
            1,
        )


def _seconds_each(sources: list[Source], size: int) -> float:
    """Seconds per image, measured on a few evenly spaced ones."""
    step = max(1, len(sources) // TRIAL)
    chosen = sources[::step][:TRIAL]
    start = time.perf_counter()
    for source in chosen:
        try:
            square(shards.read(source), source.name, size)
        except (Unreadable, OSError):
            continue
    return (time.perf_counter() - start) / len(chosen)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return (
        f"{minutes / 60:.1f} hours"
        if minutes >= 90
        else f"{minutes:.0f} minutes"
        if minutes >= 2
        else "a minute or two"
    )


def _finish(folder: Path, found: Found, tasks: list[Task], size: int) -> Manifest:
    """Write labels, sums, report and manifest; then remove temporary files."""
    written: list[tuple[Task, Written]] = []
    for task in tasks:
        shard = shards.whole(task.path)
        if shard is None:
            raise UserError(f"{task.path} has gone: run it again", 1)
        written.append((task, shard))
    parts = {part: _part(folder, part, [shard for task, shard in written if task.part == part]) for part in found.parts}
    training = [(task, shard) for task, shard in written if task.part == "train"]
    readable = {label for _, shard in training for label in shard.labels}
    empty = [name for label, name in enumerate(found.classes) if label not in readable]
    lines = [
        (task.part, name, what, remark)
        for task, shard in written
        for what, listed in (("left out", shard.left_out), ("mended", shard.remarks))
        for name, remark in listed
    ]
    _table(folder / REPORT, [("part", "file", "what", "why"), *lines])
    if empty:
        raise UserError(
            f"of class {empty[0]!r} no training image can be read, as of {len(empty) - 1} others: see "
            f"{folder / REPORT}, mend them or take their folders out, delete {folder} and run it again",
            1,
        )
    try:
        sums = sum((shards.pixel_sums(task.path) for task, _ in training), np.zeros((size, size, 3), np.int64))
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise UserError(
            f"the sums of a shard in {folder} are damaged ({error}): delete it and run it again", 1
        ) from error
    values = {
        "format": 1,
        "size": size,
        "classes": found.classes,
        "parts": {part: each.model_dump() for part, each in parts.items()},
        "pixel_sums": "train-pixel-sums.npy",
        "pixel_sums_sha256": _array(folder / "train-pixel-sums.npy", sums),
        "color_sums": np.sum([shard.color_sums for _, shard in training], axis=0).tolist(),
        "color_products": np.sum([shard.color_products for _, shard in training], axis=0).tolist(),
        "left_out": sum(len(shard.left_out) for _, shard in written),
        "made_by": f"Pillow {PIL.__version__}, libjpeg {features.version('jpg')}, bilinear",
    }
    try:
        prepared = Manifest.model_validate_json(json.dumps(values))
    except ValueError as error:
        raise UserError(
            f"nothing to train on or to test with: see {folder / REPORT}, and mend the source", 1
        ) from error
    write_atomic(folder / manifest.FILE, prepared.model_dump_json(indent=1) + "\n")
    _forget(tasks)
    _sweep(folder)  # again: a killed preparation's processes may have outlived it for an image
    return prepared


def _sweep(folder: Path) -> None:
    """Remove incomplete files of a killed preparation."""
    for left in folder.glob(".*.part"):
        left.unlink(missing_ok=True)


def _forget(tasks: list[Task]) -> None:
    for task in tasks:
        shards.remove_notes(task.path)


def _part(folder: Path, part: str, written: list[Written]) -> Part:
    labels = f"{part}-labels.npy"
    digest = _array(folder / labels, np.array([label for shard in written for label in shard.labels], np.int32))
    listed = tuple(Shard(file=shard.file, images=len(shard.labels), sha256=shard.sha256) for shard in written)
    return Part(shards=listed, labels=labels, labels_sha256=digest)


def _array(path: Path, values: np.ndarray[Any, Any]) -> str:
    """Save an array; return the SHA-256 of the file."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    write_atomic(path, file.getvalue())
    return sha256(file.getvalue())


def _table(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    write_atomic(path, file.getvalue().encode(errors="backslashreplace"))
