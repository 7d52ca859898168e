"""Numbers that follow from the paper's own description by arithmetic, compared with those that it prints."""

import math
from dataclasses import dataclass
from typing import Literal

from ..common.errors import one_of
from ..networks.config import PAPER, side_after
from ..networks.cost import multiply_adds
from ..networks.layers import learned_layers, parameters
from .claims import Derived

TRAINING_SIDE = 256
"""Images are rescaled and cropped to 256 x 256 pixels (section 2)."""
TRAINING_IMAGES = 1_200_000
"""Size of the training set, as the paper rounds it (section 5)."""
WITHOUT_OVERLAP = (2, 2)
"""Window and stride of non-overlapping pooling, which section 3.4 compares with."""
NET_147_BORDERS = (2, 0)
"""Zero padding (both sides together) of conv2 and conv5 in the author's net without overlapping pooling, layers-147.cfg
of the 2012 source; net 145 and the paper's net have 4 and 2."""


Agreement = Literal[
    "audited: agrees",
    "audited: disagrees",
    "audited: not in the log",
    "derived: agrees",
    "derived: disagrees",
]


@dataclass(frozen=True)
class Finding:
    """What arithmetic or the first author's log says of one number of the paper.

    value: in the unit of the claim's entry; None where the log has none. note: what a reader must know beside it.
    """

    verdict: Agreement
    value: float | None
    note: str


def quantities() -> dict[str, float]:
    """All derived quantities by name, for the paper's network (Fig. 2).

    neurons_*: outputs of a layer. crops: positions of the net's input in a training image, times two for reflections.
    multiply_adds_ratio: MACs of a forward pass of the one-GPU net of section 3.2, over those of one column of the
    two-GPU net, which is what each of two GPUs computes. largest_conv_share, fc6_share: percent of the parameters.
    half_parameters_ratio: parameters of the one-GPU net over those of the two-GPU net. same_sides: how many of the
    three poolings give maps of the same side with 2 x 2 windows as with 3 x 3, rounded down or (147) as in the author's
    net without overlap. label_bits: bits per class label. parameters_per_bit: parameters per bit of all training
    labels.
    dropout_work: MACs of an update with dropout over those without.
    """
    net, half = learned_layers(PAPER), learned_layers(PAPER.change(columns="half"))
    places = TRAINING_SIDE - PAPER.image_size + 1
    column = sum(layer.multiply_adds for layer in net) / 2
    return {
        "learned_layers": float(len(net)),
        "parameters": float(parameters(PAPER)),
        "neurons": float(sum(layer.neurons for layer in net)),
        "input_size": float(3 * PAPER.image_size**2),
        **{f"neurons_{layer.name}": float(layer.neurons) for layer in net},
        "largest_conv_share": 100 * max(n.parameters for n in net if n.kind == "convolution") / parameters(PAPER),
        "crops": float(2 * places**2),
        "multiply_adds_ratio": sum(layer.multiply_adds for layer in half) / column,
        "half_parameters_ratio": sum(layer.parameters for layer in half) / parameters(PAPER),
        "fc6_share": 100 * next(n.parameters for n in net if n.name == "fc6") / parameters(PAPER),
        "same_sides": float(_same_sides(_pooled(PAPER.pool), _pooled(WITHOUT_OVERLAP))),
        "same_sides_147": float(_same_sides(_pooled(PAPER.pool), _pooled(WITHOUT_OVERLAP, NET_147_BORDERS, "ceil"))),
        "label_bits": math.log2(PAPER.classes),
        "parameters_per_bit": parameters(PAPER) / (TRAINING_IMAGES * math.log2(PAPER.classes)),
        "dropout_work": multiply_adds(PAPER) / multiply_adds(PAPER.change(dropout=0.0)),
    }


def _pooled(pool: tuple[int, int], borders: tuple[int, int] = (4, 2), rounding: str = "floor") -> tuple[int, ...]:
    """Sides of the maps after the three poolings; ``borders`` of conv2 and conv5 as in NET_147_BORDERS."""
    conv1 = learned_layers(PAPER)[0].outputs[1]
    first = side_after(conv1, *pool, 0, rounding)
    second = side_after(side_after(first, 5, 1, borders[0]), *pool, 0, rounding)
    return first, second, side_after(side_after(second, 3, 1, borders[1]), *pool, 0, rounding)


def _same_sides(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))


def derive(entry: Derived) -> Finding:
    """Compare a derived quantity with the paper's number, within the entry's tolerance.

    Raises UserError for an unknown quantity.
    """
    known = quantities()
    if entry.quantity not in known:
        raise one_of("derived quantity", entry.quantity, list(known))
    value = known[entry.quantity]
    if entry.comparison == "above":
        agrees = value > entry.paper_value
    elif entry.comparison == "at most":
        agrees = value <= entry.paper_value
    else:
        agrees = abs(value - entry.paper_value) <= entry.tolerance * entry.paper_value
    return Finding("derived: agrees" if agrees else "derived: disagrees", value, entry.rule)
