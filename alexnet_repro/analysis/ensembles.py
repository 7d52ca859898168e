"""Ensembles of five networks: the test error of their averaged outputs (section 6, Table 2)."""

from itertools import combinations

import numpy as np

from ..experiments.registry import study
from ..experiments.study import Study
from ..records.metrics import scored_metric
from ..records.outputs import MEMBERS, error, predictions
from ..records.record import RunRecord
from ..records.store import Store

GROUP = 5
"""Networks per ensemble, as in Table 2."""


def judged(store: Store, scale: str = "cifar10") -> dict[str, dict[int, RunRecord]]:
    """The two arms of the claim on ensembles, by number of the group of ``GROUP`` seeds; incomplete groups are left
    out.

    "one": mean test error of the group's networks; "five": test error of their averaged outputs. Each is the record of
    the group's first network with only this metric and status "finished", whatever that run's own status.
    """
    plan = study(MEMBERS, scale)
    arms: dict[str, dict[int, RunRecord]] = {"one": {}, "five": {}}
    for number, seeds in enumerate(_groups(plan)):
        configs = [plan.config("baseline", seed) for seed in seeds]
        records = [record for config in configs if (record := store.find(config)) is not None]
        predicted = [each for config in configs if (each := predictions(config, store)) is not None]
        if len(records) < len(configs) or len(predicted) < len(configs):
            continue
        single = float(np.mean([scored_metric(record, "test_error") for record in records]))
        together = error([outputs for outputs, _ in predicted], predicted[0][1])
        for arm, value in (("one", single), ("five", together)):
            arms[arm][number] = records[0].model_copy(update={"status": "finished", "metrics": {"test_error": value}})
    return arms


def sizes(store: Store, scale: str = "cifar10") -> dict[int, list[float]]:
    """Test errors of averages of n networks, for n from 1 to ``GROUP``: for each complete group, the mean over all
    choices of n of its networks.
    """
    plan = study(MEMBERS, scale)
    errors: dict[int, list[float]] = {n: [] for n in range(1, GROUP + 1)}
    for seeds in _groups(plan):
        members = [predictions(plan.config("baseline", seed), store) for seed in seeds]
        outputs = [each for each in members if each is not None]
        if len(outputs) == GROUP:
            for n in errors:
                chosen = combinations([each for each, _ in outputs], n)
                errors[n].append(float(np.mean([error(list(each), outputs[0][1]) for each in chosen])))
    return errors


def _groups(plan: Study) -> list[tuple[int, ...]]:
    return [plan.seeds[i : i + GROUP] for i in range(0, len(plan.seeds) - GROUP + 1, GROUP)]
