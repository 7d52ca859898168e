"""What a network costs, by arithmetic from its config: multiply-accumulates, memory, and bytes between two devices.

Nothing here is measured, and nothing needs torch. Measured times are in ``experiments.step_timing``; estimated hours on
other GPUs in ``analysis.gpu_hours``.
"""

from dataclasses import replace
from math import prod

from ..common.errors import UserError
from .config import AlexNetConfig
from .layers import Layer, Shape, layers, parameters

GPU_BYTES = 3 * 2**30
"""Memory of a GTX 580: 3 GB (section 3.2)."""
SINGLE = 4
"""Bytes of a number in single precision."""
BACKWARD = 2
"""Work of a learned layer's backward pass over that of its forward pass: gradients of its inputs and of its weights."""
TWO_COLUMNS = ("linked", "unlinked")
IN_PLACE = ("nonlinearity", "dropout")
NORMS = ("cross-map norm", "within-map norm")
PARTIAL_SUM = {1: 5, 2: 3, 3: 13, 4: 13, 5: 13}
"""Positions per partial sum of a conv layer's weight gradients, by layer (partialSum in layers/layers-145.cfg)."""


def sees_both(config: AlexNetConfig, layer: Layer) -> bool:
    """Whether a layer reads the maps of both columns, as conv3 and the fully-connected layers of Fig. 2 do."""
    return config.columns in TWO_COLUMNS and layer.learned and layer.groups == 1 and layer.number > 1


def column_layers(config: AlexNetConfig) -> list[Layer]:
    """Every operation of one column, which is what one of two devices computes: half of each layer's outputs.

    Raises UserError for a net without columns, or with an odd number of classes.
    """
    if config.columns not in TWO_COLUMNS:
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
    """Numbers per image that each column sends the other in the forward pass, by the layer that needs them.

    A layer that reads both columns gets half of its inputs from the other column; in the backward pass, the gradients
    of that half go back. "softmax" is half of the last layer's outputs: nothing comes back, since both columns compute
    the loss.
    """
    sent = {layer.name: prod(layer.inputs) // 2 for layer in layers(config) if sees_both(config, layer)}
    return sent | {"softmax": config.classes // 2}


def bytes_sent(config: AlexNetConfig, batch: int) -> int:
    """Bytes that each of two devices, one per column, sends in one training step; it receives as many."""
    sent = links(config)
    return batch * SINGLE * (2 * sum(sent.values()) - sent["softmax"])


def data_parallel_bytes(config: AlexNetConfig, devices: int) -> int:
    """Bytes that each of ``devices`` sends in one data-parallel step: its part of a ring all-reduce of the gradients.

    2 (n - 1) / n times the parameters, at any batch size. Source: Patarasuk & Yuan (2009).
    """
    return 2 * (devices - 1) * parameters(config) * SINGLE // devices


def multiply_adds(config: AlexNetConfig, device_layers: list[Layer] | None = None) -> int:
    """Multiply-accumulates (MACs) for one image in one training step, forward and backward.

    Of all learned layers, or of ``device_layers``. conv1 computes no gradient of the image.
    """
    learned = [layer for layer in device_layers or layers(config) if layer.learned]
    return sum(layer.multiply_adds * (1 + BACKWARD - (layer.number == 1)) for layer in learned)


def check_batch(batch: int) -> None:
    """Raise UserError for a batch size that is no whole number of 1 or more."""
    if not isinstance(batch, int) or batch < 1:
        raise UserError(f"batch={batch!r} has no images: give a whole number, 1 or more")


def memory_breakdown(config: AlexNetConfig, batch: int, gpus: int = 1) -> dict[str, int]:
    """Bytes on each GPU in one training step at a batch of ``batch`` images, by what they hold.

    As the source of 2012 allocates them: two buffers of images; outputs, and gradients of outputs, of every operation
    but nonlinearity and dropout, which work in place; the denominators of normalization; weights, biases and their
    velocities; gradients of the conv layers with their partial sums (gradients of fully-connected layers go straight
    into the velocities). Not counted: code, driver, temporary transposes. Source: layer.py, include/layer.cuh,
    src/layer.cu, src/weights.cu of 2012.

    On two GPUs, each holds one column: half of every layer for all images, and a copy of the other column's maps and
    their gradients wherever a layer reads both. Raises UserError for a batch without images, ValueError for another
    number of GPUs than 1 or the number of columns.
    """
    check_batch(batch)
    columns = 2 if config.columns in TWO_COLUMNS else 1
    if gpus not in (1, columns):
        raise ValueError(f"gpus={gpus} for columns={config.columns!r}: one GPU, or one for each of two columns")
    net = layers(config)
    convs = [layer for layer in net if layer.kind == "convolution"]
    values = sum(prod(layer.outputs) for layer in net if layer.kind not in IN_PLACE) // gpus
    if gpus == 2:
        values += sum(prod(layer.inputs) // 2 for layer in net if sees_both(config, layer))
    norms = sum(prod(layer.outputs) for layer in net if layer.kind in NORMS) // gpus
    learned = sum(layer.parameters for layer in net) // gpus
    partial = sum(_partial_sums(config, layer) for layer in convs) // gpus
    return {
        "images": 2 * SINGLE * batch * prod(net[0].inputs),
        "outputs": SINGLE * batch * values,
        "gradients of outputs": SINGLE * batch * values,
        "denominators of normalization": SINGLE * batch * norms,
        "weights and biases": SINGLE * learned,
        "velocities": SINGLE * learned,
        "gradients of conv weights": SINGLE * sum(layer.parameters for layer in convs) // gpus,
        "partial sums of these": SINGLE * partial,
    }


def _partial_sums(config: AlexNetConfig, layer: Layer) -> int:
    _, height, width = layer.outputs
    # A layer that reads both columns handles them one after the other.
    inputs = 2 if sees_both(config, layer) else 1
    return (height * width // PARTIAL_SUM[layer.number]) * layer.weights // inputs


def _half(shape: Shape) -> Shape:
    maps, height, width = shape
    return (maps // 2, height, width)
