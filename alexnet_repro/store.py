"""The runs on disk: a working store of whole records, and the published tables under data/evidence/."""

import csv
import json
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from . import paths
from .config import RECIPE, RunConfig
from .errors import UserError
from .files import sha256, write_atomic
from .records import METRIC, PROVENANCE, Measurement, Provenance, RunRecord, curve_rows, run_row

SUMS = "SHA256SUMS"


class Store:
    """Finds and keeps records by key: first the working store at ``root``, then what is published.

    ``root`` and ``evidence`` default to the places that paths.py names.
    """

    def __init__(self, root: Path | None = None, evidence: Path | None = None) -> None:
        self.root = root if root is not None else paths.store()
        self.evidence = evidence if evidence is not None else paths.data() / "evidence"
        self._published: dict[str, dict[str, RunRecord]] | None = None

    def path(self, key: str) -> Path:
        """Where the working store keeps the record of ``key``."""
        return self.root / "runs" / f"{key}.json"

    def checkpoint(self, key: str) -> Path:
        """Where a run in progress is saved."""
        return self.root / "checkpoints" / f"{key}.safetensors"

    def weights(self, key: str) -> Path:
        """Where the final weights of a run are kept."""
        return self.root / "weights" / f"{key}.safetensors"

    def load(self, key: str) -> RunRecord | None:
        """The record of ``key``; None where there is none. Raises UserError for a damaged one."""
        try:
            return _read_record(self.path(key))
        except FileNotFoundError:
            return self.published().get(key)

    def find(self, config: RunConfig) -> RunRecord | None:
        """The record of this very run; None where it has not been run."""
        return self.load(config.key)

    def missing(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """Those of ``configs`` that have no record yet, each once, in order."""
        unique = {config.key: config for config in configs}
        return [config for key, config in unique.items() if self.load(key) is None]

    def save(self, record: RunRecord) -> None:
        """Write a record whole. The last of two writers wins; both wrote the same numbers."""
        write_atomic(self.path(record.key), _sealed(record.model_dump_json(indent=1, exclude_defaults=True) + "\n"))

    def records(self) -> Iterator[RunRecord]:
        """Every record of the working store, in order of key."""
        for path in sorted((self.root / "runs").glob("*.json")):
            yield _read_record(path)

    def published(self) -> dict[str, RunRecord]:
        """Every published record by key."""
        return {key: record for table in self._tables().values() for key, record in table.items()}

    def homes(self) -> dict[str, str]:
        """The study in whose table each published key stands."""
        return {key: name for name, table in self._tables().items() for key in table}

    def folders(self) -> list[Path]:
        """Those of the published studies; what tools hide among them is none."""
        return sorted(path for path in self.evidence.glob("[!.]*") if path.is_dir())

    def _tables(self) -> dict[str, dict[str, RunRecord]]:
        """Study -> key -> record, read once."""
        if self._published is None:
            tables = {folder.name: read_table(folder) for folder in self.folders()}
            self._published = {name: {record.key: record for record in table} for name, table in tables.items()}
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
        text = _opened(path.read_bytes())
        if _recipe(text) > RECIPE:
            raise UserError(
                f"{path} was written by recipe {_recipe(text)}, newer than this version's {RECIPE}: "
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
    if record.key != path.stem or (record.recipe == RECIPE and record.config.key != record.key):
        raise UserError(f"{path} holds another run than its name says: delete it and run the study again", 1)
    return record


def _recipe(text: bytes) -> int:
    try:
        return int(json.loads(text)["recipe"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return 0


def published_folder(store: Store, study: str) -> Path:
    """Where the tables of a study are published."""
    return store.evidence / study


def write_table(folder: Path, rows: list[tuple[str, RunRecord]]) -> None:
    """Publish (arm, record) pairs as runs.csv, a row per run, and curves.csv, a row per run and measurement.

    SHA256SUMS beside them holds the digests of both, for ``read_table`` and for ``sha256sum -c``.
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


def read_table(folder: Path) -> list[RunRecord]:
    """The records of one published study, exact to the last bit. Raises UserError for a damaged table.

    A metric that some runs of a study have and others have not comes back as None for the others.
    """
    return [record for _, record in read_rows(folder)]


def read_rows(folder: Path) -> list[tuple[str, RunRecord]]:
    """The (arm, record) pairs that ``write_table`` wrote, as ``read_table`` reads them."""
    try:
        lines = [line.split() for line in (folder / SUMS).read_text().splitlines()]
        sums = {name: digest for digest, name in lines}
        runs, points = (_rows(folder / name, sums[name]) for name in ("runs.csv", "curves.csv"))
        curves: dict[str, list[dict[str, str]]] = {}
        for point in points:
            curves.setdefault(point["key"], []).append(point)
        return [(row["arm"], _record(row, curves[row["key"]])) for row in runs]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        restore = f"restore it with 'git checkout -- {folder}', or delete it if git has none"
        raise UserError(f"{folder} is damaged ({reason}): {restore}", 1) from error


def rows_by_key(folder: Path) -> dict[str, tuple[str, RunRecord]]:
    """Those pairs by key; empty where there is no table."""
    return {record.key: (arm, record) for arm, record in read_rows(folder)} if folder.exists() else {}


def _rows(path: Path, digest: str) -> list[dict[str, str]]:
    content = path.read_bytes()
    if sha256(content) != digest:
        raise ValueError(f"{path.name} does not have its SHA-256")
    return list(csv.DictReader(StringIO(content.decode(), newline=""), strict=True))


def _record(row: dict[str, str], points: list[dict[str, str]]) -> RunRecord:
    metrics = {name.removeprefix(METRIC): text for name, text in row.items() if name.startswith(METRIC)}
    values = {
        "key": row["key"],
        "recipe": int(row["recipe"]),
        "config": json.loads(row["config"]),
        "status": row["status"],
        "curve": [_fields(Measurement, point) for point in points],
        "metrics": {name: None if text == "" else float(text) for name, text in metrics.items()},
        "provenance": _fields(Provenance, row, PROVENANCE),
    }
    record = RunRecord.model_validate_json(json.dumps(values))
    if any(cells["seed"] != str(record.config.seed) for cells in (row, *points)):
        raise ValueError(f"run {record.key} has seed {record.config.seed} in its config, and another in its cells")
    return record


def _fields(model: type[Measurement] | type[Provenance], row: dict[str, str], prefix: str = "") -> dict[str, object]:
    """The fields of ``model`` from the cells of a row, each read as what the field takes."""
    fields = [(n, f) for n, f in model.model_fields.items() if f.is_required() or prefix + n in row]
    return {name: _cell(row[prefix + name], field.annotation) for name, field in fields}


def _cell(text: str, kind: object) -> object:
    if kind is str:
        return text
    if text == "":
        return None
    if kind == str | None:
        return text
    if kind in (bool, bool | None):
        return {"True": True, "False": False}[text]
    return int(text) if kind is int else float(text)
