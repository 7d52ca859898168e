"""What training a network keeps in memory at the same time, as the source of 2012 allots it. Needs no torch."""

from ..common.errors import UserError
from .communication import sees_both
from .config import AlexNetConfig
from .layers import Layer, layers

GPU_BYTES = 3 * 2**30
"""A GTX 580 as section 3.2 describes it: 3 GB."""

SINGLE = 4
"""Bytes of a number in single precision."""

IN_PLACE = ("nonlinearity", "dropout")
NORMS = ("cross-map norm", "within-map norm")
PARTIAL_SUM = {1: 5, 2: 3, 3: 13, 4: 13, 5: 13}
"""Of each conv layer, the positions whose weight gradients are summed at once (partialSum, layers/layers-145.cfg)."""


def check_batch(batch: int) -> None:
    """Raises UserError for a batch without images."""
    if not isinstance(batch, int) or batch < 1:
        raise UserError(f"batch={batch!r} has no images: give a whole number, 1 or more")


def ledger(config: AlexNetConfig, batch: int, gpus: int = 1) -> dict[str, int]:
    """Bytes on each GPU by what they hold, in one step of section 5's update at a batch of ``batch`` images.

    Two buffers of images; outputs and their gradients of every operation but nonlinearity and dropout, which work in
    place; the denominators of normalization; weights, biases and their velocities; gradients of conv layers, and for
    these a partial sum per few positions (fully-connected gradients go straight into the velocities). Not counted:
    code, driver, temporary transposes. Source: layer.py, include/layer.cuh, src/layer.cu, src/weights.cu of 2012.

    On two GPUs each holds one column: half of every layer, all images, and the other column's maps, with their
    gradients, wherever a layer sees both. Raises UserError for a batch without images, ValueError for another number
    of GPUs, or a net without columns.
    """
    check_batch(batch)
    columns = 2 if config.columns in ("linked", "unlinked") else 1
    if gpus not in (1, columns):
        raise ValueError(f"gpus={gpus} for columns={config.columns!r}: one GPU, or one for each of two columns")
    net = layers(config)
    convs = [layer for layer in net if layer.kind == "convolution"]
    values = sum(_size(layer.outputs) for layer in net if layer.kind not in IN_PLACE) // gpus
    if gpus == 2:
        values += sum(_size(layer.inputs) // 2 for layer in net if sees_both(config, layer))
    norms = sum(_size(layer.outputs) for layer in net if layer.kind in NORMS) // gpus
    parameters = sum(layer.parameters for layer in net) // gpus
    partial = sum(_partial_sums(config, layer) for layer in convs) // gpus
    return {
        "images": 2 * SINGLE * batch * _size(net[0].inputs),
        "outputs": SINGLE * batch * values,
        "gradients of outputs": SINGLE * batch * values,
        "denominators of normalization": SINGLE * batch * norms,
        "weights and biases": SINGLE * parameters,
        "velocities": SINGLE * parameters,
        "gradients of conv weights": SINGLE * sum(layer.parameters for layer in convs) // gpus,
        "partial sums of these": SINGLE * partial,
    }


def _partial_sums(config: AlexNetConfig, layer: Layer) -> int:
    _, height, width = layer.outputs
    # A layer that reads both columns handles them one after the other.
    inputs = 2 if sees_both(config, layer) else 1
    return (height * width // PARTIAL_SUM[layer.number]) * layer.weights // inputs


def _size(shape: tuple[int, int, int]) -> int:
    maps, height, width = shape
    return maps * height * width
