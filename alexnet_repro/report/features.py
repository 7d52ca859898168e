"""Figures of what one network has learned, after the paper's Figs. 3 and 4.

Of CIFAR-10 they are made when the book is built, from published weights and the images of the bundled sample; of Tiny
ImageNet from data/pictures/, for neither its images nor such large weights are published. torch is imported only where
something is computed.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..common import paths
from ..experiments.registry import study
from ..records import pictures
from ..records.outputs import published_weights
from ..records.pictures import Pictures
from ..records.store import Store
from . import downloads
from .captions import caption
from .figures import FONT, PALETTE, WIDTH, canvas, legend

NOTHING = "No weights are published yet."
FRAMES: dict[bool, dict[str, Any]] = {
    True: {"color": PALETTE[2], "linestyle": "-"},
    False: {"color": PALETTE[3], "linestyle": (0, (2, 1.5))},
}
"""Whether a neighbour has its image's class -> the look of its frame."""


class Subject(NamedTuple):
    """What to draw of a network, the file that it was made from, the run in words, and whether this is a rehearsal."""

    pictures: Pictures
    file: Path
    run: str = ""
    smoke: bool = False


def subject(store: Store, scale: str = "cifar10") -> Subject | None:
    """The pictures of the baseline's first seed; None if neither they nor its weights are on this machine."""
    if scale == "tiny-imagenet":
        file = pictures.published(store)
        if not file.is_file():
            return None
        shown = pictures.read(file)
        return Subject(shown, file, _run(store, shown.key.item()))
    from ..training.pictures import of_sample

    plan = study("features", scale)
    config = plan.config("baseline", plan.seeds[0])
    found = of_sample(store, config)
    file = published_weights(store, config.key)
    return None if found is None else Subject(found, file, _run(store, config.key), scale == "smoke")


def _run(store: Store, key: str) -> str:
    """A published run in words: its study and its length; empty for any other."""
    record = store.published().get(key)
    if record is None:
        return ""
    name = store.published_in()[key]
    kind = "a pilot" if study(name).pilot else "a run"
    return f"of {kind} in the study `{name}`, trained for {record.config.budget.epochs} epochs"


def weights(of: Subject | None) -> Markdown:
    """A link to the file from which the figures are made."""
    if of is None:
        return Markdown(NOTHING)
    if not of.run:
        return Markdown("The pictures are of a run of the working store, which is not published.")
    file = downloads.link(of.file.relative_to(paths.data()).as_posix())
    return Markdown(f"These pictures are {of.run}: {file}.")


