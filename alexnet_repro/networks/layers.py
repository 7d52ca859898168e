"""Every layer of AlexNet by arithmetic from its config: shapes, parameters, neurons, initial values. Needs no torch.

``training.models.alexnet`` builds its modules from the same list. Memory and work are in ``cost``.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

from .config import PAPER, AlexNetConfig, side_after

Kind = Literal[
    "convolution", "nonlinearity", "cross-map norm", "within-map norm", "pooling", "fully-connected", "dropout"
]
Shape = tuple[int, int, int]

PAPER_NEURONS = (253_440, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000)
"""Neurons per layer as the caption of Fig. 2 prints them. The first number is not 55 x 55 x 96 = 290,400."""


@dataclass(frozen=True)
class Layer:
    """One operation of the network. Sizes are per image; shapes are (maps, height, width).

    name: "conv1" to "fc8" for layers with weights; what follows them is named after them, as "conv1 pooling".
    kernel, stride: in pixels; kernel is 0 for operations without a window. padding: zero pixels (before, after).
    groups: parts of the layer that each see only their own part of the inputs.
    """

    name: str
    kind: Kind
    inputs: Shape
    outputs: Shape
    kernel: int = 0
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    @property
    def learned(self) -> bool:
        """Whether the layer has weights."""
        return self.kind in ("convolution", "fully-connected")

    @property
    def number(self) -> int:
        """The paper's number of the layer, 1 to 8, also if other layers are removed."""
        return int(self.name.split()[0].lstrip("convf"))

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights as in torch: (kernels, input maps per group, height, width) or (units, inputs per
        group).

        () for an operation without weights.
        """
        if self.kind == "convolution":
            return (self.outputs[0], self.inputs[0] // self.groups, self.kernel, self.kernel)
        if self.kind == "fully-connected":
            return (self.outputs[0], prod(self.inputs) // self.groups)
        return ()

    @property
    def fan_in(self) -> int:
        """Number of inputs of one neuron."""
        return prod(self.weight_shape[1:])

    @property
    def weights(self) -> int:
        """Number of weights, without biases."""
        return prod(self.weight_shape) if self.learned else 0

    @property
    def biases(self) -> int:
        """Number of biases."""
        return self.outputs[0] if self.learned else 0

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.weights + self.biases

    @property
    def neurons(self) -> int:
        """Number of outputs of a layer with weights, before pooling, as Fig. 2 counts neurons; else 0."""
        return prod(self.outputs) if self.learned else 0

    @property
    def multiply_adds(self) -> int:
        """Multiply-accumulates (MACs) of the forward pass for one image, zero padding included."""
        return self.neurons * self.fan_in

    def activation_bytes(self, batch: int) -> int:
        """Memory of the outputs for a batch, in bytes; 4 bytes per number in single precision."""
        return batch * 4 * prod(self.outputs)


def layers(config: AlexNetConfig) -> list[Layer]:
    """All operations of the network, in order."""
    split = 2 if config.columns in ("linked", "unlinked") else 1
    kernels = list(config.kernels)
    if config.columns == "half":
        kernels[:4] = [n // 2 for n in kernels[:4]]
    left = [n for n in (1, 2, 3, 4, 5) if f"conv{n}" not in config.removed]
    linked = left[2] if len(left) > 2 else None
    result: list[Layer] = []
    shape: Shape = (3, config.image_size, config.image_size)

    def add(name: str, kind: Kind, outputs: Shape, **rest: int | tuple[int, int]) -> None:
        nonlocal shape
        result.append(Layer(name, kind, shape, outputs, **rest))  # type: ignore[arg-type]
        shape = outputs

    for n in left:
        name = f"conv{n}"
        if n == 1:
            kernel, stride, padding, groups = config.conv1_kernel, config.conv1_stride, config.conv1_padding, 1
        else:
            kernel = 5 if n == 2 else 3
            stride, padding = 1, (kernel // 2, kernel // 2)
            groups = 1 if config.columns == "linked" and n == linked else split
        side = side_after(shape[1], kernel, stride, sum(padding))
        outputs = (kernels[n - 1], side, side)
        add(name, "convolution", outputs, kernel=kernel, stride=stride, padding=padding, groups=groups)
        nonlinearity_last = n == 1 and config.conv1_order == "norm-pool-nonlinearity"
        if not nonlinearity_last:
            add(f"{name} nonlinearity", "nonlinearity", shape)
        if config.cross_map_norm and n in config.cross_map_norm.layers:
            add(f"{name} cross-map norm", "cross-map norm", shape, kernel=config.cross_map_norm.size, groups=split)
        if config.within_map_norm and n in config.within_map_norm.layers:
            add(f"{name} within-map norm", "within-map norm", shape, kernel=config.within_map_norm.size)
        if n in (1, 2, left[-1]):
            window, step = config.pool
            side = side_after(shape[1], window, step, 0, config.pool_rounding)
            add(f"{name} pooling", "pooling", (shape[0], side, side), kernel=window, stride=step)
        if nonlinearity_last:
            add(f"{name} nonlinearity", "nonlinearity", shape)
    for n in (6, 7):
        add(f"fc{n}", "fully-connected", (config.hidden, 1, 1), groups=split if config.columns == "unlinked" else 1)
        add(f"fc{n} nonlinearity", "nonlinearity", shape)
        if config.dropout:
            add(f"fc{n} dropout", "dropout", shape)
    add("fc8", "fully-connected", (config.classes, 1, 1))
    return result


def learned_layers(config: AlexNetConfig) -> list[Layer]:
    """The convolutions and fully-connected layers, in order."""
    return [layer for layer in layers(config) if layer.learned]


def parameters(config: AlexNetConfig) -> int:
    """Number of weights and biases of the network."""
    return sum(layer.parameters for layer in layers(config))


def neurons(config: AlexNetConfig) -> tuple[int, ...]:
    """Number of neurons of each conv and fully-connected layer."""
    return tuple(layer.neurons for layer in learned_layers(config))


def initial_weight_std(config: AlexNetConfig, layer: Layer) -> float:
    """Standard deviation of a layer's initial weights (section 5; for "source", layers/layers-145.cfg of 2012)."""
    if config.weight_init == "paper-scaled":
        (same,) = (each for each in learned_layers(PAPER) if each.name == layer.name)
        return 0.01 * float((same.fan_in / layer.fan_in) ** 0.5)
    if config.weight_init == "he" or (config.weight_init == "he-hidden" and layer.number < 8):
        return float((2 / layer.fan_in) ** 0.5)
    return 0.03 if config.weight_init == "source" and layer.number in (3, 4, 5) else 0.01


def initial_bias(config: AlexNetConfig, layer: Layer) -> float:
    """Initial value of a layer's biases (section 5)."""
    return 1.0 if config.bias_init == "one" and layer.number in (2, 4, 5, 6, 7) else 0.0
