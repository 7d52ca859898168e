"""Prepared images as a run sees them: what it trains on, and how it is tested, one view or ten, top-1 and top-5."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from ..common.errors import UserError
from ..experiments import manifest as prepared
from ..experiments.config import RunConfig
from ..records.curves import EARLY_EPOCHS, TOP, epochs_to_converge, mean_until
from ..records.record import Measurement
from .data.augment import ColorNoise, principal
from .data.images import Images
from .data.loader import Loader
from .data.shards import Shards, sums
from .evaluate import reflected, ten_views, testing

CHUNK = 64
"""Images that are tested at once: of ten views, one by one, so that memory stays small."""


class Collection:
    """The prepared images of ``config.data.digest``, found in the data folder. Raises UserError where they are not.

    ``loader`` gives the training batches. The rate is set by ``validation``; the results are on ``test``, which
    are the same images where the collection has no two such parts.
    """

    def __init__(self, config: RunConfig, device: str) -> None:
        assert config.data.digest is not None
        self.config, self.device, self.digest = config, device, config.data.digest
        folder, manifest = prepared.find(self.digest)
        train = manifest.parts["train"].images
        if config.data.train_images > train:
            raise UserError(f"data.train_images={config.data.train_images} and {train} are prepared: ask for fewer")
        self.mean = torch.from_numpy((sums(folder, manifest) / train).astype(np.float32))
        noise = None
        if config.data.color_noise != "none":
            total = torch.tensor(manifest.color_sums, dtype=torch.float64)
            products = torch.tensor(manifest.color_products, dtype=torch.float64)
            values, rows = principal(total, products, train * manifest.size**2)
            noise = ColorNoise.along(values, rows, config.data.color_noise, device)
        self.images = sum(part.images for part in manifest.parts.values())
        self.train = Shards(folder, manifest, "train")
        self.validation = Shards(folder, manifest, manifest.validation)
        self.test = Shards(folder, manifest, manifest.testing)
        self.loader = Loader(
            self.train, config.data, config.seed, self.mean, noise, device, config.optimizer.batch_size
        )

    def start(self, epoch: int) -> None:
        """Draw what the epoch needs."""
        self.loader.start(epoch)

    def batch(self, index: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the images at ``index``, which stand at ``part`` of the epoch's order."""
        return self.loader.batch(index, part)

    def curve_error(self, net: nn.Module) -> float:
        """Fraction of the validation images misclassified (top-1), at their centre."""
        return self.errors(net, self.validation, len(self.validation), ten=False)["error"]

    def metrics(self, net: nn.Module, curve: list[Measurement]) -> dict[str, float | None]:
        """The metrics of a run, fractions but where said.

        test_error, top5_error: at the centre of the test images. Where the budget asks for them, ten_view_error and
        ten_view_top5_error: by the mean output over ten views. clean_train_error: at the centre of as many training
        images; gap: test_error - clean_train_error. early_train_loss: mean cross-entropy in nats over the first
        ``EARLY_EPOCHS`` epochs. epochs_to_converge: see records/curves.py.
        """
        tests = len(self.test)
        found = self.errors(net, self.test, tests, self.config.budget.ten_views)
        train = self.errors(net, self.train, min(tests, self.config.data.train_images), ten=False)["error"]
        epochs = [m.epoch for m in curve]
        metrics: dict[str, float | None] = {
            "test_error": found.pop("error"),
            **found,
            "clean_train_error": train,
            "early_train_loss": mean_until(epochs, [m.train_loss for m in curve], EARLY_EPOCHS),
        }
        metrics["gap"] = (metrics["test_error"] or 0.0) - train
        tested = {m.epoch: m.test_error for m in curve if m.test_error is not None}
        if self.config.budget.test_curve:
            metrics["epochs_to_converge"] = epochs_to_converge(list(tested), list(tested.values()))
        return metrics

    @torch.no_grad()
    def errors(self, net: nn.Module, shards: Shards, count: int, ten: bool) -> dict[str, float]:
        """Fractions of the first ``count`` of ``shards`` misclassified: error and top5_error at the centre.

        With ``ten``, ten_view_error and ten_view_top5_error too: by the mean softmax output over ten views.
        """
        side, top = self.config.data.side, min(TOP, self.config.data.classes)
        wrong = torch.zeros(4, dtype=torch.int64, device=self.device)
        with testing(net):
            for images in self._chunks(shards, count):
                everything = torch.arange(len(images.labels), device=self.device)
                centre = net(images.centre(side).batch(everything)[0]).softmax(1)
                outputs = [centre]
                if ten:
                    views = ten_views(images, side)
                    outputs.append(_mean_output(net, (view.batch(everything)[0] for view in views)))
                for place, output in enumerate(outputs):
                    best = output.topk(top, 1).indices == images.labels[:, None]
                    wrong[2 * place] += (~best[:, 0]).sum()
                    wrong[2 * place + 1] += (~best.any(1)).sum()
        names = ("error", "top5_error", "ten_view_error", "ten_view_top5_error")[: 4 if ten else 2]
        return {name: number / count for name, number in zip(names, wrong.tolist(), strict=False)}

    def _chunks(self, shards: Shards, count: int) -> Iterator[Images]:
        """Whole images on the device, a chunk at a time, the next in reading."""

        def read(start: int) -> Images:
            number = np.arange(start, min(start + CHUNK, count))
            pixels = torch.empty((len(number), shards.size, shards.size, 3), dtype=torch.uint8)
            shards.read(number, pixels.numpy())
            labels = torch.from_numpy(shards.labels[number])
            mean = self.loader.mean
            return Images(pixels.to(self.device), labels.to(self.device), mean, self.config.data.divisor)

        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(read, 0)
            for start in range(CHUNK, count + CHUNK, CHUNK):
                here = ahead.result()
                if start < count:
                    ahead = thread.submit(read, start)
                yield here


def _mean_output(net: nn.Module, views: Iterator[Tensor]) -> Tensor:
    """The mean softmax output over five views and their reflections."""
    outputs = [net(each).softmax(1) for view in views for each in (view, reflected(view))]
    return torch.stack(outputs).mean(0)