def kernels(of: Subject | None) -> Figure:
    """conv1's kernels with their colour indices, sorted, the network's columns one below the other; after Fig. 3."""
    if of is None:
        return _nothing()
    columns, colours = (of.pictures.by_column(values) for values in (of.pictures.kernels, of.pictures.colour))
    figure, (empty,) = canvas(height=1.75 * len(columns), smoke=of.smoke)
    empty.remove()
    count = len(columns[0])
    grid = figure.subplots(2 * len(columns), (count + 1) // 2, squeeze=False)
    for number, (column, colour) in enumerate(zip(columns, colours, strict=True)):
        order = colour.argsort(kind="stable")
        places = grid[2 * number : 2 * number + 2].ravel()
        for place, index in zip(places, order.tolist(), strict=False):
            _image(place, _stretched(column[index].transpose(1, 2, 0)))
            place.set_title(f"{colour[index]:.2f}", fontsize=FONT, pad=2)
        for place in places[len(order) :]:
            place.set_axis_off()
        grid[2 * number, 0].set_ylabel(f"column {number + 1}")
    return figure


def kernels_found(of: Subject | None) -> Markdown:
    """The caption of ``kernels``: the mean colour index of each column."""
    if of is None:
        return caption(NOTHING)
    means = [float(column.mean()) for column in of.pictures.by_column(of.pictures.colour)]
    parts = ", ".join(f"{mean:.2f} in column {number}" for number, mean in enumerate(means, 1))
    return caption(f"The mean colour index is {parts}.")


def guesses(of: Subject | None) -> Figure:
    """Test images with their five most probable classes, the right one in another colour; after Fig. 4."""
    if of is None:
        return _nothing()
    seen = of.pictures
    figure, (empty,) = canvas(width=WIDTH - 0.1, height=6.4, smoke=of.smoke)  # the last tick stands out
    empty.remove()
    grid = figure.subplots((len(seen.images) + 1) // 2, 4, squeeze=False, gridspec_kw={"width_ratios": [1, 1.9] * 2})
    for position, (image, label) in enumerate(zip(seen.images, seen.labels, strict=True)):
        row, column = divmod(position, 2)
        _image(grid[row, 2 * column], image)
        bars = grid[row, 2 * column + 1]
        bars.set_title(seen.classes[label], fontsize=FONT, fontweight="bold", loc="left", pad=3)
        for place, (found, probability) in enumerate(
            zip(seen.guesses[position], seen.probabilities[position], strict=True)
        ):
            right = found == label
            bars.barh(
                place, probability, height=0.9, color=PALETTE[2] if right else PALETTE[0], alpha=0.45,
                hatch="" if right else "///", edgecolor="white", label="the right class" if right else "another class",
            )  # fmt: skip
            bars.text(0.02, place, seen.classes[found], va="center", fontsize=FONT)
        bars.set_ylim(len(seen.guesses[position]) - 0.5, -0.5)
        bars.set_yticks([])
        bars.set_xlim(0, 1)
        bars.set_xticks([0, 1], ["0", "1"] if row == len(grid) - 1 else ["", ""])
        if row == len(grid) - 1:
            bars.set_xlabel("probability")
        bars.grid(visible=False)
    for place in grid.ravel()[2 * len(seen.images) :]:
        place.set_axis_off()
    legend(figure)
    return figure


def guesses_found(of: Subject | None) -> Markdown:
    """The caption of ``guesses``: in how many images the right class is first or among five, here and of all."""
    if of is None:
        return caption(NOTHING)
    seen = of.pictures
    here = seen.guesses == seen.labels[:, None]
    parts = [
        f"{first:,} of {images} at first guess, in {five:,} among the first {here.shape[1]}"
        for images, first, five in (
            (f"the {len(here)} images here", here[:, 0].sum(), here.any(1).sum()),
            (f"all {seen.right[0]:,} test images", *seen.right[1:]),
        )
    ]
    return caption(f"The right class is found in {'; in '.join(parts)}.")


def neighbours(of: Subject | None) -> Figure:
    """Test images with their nearest training images, by distance in the last hidden layer and in pixels."""
    if of is None:
        return _nothing()
    seen = of.pictures
    count = seen.near.shape[2]
    figure, (empty,) = canvas(height=7.6, smoke=of.smoke)
    empty.remove()
    grid = figure.subplots(2 * len(seen.shown), 2 + count, gridspec_kw={"width_ratios": [1, 0.3, *[1] * count]})
    for row, image in enumerate(seen.shown):
        _image(grid[2 * row, 0], seen.images[image])
        for place in (grid[2 * row, 1], *grid[2 * row + 1, :2]):
            place.set_axis_off()
        for kind, name in enumerate(("layer", "pixels")):
            for rank, found in enumerate(seen.near[kind, row]):
                place = grid[2 * row + kind, 2 + rank]
                _image(place, found)
                frame = FRAMES[bool(seen.near_labels[kind, row, rank] == seen.labels[image])]
                for spine in place.spines.values():
                    spine.set(visible=True, linewidth=2.5, capstyle="butt", **frame)
            grid[2 * row + kind, 2].set_ylabel(name)
    for same, name in ((True, "of the same class"), (False, "of another class")):
        grid[0, 0].plot([], [], linewidth=2.5, label=name, **FRAMES[same])
    legend(figure)
    return figure


def neighbours_found(of: Subject | None) -> Markdown:
    """The caption of ``neighbours``: how many of them have the class of their test image, here and of many images."""
    if of is None:
        return caption(NOTHING)
    seen = of.pictures
    same = seen.near_labels == seen.labels[seen.shown][:, None]
    here, everywhere = same.sum(axis=(1, 2)), 100 * seen.same
    return caption(
        f"Of the {same[0].size} neighbours, {here[0]} by the last hidden layer and {here[1]} by the pixels show the "
        f"image's class; over {seen.queries:,} test images, {everywhere[0]:.0f} % and {everywhere[1]:.0f} % do."
    )


def _stretched(kernel: NDArray[Any]) -> NDArray[Any]:
    """A kernel scaled to [0, 1] for ``imshow``: a weight of 0 is grey, the largest absolute weight is 0 or 1."""
    return np.asarray(0.5 + 0.5 * kernel / np.abs(kernel).max())


def _image(axes: Axes, pixels: NDArray[Any]) -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _nothing() -> Figure:
    figure, (axes,) = canvas(height=1.5)
    axes.set_axis_off()
    axes.text(0.5, 0.5, NOTHING, ha="center", color="0.35")
    return figure
