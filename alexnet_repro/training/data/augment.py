"""Data augmentation of section 4.1: random crops, horizontal flips and colour noise, a batch at a time on the device.

All of it is drawn for each epoch from streams of the run's seed, whether or not the run uses it. So runs of one seed
have the same crops, however they differ otherwise, and a resumed run has those of the uninterrupted one.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...common.rng import stream
from ...experiments.config import DataConfig
from .images import Images, centre

NOISE_STD = 0.1
SOURCE_DIVISOR = 1 + NOISE_STD
WHITE = 255.0
CHUNK = 1_000
"""Images that are converted to float64 at once."""


@dataclass(frozen=True)
class Crops:
    """Crops of n images: row and column of the upper left pixel, (n,) int64, and whether it is flipped, (n,) bool."""

    tops: Tensor
    lefts: Tensor
    reflected: Tensor

    def __getitem__(self, part: slice) -> "Crops":
        return Crops(self.tops[part], self.lefts[part], self.reflected[part])


def draw_crops(config: DataConfig, whole: int, seed: int, epoch: int, count: int, device: str = "cpu") -> Crops:
    """Crops for the ``count`` images of an epoch, in its order. whole: side of the images.

    Positions are uniformly distributed, and half of the crops are flipped. Without ``config.random_crops`` all crops
    are at the centre, and without ``config.reflect`` none is flipped. ``config.shared_crops`` consecutive images share
    one crop offset and one flip.
    """
    places = whole - config.side + 1
    rng = stream(seed, "augmentation", epoch)
    groups = -(-count // config.shared_crops)
    draws = rng.integers(places, size=(2, groups)), rng.integers(2, size=groups)
    tops, lefts, coins = np.repeat(np.vstack(draws), config.shared_crops, axis=1)[:, :count]
    if not config.random_crops:
        tops = lefts = np.full(count, centre(whole, config.side))
    if not config.reflect:
        coins = np.zeros(count, dtype=np.int64)
    return Crops(*(torch.from_numpy(values.copy()).to(device) for values in (tops, lefts, coins.astype(bool))))


def cut(images: Images, index: Tensor, crops: Crops, side: int) -> Tensor:
    """The crops of the images at ``index``, minus the crops of the mean: (batch, side, side, 3) float32."""
    whole = images.pixels.shape[1]
    along = torch.arange(side, device=index.device)
    columns = crops.lefts[:, None] + torch.where(crops.reflected[:, None], along.flip(0), along)
    rows = crops.tops[:, None] + along
    places = rows[:, :, None] * whole + columns[:, None, :]
    pixels = places + index[:, None, None] * whole**2
    # Rows of three bytes by flat place: torch copies them one after another, without a loop over images.
    means = images.mean.view(-1, 3).index_select(0, places.view(-1))
    colors = images.pixels.view(-1, 3).index_select(0, pixels.view(-1))
    return colors.float().sub_(means).view(len(index), side, side, 3)


@dataclass(frozen=True)
class ColorNoise:
    """Colour noise (PCA): the rows of ``directions`` (3, 3), times normal draws, are added to every pixel of an image.

    The sum is divided by ``divisor``. Pixels range from 0 to 255.
    """

    directions: Tensor
    divisor: float

    @classmethod
    def of(cls, pixels: Tensor, reading: Literal["paper", "source"]) -> "ColorNoise":
        """The noise of images (n, h, w, 3) uint8 in one of two readings, before multiplication with draws of N(0, 0.1).

        "paper": eigenvectors times eigenvalues of pixels from 0 to 1. With pixels from 0 to 255, as the paper words it,
        the noise would be ten times the contrast. "source": eigenvectors times square roots of the eigenvalues, and
        the sum divided by 1.1 (cuda-convnet2, convdata.py).
        """
        return cls.along(*components(pixels), reading, str(pixels.device))

    @classmethod
    def along(cls, values: Tensor, vectors: Tensor, reading: Literal["paper", "source"], device: str) -> "ColorNoise":
        """The same from known principal components in float64: variances (3,) and unit row vectors (3, 3)."""
        sizes = values / WHITE if reading == "paper" else values.sqrt()
        directions = (vectors * sizes[:, None]).float().to(device)
        return cls(directions, 1.0 if reading == "paper" else SOURCE_DIVISOR)

    def draw(self, seed: int, epoch: int, count: int) -> Tensor:
        """The noise of the ``count`` images of an epoch, in its order: (count, 3) float32."""
        draws = stream(seed, "color noise", epoch).standard_normal((count, 3), dtype=np.float32) * np.float32(NOISE_STD)
        return torch.from_numpy(draws).to(self.directions.device) @ self.directions


def draw_noise(config: DataConfig, noise: ColorNoise | None, seed: int, epoch: int, count: int) -> Tensor | None:
    """The colour noise (count, 3) of an epoch, counted from 0; None for an epoch without."""
    last = config.color_noise_epochs
    return noise.draw(seed, epoch, count) if noise and (last is None or epoch < last) else None


def components(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Principal components of the colours of images (n, h, w, 3) uint8: variances (3,), largest first, and unit rows.

    In double; the sums behind them are exact. The largest entry of each row is positive.
    """
    device = "cpu" if pixels.device.type == "mps" else pixels.device  # MPS has no float64
    total = torch.zeros(3, dtype=torch.float64, device=device)
    products = torch.zeros(3, 3, dtype=torch.float64, device=device)
    for part in pixels.split(CHUNK):
        colors = part.reshape(-1, 3).to(device).double()
        total += colors.sum(0)
        products += colors.T @ colors
    return principal(total, products, pixels[..., 0].numel())


