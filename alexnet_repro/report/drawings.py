"""Figures of the architecture page: network, border, shares, memory, traffic; drawn from configs, not from records."""

from typing import Any, NamedTuple

from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from ..common.text import capital
from ..networks.config import PAPER, AlexNetConfig
from ..networks.cost import GPU_BYTES, TWO_COLUMNS
from ..networks.layers import Layer, learned_layers
from . import architecture
from . import traffic as timings
from .captions import caption
from .figures import PALETTE, WIDTH, canvas, legend

COLUMN_FACES = ("#cfe3f3", "#d3ecd9")
COLUMN_EDGES = (PALETTE[0], PALETTE[2])
LINK = PALETTE[3]
PLAIN = "0.45"
IMAGE = "#eeeeee"

# The drawing of the network is to scale: one unit of length is a pixel of the paper's input image, or one map.
IMAGE_SIDE, CONV_MAPS = 224, 192
"""Lengths of the image's side and of a column's largest number of maps, in units, whatever the network's sizes."""
DENSE_UNITS = 192
"""Length of a column's largest fully-connected layer: about a tenth of the scale of the maps."""
COLUMN_LEFTS = (182, 396)
"""x of the left edges of the two columns; the names of layers are left of them."""
ACROSS, GAP, TEXT, PER_INCH = 600, 26, 20, 120
"""In units: width of the drawing, distance of two layers, height of a line of text; and units per inch."""
SLANT = 0.35
"""Units to the right and up for each unit of a map's width, which points away from the reader."""


class Block(NamedTuple):
    """A stack of feature maps drawn as a box; (x, y) is its upper left front corner, and the maps lie along x."""

    x: float
    y: float
    maps: float
    side: float
    thick: float

    def window(self, share: float) -> "Block":
        """The part of it that a kernel reads at one place: all maps, and this share of their height and width."""
        side = self.side * share
        return Block(self.x, self.y + (self.side - side) / 2, self.maps, side, self.thick * share)


def network(config: AlexNetConfig = PAPER) -> Figure:
    """The network from image to classes, its columns side by side, after the paper's Fig. 2 and to its scale.

    A box is a column's maps of a layer: as long as there are maps, as high and as wide as a map. In it, darker, what
    one kernel of the next layer reads, with a triangle to the one output that it makes of it. Triangles from the other
    column have their own colour.
    """
    net = learned_layers(config)
    columns = 2 if config.columns in TWO_COLUMNS else 1
    lefts = COLUMN_LEFTS if columns == 2 else (sum(COLUMN_LEFTS) / 2,)
    rows = [_rows(config, layer) for layer in net]
    y = (1 + SLANT) * IMAGE_SIDE + GAP
    middle = sum(COLUMN_LEFTS) / 2 + CONV_MAPS / 2
    image = Block(middle - 0.2 * IMAGE_SIDE, SLANT * IMAGE_SIDE, 3, IMAGE_SIDE, IMAGE_SIDE)
    blocks: list[list[Block]] = [[image]]
    for layer, text in zip(net, rows, strict=True):
        last = layer is net[-1]
        starts = (middle - CONV_MAPS / 2,) if last else lefts
        shape = _lengths(net, layer, len(starts))
        height = max((1 + SLANT) * shape[1], TEXT * len(text))
        top = y + (height - (1 + SLANT) * shape[1]) / 2 + SLANT * shape[1]
        blocks.append([Block(start + (CONV_MAPS - shape[0]) / 2, top, *shape) for start in starts])
        y += height + GAP
    figure, (axes,) = canvas(width=WIDTH, height=(y + 4 * TEXT) / PER_INCH)
    axes.set_axis_off()
    _write(axes, 0, image.y + IMAGE_SIDE / 2, ["image", architecture.shape((3, config.image_size, config.image_size))])
    for layer, text, below, above in zip(net, rows, blocks[1:], blocks, strict=False):
        _write(axes, 0, below[0].y + (1 - SLANT) * below[0].side / 2, text)
        _volumes(axes, above, whole=layer.kind == "fully-connected", share=layer.kernel / max(layer.inputs[1], 1))
        _connect(axes, layer, above, below)
    _volumes(axes, blocks[-1], whole=False, share=0)
    marks = {"what one kernel reads": (COLUMN_EDGES[0], "s"), "to its output": ("0.7", "v")}
    if columns == 2:
        marks["from the other column"] = (LINK, "v")
    for label, (color, marker) in marks.items():
        axes.plot([], [], marker, color=color, alpha=0.6, markersize=9, label=label)
    legend(figure)
    if columns == 2:
        for i, left in enumerate(lefts):
            axes.text(left + CONV_MAPS / 2, y, f"column {i + 1}", ha="center", va="center", color=COLUMN_EDGES[i])
    right = max(block.x + block.maps + SLANT * block.thick for each in blocks for block in each)
    axes.set(xlim=(0, max(ACROSS, right)), ylim=(y + TEXT, 0), aspect="equal")
    return figure


