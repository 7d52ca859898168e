"""A data set that fits into memory, as a run sees it: what it trains on, and how it is tested."""

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
"""Of Tiny ImageNet, the metrics at the end of a run that are of training images are of so many, the first: those of all
would take as long as half an epoch."""

Index = slice | NDArray[np.int64]
"""Which images: a slice where they are the first ones."""


class InMemoryData:
    """CIFAR-10, its sample or Tiny ImageNet, on the device: ``train`` and ``test``, and the SHA-256 of it all.

    Where the config holds training images out, ``test`` is those: see ``chosen``.
    """

    def __init__(self, config: RunConfig, data: Dataset, device: str) -> None:
        self.config, self.digest = config, data.digest
        self.train, self.test = parts(config, data, device)
        augmented = config.data.crop is not None or config.data.reflect or config.data.color_noise != "none"
        self.augmentation = Augmentation(config.data, self.train, config.seed) if augmented else None

    def start(self, epoch: int) -> None:
        """Draw what the epoch needs."""
        if self.augmentation is not None:
            self.augmentation.start(epoch)

    def batch(self, index: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the images at ``index``, which stand at ``part`` of the epoch's order."""
        return self.augmentation.batch(index, part) if self.augmentation else self.train.batch(index)

    def curve_error(self, net: nn.Module) -> float:
        """Fraction of the test images misclassified (top-1), at their centre."""
        return error(net, self.test, self.config.data.side)

    def metrics(self, net: nn.Module, curve: list[Measurement]) -> dict[str, float | None]:
        """What a network has at the end of its run: test_error; AlexNet also what evaluate.py and features.py say.

        Of Tiny ImageNet, what is of training images is of the first ``MEASURED`` that the run trains on.
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


def parts(config: RunConfig, data: Dataset, device: str) -> tuple[Images, Images]:
    """What a run trains on, and what it is tested on, minus the mean of the first."""
    train, held_out = chosen(config.data, config.seed)
    images = _at(data.train_images, train)
    mean, divisor = pixel_mean(images), config.data.divisor
    trained = Images.of(images, data.train_labels[train], mean, divisor, device)
    if held_out is None:
        return trained, Images.of(data.test_images, data.test_labels, mean, divisor, device)
    images = _at(data.train_images, held_out)
    return trained, Images.of(images, data.train_labels[held_out], mean, divisor, device)


def chosen(config: DataConfig, seed: int) -> tuple[Index, Index | None]:
    """Which training images a run trains on, and which are held out, None for none: in ascending order.

    Of two numbers of held-out images, the larger holds out those of the smaller, and more.
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
