"""cuda-convnet's CIFAR-10 networks."""

import math

import torch
from torch import Tensor, nn

from ..networks import CudaConvnetConfig
from .streams import stream

CLASSES = 10
INPUT = 32


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=5, padding=2)


def _max_pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)


def _average_pool() -> nn.AvgPool2d:
    # Not counting the padding also leaves out what ceil mode adds: the divisor is the area inside the map.
    return nn.AvgPool2d(kernel_size=3, stride=2, ceil_mode=True, count_include_pad=False)


def _fill(layer: nn.Conv2d | nn.Linear, std: float, seed: int, index: int) -> None:
    """Gaussian weights of ``std`` from the stream of layer ``index``, biases 0."""
    values = stream(seed, "init", index).standard_normal(tuple(layer.weight.shape)) * std
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(values))
        layer.bias.zero_()


class CudaConvnet(nn.Module):
    """The 19pct network: conv32 - max pool - f, conv32 - f - average pool, conv64 - f - average pool, fc10.

    Input (batch, 3, 32, 32), output logits (batch, 10). f is ReLU or tanh; nothing else differs between the two.
    The same seed gives both the same initial weights where ``initialization`` is "cuda-convnet".
    Source: cuda-convnet, example-layers/layers-19pct.cfg.
    """

    def __init__(self, config: CudaConvnetConfig, seed: int) -> None:
        super().__init__()
        nonlinearity = {"relu": nn.ReLU, "tanh": nn.Tanh}[config.nonlinearity]
        self.features = nn.Sequential(
            _conv(3, 32), _max_pool(), nonlinearity(),
            _conv(32, 32), nonlinearity(), _average_pool(),
            _conv(32, 64), nonlinearity(), _average_pool(),
        )  # fmt: skip
        self.classifier = nn.Linear(64 * 4 * 4, CLASSES)
        for index, layer in enumerate(self.learned()):
            _fill(layer, self._std(config, index, layer), seed, index)

    def learned(self) -> list[nn.Conv2d | nn.Linear]:
        """The layers with weights, in order."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]

    @staticmethod
    def _std(config: CudaConvnetConfig, index: int, layer: nn.Conv2d | nn.Linear) -> float:
        if config.initialization == "cuda-convnet":
            return 1e-4 if index == 0 else 1e-2
        gain = math.sqrt(2) if config.nonlinearity == "relu" else 1.0
        return gain / math.sqrt(layer.weight[0].numel())

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).flatten(1))
