"""Figures of the architecture page: network, border, shares, memory, traffic; drawn from configs, not from records."""

from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from ..common.text import capital
from ..networks.config import PAPER, AlexNetConfig
from ..networks.cost import GPU_BYTES
from ..networks.layers import Layer, learned_layers
from . import architecture
from . import traffic as timings
from .captions import caption
from .figures import PALETTE, canvas

COLUMN_FACES = ("#cfe3f3", "#d3ecd9")
COLUMN_EDGES = (PALETTE[0], PALETTE[2])
LINK = PALETTE[3]
PLAIN = "0.45"
IMAGE = "#eeeeee"

MIDDLES = (3.75, 6.75)
"""x of the middles of the two columns; the names of layers are left of x = 1.9."""
GAP = 0.8
WIDEST, NARROWEST, FLATTEST = 2.6, 2.0, 0.5


def network(config: AlexNetConfig = PAPER) -> Figure:
    """The network from image to classes, its two columns side by side; links between columns have their own colour.

    The height of a block shows the side of its maps, its width their number per column; fully-connected ones are flat.
    """
    net = learned_layers(config)
    columns = 2 if config.columns in ("linked", "unlinked") else 1
    middles = MIDDLES if columns == 2 else (sum(MIDDLES) / 2,)
    figure, (axes,) = canvas(width=4.7, height=9.4)
    axes.set_axis_off()
    widest = max(layer.outputs[0] for layer in net if layer.kind == "convolution") / columns
    tallest = net[0].outputs[1]

    bottom = _image(axes, config, y=0.0)
    above: tuple[float, ...] = (sum(middles) / columns,)
    for position, layer in enumerate(net):
        last = position == len(net) - 1
        centres = (sum(middles) / columns,) if last else middles
        maps, side, _ = layer.outputs
        maps //= len(centres)
        dense = layer.kind == "fully-connected"
        width = WIDEST if dense else NARROWEST + (WIDEST - NARROWEST) * maps / widest
        height = FLATTEST if dense else max(FLATTEST, 2.3 * side / tallest)
        top = bottom + GAP
        _connect(axes, layer, above, centres, bottom, top)
        for i, x in enumerate(centres):
            face, edge = (IMAGE, PLAIN) if last or columns == 1 else (COLUMN_FACES[i], COLUMN_EDGES[i])
            axes.add_patch(
                Rectangle((x - width / 2, top), width, height, facecolor=face, edgecolor=edge, linewidth=1.4)
            )
            text = architecture.shape((maps, side, side))
            axes.text(x, top + height / 2, text, ha="center", va="center", fontsize=10.5)
        _name(axes, config, layer, top + height / 2)
        above, bottom = centres, top + height
    if columns == 2:
        for i, x in enumerate(middles):
            axes.text(
                x, bottom + 0.45, f"column {i + 1}", ha="center", va="center", fontsize=10.5, color=COLUMN_EDGES[i]
            )
    axes.set(xlim=(0, 8.3), ylim=(bottom + 0.8, -0.1))
    return figure


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
    figure, (axes,) = canvas(width=5.2, height=2.8)
    start = side - 20
    axes.axvspan(start, side, color=COLUMN_FACES[0], zorder=0, label="image")
    axes.axvspan(side, side + after, facecolor="none", edgecolor=LINK, hatch="///", linewidth=0, label="zeros")
    shown = range(count - 3, count)
    for row, window in enumerate(shown):
        left = window * stride - before
        outside = left + kernel > side
        axes.plot(
            [left, left + kernel], [row, row], color=LINK if outside else "black", linewidth=4, solid_capstyle="butt"
        )
        axes.annotate(f"{window + 1}", (left, row), xytext=(-4, 0), textcoords="offset points", ha="right", va="center")
    axes.axvline(side, color="0.35", linewidth=1)
    ends = [window * stride - before + kernel for window in shown]
    axes.annotate(
        f"image ends at {side}", (side, 2.45), xytext=(-5, 0), textcoords="offset points", ha="right", va="bottom"
    )
    axes.set_xticks(ends)
    axes.set_yticks([])
    axes.set(xlabel="pixel column at the right edge", ylabel="window", xlim=(start, side + after + 2), ylim=(2.6, -0.6))
    axes.grid(False)
    axes.legend(loc="lower left", frameon=True, fontsize=10)
    return figure


def border_found(config: AlexNetConfig = PAPER) -> Markdown:
    """The caption of ``border``: how far the last window reaches beyond the image."""
    first = learned_layers(config)[0]
    count, end = first.outputs[1], (first.outputs[1] - 1) * first.stride - first.padding[0] + first.kernel
    beyond = end - config.image_size
    where = f"{beyond} pixels beyond the image" if beyond > 0 else "within the image"
    return caption(f"Window {count} ends at pixel {end}, {where} of {config.image_size}.")


