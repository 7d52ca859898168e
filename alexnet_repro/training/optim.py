"""The update rule and the learning-rate schedules of section 5."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..experiments.config import OptimizerConfig

DROPS = 3
"""How often a rate that follows the test curve is divided by 10, by hand in the paper (section 5)."""


@dataclass
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay; rates are per mean gradient of a batch.

    first: they are the first layer's, which has a schedule of its own beside that of all.
    """

    parameters: list[Tensor]
    rate: float
    weight_decay: float
    first: bool = False


class Momentum:
    """v <- momentum v - decay rate w - rate g; w <- w + v (section 5).

    The decay is scaled by the rate and sits inside the velocity. Velocities start at 0. At a constant rate the
    steps are those of torch.optim.SGD; where the rate changes, the velocity here still holds steps of the old one.
    With ``rate_outside`` they are torch's at any rate: v <- momentum v - decay w - g; w <- w + rate v.
    Each group's rate is multiplied by ``rate_factor``, which a schedule sets, and the first layer's by
    ``first_factor`` as well: both 1 at first.
    """

    def __init__(self, groups: list[ParameterGroup], momentum: float, rate_outside: bool = False) -> None:
        self.groups = groups
        self.momentum = momentum
        self.rate_outside = rate_outside
        self.rate_factor = 1.0
        self.first_factor = 1.0
        self.velocities = [[torch.zeros_like(p) for p in group.parameters] for group in groups]

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that the parameters hold."""
        for group, velocity in zip(self.groups, self.velocities, strict=True):
            gradients = [p.grad for p in group.parameters if p.grad is not None]
            assert len(gradients) == len(group.parameters)
            rate = group.rate * self.rate_factor * (self.first_factor if group.first else 1.0)
            inside, outside = (1.0, rate) if self.rate_outside else (rate, 1.0)
            torch._foreach_mul_(velocity, self.momentum)
            if group.weight_decay:
                torch._foreach_add_(velocity, group.parameters, alpha=-group.weight_decay * inside)
            torch._foreach_add_(velocity, gradients, alpha=-inside)
            torch._foreach_add_(group.parameters, velocity, alpha=outside)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for p in group.parameters:
                p.grad = None

    def state(self) -> dict[str, Tensor]:
        """The velocities by name, for a checkpoint; the rate factor is the schedule's to restore."""
        return {f"velocity.{i}.{j}": v for i, group in enumerate(self.velocities) for j, v in enumerate(group)}


def section_5(net: nn.Module, config: OptimizerConfig) -> list[ParameterGroup]:
    """The net's weights, with the decay of all or each with its own; its biases without, at their own rate."""
    weights: list[Tensor] = [p for name, p in net.named_parameters() if not _is_bias(name)]
    biases: list[Tensor] = [p for name, p in net.named_parameters() if _is_bias(name)]
    rate, bias_rate = config.learning_rate, config.learning_rate * config.bias_rate_factor
    groups = [ParameterGroup(weights, rate, config.weight_decay)]
    if config.layer_decays:
        decays = zip(weights, config.layer_decays, strict=True)
        groups = [ParameterGroup([weight], rate, decay) for weight, decay in decays]
    groups.append(ParameterGroup(biases, bias_rate, 0.0))
    if not (config.conv1_drops or config.conv1_frozen):
        return groups
    apart = [replace(group, parameters=group.parameters[:1], first=True) for group in (groups[0], groups[-1])]
    for group in (groups[0], groups[-1]):
        group.parameters = group.parameters[1:]
    return [*apart, *(group for group in groups if group.parameters)]


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2] == "bias"


@dataclass
class Plateau:
    """Section 5's schedule: the rate is divided by 10 whenever the validation error stops improving.

    Stops improving: ``patience`` observations in a row, one an epoch, none of which is below the best so far. After
    ``drops`` divisions (the paper's three) the next such row ends the training. The paper's were made by hand;
    ``patience`` is this project's.
    """

    patience: int
    drops: int
    best: float = math.inf
    waited: int = 0
    dropped: int = 0

    def observe(self, error: float) -> None:
        """Take note of an epoch's validation error. NaN is no improvement."""
        if error < self.best:
            self.best, self.waited = error, 0
        else:
            self.waited += 1
        if self.waited >= self.patience and self.dropped < self.drops:
            self.waited, self.dropped = 0, self.dropped + 1

    @property
    def factor(self) -> float:
        """What the initial rate is to be multiplied by."""
        return 1 / 10**self.dropped

    @property
    def finished(self) -> bool:
        """Whether the error has stopped improving at the last rate, too."""
        return self.dropped == self.drops and self.waited >= self.patience


@dataclass(frozen=True)
class Dated:
    """The rate is divided by 10 after each of these epochs: (25, 51, 79) near those of the 2012 run. No state."""

    epochs: tuple[int, ...]

    def factor(self, epochs_done: float) -> float:
        """What the initial rate is to be multiplied by after so many epochs."""
        return 1 / 10 ** sum(epochs_done >= epoch for epoch in self.epochs)


def first_factor(config: OptimizerConfig, epochs_done: int) -> float:
    """What the first layer's rates are multiplied by after so many epochs, beside those of all; 0 once it is frozen.

    Its velocities then die away.
    """
    frozen = config.conv1_frozen is not None and epochs_done >= config.conv1_frozen
    return 0.0 if frozen else Dated(config.conv1_drops).factor(epochs_done)


def rate_factor(config: OptimizerConfig, epochs_done: int, test_errors: Sequence[float]) -> float | None:
    """What the initial rates are multiplied by after so many epochs, whose test curve is given.

    None where the schedule ends the training.
    """
    if config.plateau is None:
        return Dated(config.drops).factor(epochs_done)
    plateau = Plateau(config.plateau, DROPS)
    for error in test_errors:
        plateau.observe(error)
    return None if plateau.finished else plateau.factor
