"""Training batches and evaluation for a data set that fits into memory (CIFAR-10, Tiny ImageNet)."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..common.rng import stream
from ..experiments.config import CIFAR10_CLASSES, TRAIN_IMAGES, DataConfig, RunConfig
from ..records.record import Measurement
from .data.augment import Augmentation
from .data.dataset import Dataset, Records
from .data.images import Images, pixel_mean
from .evaluate import BATCH, alexnet_metrics, error
from .features import color_metrics, nearest_neighbour_metrics
from .models.alexnet import AlexNet

MEASURED = 10_000
"""On Tiny ImageNet, metrics on training images use the first 10,000: all would take as long as half an epoch."""

Index = slice | NDArray[np.int64]
"""Indices of images: a slice if they are the first ones."""


class InMemoryData:
    """CIFAR-10, its sample or Tiny ImageNet on the device: images ``train`` and ``test``, and the data's ``digest``.

    If the config holds training images out (``data.held_out``), ``test`` consists of those.
    """

    def __init__(self, config: RunConfig, data: Dataset, device: str) -> None:
        self.config, self.digest = config, data.digest
        self.train, self.test = parts(config, data, device)
        augmented = config.data.crop is not None or config.data.reflect or config.data.color_noise != "none"
        self.augmentation = Augmentation(config.data, self.train, config.seed) if augmented else None

    def start(self, epoch: int) -> None:
        """Draw the crops, flips and colour noise of an epoch."""
        if self.augmentation is not None:
            self.augmentation.start(epoch)

    def batch(self, index: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the images at ``index``, which is the slice ``part`` of the epoch's order."""
        return self.augmentation.batch(index, part) if self.augmentation else self.train.batch(index)

    def curve_error(self, net: nn.Module) -> float:
        """Top-1 error on the centres of the test images."""
        return error(net, self.test, self.config.data.side)

    def metrics(self, net: nn.Module, curve: list[Measurement]) -> dict[str, float | None]:
        """The metrics at the end of a run: test_error; for an AlexNet also those of evaluate.py and features.py.

        On Tiny ImageNet, metrics on training images use the first ``MEASURED`` of them.
        """
        if not isinstance(net, AlexNet):
            return {"test_error": self.curve_error(net)}
        side = self.config.data.side
        train = self.train.first(MEASURED) if self.config.data.dataset == "tiny-imagenet" else self.train
        top5 = "test_top5_error" if self.config.data.classes > CIFAR10_CLASSES else None
        batches, tests = train.split(BATCH), self.test.split(BATCH)
        found = alexnet_metrics(net, self.config, batches, tests, curve, top5)
        found |= color_metrics(net, self.config.seed)
        found |= nearest_neighbour_metrics(net, train.centre(side), self.test.centre(side))
        return found

    def views(self, net: nn.Module) -> int:
        """How many views of images the tests of a whole run compute, its metrics included."""
        budget, tests = self.config.budget, len(self.test.labels)
        curve = budget.epochs * tests if budget.test_curve else 0
        if not isinstance(net, AlexNet):
            return curve + tests
        whole = len(self.train.labels)
        train = min(MEASURED, whole) if self.config.data.dataset == "tiny-imagenet" else whole
        return curve + tests * (11 if budget.ten_views else 1) + train + (train + tests)  # the last for neighbours


def parts(config: RunConfig, data: Dataset, device: str) -> tuple[Images, Images]:
    """The training and the test images of a run; the mean of the training images is subtracted from both."""
    train, held_out = chosen(config.data, config.seed)
    images = _at(data.train_images, train)
    mean, divisor = pixel_mean(images), config.data.divisor
    trained = Images.of(images, data.train_labels[train], mean, divisor, device)
    if held_out is None:
        return trained, Images.of(data.test_images, data.test_labels, mean, divisor, device)
    images = _at(data.train_images, held_out)
    return trained, Images.of(images, data.train_labels[held_out], mean, divisor, device)


def chosen(config: DataConfig, seed: int) -> tuple[Index, Index | None]:
    """Indices of the images that a run trains on and of those held out (None for none), each in ascending order.

    The held-out images are the same for every seed. A larger number of them includes those of any smaller number.
    """
    if not (config.drawn or config.held_out):
        return slice(config.train_images), None
    order = stream(0, "held out").permutation(TRAIN_IMAGES[config.dataset])
    held_out, left = np.sort(order[: config.held_out]), np.sort(order[config.held_out :])
    if config.drawn:
        left = stream(seed, "subset").permutation(left)
    return np.sort(left[: config.train_images]), held_out if config.held_out else None


def _at(images: Records, index: Index) -> Records:
    """The images (n, 3, h, w) at ``index``: a view for a slice, else a copy in channels-last memory."""
    return images.transpose(0, 2, 3, 1)[index].transpose(0, 3, 1, 2)
