"""A data loader for prepared images on disk: batches are read ahead by threads and augmented on the device."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...common.rng import stream
from ...experiments.config import DataConfig
from .augment import ColorNoise, Crops, add_color_noise, cut, draw_crops, draw_noise
from .decode import Pixels
from .images import Images
from .shards import Shards

READERS = 2
"""Threads that read."""
AHEAD = 3
"""Batches that are read ahead."""


@dataclass(frozen=True)
class Epoch:
    """The draws of an epoch: the order of the images, (n,) int64; in that order, crops and colour noise (n, 3)."""

    number: int
    order: NDArray[np.int64]
    crops: Crops
    shifts: Tensor | None


class Loader:
    """Training batches of the first ``config.train_images`` images of ``shards``, bit for bit those of Augmentation.

    ``start`` an epoch, then take batches in its order; a resumed run may start at any batch. The next batches are read
    ahead: each is expected to start ``stride`` images after the one before. A wrong guess costs only time.
    mean: (size, size, 3) float32, subtracted from the images.
    """

    def __init__(
        self,
        shards: Shards,
        config: DataConfig,
        seed: int,
        mean: Tensor,
        noise: ColorNoise | None,
        device: str,
        stride: int,
    ) -> None:
        self.shards, self.config, self.seed, self.stride = shards, config, seed, stride
        self.mean, self.noise, self.device = mean.to(device), noise, device
        self._means = mean.numpy(), np.ascontiguousarray(mean.numpy()[:, ::-1])
        self._labels = torch.from_numpy(shards.labels)
        self._pinned = device.startswith("cuda")  # which copies it while the CPU goes on
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="read-ahead")
        self._ahead: deque[tuple[slice, Future[Tensor]]] = deque()

    def start(self, epoch: int) -> None:
        """Draw the order, crops, flips and colour noise of an epoch."""
        self._drop()
        count = self.config.train_images
        crops = draw_crops(self.config, self.shards.size, self.seed, epoch, count, self.device)
        shifts = draw_noise(self.config, self.noise, self.seed, epoch, count)
        self._epoch = Epoch(epoch, stream(self.seed, "order", epoch).permutation(count), crops, shifts)

    def batch(self, index: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs (batch, 3, side, side) float32 in channels_last memory, and labels, of ``part`` of the epoch's order.

        ``index`` is not used: the loader knows the order.
        """
        if not self._ahead or self._ahead[0][0] != part:
            self._drop()
            self._submit(part)
        _, future = self._ahead.popleft()
        last = self._ahead[-1][0] if self._ahead else part
        self._read_on(slice(last.start + self.stride, last.stop + self.stride))
        pixels = future.result()
        labels = self._labels[self._epoch.order[part]]
        if self.device == "cpu":
            return pixels.permute(0, 3, 1, 2), labels
        shifts = None if self._epoch.shifts is None else self._epoch.shifts[part]
        if self._pinned:
            labels = labels.pin_memory()
        pixels, labels = (each.to(self.device, non_blocking=self._pinned) for each in (pixels, labels))
        images, index = (
            Images(pixels, labels, self.mean, self.config.divisor),
            torch.arange(len(labels), device=self.device),
        )
        inputs = cut(images, index, self._epoch.crops[part], self.config.side)
        return add_color_noise(inputs, shifts, self.noise, self.config.divisor), labels

    def close(self) -> None:
        """End the reading threads."""
        self._drop()
        self._threads.shutdown()

    def _read_on(self, part: slice) -> None:
        """Have parts read from ``part`` on, until enough of them are ahead or the epoch ends."""
        count = self.config.train_images
        while len(self._ahead) < AHEAD and part.start < count:
            self._submit(slice(part.start, min(part.stop, count)))
            part = slice(part.start + self.stride, part.stop + self.stride)

    def _submit(self, part: slice) -> None:
        self._ahead.append((part, self._threads.submit(self._read, self._epoch, part)))

    def _drop(self) -> None:
        for _, future in self._ahead:
            future.cancel()
        self._ahead.clear()

    def _read(self, epoch: Epoch, part: slice) -> Tensor:
        """In a thread: whole images (batch, size, size, 3) uint8 for a GPU, which cuts them; inputs for the CPU."""
        index, size = epoch.order[part], self.shards.size
        if self.device != "cpu":
            pixels = torch.empty((len(index), size, size, 3), dtype=torch.uint8, pin_memory=self._pinned)
            self.shards.read(index, pixels.numpy())
            return pixels
        return self._cut(index, epoch.crops[part], None if epoch.shifts is None else epoch.shifts[part])

    def _cut(self, index: NDArray[np.int64], crops: Crops, shifts: Tensor | None) -> Tensor:
        """Crops minus those of the mean, with their noise, scaled: what Augmentation gives, image by image as each is
        read and while the cache holds it.

        On a CPU, the index of every pixel of a batch would cost more than the pixels; on a GPU, a loop would.
        """
        side, whole = self.config.side, self.shards.size
        band: Pixels = np.empty((1, side, whole, 3), np.uint8)
        inputs = torch.empty((len(index), side, side, 3))
        noises = np.zeros((len(index), 3), np.float32) if shifts is None else shifts.numpy()
        noisy = self.noise is not None and shifts is not None
        divisor = np.float32(self.config.divisor * (self.noise.divisor if self.noise is not None and noisy else 1.0))
        places = zip(crops.tops.tolist(), crops.lefts.tolist(), crops.reflected.tolist(), strict=True)
        for row, number, noise, (top, left, reflected) in zip(inputs.numpy(), index, noises, places, strict=True):
            self.shards.read([number], band, top)
            square = band[0, :, left : left + side]
            if reflected:
                # Bytes are mirrored, a quarter of what the differences are; torch does that many times faster.
                square, left = torch.from_numpy(square).flip(1).numpy(), whole - side - left
            rows = row.reshape(side, -1)
            rows[:] = square.reshape(side, -1)
            np.subtract(row, self._means[reflected][top : top + side, left : left + side], out=row)
            if noisy:
                np.add(rows, np.tile(noise, side), out=rows)
            if divisor != 1:
                np.divide(rows, divisor, out=rows)
        return inputs