def _lengths(net: list[Layer], layer: Layer, columns: int) -> tuple[float, float, float]:
    """Maps, height and width of a layer's box in one column, in units; a fully-connected layer is a bar."""
    maps = layer.outputs[0] / columns
    widest = max(each.outputs[0] for each in net if each.kind == layer.kind) / columns
    if layer.kind == "fully-connected":
        widest = max(widest, net[-2].outputs[0] / 2)
        return DENSE_UNITS * maps / widest, 8, 8
    side = layer.outputs[1] * IMAGE_SIDE / net[0].inputs[1]
    return CONV_MAPS * maps / widest, side, side


def _rows(config: AlexNetConfig, layer: Layer) -> list[str]:
    """The lines beside a layer: name, shape in one column, kernel, and what follows besides the ReLU."""
    columns = 2 if config.columns in TWO_COLUMNS and layer.name != "fc8" else 1
    rest = architecture.after(config, layer.name).removeprefix("ReLU, ").removeprefix("ReLU")
    kernel = ""
    if layer.kind == "convolution":
        size = f"{layer.kernel} × {layer.kernel} × {layer.weight_shape[1]}".replace(" ", architecture.UNBROKEN)
        kernel = f"kernel {size}"
    stride = f"stride {layer.stride}" if layer.stride > 1 else ""
    maps, high, wide = layer.outputs
    return [layer.name, *filter(None, [architecture.shape((maps // columns, high, wide)), kernel, stride, rest])]


def _write(axes: Axes, x: float, y: float, lines: list[str]) -> None:
    """Write lines of text below each other around ``y``, the first one bold."""
    for number, line in enumerate(lines):
        weight, color = ("bold", "black") if number == 0 else ("normal", "0.25")
        at = y + TEXT * (number - (len(lines) - 1) / 2)
        axes.text(x, at, line, va="center", weight=weight, color=color)


def _volumes(axes: Axes, blocks: list[Block], whole: bool, share: float) -> None:
    """Draw a layer's boxes, and in each what one kernel of the next layer reads: a window, or all of it."""
    for number, block in enumerate(blocks):
        plain = len(blocks) == 1
        face, edge = (IMAGE, PLAIN) if plain else (COLUMN_FACES[number], COLUMN_EDGES[number])
        _box(axes, block, face, edge)
        if whole or share:
            _box(axes, block if whole else block.window(share), edge, edge, alpha=0.45)


def _box(axes: Axes, block: Block, face: Any, edge: Any, alpha: float = 1.0) -> None:
    """Draw the three visible faces of a box."""
    left, right, top, bottom = block.x, block.x + block.maps, block.y, block.y + block.side
    away = SLANT * block.thick
    faces = (
        [(left, top), (right, top), (right, bottom), (left, bottom)],
        [(left, top), (right, top), (right + away, top - away), (left + away, top - away)],
        [(right, top), (right, bottom), (right + away, bottom - away), (right + away, top - away)],
    )
    for corners in faces:
        axes.add_patch(Polygon(corners, facecolor=face, edgecolor=edge, linewidth=0.8, alpha=alpha, joinstyle="round"))


def _connect(axes: Axes, layer: Layer, above: list[Block], below: list[Block]) -> None:
    """Draw a triangle from what a kernel reads to the output that it makes; from another column, in its own colour."""
    for i, end in enumerate(below):
        tip = (end.x + 0.75 * end.maps, end.y + end.side / 2)
        for j, start in enumerate(above):
            crosses = len(above) == 2 and (len(below) == 1 or i != j)
            if crosses and layer.groups > 1:
                continue
            read = start if layer.kind == "fully-connected" else start.window(layer.kernel / layer.inputs[1])
            foot = read.y + read.side
            axes.add_patch(
                Polygon(
                    [(read.x, foot), (read.x + read.maps, foot), tip], facecolor=(LINK if crosses else "black", 0.12),
                    edgecolor=LINK if crosses else PLAIN, linewidth=1.0 if crosses else 0.8,
                    gid="link" if crosses else "path", zorder=3,
                )
            )  # fmt: skip
        axes.plot(*tip, "o", color="black", markersize=2.5, zorder=4)


def network_found(config: AlexNetConfig = PAPER) -> Markdown:
    """The caption of ``network``: in which layers the columns are linked."""
    net = learned_layers(config)
    linked = [layer.name for layer in net[1:] if layer.groups == 1]
    apart = [layer.name for layer in net[1:] if layer.groups > 1]
    if not apart:
        return caption("No layer keeps to a column of its own.")
    return caption(f"The columns meet in {', '.join(linked)}, and keep to themselves in {', '.join(apart)}.")


def border(config: AlexNetConfig = PAPER) -> Figure:
    """The last three windows of conv1 at the right edge of the image, and the zeros that they read beyond it."""
    first = learned_layers(config)[0]
    side, kernel, stride, count = config.image_size, first.kernel, first.stride, first.outputs[1]
    before, after = first.padding
    figure, (axes,) = canvas(height=2.6)
    start = side - 20
    axes.axvspan(start, side, color=COLUMN_FACES[0], zorder=0, label=f"image, up to pixel {side}")
    axes.axvspan(side, side + after, facecolor="none", edgecolor=LINK, hatch="///", linewidth=0, label="zeros")
    shown = range(count - 3, count)
    for row, window in enumerate(shown):
        left = window * stride - before
        outside = left + kernel > side
        axes.plot(
            [left, left + kernel], [row, row], color=LINK if outside else "black", linewidth=4, solid_capstyle="butt",
            label="window that ends beyond it" if outside else "window within the image",
        )  # fmt: skip
    axes.axvline(side, color="0.35", linewidth=1)
    axes.set_xticks([window * stride - before + kernel for window in shown])
    axes.set_yticks(range(3), [f"window {window + 1}" for window in shown])
    axes.set(xlabel="pixel column at the right edge", xlim=(start, side + after + 1), ylim=(2.5, -0.5))
    axes.grid(False)
    legend(figure, columns=1)
    return figure


def border_found(config: AlexNetConfig = PAPER) -> Markdown:
    """The caption of ``border``: how far the last window reaches beyond the image."""
    first = learned_layers(config)[0]
    count, end = first.outputs[1], (first.outputs[1] - 1) * first.stride - first.padding[0] + first.kernel
    beyond = end - config.image_size
    where = f"{beyond} pixels beyond the image" if beyond > 0 else "within the image"
    return caption(f"Window {count} ends at pixel {end}, {where} of {config.image_size}.")


def shares(config: AlexNetConfig = PAPER) -> Figure:
    """Bar chart: each learned layer's share of the parameters, multiply-accumulates and neurons."""
    table = architecture.shares(config)
    figure, (axes,) = canvas(height=5.4)
    for i, (name, hatch) in enumerate(zip(table, ("", "//", ".."), strict=True)):
        places = [row + (i - 1) * 0.27 for row in range(len(table))]
        bars = axes.barh(places, table[name], height=0.25, color=PALETTE[i], label=name, hatch=hatch, edgecolor="white")
        axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_yticks(range(len(table)), list(table.index))
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set(xlabel="share of the whole net (%)", xlim=(0, 1.12 * table.to_numpy().max()))
    legend(figure, columns=3)
    return figure


def shares_found(config: AlexNetConfig = PAPER) -> Markdown:
    """The caption of ``shares``: what the fully-connected layers have together."""
    table = architecture.shares(config)
    dense = [layer.name for layer in learned_layers(config) if layer.kind == "fully-connected"]
    parts = ", ".join(f"{share:.0f} % of the {name}" for name, share in table.loc[dense].sum().items())
    return caption(f"The fully-connected layers have {parts}; the convolutional layers have the rest.")


def memory(batch: int) -> Figure:
    """Stacked bars: memory of each GPU in training by use, with the 3 GiB of a GTX 580 as a line."""
    table = architecture.memory_table(batch).drop(index=architecture.TOTAL) / 1024
    figure, (axes,) = canvas(height=4.8)
    hatches = ("", "", "///", "", "", "///", "", "...")
    left = [0.0] * len(table.columns)
    for i, ((name, values), hatch) in enumerate(zip(table.iterrows(), hatches, strict=True)):
        axes.barh(range(len(left)), values, left=left, height=0.6, color=PALETTE[i], hatch=hatch, edgecolor="white",
                  linewidth=0.5, label=name)  # fmt: skip
        left = [a + b for a, b in zip(left, values, strict=True)]
    limit = GPU_BYTES / 2**30
    axes.axvline(limit, color="black", linewidth=1.5, linestyle="--", label="a GTX 580's memory")
    axes.set_yticks(range(len(left)), [name.replace(", ", ",\n") for name in table.columns])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set(xlabel=f"GiB on one GPU, batch {batch}", xlim=(0, 1.05 * max(limit, *left)))
    legend(figure, columns=1)
    return figure


def memory_found(batch: int) -> Markdown:
    """The caption of ``memory``: how many of the cases fit on the GPU."""
    totals = architecture.memory_table(batch).loc[architecture.TOTAL] / 1024
    limit = GPU_BYTES / 2**30
    parts = ", ".join(f"{name}: {total:.2f} GiB" for name, total in totals.items())
    fitting = int(totals.le(limit).to_numpy().sum())
    return caption(f"{fitting} of {len(totals)} fit into {limit:g} GiB. {capital(parts)}.")


def traffic_found(config: AlexNetConfig, batch: int) -> Markdown:
    """The caption of ``traffic``: the share of work in layers that send nothing, and the layer that sends most."""
    table = timings.volume(config, batch)
    shares = 100 * table / table.sum()
    silent = shares.loc[shares["bytes"] == 0, "multiply-accumulates"].sum()
    most = shares["bytes"].idxmax()
    return caption(
        f"{silent:.0f} % of the multiply-accumulates are in layers that send nothing; {shares['bytes'].max():.0f} % of "
        f"the bytes are sent for {most}."
    )


def traffic(config: AlexNetConfig, batch: int) -> Figure:
    """Multiply-adds of one column in a training step, and megabytes that it sends to the other, by layer."""
    table = timings.volume(config, batch)
    figure, panels = canvas(height=4.0, columns=2)
    labels = ("multiply-accumulates (10⁹)", "megabytes sent")
    for axes, name, label, color in zip(panels, table, labels, (PALETTE[0], LINK), strict=True):
        values = table[name] / (1e9 if axes is panels[0] else 1e6)
        bars = axes.barh(range(len(table)), values, color=color)
        axes.bar_label(bars, [f"{value:.1f}" if value else "" for value in values], padding=3)
        axes.set_yticks(range(len(table)), list(table.index) if axes is panels[0] else [""] * len(table))
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set(xlabel=label, xlim=(0, 1.18 * values.max()))
    return figure
