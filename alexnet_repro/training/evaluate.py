"""What a trained network does as it is tested: no dropout, no chance."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..experiments.config import CIFAR10_CLASSES, RunConfig
from ..records.curves import EARLY_EPOCHS, TOP, epochs_to_converge, mean_until
from ..records.record import Measurement
from .data.images import Images

BATCH = 500


class Errors(NamedTuple):
    """Fractions of images whose class is not on top, and not among the ``TOP`` on top."""

    top1: float
    top5: float


def error(net: nn.Module, images: Images) -> float:
    """Fraction of ``images`` misclassified (top-1), one view each."""
    return errors(net, images).top1


def errors(net: nn.Module, images: Images) -> Errors:
    """Fractions of ``images`` misclassified, one view each."""
    return _errors(net, images, lambda index: net(images.batch(index)[0]))


def ten_view_errors(net: nn.Module, images: Images, side: int) -> Errors:
    """Fractions misclassified by the mean softmax output over ten views (section 4.1).

    The views are the squares of ``side`` pixels in the four corners and at the centre, and their reflections.
    """
    views = ten_views(images, side)

    def mean_output(index: Tensor) -> Tensor:
        inputs = (view.batch(index)[0] for view in views)
        outputs = [net(each).softmax(1) for view in inputs for each in (view, reflected(view))]
        return torch.stack(outputs).mean(0)

    return _errors(net, images, mean_output)


def ten_views(images: Images, side: int) -> list[Images]:
    """Five of the ten views, the four corners and the centre; the others are their reflections."""
    last = images.pixels.shape[1] - side
    corners = [images.window(top, left, side) for top in (0, last) for left in (0, last)]
    return [*corners, images.centre(side)]


def reflected(inputs: Tensor) -> Tensor:
    """Inputs (batch, 3, h, w), left and right exchanged, in channels_last memory."""
    return inputs.flip(3).contiguous(memory_format=torch.channels_last)


def alexnet_metrics(
    net: nn.Module, config: RunConfig, train: Images, test: Images, curve: list[Measurement]
) -> dict[str, float | None]:
    """What a run of AlexNet records; fractions but where said.

    test_error: at the centre of the test images; test_top5_error: the same for the ``TOP`` on top.
    clean_train_error: at the centre of the training images, no dropout. gap: test_error - clean_train_error.
    early_train_loss: mean cross-entropy in nats over the first ``EARLY_EPOCHS`` epochs of training, as trained.
    Where the budget asks for them, ten_view_error and ten_view_top5_error: see above; epochs_to_converge: see
    records/curves.py. The top-5 errors are for data of more classes than CIFAR-10's ten.
    """
    side, many = config.data.side, config.data.classes > CIFAR10_CLASSES
    one = errors(net, test.centre(side))
    test_error, train_error = one.top1, error(net, train.centre(side))
    epochs = [m.epoch for m in curve]
    metrics: dict[str, float | None] = {
        "test_error": test_error,
        "clean_train_error": train_error,
        "gap": test_error - train_error,
        "early_train_loss": mean_until(epochs, [m.train_loss for m in curve], EARLY_EPOCHS),
    }
    if many:
        metrics["test_top5_error"] = one.top5
    if config.budget.ten_views:
        ten = ten_view_errors(net, test, side)
        metrics["ten_view_error"] = ten.top1
        if many:
            metrics["ten_view_top5_error"] = ten.top5
    tested = {m.epoch: m.test_error for m in curve if m.test_error is not None}
    if config.budget.test_curve:
        metrics["epochs_to_converge"] = epochs_to_converge(list(tested), list(tested.values()))
    return metrics


def top1_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of a batch have another class on top, as a tensor: no host synchronization."""
    return (logits.argmax(1) != labels).sum()


def top5_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of a batch have their class not among the ``TOP`` on top; none where there are no more classes."""
    top = logits.topk(min(TOP, logits.shape[1]), 1).indices
    return (top != labels[:, None]).all(1).sum()


@torch.no_grad()
def _errors(net: nn.Module, images: Images, outputs: Callable[[Tensor], Tensor]) -> Errors:
    """Fractions of ``images`` misclassified by ``outputs``, which takes their indices."""
    device, count = images.labels.device, len(images.labels)
    wrong = torch.zeros(2, dtype=torch.int64, device=device)
    with testing(net):
        for index in torch.arange(count, device=device).split(BATCH):
            found, labels = outputs(index), images.labels[index]
            wrong[0] += top1_wrong(found, labels)
            wrong[1] += top5_wrong(found, labels)
    top1, top5 = wrong.tolist()
    return Errors(top1 / count, top5 / count)


@contextmanager
def testing(net: nn.Module) -> Iterator[None]:
    """The net in the mode of testing, then again in the one before."""
    before = net.training
    net.eval()
    yield
    net.train(before)
