"""What two devices, one for each column, compute and send each other, by arithmetic. Needs no torch."""

from dataclasses import replace

from ..common.errors import UserError
from .config import AlexNetConfig
from .layers import Layer, Shape, layers, parameters

SINGLE = 4
"""Bytes of a number in single precision."""

BACKWARD = 2
"""A learned layer's work going backward, over that going forward: gradients of its inputs and of its weights."""


def sees_both(config: AlexNetConfig, layer: Layer) -> bool:
    """Whether a layer of two columns reads the maps of both: conv3 and the fully-connected layers of Fig. 2."""
    return config.columns in ("linked", "unlinked") and layer.learned and layer.groups == 1 and layer.number > 1


def column_layers(config: AlexNetConfig) -> list[Layer]:
    """Every operation of one column, which is what one of two devices computes: half of each layer's outputs.

    Raises UserError for a net without columns, or an odd number of classes.
    """
    if config.columns not in ("linked", "unlinked"):
        raise UserError(f"columns={config.columns!r} has no two columns to spread over devices: use data parallel")
    if config.classes % 2:
        raise UserError(f"classes={config.classes} do not split over two devices: use an even number")
    net = layers(config)
    whole_inputs = {layer.name for layer in net if layer is net[0] or sees_both(config, layer)}
    return [
        replace(
            layer,
            inputs=layer.inputs if layer.name in whole_inputs else _half(layer.inputs),
            outputs=_half(layer.outputs),
            groups=1,
        )
        for layer in net
    ]


def links(config: AlexNetConfig) -> dict[str, int]:
    """Numbers per image that a column sends the other going forward, by the layer that needs them.

    Where a layer reads both columns, each sends its half of the inputs; going backward, the gradients of the half that
    it received. "softmax": each sends its half of the last layer's outputs, and nothing comes back, since both compute
    the loss.
    """
    sent = {layer.name: _size(layer.inputs) // 2 for layer in layers(config) if sees_both(config, layer)}
    return sent | {"softmax": config.classes // 2}


def bytes_sent(config: AlexNetConfig, batch: int, bytes_each: int = SINGLE) -> int:
    """What each of two devices sends the other in one step of training, forward and backward; it receives as much."""
    sent = links(config)
    return batch * bytes_each * (2 * sum(sent.values()) - sent["softmax"])


def data_parallel_bytes(config: AlexNetConfig, devices: int, bytes_each: int = SINGLE) -> int:
    """What each of ``devices`` sends in one step when each holds the net: its part of a ring all-reduce of gradients.

    2 (n - 1) / n times the parameters (Patarasuk & Yuan 2009), at any batch size.
    """
    return 2 * (devices - 1) * parameters(config) * bytes_each // devices


def multiply_adds(config: AlexNetConfig, device_layers: list[Layer] | None = None) -> int:
    """Of one image in one step of training, forward and backward, by all learned layers or ``device_layers``.

    conv1 passes no gradient on to the image.
    """
    learned = [layer for layer in device_layers or layers(config) if layer.learned]
    return sum(layer.multiply_adds * (1 + BACKWARD - (layer.number == 1)) for layer in learned)


def _half(shape: Shape) -> Shape:
    maps, height, width = shape
    return (maps // 2, height, width)


def _size(shape: Shape) -> int:
    maps, height, width = shape
    return maps * height * width
