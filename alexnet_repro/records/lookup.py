"""Load the records of a study from a store, and pick the learning rates that a search found best."""

import math
from collections.abc import Mapping

from ..common.errors import UserError
from ..experiments.registry import NONLINEARITIES
from ..experiments.study import Study
from .record import RunRecord
from .store import Store

RunsByArm = dict[str, dict[int, RunRecord]]
"""arm -> seed -> record"""


def records(study: Study, store: Store) -> RunsByArm:
    """The records that the store has of a study: arm -> seed -> record."""
    runs_by_arm: RunsByArm = {arm: {} for arm in study.arms}
    for arm, config in study.runs():
        record = store.find(config)
        if record is not None:
            runs_by_arm[arm][config.seed] = record
    return runs_by_arm


def select_learning_rates(study: Study, store: Store) -> dict[str, float]:
    """The learning rate that a search picks for each nonlinearity: the one that reaches the threshold in the fewest
    epochs.

    Epochs are averaged over the pilot seeds; a rate counts only if every seed reaches the threshold within the budget.
    If none does, the lowest mean training error at the end decides. Raises UserError if a run is missing.
    """
    runs_by_arm = records(study, store)
    lacking = [arm for arm, runs in runs_by_arm.items() if len(runs) < len(study.seeds_of(arm))]
    if lacking:
        raise UserError(f"{study.name} is not whole (arm {lacking[0]!r}): run 'alexnet-repro run {study.name}'", 1)
    picks = {}
    for nonlinearity in NONLINEARITIES:
        arms = [arm for arm in study.arms if study.config(arm, 0).model.nonlinearity == nonlinearity]
        best = min(
            arms,
            key=lambda arm: (_mean(runs_by_arm[arm], "epochs_to_threshold"), _mean(runs_by_arm[arm], "train_error")),
        )
        picks[nonlinearity] = study.config(best, 0).optimizer.learning_rate
    return picks


def _mean(runs: Mapping[int, RunRecord], metric: str) -> float:
    """Mean over seeds; infinite where a run has no number or diverged."""
    values = [math.inf if run.status == "diverged" else run.metric(metric) for run in runs.values()]
    return math.inf if any(math.isnan(value) for value in values) else sum(values) / len(values)
