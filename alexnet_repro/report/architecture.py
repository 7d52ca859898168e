"""Tables and paragraphs of the architecture page, all computed from the network's config.

The drawings are in drawings.py, the arithmetic in networks/.
"""

import math
from typing import Any

import pandas as pd
from IPython.display import Markdown

from ..networks.config import PAPER, SOURCE, AlexNetConfig, side_after
from ..networks.cost import GPU_BYTES, check_batch, memory_breakdown
from ..networks.layers import PAPER_NEURONS, Layer, layers, learned_layers, neurons, parameters
from ..records.reference import torchvision_table
from . import cards
from .format import markdown

MIB, GIB = 2**20, 2**30
UNBROKEN = "\u00a0"
TOTAL = "total"


def table(config: AlexNetConfig, batch: int) -> pd.DataFrame:
    """A row per operation, then the totals.

    Columns: layer, output, window, inputs of each kernel or unit, parameters, neurons, multiply-accumulates (millions,
    forward, one image), activations (MiB, float32, the whole batch). Raises UserError if batch is below 1.
    """
    check_batch(batch)
    rows = [
        {
            "layer": layer.name,
            "output": shape(layer.outputs),
            "window": window(layer),
            "each sees": _sees(layer),
            "parameters": layer.parameters,
            "neurons": layer.neurons,
            "multiply-accumulates (M)": layer.multiply_adds / 1e6,
            "activations (MiB)": layer.activation_bytes(batch) / MIB,
        }
        for layer in layers(config)
    ]
    result = pd.DataFrame(rows)
    sums = result.sum(numeric_only=True).to_dict()
    return pd.concat([result, pd.DataFrame([{"layer": TOTAL, **sums}])], ignore_index=True)


def layer_table(config: AlexNetConfig, batch: int) -> Markdown:
    """`table` in Markdown: operations without parameters are indented under their layer, zeros left blank."""
    digits = {"parameters": 0, "neurons": 0, "multiply-accumulates (M)": 1, "activations (MiB)": 1}
    rows, net = table(config, batch), layers(config)
    names = [layer.name if layer.learned else f"· {called(config, layer)}".replace(" ", UNBROKEN) for layer in net]
    numbers = {name: [_number(value, each) for value in rows[name]] for name, each in digits.items()}
    shown = rows.fillna("").assign(layer=[*names, f"**{TOTAL}**"], **numbers)
    counted = f"*All columns together; multiply-accumulates for one image, activations for a batch of {batch}.*"
    return Markdown(f"{counted}\n\n{markdown(shown, right=list(digits), wide=True)}")


def side_by_side() -> pd.DataFrame:
    """The paper preset, the source preset and torchvision's AlexNet, column by column; a row per layer and setting."""
    other = torchvision_table()
    learned: list[Any] = other[other["parameters"] > 0].to_dict("records")
    rows: list[tuple[str, ...]] = [
        (ours.name, *(_learned(each) for each in (ours, theirs)), _torchvision_learned(row))
        for ours, theirs, row in zip(learned_layers(PAPER), learned_layers(SOURCE), learned, strict=True)
    ]
    for name, position in (("conv1", 0), ("conv2", 1), ("conv5", 4), ("fc6", 5)):
        rows.append((f"after {name}", after(PAPER, name), after(SOURCE, name), _torchvision_after(other, position)))
    border = "{} before, {} after".format
    first = learned[0]["padding"]
    rows += [
        ("border of conv1 (pixels)", border(*PAPER.conv1_padding), border(*SOURCE.conv1_padding), border(first, first)),
        ("groups of conv1 to conv5", _groups(PAPER), _groups(SOURCE), _numbers([row["groups"] for row in learned[:5]])),
        ("parameters", *(f"{sum(n):,}" for n in _per_net(learned, "parameters"))),
        ("multiply-accumulates (M)", *(f"{sum(n) / 1e6:,.0f}" for n in _per_net(learned, "multiply_adds"))),
    ]
    return pd.DataFrame(rows, columns=["", "paper preset", "source preset", "torchvision"])


def memory_rows(batch: int) -> Markdown:
    """`memory_table` in Markdown, rounded to whole MiB."""
    rows = memory_table(batch).map(lambda value: f"{value:,.0f}")
    return cards.to_markdown(rows.reset_index(names="MiB on each GPU"), right=list(rows.columns), wide=True)


def shares(config: AlexNetConfig) -> pd.DataFrame:
    """Each learned layer's share of the network's parameters, multiply-accumulates and neurons, in percent."""
    net = learned_layers(config)
    counts = {
        "parameters": [layer.parameters for layer in net],
        "multiply-accumulates": [layer.multiply_adds for layer in net],
        "neurons": [layer.neurons for layer in net],
    }
    table = pd.DataFrame(counts, index=[layer.name for layer in net])
    return 100 * table / table.sum()


