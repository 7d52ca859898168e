"""Every study: a baseline, arms as named changes to it, seeds, at a scale. Looking one up costs nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .config import BudgetConfig, DataConfig, OptimizerConfig, RunConfig
from .errors import UserError, one_of
from .networks import CudaConvnetConfig
from .records import RunRecord
from .store import Store

Scale = Literal["smoke", "cifar10"]
SCALES: tuple[Scale, ...] = ("smoke", "cifar10")

PILOT_SEEDS = 1_000
"""Pilots take seeds from here up, studies stay below: a study never sees a seed that chose its settings."""


@dataclass(frozen=True)
class Study:
    """Arms over one baseline and one list of seeds. ``pilot``: it chooses settings and supports no claim."""

    name: str
    title: str
    baseline: RunConfig
    arms: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    pilot: bool = False

    def config(self, arm: str, seed: int) -> RunConfig:
        """The run of ``arm`` at ``seed``. Raises UserError for an unknown arm."""
        if arm not in self.arms:
            raise one_of(f"arm of {self.name}", arm, list(self.arms))
        return self.baseline.changed(**self.arms[arm], seed=seed)

    def runs(self) -> list[tuple[str, RunConfig]]:
        """Every (arm, run), seed by seed, so that a study cut short still has whole pairs."""
        return [(arm, self.config(arm, seed)) for seed in self.seeds for arm in self.arms]


CUDA_CONVNET_19PCT = RunConfig(
    model=CudaConvnetConfig(net="cuda-convnet", layers="19pct", nonlinearity="relu", initialization="cuda-convnet"),
    data=DataConfig(dataset="cifar10", train_images=50_000, divisor=1.0),
    optimizer=OptimizerConfig(
        learning_rate=0.001, bias_rate_factor=2.0, momentum=0.9, weight_decay=0.0, batch_size=128
    ),
    budget=BudgetConfig(epochs=60, measurements=4, stop_at_train_error=0.25),
    seed=0,
)
"""Section 3.1's setting: no regularization of any kind. Rate .001 and doubled bias rate as in layer-params-19pct."""

NONLINEARITIES = ("relu", "tanh")
RATES: tuple[float, ...] = (0.000316, 0.001, 0.00316, 0.01, 0.0316)
"""The grid of the learning-rate search: half decades. A best rate at an edge extends the grid, for both."""
RATES_MODERN: tuple[float, ...] = (0.001, 0.00316, 0.01, 0.0316, 0.1)
"""The same grid, moved up with the scale of the gradients."""

SMOKE = {"data.dataset": "sample", "data.train_images": 2_000}

MODERN = {"model.initialization": "he", "data.divisor": 64.0}
"""What a modern reader would have assumed where the paper is silent: He initialization, inputs near unit scale."""


def _relu_rates(name: str, setting: Mapping[str, Any], rates: tuple[float, ...], seeds: int, scale: Scale) -> Study:
    """A search: for each nonlinearity, the rate of the grid that `fastest` picks."""
    baseline = CUDA_CONVNET_19PCT.changed(**setting, **{"budget.epochs": 16})
    if scale == "smoke":
        baseline, seeds, rates = baseline.changed(**SMOKE, **{"budget.epochs": 4}), 1, rates[1:3]
    arms = {
        f"{f} {rate:g}": {"model.nonlinearity": f, "optimizer.learning_rate": rate}
        for f in NONLINEARITIES
        for rate in rates
    }
    pilots = tuple(range(PILOT_SEEDS, PILOT_SEEDS + seeds))
    return Study(name, "The learning rate of each nonlinearity", baseline, arms, pilots, pilot=True)


STUDIES: dict[str, Callable[[Scale], Study]] = {
    "relu_rates": lambda scale: _relu_rates("relu_rates", {}, RATES, 2, scale),
    "relu_rates_modern": lambda scale: _relu_rates("relu_rates_modern", MODERN, RATES_MODERN, 1, scale),
}


def study(name: str, scale: str = "cifar10") -> Study:
    """A study by name, at a scale. Raises UserError that lists the valid names."""
    if name not in STUDIES:
        raise one_of("study", name, list(STUDIES))
    if scale not in SCALES:
        raise one_of("scale", scale, list(SCALES))
    return STUDIES[name](scale)


def records(plan: Study, store: Store) -> dict[str, dict[int, RunRecord]]:
    """What the store has of a study: arm -> seed -> record."""
    found: dict[str, dict[int, RunRecord]] = {arm: {} for arm in plan.arms}
    for arm, config in plan.runs():
        record = store.find(config)
        if record is not None:
            found[arm][config.seed] = record
    return found


def fastest(plan: Study, store: Store, arms: list[str]) -> str:
    """The rule of a rate search: the arm that crosses first, by the mean over pilot seeds.

    An arm counts as crossing only if every seed crosses within the budget. Where none does, the arm with the
    lowest mean training error at the end. Raises UserError while a run is missing.
    """
    found = records(plan, store)
    lacking = [arm for arm in arms if len(found[arm]) < len(plan.seeds)]
    if lacking:
        raise UserError(f"{plan.name} has not been run whole (arm {lacking[0]!r}): run 'alexnet-repro run {plan.name}'")

    def mean(arm: str, metric: str) -> float:
        values = [record.metric(metric) for record in found[arm].values()]
        return float("inf") if any(value != value for value in values) else sum(values) / len(values)

    return min(arms, key=lambda arm: (mean(arm, "epochs_to_threshold"), mean(arm, "train_error")))
