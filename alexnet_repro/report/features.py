"""Figures of what one network has learned, after the paper's Figs. 3 and 4, from its published weights.

The images are those of the bundled sample, so that every build of the book gives the same figures. The calculations
are in training/features.py; torch is imported only when a figure is drawn.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..common import paths
from ..experiments.registry import study
from ..records.outputs import published_weights
from ..records.store import Store
from . import downloads
from .captions import caption
from .figures import FONT, PALETTE, WIDTH, canvas, legend

if TYPE_CHECKING:
    from ..training.data.images import Images
    from ..training.models.alexnet import AlexNet

NOTHING = "No weights are published yet."
DRAWN = 10
"""Test images with guesses."""
SHOWN = 5
"""Test images with neighbours."""
TOP = 5
"""Guesses of an image, as in the paper's Fig. 4."""
BATCH = 250
FRAMES: dict[bool, dict[str, Any]] = {
    True: {"color": PALETTE[2], "linestyle": "-"},
    False: {"color": PALETTE[3], "linestyle": (0, (2, 1.5))},
}
"""Whether a neighbour has its image's class -> the look of its frame."""


@dataclass(frozen=True)
class Subject:
    """A trained network, the path of its weights, and the sample's images, centre-cropped and normalized for it."""

    net: "AlexNet"
    weights: Path
    train: "Images"
    test: "Images"
    classes: tuple[str, ...]
    smoke: bool

    @cached_property
    def drawn(self) -> "np.ndarray[Any, Any]":
        """Indices of the test images with guesses: one of each class, at most ``DRAWN`` of them."""
        index = one_of_each(self.test.labels.numpy())
        return index[:: -(-len(index) // DRAWN)]

    @cached_property
    def shown(self) -> "np.ndarray[Any, Any]":
        """Indices of the test images whose neighbours are shown: evenly spaced among those in ``drawn``."""
        return self.drawn[:: len(self.drawn) // SHOWN]

    @cached_property
    def near(self) -> "np.ndarray[Any, Any]":
        """The nearest training images of every test image: indices (features or pixels, image, rank)."""
        from ..training.features import NEIGHBOURS, nearest, vectors

        near = []
        for seen in (self.net.features, lambda inputs: inputs.flatten(1)):
            among, queries = (vectors(images, len(images.labels), seen) for images in (self.train, self.test))
            near.append(nearest(queries, among, NEIGHBOURS).numpy())
        return np.stack(near)

    @cached_property
    def probabilities(self) -> "np.ndarray[Any, Any]":
        """The softmax probabilities of every test image: (image, class)."""
        import torch

        with torch.no_grad():
            outputs = [self.net(part.inputs()) for part in self.test.split(BATCH)]
        return torch.cat(outputs).softmax(1).numpy()


def subject(store: Store, scale: str = "cifar10") -> Subject | None:
    """The network of the baseline's first seed; None if its weights are not on this machine."""
    import torch

    from ..training.data import cifar10
    from ..training.data.images import Images, pixel_mean
    from ..training.predict import mean_of, network

    if scale == "tiny-imagenet":  # the pictures are of CIFAR-10's images
        return None
    plan = study("features", scale)
    config = plan.config("baseline", plan.seeds[0])
    path = next((p for p in (published_weights(store, config.key), store.weights(config.key)) if p.is_file()), None)
    if path is None:
        return None
    torch.set_num_threads(1)  # two threads on two cores collapse where anything else runs
    data = cifar10.sample()
    mean = mean_of(path)
    mean = pixel_mean(data.train_images) if mean is None else mean
    train, test = (
        Images.of(images, labels, mean, config.data.divisor, "cpu").centre(config.data.side)
        for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels))
    )
    return Subject(network(path, config), path, train, test, cifar10.CLASSES, scale == "smoke")


def weights(of: Subject | None) -> Markdown:
    """A link to the weights from which the figures are made."""
    if of is None:
        return Markdown(NOTHING)
    if not of.weights.is_relative_to(paths.data() / "weights"):
        return Markdown("The pictures are of a run of the working store, which is not published.")
    file = downloads.link(of.weights.relative_to(paths.data()).as_posix())
    return Markdown(f"The pictures on this page are made from the weights of one recorded run: {file}.")


def kernels(of: Subject | None) -> Figure:
    """conv1's kernels with their colour indices, sorted, the network's columns one below the other; after Fig. 3."""
    if of is None:
        return _nothing()
    from ..training.features import color_index

    columns = of.net.conv1_kernels()
    figure, _ = canvas(height=1.75 * len(columns), smoke=of.smoke)
    _clear(figure)
    count = len(columns[0])
    grid = figure.subplots(2 * len(columns), (count + 1) // 2, squeeze=False)
    for number, column in enumerate(columns):
        order = color_index(column).argsort()
        places = grid[2 * number : 2 * number + 2].ravel()
        for place, index in zip(places, order.tolist(), strict=False):
            _image(place, _stretched(column[index].permute(1, 2, 0).numpy()))
            place.set_title(f"{color_index(column)[index]:.2f}", fontsize=FONT, pad=2)
        for place in places[len(order) :]:
            place.set_axis_off()
        grid[2 * number, 0].set_ylabel(f"column {number + 1}")
    return figure


def kernels_found(of: Subject | None) -> Markdown:
    """The caption of ``kernels``: the mean colour index of each column."""
    if of is None:
        return caption(NOTHING)
    means = [float(column.mean()) for column in color_indices(of)]
    parts = ", ".join(f"{mean:.2f} in column {number}" for number, mean in enumerate(means, 1))
    return caption(f"The mean colour index is {parts}.")


def color_indices(of: Subject) -> list["np.ndarray[Any, Any]"]:
    """The colour index of each of conv1's kernels, an array per column."""
    from ..training.features import color_index

    return [color_index(column).numpy() for column in of.net.conv1_kernels()]


def guesses(of: Subject | None) -> Figure:
    """Test images with their five most probable classes, the right one in another colour; after Fig. 4."""
    if of is None:
        return _nothing()
    figure, _ = canvas(width=WIDTH - 0.1, height=7.0, smoke=of.smoke)  # the last tick stands out
    _clear(figure)
    images = of.drawn
    grid = figure.subplots((len(images) + 1) // 2, 4, squeeze=False, gridspec_kw={"width_ratios": [1, 0.9] * 2})
    for position, image in enumerate(images):
        row, column = divmod(position, 2)
        label, probabilities = int(of.test.labels[image]), of.probabilities[image]
        _image(grid[row, 2 * column], of.test.pixels[image].numpy())
        grid[row, 2 * column].set_ylabel(of.classes[label])
        top = probabilities.argsort()[::-1][:TOP]
        bars = grid[row, 2 * column + 1]
        for place, found in enumerate(top):
            right = found == label
            bars.barh(
                place, probabilities[found], color=PALETTE[2] if right else PALETTE[0], hatch="" if right else "///",
                edgecolor="white", label="the right class" if right else "another class",
            )  # fmt: skip
        bars.set_yticks(range(TOP), [of.classes[c] for c in top])
        bars.set_ylim(TOP - 0.5, -0.5)
        bars.set_xlim(0, 1)
        bars.set_xticks([0, 1], ["0", "1"])
        if row == len(grid) - 1:
            bars.set_xlabel("probability")
        bars.grid(visible=False)
    legend(figure)
    return figure


def guesses_found(of: Subject | None) -> Markdown:
    """The caption of ``guesses``: in how many images the right class is first or among five, here and in the sample."""
    if of is None:
        return caption(NOTHING)
    labels = of.test.labels.numpy()
    better = (of.probabilities > of.probabilities[np.arange(len(labels)), labels][:, None]).sum(1)
    parts = [
        f"{(ranks == 0).sum()} of {len(ranks):,} images of {where} at first guess, in {(ranks < TOP).sum():,} among "
        f"the first {TOP}"
        for where, ranks in (("the figure", better[of.drawn]), ("the whole sample", better))
    ]
    return caption(f"The right class is found in {'; in '.join(parts)}.")


def neighbours(of: Subject | None) -> Figure:
    """Test images with their nearest training images, by distance in the last hidden layer and in pixels."""
    if of is None:
        return _nothing()
    index, near = of.shown, of.near[:, of.shown]
    count = near.shape[2]
    figure, _ = canvas(height=7.6, smoke=of.smoke)
    _clear(figure)
    grid = figure.subplots(2 * len(index), 2 + count, gridspec_kw={"width_ratios": [1, 0.3, *[1] * count]})
    for row, image in enumerate(index):
        label = int(of.test.labels[image])
        _image(grid[2 * row, 0], of.test.pixels[image].numpy())
        for place in (grid[2 * row, 1], *grid[2 * row + 1, :2]):
            place.set_axis_off()
        for kind, name in enumerate(("layer", "pixels")):
            for rank, found in enumerate(near[kind, row]):
                place = grid[2 * row + kind, 2 + rank]
                _image(place, of.train.pixels[found].numpy())
                same = int(of.train.labels[found]) == label
                frame = FRAMES[same]
                for spine in place.spines.values():
                    spine.set(visible=True, linewidth=2.5, capstyle="butt", **frame)
            grid[2 * row + kind, 2].set_ylabel(name)
    for same, name in ((True, "of the same class"), (False, "of another class")):
        grid[0, 0].plot([], [], linewidth=2.5, label=name, **FRAMES[same])
    legend(figure)
    return figure


def neighbours_found(of: Subject | None) -> Markdown:
    """The caption of ``neighbours``: how many of them have the class of their test image, here and in the sample."""
    if of is None:
        return caption(NOTHING)
    same = of.train.labels.numpy()[of.near] == of.test.labels.numpy()[:, None]
    shown = same[:, of.shown]
    here, everywhere = shown.sum(axis=(1, 2)), 100 * same.mean(axis=(1, 2))
    return caption(
        f"Of the image's class are {here[0]} of {shown[0].size} neighbours by the last hidden layer, and {here[1]} by "
        f"the pixels; over all test images of the sample, {everywhere[0]:.0f} % and {everywhere[1]:.0f} %."
    )


def one_of_each(labels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Index of an image of each class, drawn at random with the seed 0, in order of class: none is hand-picked."""
    draw = np.random.default_rng(0)
    return np.array([int(draw.choice(np.flatnonzero(labels == label))) for label in np.unique(labels)])


def _stretched(kernel: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """A kernel scaled to [0, 1] for ``imshow``: a weight of 0 is grey, the largest absolute weight is 0 or 1."""
    return np.asarray(0.5 + 0.5 * kernel / np.abs(kernel).max())


def _image(axes: Axes, pixels: "np.ndarray[Any, Any]") -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _clear(figure: Figure) -> None:
    for axes in figure.axes:
        axes.remove()


def _nothing() -> Figure:
    figure, (axes,) = canvas(height=1.5)
    axes.set_axis_off()
    axes.text(0.5, 0.5, NOTHING, ha="center", color="0.35")
    return figure