def memory_table(batch: int) -> pd.DataFrame:
    """Memory of each GPU in training, in MiB: a row per use, a column per network and number of GPUs."""
    cases = {
        "paper, one GPU": memory_breakdown(PAPER, batch),
        "source, one GPU": memory_breakdown(SOURCE, batch),
        "source, each of two": memory_breakdown(SOURCE, batch, gpus=2),
        "half net, one GPU": memory_breakdown(SOURCE.change(columns="half"), batch),
    }
    result = pd.DataFrame(cases) / MIB
    result.loc[TOTAL] = result.sum()
    return result


def border_words() -> Markdown:
    """Why conv1 has 55 positions along a side of an image of 224 pixels, in a paragraph."""
    side, kernel, stride = PAPER.image_size, PAPER.conv1_kernel, PAPER.conv1_stride
    room, found = (side - kernel) / stride, learned_layers(PAPER)[0].outputs[1]
    reach = (found - 1) * stride + kernel
    other = torchvision_table().iloc[0]
    return Markdown(
        f"A window of {kernel} pixels that moves by {stride} has ({side} − {kernel}) / {stride} = {room:g} steps to "
        f"go in {side} pixels: not a whole number. Rounded down, that makes {side_after(side, kernel, stride)} "
        f"positions; the paper's Fig. 2 has {found}. The source of 2012 rounds up: 1 + ⌈{room:g}⌉ = "
        f"{1 + math.ceil(room)}. Its last window ends at pixel {reach}, and reads zeros in the last {reach - side} "
        f"columns and rows, which the image does not have. An input of {reach} pixels without a border, as many later "
        "texts have it, gives the same shapes with real pixels there. torchvision gets them from a border of "
        f"{other['padding']} pixels all around: ({side} + 2·{other['padding']} − {kernel}) / {stride} + 1 = "
        f"{(side + 2 * other['padding'] - kernel) / stride + 1:g}, rounded down to {other['side']}. The paper says "
        "nothing of it; both presets here follow the source."
    )


def neurons_words() -> Markdown:
    """The numbers of neurons in the caption of Fig. 2 compared with those computed from the shapes."""
    printed, derived = PAPER_NEURONS, neurons(PAPER)
    wrong = [i for i, (a, b) in enumerate(zip(printed, derived, strict=True)) if a != b]
    maps, side, _ = learned_layers(PAPER)[0].outputs
    half = maps // 2
    texts = [
        f"The caption of the paper's Fig. 2 gives {printed[i]:,} neurons for {layer.name}, where "
        f"{layer.outputs[0]} maps of {layer.outputs[1]} × {layer.outputs[2]} make {derived[i]:,}."
        for i, layer in enumerate(learned_layers(PAPER))
        if i in wrong
    ]
    if half * side * maps == printed[0]:
        texts.append(
            f"What it prints is {side} × {half} × {maps} = {half * side * maps:,}: the {half} kernels of one column "
            "seem to have been taken for a side of the map. That is a guess; the product fits."
        )
    texts.append(
        f"Every other number of the caption is what the shapes give ({len(printed) - len(wrong)} of {len(printed)}). "
        f"The shapes add up to {sum(derived):,} neurons, the caption's own numbers to {sum(printed):,}; "
        "the text says 650,000."
    )
    return Markdown(" ".join(texts))


def parameters_words() -> Markdown:
    """Where the 60 million parameters are, and how many the two columns save."""
    net = learned_layers(PAPER)
    total, biases = sum(layer.parameters for layer in net), sum(layer.biases for layer in net)
    convs = [layer for layer in net if layer.kind == "convolution"]
    dense = total - sum(layer.parameters for layer in convs)
    work = sum(layer.multiply_adds for layer in net)
    undivided = PAPER.change(columns="single")
    single = parameters(undivided)
    biggest = max(net, key=lambda layer: layer.parameters)
    return Markdown(
        f"The eight learned layers have {total:,} parameters, of which {biases:,} are biases; the paper says 60 "
        f"million. The three fully-connected layers hold {_percent(dense / total)} of them, {biggest.name} alone "
        f"{_percent(biggest.parameters / total)}; the convolutions do "
        f"{_percent(sum(c.multiply_adds for c in convs) / work)} of the {work / 1e6:,.0f} million multiply-accumulates "
        "that one image takes forward. Without columns, every kernel seeing all maps below, there would be "
        f"{single:,} parameters: the columns save {(single - total) / 1e6:.1f} million weights, but "
        f"{_percent(1 - work / sum(each.multiply_adds for each in layers(undivided)))} of the work."
    )


