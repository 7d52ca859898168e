"""Images in memory on one device: views, crops of fixed position, and batches of inputs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .dataset import Records


@dataclass
class Images:
    """Images (n, h, w, 3) uint8 and labels (n,) int64 on one device, and how to turn them into inputs.

    An input is (pixels - mean) / divisor. mean: (h, w, 3) float32 (section 2). divisor: 1 in the paper.
    """

    pixels: Tensor
    labels: Tensor
    mean: Tensor
    divisor: float

    @classmethod
    def of(cls, images: Records, labels: Records, mean: Tensor, divisor: float, device: str) -> "Images":
        """Images (n, 3, h, w) and labels on ``device``; not copied if already there in channels-last order."""
        channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        return cls(
            torch.from_numpy(channels_last).to(device),
            torch.from_numpy(labels.astype(np.int64)).to(device),
            mean.to(device),
            divisor,
        )

    def first(self, count: int) -> "Images":
        """The first ``count`` images, or all where there are fewer: views, no copies."""
        return replace(self, pixels=self.pixels[:count], labels=self.labels[:count])

    def window(self, top: int, left: int, side: int) -> "Images":
        """The same square of every image and of the mean; (top, left) is its upper left pixel. Views, no copies."""
        rows, columns = slice(top, top + side), slice(left, left + side)
        return replace(self, pixels=self.pixels[:, rows, columns], mean=self.mean[rows, columns])

    def centre(self, side: int) -> "Images":
        """The central square of every image."""
        place = centre(self.pixels.shape[1], side)
        return self.window(place, place, side)

    def split(self, size: int) -> "Iterator[Images]":
        """The images in order, ``size`` at a time: views, no copies."""
        for start in range(0, len(self.labels), size):
            yield replace(self, pixels=self.pixels[start : start + size], labels=self.labels[start : start + size])

    def inputs(self) -> Tensor:
        """All images as inputs of a network."""
        return self.batch(slice(None))[0]

    def batch(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Inputs (batch, 3, h, w) float32 in channels_last memory, and labels, of the images at ``index``."""
        inputs = self.pixels[index].float().sub_(self.mean)
        if self.divisor != 1:
            inputs.div_(self.divisor)
        return inputs.permute(0, 3, 1, 2), self.labels[index]


def centre(whole: int, side: int) -> int:
    """Row, and column, of the upper left pixel of the central square of an image."""
    return (whole - side) // 2


def pixel_mean(images: Records) -> Tensor:
    """The mean of every pixel over (n, 3, h, w) images, as (h, w, 3) float32."""
    return torch.from_numpy(images.mean(axis=0, dtype=np.float64).transpose(1, 2, 0).astype(np.float32).copy())
