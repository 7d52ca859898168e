"""Run records on disk: a working store of JSON files, and the published CSV tables under data/evidence/.

Reading a table checks digests and the type of every cell; whether its numbers agree with each other is checked in
``verify``.
"""

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from ..common import paths
from ..common.errors import UserError
from ..common.files import LARGEST, is_hidden, read_regular, sha256, write_atomic
from ..experiments.config import NUMERICS_VERSION, RunConfig, parse
from .record import METRIC, PROVENANCE, Measurement, Provenance, RunRecord, curve_rows, run_row

SUMS = "SHA256SUMS"


class Store:
    """Load and save records by key. Reads the working store at ``root`` first, then the published tables at
    ``evidence``.

    Both default to the places that paths.py names.
    """

    def __init__(self, root: Path | None = None, evidence: Path | None = None) -> None:
        self.root = root if root is not None else paths.store()
        self.evidence = evidence if evidence is not None else paths.data() / "evidence"
        self._published: dict[str, dict[str, RunRecord]] | None = None

    def path(self, key: str) -> Path:
        """The record's file in the working store."""
        return self.root / "runs" / f"{key}.json"

    def checkpoint(self, key: str) -> Path:
        """The checkpoint of a run in progress."""
        return self.root / "checkpoints" / f"{key}.safetensors"

    def weights(self, key: str) -> Path:
        """The final weights of a run."""
        return self.root / "weights" / f"{key}.safetensors"

    def load(self, key: str) -> RunRecord | None:
        """The record with this key; None if there is none. Raises UserError for a damaged one."""
        try:
            return _read_record(self.path(key))
        except FileNotFoundError:
            return self.published().get(key)

    def find(self, config: RunConfig) -> RunRecord | None:
        """The record of this config; None if it has not been run."""
        return self.load(config.key)

    def missing(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """Those of ``configs`` without a record, each once, in order."""
        unique = {config.key: config for config in configs}
        return [config for key, config in unique.items() if self.load(key) is None]

    def save(self, record: RunRecord) -> None:
        """Write a record, complete or not at all. Of two writers the last wins; both wrote the same numbers."""
        write_atomic(self.path(record.key), _sealed(record.model_dump_json(indent=1, exclude_defaults=True) + "\n"))

    def records(self) -> Iterator[RunRecord]:
        """Every record of the working store, in order of key."""
        for path in sorted((self.root / "runs").glob("*.json")):
            if not is_hidden(path.name):
                yield _read_record(path)

    def published(self) -> dict[str, RunRecord]:
        """Every published record, by key."""
        return {key: record for table in self._tables().values() for key, record in table.items()}

    def published_in(self) -> dict[str, str]:
        """The study whose table holds each published run, by key."""
        return {key: name for name, table in self._tables().items() for key in table}

    def reread(self) -> None:
        """Read the published records anew when they are next asked for: a table was written."""
        self._published = None

    def folders(self) -> list[Path]:
        """The folders of the published studies; hidden folders are skipped."""
        return sorted(path for path in self.evidence.glob("*") if path.is_dir() and not is_hidden(path.name))

    def _tables(self) -> dict[str, dict[str, RunRecord]]:
        """Study -> key -> record, read once, and again after ``reread``."""
        if self._published is None:
            self._published = {
                folder.name: {record.key: record for _, record in read_rows(folder)} for folder in self.folders()
            }
        return self._published


SEAL = b'{\n "sha256": "'


def _sealed(text: str) -> bytes:
    """A JSON object with the SHA-256 of itself as its first member."""
    return SEAL + sha256(text.encode()).encode() + b'",' + text.encode().removeprefix(b"{")


def _opened(content: bytes) -> bytes:
    """The object that was sealed; ValueError where a bit of it has changed. An object without a seal is returned."""
    if not content.startswith(SEAL):
        return content
    digest, rest = content[len(SEAL) :][:64], content[len(SEAL) + 64 :]
    text = b"{" + rest.removeprefix(b'",')
    if not rest.startswith(b'",') or sha256(text).encode() != digest:
        raise ValueError("does not have its SHA-256")
    return text


def _read_record(path: Path) -> RunRecord:
    """The record at ``path``, whose name is its key. Raises UserError for a damaged one, FileNotFoundError for none."""
    try:
        text = _opened(read_regular(path))
        if _recipe(text) > NUMERICS_VERSION:
            raise UserError(
                f"{path} was written by recipe {_recipe(text)}, newer than this version's {NUMERICS_VERSION}: "
                "update alexnet-repro, or name another store with ALEXNET_REPRO_STORE",
                1,
            )
        record = RunRecord.model_validate_json(text)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; make it readable", 1) from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: delete it and run the study again", 1) from error
    if record.key != path.stem or (record.recipe == NUMERICS_VERSION and record.config.key != record.key):
        raise UserError(f"{path} holds another run than its name says: delete it and run the study again", 1)
    return record


