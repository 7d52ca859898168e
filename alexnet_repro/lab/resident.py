"""A data set that fits into memory, as a run sees it: what it trains on, and how it is tested."""

from torch import Tensor, nn

from ..config import RunConfig
from ..records import Measurement
from .alexnet import AlexNet
from .augment import Augmentation
from .batches import Images, pixel_mean
from .datasets import Dataset
from .evaluate import alexnet_metrics, error
from .learned import color_metrics, neighbour_metrics


class Resident:
    """CIFAR-10, or its sample, on the device: ``train`` and ``test``, and the SHA-256 of it all."""

    def __init__(self, config: RunConfig, data: Dataset, device: str) -> None:
        self.config = config
        size = config.data.train_images
        train_images = data.train_images[:size]
        mean, divisor = pixel_mean(train_images), config.data.divisor
        self.train = Images.of(train_images, data.train_labels[:size], mean, divisor, device)
        self.test = Images.of(data.test_images, data.test_labels, mean, divisor, device)
        self.digest = data.digest
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
        return error(net, self.test.centre(self.config.data.side))

    def metrics(self, net: nn.Module, curve: list[Measurement]) -> dict[str, float | None]:
        """What a network has at the end of its run: test_error; AlexNet also what evaluate.py and learned.py say."""
        test_error = self.curve_error(net)
        found: dict[str, float | None] = {"test_error": test_error}
        if isinstance(net, AlexNet):
            side = self.config.data.side
            found |= alexnet_metrics(net, self.config, self.train, self.test, curve, test_error)
            found |= color_metrics(net, self.config.seed)
            found |= neighbour_metrics(net, self.train.centre(side), self.test.centre(side))
        return found
