"""Everything that is published in data/: each file read by its own reader and, without a digest of its own, compared.

data/SHA256SUMS holds the digests of the files that hold none themselves, as sha256sum writes them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from ..analysis import audit, contributed, gpu_hours, meta, rules
from ..common import paths
from ..common.errors import UserError, printable
from ..common.files import is_hidden, read_regular, sha256, write_atomic
from ..experiments import step_timing
from ..paper import claims, source_code
from ..records import benchmarks, reference, verify
from ..records.store import SUMS, Store

APART = ("contributed", "downloads", "evidence", "pictures", "predictions", "store", "weights")
"""Folders of data/ that are not published, or whose files come with digests of their own."""
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
RENEW = "alexnet-repro sums"
LARGEST = 64 * 2**20

READERS: Mapping[str, Callable[[], object]] = {
    "author_log.csv": audit.log,
    "author_nets.csv": audit.nets,
    "author_schedule.csv": audit.schedule,
    "claims.toml": claims.load,
    "gpus.csv": gpu_hours.gpus,
    "linear_classifier.csv": reference.linear_classifier,
    "others.csv": meta.others,
    "published_results.csv": audit.results,
    "rules_stage_2.toml": rules.load,
    "tiny_imagenet_results.csv": reference.tiny_imagenet_results,
    "torchvision_alexnet.csv": reference.torchvision_table,
    "unsaid.toml": source_code.rows,
    "untrained_neighbours.csv": reference.untrained_neighbours,
}


def faults(store: Store) -> list[str]:
    """Every fault of what is published, the runs of others too, a line each that names the file; empty if sound."""
    found = [*verify.verify(store), *contributed.faults(store), *_unreadable(), *_changed()]
    return [printable(fault) for fault in dict.fromkeys(found)]


def check(store: Store) -> None:
    """Raises UserError with the first fault: what is published here is not to be shown."""
    found = faults(store)
    if found:
        more = f" (and {len(found) - 1} more: 'alexnet-repro verify' lists them)" if len(found) > 1 else ""
        raise UserError(found[0] + more, 1)


def renew() -> list[str]:
    """Write data/SHA256SUMS anew; returns the files whose digests came, changed or went."""
    try:
        before = _known()
    except UserError:
        before = {}
    now = _digests()
    write_atomic(paths.data() / SUMS, "".join(f"{digest}  {name}\n" for name, digest in now.items()))
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _unreadable() -> Iterator[str]:
    """What the readers of the published files say of those that are there."""
    readers = {paths.data() / name: reader for name, reader in READERS.items()}
    for path in sorted((paths.data() / "benchmarks").glob("*.json")):
        if not is_hidden(path.name):
            times = path.stem.startswith("parallel-")
            readers[path] = partial(step_timing.read, path) if times else partial(benchmarks.read, path.stem)
    for path, reader in readers.items():
        try:
            if path.exists():
                reader()
        except UserError as error:
            yield str(error)


def _changed() -> Iterator[str]:
    """Files that are not what data/SHA256SUMS says, that it lacks, or that are gone."""
    purpose = f"or, where that was on purpose, run '{RENEW}'"
    try:
        known, now = _known(), _digests()
    except UserError as error:
        yield str(error)
        return
    for name in sorted(known.keys() | now.keys()):
        path = paths.data() / name
        if name not in now:
            yield f"{path} is gone: restore it with 'git checkout -- {path}', {purpose}"
        elif name not in known:
            yield f"{path} is not in {paths.data() / SUMS}: remove it, {purpose}"
        elif known[name] != now[name]:
            yield f"{path} does not have its SHA-256: restore it with 'git checkout -- {path}', {purpose}"


def _known() -> dict[str, str]:
    """File -> digest, as data/SHA256SUMS has them."""
    path = paths.data() / SUMS
    try:
        lines = read_regular(path, LARGEST).decode().splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(f"cannot read {path} ({reason}): restore it with 'git checkout -- {path}'", 1) from error
    found = {}
    for number, line in enumerate(lines, 1):
        match = LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{path}, line {number} is no digest and file: 'git checkout -- {path}' restores it", 1)
        found[match[2]] = match[1]
    return found


def _digests() -> dict[str, str]:
    """File, from data/ on -> digest: of the files that hold none themselves, but for documents and hidden files."""
    data = paths.data()
    elsewhere = {data / name for name in APART} | {paths.downloads(), paths.store()}
    found = {}
    for path in _files(data, elsewhere):
        if path.suffix != ".md" and path != data / SUMS:
            try:
                found[path.relative_to(data).as_posix()] = sha256(read_regular(path, LARGEST))
            except OSError as error:
                raise UserError(f"cannot read {path} ({error.strerror}): mend that, or move it away", 1) from error
    return found


def _files(folder: Path, without: set[Path]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if is_hidden(path.name) or path in without:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, without)
        else:
            yield path
