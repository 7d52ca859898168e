"""The numbers that follow from the paper's own description by arithmetic."""

from dataclasses import dataclass
from typing import Literal

from .architecture import learned_layers, parameters
from .claims import Derived
from .errors import one_of
from .networks import PAPER

TRAINING_SIDE = 256
"""Section 2: images are rescaled and cropped to 256 x 256."""


@dataclass(frozen=True)
class Derivation:
    """What arithmetic says of one number: ``value`` in the entry's unit."""

    verdict: Literal["derived: agrees", "derived: disagrees"]
    value: float
    note: str


def quantities() -> dict[str, float]:
    """Every derived quantity by name, of the paper's network (Fig. 2).

    neurons_*: outputs of a learned layer. crops: places of the net's input in a training image, times two for the
    reflections. multiply_adds_ratio: forward pass of the one-GPU net of section 3.2, over that of one column of the
    two-GPU net, which is what each of the two GPUs computes. largest_conv_share: of the parameters, in percent.
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
    }


def derive(entry: Derived) -> Derivation:
    """Whether arithmetic gives the paper's number, within the entry's tolerance.

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
    return Derivation("derived: agrees" if agrees else "derived: disagrees", value, entry.rule)
