"""Pictures of what one network has learned, in the manner of Figs. 3 and 4: from its published weights.

The images are those of the bundled sample, so that the pictures are the same wherever the book is built. torch is
needed, and loaded when a picture is asked for.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import PALETTE, canvas
from .store import Store
from .studies import study

if TYPE_CHECKING:
    from .lab.alexnet import AlexNet
    from .lab.batches import Images

SHOWN = 5
TOP = 5


@dataclass(frozen=True)
class Subject:
    """A trained network, and the sample's images as it sees them, at their centre."""

    net: "AlexNet"
    train: "Images"
    test: "Images"
    classes: tuple[str, ...]
    smoke: bool


def subject(store: Store, scale: str = "cifar10") -> Subject | None:
    """The baseline's first seed; None where its weights are not there."""
    from .lab import datasets
    from .lab.batches import Images, pixel_mean
    from .lab.predictions import mean_of, network, published_weights

    plan = study("features", scale)
    config = plan.config("baseline", plan.seeds[0])
    path = next((p for p in (published_weights(store, config.key), store.weights(config.key)) if p.is_file()), None)
    if path is None:
        return None
    data = datasets.sample()
    mean = mean_of(path)
    mean = pixel_mean(data.train_images) if mean is None else mean
    train, test = (
        Images.of(images, labels, mean, config.data.divisor, "cpu").centre(config.data.side)
        for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels))
    )
    return Subject(network(path, config), train, test, datasets.CLASSES, scale == "smoke")


def kernels(of: Subject | None) -> Figure:
    """conv1's kernels, a row per column of the net, each with its colour index; in the manner of Fig. 3."""
    if of is None:
        return _nothing()
    from .lab.learned import color_index

    columns = of.net.conv1_kernels()
    figure, _ = canvas(width=7.0, height=0.95 * len(columns) * 2, smoke=of.smoke)
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


def guesses(of: Subject | None) -> Figure:
    """Test images with the five most probable classes, the right one in another colour; in the manner of Fig. 4."""
    if of is None:
        return _nothing()
    import torch

    index = _one_of_each(of.test.labels.numpy())
    with torch.no_grad():
        outputs = of.net(of.test.batch(torch.from_numpy(index))[0]).softmax(1).numpy()
    figure, _ = canvas(width=9.0, height=5.6, smoke=of.smoke)
    _clear(figure)
    grid = figure.subplots(4, 5)
    for position, (image, probabilities) in enumerate(zip(index, outputs, strict=True)):
        row, column = divmod(position, 5)
        label = int(of.test.labels[image])
        _image(grid[2 * row, column], of.test.pixels[image].numpy())
        grid[2 * row, column].set_title(of.classes[label], fontsize=9, pad=3)
        top = probabilities.argsort()[::-1][:TOP]
        bars = grid[2 * row + 1, column]
        bars.barh(range(TOP), probabilities[top], color=[PALETTE[2] if c == label else PALETTE[0] for c in top])
        bars.set_yticks(range(TOP), [of.classes[c] for c in top], fontsize=7)
        bars.set_ylim(TOP - 0.5, -0.5)
        bars.set_xlim(0, 1)
        bars.set_xticks([])
        bars.grid(visible=False)
    return figure


def neighbours(of: Subject | None) -> Figure:
    """Test images, and the training images nearest to each by the last hidden layer and by the pixels."""
    if of is None:
        return _nothing()
    from .lab.learned import NEIGHBOURS, nearest, vectors

    index = _one_of_each(of.test.labels.numpy())[:: 10 // SHOWN]
    near = []
    for seen in (of.net.features, lambda inputs: inputs.flatten(1)):
        among, queries = (vectors(images, len(images.labels), seen) for images in (of.train, of.test))
        near.append(nearest(queries[index], among, NEIGHBOURS).numpy())
    figure, _ = canvas(width=9.0, height=4.0, smoke=of.smoke)
    _clear(figure)
    starts = (2, NEIGHBOURS + 3)
    widths = [1, 0.3, *[1] * NEIGHBOURS, 0.3, *[1] * NEIGHBOURS]
    grid = figure.subplots(SHOWN, len(widths), gridspec_kw={"width_ratios": widths})
    for row, image in enumerate(index):
        label = int(of.test.labels[image])
        _image(grid[row, 0], of.test.pixels[image].numpy())
        for gap in starts:
            grid[row, gap - 1].set_axis_off()
        for kind, start in enumerate(starts):
            for rank, found in enumerate(near[kind][row]):
                place = grid[row, start + rank]
                _image(place, of.train.pixels[found].numpy())
                same = int(of.train.labels[found]) == label
                for spine in place.spines.values():
                    spine.set(visible=True, color=PALETTE[2] if same else PALETTE[3], linewidth=2.5)
    titles = ("test image", "nearest by the last hidden layer", "by the pixels")
    for start, title in zip((0, *starts), titles, strict=True):
        grid[0, start].set_title(title, fontsize=9, loc="left").set_in_layout(False)
    return figure


def _one_of_each(labels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """The first image of each class, in order of class: nobody picks the pretty ones."""
    return np.array([int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)])


def _stretched(kernel: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """A kernel as an image: grey is 0, its largest weight is at an end of the scale."""
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
    axes.text(0.5, 0.5, "no weights are published yet", ha="center", color="0.35")
    return figure
