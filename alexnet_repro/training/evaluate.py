"""Top-1 and top-5 errors of a network in eval mode, at the centre of images or over ten views (section 4.1)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..experiments.config import RunConfig
from ..records.curves import EARLY_EPOCHS, TOP
from ..records.record import Measurement, convergence, mean_loss
from .data.images import Images

BATCH = 500


class Errors(NamedTuple):
    """Fractions of images whose class does not have the largest logit, and none of the ``TOP`` largest."""

    top1: float
    top5: float


def error(net: nn.Module, images: Images, side: int) -> float:
    """Top-1 error of a network on the centres of images in memory."""
    return errors(net, images.split(BATCH), side)[0].top1


@torch.no_grad()
def errors(net: nn.Module, images: Iterable[Images], side: int, ten: bool = False) -> list[Errors]:
    """Errors of a network in eval mode on some or all images, given a batch at a time.

    First, at the central ``side`` x ``side`` pixels; then, with ``ten``, by the mean softmax output over ten views of
    that size: the four corners and the centre, and their reflections (section 4.1).
    """
    counts: list[Tensor] = []
    size = 0
    with eval_mode(net):
        for part in images:
            outputs = [net(part.centre(side).inputs())]
            if ten:
                views = (each for view in ten_views(part, side) for each in with_reflection(view.inputs()))
                outputs.append(torch.stack([net(view).softmax(1) for view in views]).mean(0))
            found = [wrong(each, part.labels) for each in outputs for wrong in (top1_wrong, top5_wrong)]
            counts.append(torch.stack(found))
            size += len(part.labels)
    wrongs = [count / size for count in torch.stack(counts).sum(0).tolist()]
    return [Errors(*wrongs[place : place + 2]) for place in range(0, len(wrongs), 2)]


def ten_views(images: Images, side: int) -> list[Images]:
    """Five of the ten views, the four corners and the centre; the others are their reflections."""
    last = images.pixels.shape[1] - side
    corners = [images.window(top, left, side) for top in (0, last) for left in (0, last)]
    return [*corners, images.centre(side)]


def with_reflection(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs (batch, 3, h, w), and the same with left and right exchanged, in channels_last memory."""
    return inputs, inputs.flip(3).contiguous(memory_format=torch.channels_last)


def alexnet_metrics(
    net: nn.Module,
    config: RunConfig,
    train: Iterable[Images],
    test: Iterable[Images],
    curve: list[Measurement],
    top5: str | None,
) -> dict[str, float | None]:
    """The metrics of an AlexNet at the end of its run, as fractions unless stated otherwise.

    train, test: images, a batch at a time. test_error: at the centre of the test images; ``top5`` (if not None): the
    name of the top-5 error on the same. clean_train_error: at the centre of the training images, in eval mode.
    gap: test_error - clean_train_error. early_train_loss: mean cross-entropy in nats over the first ``EARLY_EPOCHS``
    epochs, in training mode. If the budget asks for them, ten_view_error, ten_view_top5_error (if ``top5``), and
    epochs_to_converge (see records/curves.py).
    """
    side = config.data.side
    one, *ten = errors(net, test, side, config.budget.ten_views)
    train_error = errors(net, train, side)[0].top1
    metrics: dict[str, float | None] = {
        "test_error": one.top1,
        "clean_train_error": train_error,
        "gap": one.top1 - train_error,
        "early_train_loss": mean_loss(curve, EARLY_EPOCHS),
    }
    if top5:
        metrics[top5] = one.top5
    for each in ten:
        metrics |= {"ten_view_error": each.top1, **({"ten_view_top5_error": each.top5} if top5 else {})}
    if config.budget.test_curve:
        metrics["epochs_to_converge"] = convergence(curve)
    return metrics


def top1_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of a batch have another class on top, as a tensor: no host synchronization."""
    return (logits.argmax(1) != labels).sum()


def top5_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of a batch have their class not among the ``TOP`` on top; none where there are no more classes."""
    top = logits.topk(min(TOP, logits.shape[1]), 1).indices
    return (top != labels[:, None]).all(1).sum()


@contextmanager
def eval_mode(net: nn.Module) -> Iterator[None]:
    """Put a network into eval mode, and at the end back into the mode that it was in."""
    before = net.training
    net.eval()
    yield
    net.train(before)
