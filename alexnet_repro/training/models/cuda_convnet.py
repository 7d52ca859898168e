"""cuda-convnet's CIFAR-10 networks."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from ...common.rng import stream
from ...networks.config import MAX, CudaConvnetConfig, F, Step
from .layers import LocallyConnected
from .lrn import LocalResponseNorm

CHANNELS = 3
LEARNED = (nn.Conv2d, LocallyConnected, nn.Linear)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=5, padding=2)


def _max_pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)


def _average_pool() -> nn.AvgPool2d:
    # Not counting the padding also leaves out what ceil mode adds: the divisor is the area inside the map.
    return nn.AvgPool2d(kernel_size=3, stride=2, ceil_mode=True, count_include_pad=False)


def _fill(layer: nn.Module, std: float, seed: int, index: int) -> None:
    """Gaussian weights of ``std`` from the stream of layer ``index``, biases 0."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    values = stream(seed, "init", index).standard_normal(tuple(weight.shape)) * std
    with torch.no_grad():
        weight.copy_(torch.from_numpy(values))
        bias.zero_()


class CudaConvnet(nn.Module):
    """The network of ``config.steps``: ``features``, then the fully-connected ``classifier``.

    Input (batch, 3, image_size, image_size), output logits (batch, 10). f is ReLU or tanh; nothing else differs between
    the two. Nets of one seed have the same initial weights wherever layers of the same place have the same shape and
    standard deviation.
    """

    def __init__(self, config: CudaConvnetConfig, seed: int) -> None:
        super().__init__()
        self._maps, self._side = CHANNELS, config.image_size
        *steps, last = _pooled_first(config.steps)
        pairs = pairwise([F, *steps])
        self.features = nn.Sequential(*(self._module(step, before, config.nonlinearity) for before, step in pairs))
        self.classifier = nn.Linear(self._maps * self._side**2, last.outputs)
        stds = [step.std for step in config.steps if step.std]
        for index, (layer, std) in enumerate(zip(self.learned(), stds, strict=True)):
            own = std if config.initialization == "cuda-convnet" else _he(layer, config.nonlinearity)
            _fill(layer, own, seed, index)

    def _module(self, step: Step, before: Step, nonlinearity: str) -> nn.Module:
        """The module of a step, given the one before, and what all before make of the input."""
        inputs = self._maps
        match step.kind:
            case "conv":
                self._maps = step.outputs
                return _conv(inputs, step.outputs)
            case "local":
                self._maps = step.outputs
                return LocallyConnected(inputs, step.outputs, self._side, kernel=3)
            case "norm":
                return LocalResponseNorm(step.outputs, alpha=1e-3, beta=0.75, k=1.0, divide_alpha=True)
            case "max" | "average":
                self._side //= 2
                return _max_pool() if step.kind == "max" else _average_pool()
            case "f":
                # What a locally connected layer gives is a view, which autograd keeps from being overwritten.
                return nn.ReLU(inplace=before.kind != "local") if nonlinearity == "relu" else nn.Tanh()
        raise AssertionError(f"{step.kind} within the features")

    def learned(self) -> list[nn.Module]:
        """The layers with weights, in order."""
        return [layer for layer in self.modules() if isinstance(layer, LEARNED)]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


def _pooled_first(steps: tuple[Step, ...]) -> list[Step]:
    """Maxima before a nonlinearity: it is monotone, so that the numbers are the same for a quarter of the work."""
    order = list(steps)
    for i in range(len(order) - 1):
        if order[i : i + 2] == [F, MAX]:
            order[i : i + 2] = [MAX, F]
    return order


def _he(layer: nn.Module, nonlinearity: str) -> float:
    weight = layer.get_parameter("weight")
    fan_in = math.prod(weight.shape[2:5]) if isinstance(layer, LocallyConnected) else weight[0].numel()
    return math.sqrt((2 if nonlinearity == "relu" else 1) / fan_in)
