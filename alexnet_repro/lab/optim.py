"""The update rule of section 5."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay; rates are per mean gradient of a batch."""

    parameters: list[Tensor]
    rate: float
    weight_decay: float


class Momentum:
    """v <- momentum v - decay rate w - rate g; w <- w + v (section 5).

    The decay is scaled by the rate and sits inside the velocity. Velocities start at 0.
    """

    def __init__(self, groups: list[ParameterGroup], momentum: float) -> None:
        self.groups = groups
        self.momentum = momentum
        self.velocities = [[torch.zeros_like(p) for p in group.parameters] for group in groups]

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that the parameters hold."""
        for group, velocity in zip(self.groups, self.velocities, strict=True):
            gradients = [p.grad for p in group.parameters if p.grad is not None]
            assert len(gradients) == len(group.parameters)
            torch._foreach_mul_(velocity, self.momentum)
            if group.weight_decay:
                torch._foreach_add_(velocity, group.parameters, alpha=-group.weight_decay * group.rate)
            torch._foreach_add_(velocity, gradients, alpha=-group.rate)
            torch._foreach_add_(group.parameters, velocity)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for p in group.parameters:
                p.grad = None

    def state(self) -> dict[str, Tensor]:
        """The velocities by name, for a checkpoint."""
        return {f"velocity.{i}.{j}": v for i, group in enumerate(self.velocities) for j, v in enumerate(group)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state`` gave, in place."""
        for name, velocity in self.state().items():
            velocity.copy_(state[name])