def shares(config: AlexNetConfig = PAPER) -> Figure:
    """Bar chart: each learned layer's share of the parameters, multiply-adds and neurons."""
    table = architecture.shares(config)
    figure, (axes,) = canvas(width=5.0, height=5.2)
    for i, (name, hatch) in enumerate(zip(table, ("", "//", ".."), strict=True)):
        places = [row + (i - 1) * 0.27 for row in range(len(table))]
        bars = axes.barh(places, table[name], height=0.25, color=PALETTE[i], label=name, hatch=hatch, edgecolor="white")
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=9)
    axes.set_yticks(range(len(table)), list(table.index))
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set(xlabel="share of the whole net (%)", xlim=(0, 1.12 * table.to_numpy().max()))
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.45, 1.0), frameon=False, ncols=3, handlelength=1.2, columnspacing=1
    )
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
    figure, (axes,) = canvas(width=5.2, height=4.4)
    hatches = ("", "", "///", "", "", "///", "", "...")
    left = [0.0] * len(table.columns)
    for i, ((name, values), hatch) in enumerate(zip(table.iterrows(), hatches, strict=True)):
        axes.barh(range(len(left)), values, left=left, height=0.6, color=PALETTE[i], hatch=hatch, edgecolor="white",
                  linewidth=0.5, label=name)  # fmt: skip
        left = [a + b for a, b in zip(left, values, strict=True)]
    limit = GPU_BYTES / 2**30
    axes.axvline(limit, color="black", linewidth=1.5, linestyle="--")
    axes.annotate(
        "GTX 580",
        (limit, 0),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 6),
        textcoords="offset points",
        ha="right",
    )
    axes.set_yticks(range(len(left)), [name.replace(", ", ",\n") for name in table.columns])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set(xlabel=f"GiB on one GPU, batch {batch}", xlim=(0, 1.05 * max(limit, *left)))
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), frameon=False, ncols=2, fontsize=9, handlelength=1.4)
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
    silent = shares.loc[shares["bytes"] == 0, "multiply-adds"].sum()
    most = shares["bytes"].idxmax()
    return caption(
        f"{silent:.0f} % of the multiply-adds are in layers that send nothing; {shares['bytes'].max():.0f} % of the "
        f"bytes are sent for {most}."
    )


def traffic(config: AlexNetConfig, batch: int) -> Figure:
    """Multiply-adds of one column in a training step, and megabytes that it sends to the other, by layer."""
    table = timings.volume(config, batch)
    figure, panels = canvas(height=4.0, columns=2)
    labels = ("multiply-adds (10⁹)", "megabytes sent")
    for axes, name, label, color in zip(panels, table, labels, (PALETTE[0], LINK), strict=True):
        values = table[name] / (1e9 if axes is panels[0] else 1e6)
        bars = axes.barh(range(len(table)), values, color=color)
        axes.bar_label(bars, [f"{value:.1f}" if value else "" for value in values], padding=3, fontsize=9)
        axes.set_yticks(range(len(table)), list(table.index) if axes is panels[0] else [""] * len(table))
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set(xlabel=label, xlim=(0, 1.18 * values.max()))
    return figure


def _image(axes: Axes, config: AlexNetConfig, y: float) -> float:
    """Draw the input at the top; returns the y of its lower edge."""
    middle, height = sum(MIDDLES) / 2, 0.6
    text = architecture.shape((3, config.image_size, config.image_size))
    axes.add_patch(Rectangle((middle - 1.25, y), 2.5, height, facecolor=IMAGE, edgecolor=PLAIN, linewidth=1.4))
    axes.text(middle, y + height / 2, text, ha="center", va="center", fontsize=10.5)
    axes.text(0, y + height / 2, "image", va="center", fontsize=11, weight="bold")
    return y + height


def _name(axes: Axes, config: AlexNetConfig, layer: Layer, y: float) -> None:
    """Write the layer's name, kernel and following operations on the left."""
    rest = architecture.after(config, layer.name).removeprefix("ReLU, ").removeprefix("ReLU")
    below = [text for text in (architecture.window(layer), *rest.split(", ")) if text]
    offset = 0.19 * len(below)
    axes.text(0, y - offset, layer.name, va="center", fontsize=11, weight="bold")
    for line, text in enumerate(below, 1):
        axes.text(0, y - offset + 0.4 * line, text, va="center", fontsize=9, color="0.3")


def _connect(
    axes: Axes, layer: Layer, above: tuple[float, ...], below: tuple[float, ...], bottom: float, top: float
) -> None:
    """Draw an arrow from every block that the layer reads; those from another column are coloured."""
    for i, end in enumerate(below):
        for j, start in enumerate(above):
            crosses = len(above) == 2 and (len(below) == 1 or i != j)
            if crosses and layer.groups > 1:
                continue
            axes.add_patch(
                FancyArrowPatch(
                    (start, bottom), (end + (start - end) * 0.12 * crosses, top), arrowstyle="-|>", mutation_scale=11,
                    shrinkA=0, shrinkB=0, linewidth=2.0 if crosses else 1.2, color=LINK if crosses else PLAIN,
                    gid="link" if crosses else "path",
                )
            )  # fmt: skip