def principal(total: Tensor, products: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Principal components of ``count`` colours from their sum (3,) and the sum of their outer products (3, 3)."""
    mean = total / count
    values, vectors = torch.linalg.eigh((products / count - mean[:, None] * mean).cpu())
    values, rows = values.flip(0).clamp(min=0), vectors.flip(1).T
    signs = rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
    return values, rows * signs


class Augmentation:
    """The training images of a run with augmentation: ``start`` an epoch, then take its batches."""

    def __init__(self, config: DataConfig, images: Images, seed: int) -> None:
        self.config, self.images, self.seed = config, images, seed
        self.noise = None if config.color_noise == "none" else ColorNoise.of(images.pixels, config.color_noise)

    def start(self, epoch: int) -> None:
        """Draw the crops, flips and colour noise of an epoch."""
        pixels = self.images.pixels
        count, device = len(pixels), str(pixels.device)
        self._crops = draw_crops(self.config, pixels.shape[1], self.seed, epoch, count, device)
        self._shifts = draw_noise(self.config, self.noise, self.seed, epoch, count)

    def batch(self, index: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs (batch, 3, side, side) float32 in channels_last memory, and labels, of the images at ``index``.

        ``part`` is their place in the epoch's order.
        """
        inputs = cut(self.images, index, self._crops[part], self.config.side)
        shifts = None if self._shifts is None else self._shifts[part]
        return add_color_noise(inputs, shifts, self.noise, self.images.divisor), self.images.labels[index]


def add_color_noise(inputs: Tensor, shifts: Tensor | None, noise: ColorNoise | None, divisor: float) -> Tensor:
    """Add noise (batch, 3) to crops (batch, side, side, 3) in place, divide by ``divisor``, and put channels first."""
    if noise is not None and shifts is not None:
        # Whole rows at once: three numbers at a time, the loop would cost more than the sums.
        batch, side = inputs.shape[:2]
        inputs.view(batch, side, 3 * side).add_(shifts.repeat(1, side)[:, None, :])
        divisor *= noise.divisor
    if divisor != 1:
        inputs.div_(divisor)
    return inputs.permute(0, 3, 1, 2)
