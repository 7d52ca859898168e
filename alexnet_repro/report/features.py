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
from .figures import PALETTE, canvas

if TYPE_CHECKING:
    from ..training.data.images import Images
    from ..training.models.alexnet import AlexNet

NOTHING = "No weights are published yet."
SHOWN = 5
TOP = 5


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
    def near(self) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
        """Indices of the shown test images, and of their nearest training images: (features or pixels, image, rank)."""
        from ..training.features import NEIGHBOURS, nearest, vectors

        index = _one_of_each(self.test.labels.numpy())[:: 10 // SHOWN]
        near = []
        for seen in (self.net.features, lambda inputs: inputs.flatten(1)):
            among, queries = (vectors(images, len(images.labels), seen) for images in (self.train, self.test))
            near.append(nearest(queries[index], among, NEIGHBOURS).numpy())
        return index, np.stack(near)


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
    figure, _ = canvas(height=0.9 * len(columns) * 2, smoke=of.smoke)
    _clear(figure)
    count = len(columns[0])
    grid = figure.subplots(2 * len(columns), (count + 1) // 2, squeeze=False)
    for number, column in enumerate(columns):
        order = color_index(column).argsort()
        places = grid[2 * number : 2 * number + 2].ravel()
        for place, index in zip(places, order.tolist(), strict=False):
            _image(place, _stretched(column[index].permute(1, 2, 0).numpy()))
            place.set_title(f"{color_index(column)[index]:.2f}", fontsize=8, pad=2)
        for place in places[len(order) :]:
            place.set_axis_off()
        grid[2 * number, 0].set_ylabel(f"column {number + 1}", fontsize=9)
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
    figure, _ = canvas(height=7.5, smoke=of.smoke)
    _clear(figure)
    grid = figure.subplots(5, 4, gridspec_kw={"width_ratios": [1, 1.2] * 2})
    for position, (image, probabilities) in enumerate(_guessed(of)):
        row, column = divmod(position, 2)
        label = int(of.test.labels[image])
        _image(grid[row, 2 * column], of.test.pixels[image].numpy())
        grid[row, 2 * column].set_title(of.classes[label], fontsize=10, pad=3)
        top = probabilities.argsort()[::-1][:TOP]
        bars = grid[row, 2 * column + 1]
        bars.barh(range(TOP), probabilities[top], color=[PALETTE[2] if c == label else PALETTE[0] for c in top])
        bars.set_yticks(range(TOP), [of.classes[c] for c in top], fontsize=9)
        bars.set_ylim(TOP - 0.5, -0.5)
        bars.set_xlim(0, 1)
        bars.set_xticks([0, 1], ["0", "1"], fontsize=8)
        if row == 4:
            bars.set_xlabel("probability", fontsize=9)
        bars.grid(visible=False)
    return figure


def guesses_found(of: Subject | None) -> Markdown:
    """The caption of ``guesses``: how many images are right in top-1 and in top-5."""
    if of is None:
        return caption(NOTHING)
    ranks = [
        int((probabilities > probabilities[int(of.test.labels[image])]).sum()) for image, probabilities in _guessed(of)
    ]
    first, among = ranks.count(0), sum(rank < TOP for rank in ranks)
    return caption(f"Right at first guess: {first} of {len(ranks)} images; among the first {TOP}: {among}.")


def _guessed(of: Subject) -> list[tuple[int, "np.ndarray[Any, Any]"]]:
    """The first test image of each class (its index), and its softmax probabilities."""
    import torch

    index = _one_of_each(of.test.labels.numpy())
    with torch.no_grad():
        outputs = of.net(of.test.batch(torch.from_numpy(index))[0]).softmax(1).numpy()
    return list(zip(index.tolist(), outputs, strict=True))


def neighbours(of: Subject | None) -> Figure:
    """Test images with their nearest training images, by distance in the last hidden layer and in pixels."""
    if of is None:
        return _nothing()
    index, near = of.near
    count = near.shape[2]
    figure, _ = canvas(height=8.2, smoke=of.smoke)
    _clear(figure)
    grid = figure.subplots(2 * SHOWN, 2 + count, gridspec_kw={"width_ratios": [1, 0.3, *[1] * count]})
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
                for spine in place.spines.values():
                    spine.set(
                        visible=True, color=PALETTE[2] if same else PALETTE[3], linewidth=2.5,
                        linestyle="-" if same else (0, (2, 1.5)), capstyle="butt",
                    )  # fmt: skip
            grid[2 * row + kind, 2].set_ylabel(name, fontsize=9)
    return figure


def neighbours_found(of: Subject | None) -> Markdown:
    """The caption of ``neighbours``: how many of them have the class of their test image."""
    if of is None:
        return caption(NOTHING)
    index, near = of.near
    labels = of.test.labels.numpy()[index]
    same = (of.train.labels.numpy()[near] == labels[:, None]).sum(axis=(1, 2))
    total = near[0].size
    return caption(f"Of the image's class: {same[0]} of {total} by the last hidden layer, {same[1]} by the pixels.")


def _one_of_each(labels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Index of the first image of each class, in order of class, so that no image is hand-picked."""
    return np.array([int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)])


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
