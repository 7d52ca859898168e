"""Load recorded runs as tidy pandas data frames: a row per run, or a row per run and measurement.

Both functions only read. They find the published records of data/evidence/ and those of a working store, which win over
published ones of the same key, as everywhere in this package. ``training/launch/runs.py`` trains the missing runs of a
study.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from ..common.errors import NoRuns, UserError, one_of
from ..experiments import registry
from ..experiments.study import SCALES, Study
from .lookup import records
from .metrics import ERRORS, scored_metric
from .record import PROVENANCE, Measurement, RunRecord, identity
from .store import Store

IDENTITY = ("study", "scale", "arm", "seed", "key")
"""The columns that name a run in both tables."""
USUAL = ("clean_train_error", "early_train_loss", "epochs_to_threshold", "gap", "ten_view_error", "test_error")
"""The metrics that a table without a run has columns for, so that its pivot is empty, too."""


def load_runs(study: str | None = None, scale: str = "cifar10", store: str | Path | None = None) -> pd.DataFrame:
    """All recorded runs of a study, a row per run; without ``study``, of every study.

    Columns: study, scale, arm, seed, key, status ("finished", "stopped" at the study's threshold, or "diverged"); every
    metric under its own name, as ``test_error``; and where the run comes from, under the names of the published CSV
    files, as ``provenance.device`` and ``provenance.wall_seconds``. Errors are fractions; those of a run that diverged
    are the error of random guessing, as in the verdicts. NaN: the run has no such number.

    study: a name as in ``alexnet-repro plan``. Studies share the runs of the baseline: ``load_runs("lrn")`` has the
    arms baseline, no_lrn and strong_lrn. Without a name, pilots are included, and a run that studies share stands
    once, under the study that publishes it. scale: as for ``alexnet-repro run``; of a study that has no runs at it, the
    table has no rows. store: the folder of a working store, read instead of the default one. Raises UserError for an
    unknown study or scale, a folder that does not exist, and a damaged record.

    >>> error = 100 * load_runs("lrn").pivot(index="seed", columns="arm", values="test_error")
    >>> gain = error["no_lrn"] - error["baseline"]  # percentage points, paired by seed
    """
    rows: list[dict[str, Any]] = []
    metrics: set[str] = set()
    diverged: list[tuple[dict[str, Any], RunRecord]] = []
    for name, arm, record in _found(study, scale, store):
        rows.append(
            {"study": name, "scale": scale}
            | identity(arm, record)
            | {"status": record.status}
            | record.metrics
            | {PROVENANCE + field: value for field, value in record.provenance.model_dump().items()}
        )
        metrics |= record.metrics.keys()
        if record.status == "diverged":
            diverged.append((rows[-1], record))
    for row, record in diverged:  # such a record leaves out most of the errors that the other runs have
        row |= {metric: scored_metric(record, metric) for metric in (*ERRORS, "gap") if metric in metrics}
    metrics |= set() if rows else set(USUAL)
    columns = [*IDENTITY, "status", *sorted(metrics)]
    if rows:
        columns += [name for name in rows[0] if name.startswith(PROVENANCE)]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(metrics, float))


def load_curves(study: str | None = None, scale: str = "cifar10", store: str | Path | None = None) -> pd.DataFrame:
    """What the same runs measured while they trained, a row per run and measurement.

    Columns: study, scale, arm, seed, key; epoch and images, both counted from the start; train_loss and train_error,
    means over the images since the measurement before, each as its own training step saw it (augmented, with dropout);
    test_error, of the net at that point, NaN where it was not measured. Errors are fractions, losses nats. Parameters
    and errors are those of ``load_runs``.
    """
    rows = [
        {"study": name, "scale": scale} | identity(arm, record) | point.model_dump()
        for name, arm, record in _found(study, scale, store)
        for point in record.curve
    ]
    table = pd.DataFrame(rows, columns=[*IDENTITY, *Measurement.model_fields])
    return table.astype({"train_loss": float, "train_error": float, "test_error": float})


def store_at(store: str | Path | None) -> Store:
    """The working store at a path; None: the default one. Raises UserError for a folder that does not exist."""
    if store is None:
        return Store()
    folder = Path(store).expanduser()
    if not folder.is_dir():
        raise UserError(f"no working store at {folder}: give the folder that holds runs/, as ALEXNET_REPRO_STORE does")
    return Store(folder)


def _found(study: str | None, scale: str, store: str | Path | None) -> Iterator[tuple[str, str, RunRecord]]:
    """(study, arm, record) of every run that there is, by study, arm and seed."""
    where = store_at(store)
    if scale not in SCALES:
        raise one_of("scale", scale, list(SCALES))
    plans: list[Study] = []
    if study is not None:
        with suppress(NoRuns):
            plans.append(registry.study(study, scale))
    else:
        every = [registry.study(name, scale) for name in registry.STUDIES if scale in registry.scales(name)]
        plans = [plan for plan in every if not plan.published_in]
    seen: set[str] = set()  # rehearsals are so short that studies of different lengths share them
    for plan in plans:
        found = [(arm, run) for arm, by_seed in records(plan, where).items() for run in by_seed.values()]
        yield from ((plan.name, arm, run) for arm, run in found if run.key not in seen)
        seen |= {run.key for _, run in found}
