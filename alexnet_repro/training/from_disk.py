"""Training batches and evaluation for prepared images on disk (ImageNet, or any folder of classes)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from ..common.errors import UserError
from ..experiments import manifest
from ..experiments.config import RunConfig
from ..records.record import Measurement
from .data.augment import ColorNoise, principal
from .data.images import Images
from .data.loader import Loader
from .data.shards import Shards, sums
from .evaluate import alexnet_metrics, errors

CHUNK = 64
"""Images that are evaluated at once."""


class OnDiskData:
    """The prepared images with the digest ``config.data.digest``. Raises UserError if the data folder lacks them.

    ``loader`` gives the training batches. The learning rate follows the error on ``validation``; the results are on
    ``test``. If only one of the two was prepared, it serves as both.
    """

    def __init__(self, config: RunConfig, device: str) -> None:
        assert config.data.digest is not None
        self.config, self.device, self.digest = config, device, config.data.digest
        folder, prepared = manifest.find(self.digest)
        train = prepared.parts["train"].images
        if config.data.train_images > train:
            raise UserError(f"data.train_images={config.data.train_images} and {train} are prepared: ask for fewer")
        self.mean = torch.from_numpy((sums(folder, prepared) / train).astype(np.float32))
        noise = None
        if config.data.color_noise != "none":
            total = torch.tensor(prepared.color_sums, dtype=torch.float64)
            products = torch.tensor(prepared.color_products, dtype=torch.float64)
            values, rows = principal(total, products, train * prepared.size**2)
            noise = ColorNoise.along(values, rows, config.data.color_noise, device)
        self.images = sum(part.images for part in prepared.parts.values())
        self.train = Shards(folder, prepared, "train")
        self.validation = Shards(folder, prepared, prepared.validation)
        self.test = Shards(folder, prepared, prepared.testing)
        self.loader = Loader(
            self.train, config.data, config.seed, self.mean, noise, device, config.optimizer.batch_size
        )

    def start(self, epoch: int) -> None:
        """Draw the crops, flips and colour noise of an epoch."""
        self.loader.start(epoch)

    def batch(self, index: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the images at ``index``, which is the slice ``part`` of the epoch's order."""
        return self.loader.batch(index, part)

    def curve_error(self, net: nn.Module) -> float:
        """Top-1 error on the centres of the validation images."""
        return errors(net, self.chunks(self.validation, len(self.validation)), self.config.data.side)[0].top1

    def metrics(self, net: nn.Module, curve: list[Measurement]) -> dict[str, float | None]:
        """The metrics at the end of a run, see ``alexnet_metrics``: the top-5 error is called top5_error.

        clean_train_error is of as many training images as there are test images.
        """
        tests = len(self.test)
        train = self.chunks(self.train, min(tests, self.config.data.train_images))
        return alexnet_metrics(net, self.config, train, self.chunks(self.test, tests), curve, "top5_error")

    def chunks(self, shards: Shards, count: int) -> Iterator[Images]:
        """The first ``count`` images of ``shards`` on the device, ``CHUNK`` at a time, while the next are read."""

        pinned = self.device.startswith("cuda")

        def read(start: int) -> Images:
            number = np.arange(start, min(start + CHUNK, count))
            pixels = torch.empty((len(number), shards.size, shards.size, 3), dtype=torch.uint8, pin_memory=pinned)
            shards.read(number, pixels.numpy())
            labels = torch.from_numpy(shards.labels[number])
            mean = self.loader.mean
            return Images(
                pixels.to(self.device, non_blocking=pinned), labels.to(self.device), mean, self.config.data.divisor
            )

        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(read, 0)
            for start in range(CHUNK, count + CHUNK, CHUNK):
                here = ahead.result()
                if start < count:
                    ahead = thread.submit(read, start)
                yield here
