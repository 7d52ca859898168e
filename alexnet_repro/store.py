"""The runs on disk: a working store of whole records, and the published tables under data/evidence/."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from . import paths
from .config import RECIPE, RunConfig
from .errors import UserError
from .files import write_atomic
from .records import METRIC, PROVENANCE, RunRecord, curve_rows, run_row


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

    def load(self, key: str) -> RunRecord | None:
        """The record of ``key``; None where there is none. Raises UserError for a damaged one."""
        path = self.path(key)
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return self.published().get(key)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; make it readable", 1) from error
        return self._parse(text, path)

    def find(self, config: RunConfig) -> RunRecord | None:
        """The record of this very run; None where it has not been run."""
        return self.load(config.key)

    def missing(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """Those of ``configs`` that have no record yet, each once, in order."""
        unique = {config.key: config for config in configs}
        return [config for key, config in unique.items() if self.load(key) is None]

    def save(self, record: RunRecord) -> None:
        """Write a record whole. The last of two writers wins; both wrote the same numbers."""
        write_atomic(self.path(record.key), record.model_dump_json(indent=1) + "\n")

    def records(self) -> Iterator[RunRecord]:
        """Every record of the working store, in order of key."""
        for path in sorted((self.root / "runs").glob("*.json")):
            yield self._parse(path.read_bytes(), path)

    def published(self) -> dict[str, RunRecord]:
        """Every published record by key."""
        return {key: record for table in self._tables().values() for key, record in table.items()}

    def homes(self) -> dict[str, str]:
        """The study in whose table each published key stands."""
        return {key: name for name, table in self._tables().items() for key in table}

    def _tables(self) -> dict[str, dict[str, RunRecord]]:
        """Study -> key -> record, read once."""
        if self._published is None:
            folders = [path.parent for path in sorted(self.evidence.glob("*/runs.csv"))]
            self._published = {f.name: {record.key: record for record in read_table(f)} for f in folders}
        return self._published

    def _parse(self, text: bytes, path: Path) -> RunRecord:
        try:
            record = RunRecord.model_validate_json(text)
        except ValidationError as error:
            if _recipe(text) > RECIPE:
                raise UserError(
                    f"{path} was written by recipe {_recipe(text)}, newer than this version's {RECIPE}: update it", 1
                ) from error
            raise UserError(f"{path} is damaged: delete it and run the study again", 1) from error
        if record.key != path.stem:
            raise UserError(f"{path} holds the run {record.key}: delete it and run the study again", 1)
        return record


def _recipe(text: bytes) -> int:
    try:
        return int(json.loads(text)["recipe"])
    except (ValueError, TypeError, KeyError):
        return 0


def published_folder(store: Store, study: str) -> Path:
    """Where the tables of a study are published."""
    return store.evidence / study


def write_table(folder: Path, rows: list[tuple[str, RunRecord]]) -> None:
    """Publish (arm, record) pairs as runs.csv, a row per run, and curves.csv, a row per run and measurement."""
    ordered = sorted(rows, key=lambda row: (row[0], row[1].config.seed, row[1].key))
    curves = [point for arm, record in ordered for point in curve_rows(arm, record)]
    # The runs last: a reader that finds them finds their curves.
    write_atomic(folder / "curves.csv", pd.DataFrame(curves).to_csv(index=False))
    write_atomic(folder / "runs.csv", pd.DataFrame([run_row(*row) for row in ordered]).to_csv(index=False))


def read_table(folder: Path) -> list[RunRecord]:
    """The records of one published study, exact to the last bit. Raises UserError for a damaged table."""
    try:
        runs = _read(folder / "runs.csv", dtype={"seed": "int64"})
        curves = dict(list(_read(folder / "curves.csv").groupby("key", sort=False)))
        return [_record(row, curves[row["key"]]) for row in runs.to_dict("records")]
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(f"{folder} is damaged ({reason}): restore it with 'git checkout {folder.name}'", 1) from error


def _read(path: Path, dtype: dict[str, str] | None = None) -> pd.DataFrame:
    keys = {"key": "str", PROVENANCE + "commit": "str"}
    return pd.read_csv(path, float_precision="round_trip", dtype=keys | (dtype or {}))


def _plain(value: object) -> object:
    return None if pd.isna(value) else value  # type: ignore[call-overload]


def _record(row: dict, curve: pd.DataFrame) -> RunRecord:
    def part(prefix: str) -> dict:
        return {name.removeprefix(prefix): _plain(value) for name, value in row.items() if name.startswith(prefix)}

    points = curve.drop(columns=["arm", "seed", "key"]).to_dict("records")
    values = {
        "key": row["key"],
        "recipe": row["recipe"],
        "config": json.loads(row["config"]),
        "status": row["status"],
        "curve": [{name: _plain(value) for name, value in point.items()} for point in points],
        "metrics": part(METRIC),
        "provenance": part(PROVENANCE),
    }
    return RunRecord.model_validate_json(json.dumps(values))