def _recipe(text: bytes) -> int:
    try:
        return int(json.loads(text)["recipe"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return 0


def write_table(folder: Path, rows: list[tuple[str, RunRecord]]) -> None:
    """Write (arm, record) pairs as runs.csv, a row per run, and curves.csv, a row per run and measurement.

    SHA256SUMS beside them has the digests of both, for ``read_rows`` and for ``sha256sum -c``.
    """
    ordered = sorted(rows, key=lambda row: (row[0], row[1].config.seed, row[1].key))
    tables = {
        "curves.csv": _csv([point for arm, record in ordered for point in curve_rows(arm, record)]),
        "runs.csv": _csv([run_row(arm, record) for arm, record in ordered]),
    }
    for name, text in tables.items():
        write_atomic(folder / name, text)
    write_atomic(folder / SUMS, "".join(f"{sha256(text.encode())}  {name}\n" for name, text in tables.items()))


def _csv(rows: list[dict[str, Any]]) -> str:
    """Rows under the columns that any of them has. Numbers as Python spells them, which is exact; None is empty."""
    text = StringIO()
    table = csv.DictWriter(text, dict.fromkeys(name for row in rows for name in row), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def read_rows(folder: Path) -> list[tuple[str, RunRecord]]:
    """The (arm, record) pairs of a published study, exact to the last bit. Raises UserError for a damaged table.

    A metric that only some runs of the study have is None for the others.
    """
    return [(run.arm, run.record) for run in read_placed(folder)]


def rows_by_key(folder: Path) -> dict[str, tuple[str, RunRecord]]:
    """The same pairs by key; empty if there is no table."""
    return {record.key: (arm, record) for arm, record in read_rows(folder)} if folder.exists() else {}


class Placed(NamedTuple):
    """A run of a published table, with the number of its row in runs.csv and of its curve's rows in curves.csv.

    Rows are numbered as in a spreadsheet: the header is row 1.
    """

    arm: str
    record: RunRecord
    row: int
    points: tuple[int, ...]


def read_placed(folder: Path) -> list[Placed]:
    """The runs of a published table, with their rows.

    Raises UserError that names file, row, column and value at fault.
    """
    try:
        return _placed(folder)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        restore = f"restore it with 'git checkout -- {folder}', or delete it if git has none"
        raise UserError(f"{folder} is damaged ({reason}): {restore}", 1) from error


RUNS, CURVES = "runs.csv", "curves.csv"
WHOLE = re.compile(r"-?[0-9]{1,19}")
NUMBER = re.compile(r"-?[0-9]{1,25}(\.[0-9]{1,25})?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
METRIC_NAME = re.compile(r"[a-z0-9_]{1,40}")


class _Cells(NamedTuple):
    """A row of a table: its file, its number, its text by column."""

    file: str
    row: int
    text: dict[str, str]

    def fault(self, column: str, why: str, value: str | None = None) -> ValueError:
        given = self.text.get(column, "") if value is None else value
        return ValueError(f"{self.file}, row {self.row}, column {column}: {_shown(given)} {why}")


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}..."


def _placed(folder: Path) -> list[Placed]:
    sums = _sums(read_regular(folder / SUMS, LARGEST))
    columns = ["arm", "seed", "key"]
    must, may = _columns(Provenance, PROVENANCE)
    runs: dict[str, _Cells] = {}
    for run in _rows(folder / RUNS, sums, [*columns, "status", "recipe", *must, "config"], may):
        key = run.text["key"]
        if key in runs:
            raise run.fault("key", f"stands in row {runs[key].row}, too: a run has one row")
        runs[key] = run
    if not runs:
        return []
    must, may = _columns(Measurement)
    curves: dict[str, list[_Cells]] = {key: [] for key in runs}
    for point in _rows(folder / CURVES, sums, [*columns, *must], may):
        if point.text["key"] not in curves:
            raise point.fault("key", f"is no run of {RUNS}")
        curves[point.text["key"]].append(point)
    return [_run(run, curves[key]) for key, run in runs.items()]


def _sums(content: bytes) -> dict[str, str]:
    """File -> digest, as sha256sum writes them."""
    lines = [line.split() for line in _text(content, SUMS).splitlines()]
    sums = {line[1].removeprefix("*"): line[0].lower() for line in lines if len(line) == 2}
    for name in (RUNS, CURVES):
        if name not in sums:
            raise ValueError(f"{SUMS} has no digest of {name}")
    return sums


def _text(content: bytes, file: str) -> str:
    """What a file says in UTF-8, with or without the byte-order mark that spreadsheets put first."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8, at byte {error.start}: save it as CSV in UTF-8") from error


def _columns(model: type[BaseModel], prefix: str = "") -> tuple[list[str], set[str]]:
    """The columns that the fields of ``model`` must have, and those that they may have."""
    must = [prefix + name for name, field in model.model_fields.items() if field.is_required()]
    return must, {prefix + name for name in model.model_fields} - set(must)


def _rows(path: Path, sums: dict[str, str], must: list[str], may: set[str]) -> Iterator[_Cells]:
    """The rows of a table that has the columns ``must`` and may have ``may`` and, of runs, metrics; and no others."""
    file, content = path.name, read_regular(path, LARGEST)
    if sha256(content) != sums[file]:
        raise ValueError(f"{file} does not have its SHA-256")
    lines = csv.reader(StringIO(_text(content, file), newline=""), strict=True)
    try:
        header = next(lines, [])
        _check_header(file, header, must, may)
        for number, cells in enumerate(lines, 2):
            if not cells:
                continue
            if len(cells) != len(header):
                raise ValueError(f"{file}, row {number} has {len(cells)} cells, and the header {len(header)}")
            yield _Cells(file, number, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise ValueError(f"{file}, line {lines.line_num}: {error}") from error


def _check_header(file: str, header: list[str], must: list[str], may: set[str]) -> None:
    if not header:
        raise ValueError(f"{file} is empty")
    if len(header) == 1 and (sign := next((each for each in ";\t" if each in header[0]), "")):
        raise ValueError(f"{file} has its cells apart by {sign!r}: save it with commas")
    lacking = [name for name in must if name not in set(header)]
    if lacking:
        raise ValueError(f"{file} lacks the column {lacking[0]}")
    seen: set[str] = set()
    for name in header:
        metric = name.removeprefix(METRIC) if file == RUNS and name.startswith(METRIC) else None
        if name in seen:
            raise ValueError(f"{file} has the column {_shown(name)} twice")
        if metric is not None and not METRIC_NAME.fullmatch(metric):
            raise ValueError(f"{file}, column {_shown(name)}: {_shown(metric)} is no name of a metric")
        if metric is None and name not in must and name not in may:
            raise ValueError(f"{file} has the column {_shown(name)}, which such a table has not")
        seen.add(name)


def _run(cells: _Cells, points: list[_Cells]) -> Placed:
    """A row of runs.csv with the rows of its curve."""
    text = cells.text
    for other in points:
        if other.text["arm"] != text["arm"]:
            raise other.fault("arm", f"is not the arm {_shown(text['arm'])} that {RUNS} gives for run {text['key']}")
    try:
        config = parse(json.loads(text["config"]))
    except UserError as error:
        raise cells.fault("config", f"is no run: {error}") from error
    except (ValueError, RecursionError) as error:
        raise cells.fault("config", "is no JSON") from error
    for each in (cells, *points):
        if each.text["seed"] != str(config.seed):
            raise each.fault("seed", f"is not the seed {config.seed} of the config of run {text['key']}")
    values = {
        "key": text["key"],
        "recipe": _cell(cells, "recipe", int),
        "config": config.model_dump(mode="json"),
        "status": text["status"],
        "curve": [_fields(Measurement, point) for point in points],
        "metrics": {
            name.removeprefix(METRIC): _cell(cells, name, float | None) for name in text if name.startswith(METRIC)
        },
        "provenance": _fields(Provenance, cells, PROVENANCE),
    }
    try:
        record = RunRecord.model_validate_json(json.dumps(values))
    except ValidationError as error:
        where, column, why = _invalid(error, cells, points)
        raise where.fault(column, why) from error
    return Placed(text["arm"], record, cells.row, tuple(point.row for point in points))


def _invalid(error: ValidationError, cells: _Cells, points: list[_Cells]) -> tuple[_Cells, str, str]:
    """The row and column of the first cell that a record does not take, and why it does not."""
    match error.errors()[0]:
        case {"loc": ("curve", int(index), field), "msg": why}:
            return points[index], str(field), f"cannot stand there ({why})"
        case {"loc": ("metrics", name, *_), "msg": why}:
            return cells, f"{METRIC}{name}", f"cannot stand there ({why})"
        case {"loc": (group, field, *_), "msg": why}:
            return cells, f"{group}.{field}", f"cannot stand there ({why})"
        case first:
            return cells, str(first["loc"][0]) if first["loc"] else "key", f"cannot stand there ({first['msg']})"


def _fields(model: type[BaseModel], cells: _Cells, prefix: str = "") -> dict[str, object]:
    """The fields of ``model`` from the cells of a row, each read as what the field takes."""
    fields = [(name, field) for name, field in model.model_fields.items() if prefix + name in cells.text]
    return {name: _cell(cells, prefix + name, field.annotation) for name, field in fields}


def _cell(cells: _Cells, column: str, kind: Any) -> object:
    """The cell as ``kind``: text, True or False, a whole number, or a number; or, where that may be, None if empty."""
    text, kinds = cells.text[column], get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if text == "" and NoneType in kinds:
        return None
    if bool in kinds:
        if text.lower() not in ("true", "false"):
            raise cells.fault(column, "is neither True nor False")
        return text.lower() == "true"
    if int in kinds:
        if not WHOLE.fullmatch(text):
            raise cells.fault(column, "is no whole number of at most 19 digits")
        return int(text)
    if float in kinds:
        if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
            raise cells.fault(column, "is no number")
        return float(text)
    return text
