"""The update rule and the learning-rate schedules of section 5."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..experiments.config import OptimizerConfig

DROPS = 3
"""How often a rate that follows the test curve is divided by 10, by hand in the paper (section 5)."""


class AlexNetSGD(torch.optim.Optimizer):
    """SGD with momentum and weight decay as section 5 prints it: v = momentum v - lr (g + weight_decay w); w += v.

    Used like torch.optim.SGD, with its parameter groups and torch's schedulers. The two agree while lr is constant.
    Where lr changes, the velocity v here still holds steps of the old lr, and torch's rescales all of them at once.
    With ``rate_outside=True`` the update is torch's at any lr: v = momentum v - (g + weight_decay w); w += lr v.

    Parameters without a gradient are left alone. Raises ValueError for a negative lr, momentum or weight_decay.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = AlexNetSGD([weight], lr=0.1, momentum=0.9, weight_decay=0.0)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (2 * weight).sum().backward()
    ...     optimizer.step()
    >>> weight.data  # after the steps -0.2 and 0.9 * -0.2 - 0.2
    tensor([0.4200])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0005,
        rate_outside: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {**options, "rate_outside": rate_outside, "first_layer": False})
        for group in self.param_groups:
            for name in options:
                if not group[name] >= 0:
                    raise ValueError(f"{name}={group[name]} is negative: use 0 or more")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update from the gradients that the parameters hold; ``closure``, if given, computes them and the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            velocities, gradients = [self.velocity(p) for p in weights], [p.grad for p in weights]
            inside, outside = (1.0, group["lr"]) if group["rate_outside"] else (group["lr"], 1.0)
            torch._foreach_mul_(velocities, group["momentum"])
            if group["weight_decay"]:
                torch._foreach_add_(velocities, weights, alpha=-group["weight_decay"] * inside)
            torch._foreach_add_(velocities, gradients, alpha=-inside)
            torch._foreach_add_(weights, velocities, alpha=outside)
        return loss

    def velocity(self, parameter: Tensor) -> Tensor:
        """The velocity of a parameter, which starts at 0."""
        state: dict[str, Tensor] = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter, requires_grad=False)
        return state["velocity"]

    def velocities(self) -> dict[str, Tensor]:
        """All velocities as "velocity.<group>.<number in the group>", the names that they have in checkpoints."""
        return {
            f"velocity.{i}.{j}": self.velocity(p)
            for i, group in enumerate(self.param_groups)
            for j, p in enumerate(group["params"])
        }

    def scale_rates(self, factor: float, first_factor: float = 1.0) -> None:
        """Set each group's lr to its initial lr times ``factor``, and in the first layer's groups ``first_factor``.

        A group whose lr becomes 0 stops at once, as in the 2012 source (weights.cu): its velocity is 0, too.
        """
        for group in self.param_groups:
            initial = group.setdefault("initial_lr", group["lr"])
            group["lr"] = initial * factor * (first_factor if group["first_layer"] else 1.0)
            if group["first_layer"] and not first_factor:
                for parameter in group["params"]:
                    self.velocity(parameter).zero_()


def param_groups(net: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """The parameter groups of section 5: weights with weight decay, biases without and at their own rate.

    With ``config.layer_decays``, each layer's weights are a group with its own decay. Where the first layer has a
    schedule of its own, its weights and its biases are groups apart, marked ``first_layer``, and come first.
    """
    weights = [p for name, p in net.named_parameters() if not _is_bias(name)]
    biases = [p for name, p in net.named_parameters() if _is_bias(name)]
    rate, bias_rate = config.learning_rate, config.learning_rate * config.bias_rate_factor
    groups: list[dict[str, Any]] = [{"params": weights, "lr": rate, "weight_decay": config.weight_decay}]
    if config.layer_decays:
        decays = zip(weights, config.layer_decays, strict=True)
        groups = [{"params": [weight], "lr": rate, "weight_decay": decay} for weight, decay in decays]
    groups.append({"params": biases, "lr": bias_rate, "weight_decay": 0.0})
    if not (config.conv1_drops or config.conv1_frozen):
        return groups
    apart = [{**group, "params": group["params"][:1], "first_layer": True} for group in (groups[0], groups[-1])]
    for group in (groups[0], groups[-1]):
        group["params"] = group["params"][1:]
    return [*apart, *(group for group in groups if group["params"])]


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


def multi_step_factor(milestones: Sequence[int], epochs_done: float) -> float:
    """What torch's MultiStepLR multiplies the initial rate by: a tenth for each milestone (epoch) that has passed.

    The run of 2012 dropped its rate near (25, 51, 79).
    """
    return 1 / 10 ** sum(epochs_done >= epoch for epoch in milestones)


def first_factor(config: OptimizerConfig, epochs_done: int) -> float:
    """The additional factor on the first layer's learning rates after so many epochs; 0 once the layer is frozen."""
    frozen = config.conv1_frozen is not None and epochs_done >= config.conv1_frozen
    return 0.0 if frozen else multi_step_factor(config.conv1_drops, epochs_done)


def rate_factor(config: OptimizerConfig, epochs_done: int, test_errors: Sequence[float]) -> float | None:
    """The factor on all initial learning rates after so many epochs; None where the schedule ends the training.

    test_errors: the test error after each of these epochs, which a plateau schedule follows.
    """
    if config.plateau is None:
        return multi_step_factor(config.drops, epochs_done)
    plateau = Plateau(config.plateau, DROPS)
    for error in test_errors:
        plateau.observe(error)
    return None if plateau.finished else plateau.factor
