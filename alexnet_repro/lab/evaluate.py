"""What a trained network does as it is tested: no dropout, no chance."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..records import Measurement
from ..statistics import EARLY_EPOCHS, epochs_to_converge, mean_until
from .batches import Images

BATCH = 500


def error(net: nn.Module, images: Images) -> float:
    """Fraction of ``images`` misclassified (top-1), one view each."""
    return _wrong(net, images, lambda index: net(images.batch(index)[0])) / len(images.labels)


def ten_view_error(net: nn.Module, images: Images, side: int) -> float:
    """Fraction misclassified (top-1) by the mean softmax output over ten views (section 4.1).

    The views are the squares of ``side`` pixels in the four corners and at the centre, and their reflections.
    """
    views = ten_views(images, side)

    def mean_output(index: Tensor) -> Tensor:
        inputs = (view.batch(index)[0] for view in views)
        outputs = [net(each).softmax(1) for view in inputs for each in (view, reflected(view))]
        return torch.stack(outputs).mean(0)

    return _wrong(net, images, mean_output) / len(images.labels)


def ten_views(images: Images, side: int) -> list[Images]:
    """Five of the ten views, the four corners and the centre; the others are their reflections."""
    last = images.pixels.shape[1] - side
    corners = [images.window(top, left, side) for top in (0, last) for left in (0, last)]
    return [*corners, images.centre(side)]


def reflected(inputs: Tensor) -> Tensor:
    """Inputs (batch, 3, h, w), left and right exchanged, in channels_last memory."""
    return inputs.flip(3).contiguous(memory_format=torch.channels_last)


def alexnet_metrics(
    net: nn.Module, config: RunConfig, train: Images, test: Images, curve: list[Measurement], test_error: float
) -> dict[str, float | None]:
    """What a run of AlexNet records beside its ``test_error``; fractions but where said.

    clean_train_error: at the centre of the training images, no dropout. gap: test_error - clean_train_error.
    early_train_loss: mean cross-entropy in nats over the first ``EARLY_EPOCHS`` epochs of training, as trained.
    Where the budget asks for them, ten_view_error: see above; epochs_to_converge: see statistics.py.
    """
    side = config.data.side
    train_error = error(net, train.centre(side))
    epochs = [m.epoch for m in curve]
    metrics: dict[str, float | None] = {
        "clean_train_error": train_error,
        "gap": test_error - train_error,
        "early_train_loss": mean_until(epochs, [m.train_loss for m in curve], EARLY_EPOCHS),
    }
    if config.budget.ten_views:
        metrics["ten_view_error"] = ten_view_error(net, test, side)
    tested = {m.epoch: m.test_error for m in curve if m.test_error is not None}
    if config.budget.test_curve:
        metrics["epochs_to_converge"] = epochs_to_converge(list(tested), list(tested.values()))
    return metrics


def top1_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of a batch have another class on top, as a tensor: no host synchronization."""
    return (logits.argmax(1) != labels).sum()


@torch.no_grad()
def _wrong(net: nn.Module, images: Images, outputs: Callable[[Tensor], Tensor]) -> int:
    """How many of ``images`` have another class on top of ``outputs``, which takes their indices."""
    device = images.labels.device
    wrong = torch.zeros((), dtype=torch.int64, device=device)
    with testing(net):
        for index in torch.arange(len(images.labels), device=device).split(BATCH):
            wrong += top1_wrong(outputs(index), images.labels[index])
    return int(wrong.item())


@contextmanager
def testing(net: nn.Module) -> Iterator[None]:
    """The net in the mode of testing, then again in the one before."""
    before = net.training
    net.eval()
    yield
    net.train(before)