def memory_words(batch: int) -> Markdown:
    """Whether the network fits on one GTX 580 (section 3.2), by the memory that it needs."""
    one, two = (sum(memory_breakdown(SOURCE, batch, gpus).values()) for gpus in (1, 2))
    fits = "fits, by this count," if one <= GPU_BYTES else "does not fit"
    learned = 2 * memory_breakdown(SOURCE, batch)["weights and biases"]
    largest = batch
    while sum(memory_breakdown(SOURCE, largest + 1).values()) <= GPU_BYTES:
        largest += 1
    room = f" up to batches of {largest}" if one <= GPU_BYTES else ""
    verdict = (
        "So the count alone does not show that this very network needed two GPUs: on one, it would leave "
        f"{(GPU_BYTES - one) / GIB:.2f} GiB for all that. Two gave the authors room to try larger ones; the paper "
        "says that 1.2 million examples “are enough to train networks which are too big to fit on one GPU”, not that "
        "this one is."
        if one <= GPU_BYTES
        else "At this batch the network does need two GPUs."
    )
    return Markdown(
        f"Net 145 of the source, whole on one GPU with batches of {batch}, needs {one / GIB:.2f} GiB, "
        f"{_percent(one / GPU_BYTES)} of the 3 GiB of a GTX 580: it {fits}{room}. In two columns each GPU holds "
        f"{two / GIB:.2f} GiB, {_percent(two / GPU_BYTES)}. Parameters and their velocities are only "
        f"{_percent(learned / one)} of it; most of the rest grows with the batch. Code, driver and temporary "
        f"copies come on top and are not counted. {verdict}"
    )


def shape(outputs: tuple[int, int, int]) -> str:
    """ "96 × 55 × 55" for maps, "4096" for a vector; unbroken."""
    maps, height, width = outputs
    return str(maps) if height == width == 1 else f"{maps} × {height} × {width}".replace(" ", UNBROKEN)


def window(layer: Layer) -> str:
    """Kernel size and stride, as "11 × 11 / 4"; for LRN, the number of maps that it sums over."""
    if not layer.kernel:
        return ""
    if layer.kind == "cross-map norm":
        return f"{layer.kernel} maps"
    return (f"{layer.kernel} × {layer.kernel}" + (f" / {layer.stride}" if layer.stride > 1 else "")).replace(
        " ", UNBROKEN
    )


def after(config: AlexNetConfig, name: str) -> str:
    """The operations between a learned layer and the next, as "ReLU, LRN, max pool"."""
    return ", ".join(called(config, layer) for layer in layers(config) if layer.name.startswith(f"{name} "))


def called(config: AlexNetConfig, layer: Layer) -> str:
    """The short name of an operation without parameters."""
    names = {
        "nonlinearity": "ReLU" if config.nonlinearity == "relu" else config.nonlinearity,
        "cross-map norm": "LRN",
        "pooling": "max pool",
    }
    return names.get(layer.kind, layer.kind)


def _number(value: float, digits: int) -> str:
    """A number with ``digits`` decimals, below 0.1 with two significant digits; empty for zero or None."""
    if not value:
        return ""
    return f"{value:.2g}" if value < 0.1 else f"{value:,.{digits}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _sees(layer: Layer) -> str:
    if layer.kind == "convolution":
        return f"{layer.weight_shape[1]} maps" + (" of its column" if layer.groups > 1 else "")
    return f"{layer.fan_in} values" if layer.learned else ""


def _learned(layer: Layer) -> str:
    return "; ".join(filter(None, [shape(layer.outputs), window(layer), f"{layer.parameters:,}"]))


def _torchvision_learned(row: dict[str, Any]) -> str:
    slides = f"{row['kernel']} × {row['kernel']}" + (f" / {row['stride']}" if row["stride"] > 1 else "")
    parts = [shape((row["maps"], row["side"], row["side"])), slides if row["kernel"] else "", f"{row['parameters']:,}"]
    return "; ".join(filter(None, parts))


def _torchvision_after(table: pd.DataFrame, position: int) -> str:
    """The operations after learned layer number ``position`` (from 0) of torchvision's table, up to the next one."""
    words = {"MaxPool2d": "max pool", "AdaptiveAvgPool2d": "average pool", "Dropout": "dropout"}
    starts = [*table.index[table["parameters"] > 0], len(table)]
    kinds = table["kind"].iloc[starts[position] + 1 : starts[position + 1]]
    return ", ".join(words.get(kind, kind) for kind in kinds)


def _per_net(learned: list[dict[str, Any]], column: str) -> list[list[int]]:
    ours = [[getattr(layer, column) for layer in learned_layers(config)] for config in (PAPER, SOURCE)]
    return [*ours, [row[column] for row in learned]]


def _groups(config: AlexNetConfig) -> str:
    return _numbers([layer.groups for layer in learned_layers(config)[:5]])


def _numbers(values: list[int]) -> str:
    return ", ".join(map(str, values))
