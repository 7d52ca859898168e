"""A tutorial's description of AlexNet beside the paper, and what the network here shows, computed."""

from dataclasses import dataclass

from IPython.display import Markdown

from ..networks import layers as architecture
from ..networks.config import PAPER, AlexNetConfig, side_after
from ..networks.layers import learned_layers
from ..records.reference import torchvision_table
from . import architecture as anatomy


@dataclass(frozen=True)
class Slip:
    """What the description says, what the paper says and where, and what this project's network has."""

    name: str
    description: str
    paper: str
    shown: str


def slips() -> list[Slip]:
    """Every slip, in the order of the layers."""
    return [_input(), _order(), _kernels(), _dropout(), _hidden(), _torchvision()]


def _input(config: AlexNetConfig = PAPER) -> Slip:
    wrong, kernel, stride = 277, config.conv1_kernel, config.conv1_stride
    conv1 = learned_layers(config)[0]
    reach = (conv1.outputs[1] - 1) * stride + kernel
    return Slip(
        "The size of the input",
        f"The input is {wrong} × {wrong}, and ({wrong} − {kernel}) / {stride} + 1 = {conv1.outputs[1]}.",
        "“The first convolutional layer filters the 224×224×3 input image with 96 kernels of size 11×11×3 with a "
        "stride of 4 pixels” (section 3.5).",
        f"({wrong} − {kernel}) / {stride} + 1 is {(wrong - kernel) / stride + 1:g}, or "
        f"{side_after(wrong, kernel, stride)} positions. {reach} would give {side_after(reach, kernel, stride)}: "
        f"{wrong} looks like a misprint of it. The network here takes {anatomy.shape(conv1.inputs)} and has "
        f"{anatomy.shape(conv1.outputs)} after conv1, with a border of {sum(conv1.padding)} zeros on one side.",
    )


def _order() -> Slip:
    names = ("conv1", "conv2")
    after = "; ".join(f"{name}: {anatomy.after(PAPER, name)}" for name in names)
    norm, pool = (
        next(layer for layer in architecture.layers(PAPER) if layer.name == f"conv1 {what}")
        for what in ("cross-map norm", "pooling")
    )
    return Slip(
        "Pooling before normalization",
        "After conv1 and conv2 come ReLU, pooling and then local response normalization.",
        "“Response-normalization layers follow the first and second convolutional layers. Max-pooling layers … follow "
        "both response-normalization layers” (section 3.5).",
        f"{after}. The order is not free: normalization divides the {norm.outputs[1]} × {norm.outputs[2]} values of "
        f"a map, pooling then takes the largest of the results and leaves {pool.outputs[1]} × {pool.outputs[2]}.",
    )


def _kernels() -> Slip:
    convs = [layer for layer in learned_layers(PAPER) if layer.kind == "convolution"]
    halves = [layer.outputs[0] // 2 for layer in convs]
    return Slip(
        "Kernels of one column, outputs of both",
        f"The convolutional layers have {_list(halves)} kernels, and yet "
        f"{_list([layer.outputs[0] for layer in convs])} maps.",
        f"{_list([layer.outputs[0] for layer in convs])} kernels (section 3.5); the paper's Fig. 2 draws half of them "
        "in each column.",
        "; ".join(
            f"{layer.name}: 2 × {half} kernels, {layer.outputs[0]} maps"
            for layer, half in zip(convs, halves, strict=True)
        )
        + ". A layer has as many maps as kernels.",
    )


def _dropout() -> Slip:
    layers = architecture.layers(PAPER)
    kept = [layer.name.split()[0] for layer in layers if layer.kind == "dropout"]
    return Slip(
        "Dropout on the last layer",
        "Dropout is applied to the last layer as well.",
        "“We use dropout in the first two fully-connected layers of Figure 2” (section 4.2).",
        f"Dropout follows {_list(kept)}. After {layers[-1].name} comes nothing but the softmax: to drop one of its "
        f"{layers[-1].outputs[0]:,} outputs would drop a class.",
    )


def _hidden() -> Slip:
    fc7, fc8 = (layer for layer in learned_layers(PAPER) if layer.name in ("fc7", "fc8"))
    return Slip(
        "4096 × 1 into fc7 and fc8",
        "The inputs of fc7 and fc8 are 4096 × 1.",
        "“The fully-connected layers have 4096 neurons each” (section 3.5); the paper's Fig. 2 draws 2048 and 2048.",
        f"Right, over both columns: {fc7.name} has weights for {fc7.weight_shape[1]:,} inputs and {fc8.name} for "
        f"{fc8.weight_shape[1]:,}. The slip is in the counting: the description counts the convolutions per column "
        f"and these layers over both, and nothing in it says that each column holds {fc7.outputs[0] // 2:,} of them.",
    )


def _torchvision() -> Slip:
    table = torchvision_table()
    convs = table[table["kind"] == "Conv2d"]
    total, ours = int(table["parameters"].sum()), architecture.parameters(PAPER)
    norms = sum("norm" in layer.kind for layer in architecture.layers(PAPER))
    return Slip(
        "torchvision's network as the paper's",
        "torchvision's code of AlexNet is shown as the network of the paper.",
        "Two columns, 96, 256, 384, 384 and 256 kernels, local response normalization (sections 3.2 to 3.5).",
        f"torchvision follows a later paper, “One weird trick” (2014): {_list([int(n) for n in convs['maps']])} "
        f"kernels, {'no' if (convs['groups'] == 1).all() else 'some'} columns, "
        f"{sum(table['kind'].str.contains('Norm')) or 'no'} normalization where the paper has {norms}, dropout before "
        f"each hidden layer rather than after it, {total:,} parameters where the paper's network has {ours:,}.",
    )


def _list(values: list[int] | list[str]) -> str:
    texts = [str(value) for value in values]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]


def section(slip: Slip) -> Markdown:
    """A slip as a section of its page."""
    return Markdown(
        f"**It says:** {slip.description}\n\n**The paper:** {slip.paper}\n\n**The network here:** {slip.shown}"
    )
