"""Metrics of learned features (section 6.1): colour in conv1's kernels, nearest neighbours in the last hidden layer."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..analysis.statistics import DEALS, dealt_gaps
from ..common.rng import stream
from .data.images import Images
from .evaluate import BATCH, eval_mode
from .models.alexnet import AlexNet

NEIGHBOURS = 6
"""As many as Fig. 4 shows."""
QUERIES = 2_000


def color_index(kernels: Tensor) -> Tensor:
    """How colourful each kernel is: 0 for a grey one, 1 if the three channels add up to zero at every pixel.

    kernels: (n, 3, height, width); the result is (n,), on the CPU: the share of a kernel's sum of squares that is left
    once the mean over the channels is taken off every pixel. Gaussian weights have 2/3.
    """
    kernels = kernels.cpu().double()
    colour = kernels - kernels.mean(1, keepdim=True)
    return colour.square().sum((1, 2, 3)) / kernels.square().sum((1, 2, 3))


def color_metrics(net: AlexNet, seed: int) -> dict[str, float | None]:
    """Whether the two columns differ in colour, by a permutation test (Fig. 3).

    color_gap: absolute difference of the columns' mean colour indices. color_gap_shuffled: its mean over ``DEALS``
    deals of the same kernels to the columns. color_gap_p: share of deals whose gap is as wide, this one among them.
    Empty for a net of one column.
    """
    columns = [color_index(kernels).numpy() for kernels in net.conv1_kernels()]
    if len(columns) == 1:
        return {}
    first, second = columns
    shuffled = dealt_gaps(first, second, stream(seed, "color deals"))
    gap = abs(first.mean() - second.mean())
    as_wide = int((shuffled >= gap * (1 - 1e-12)).sum())
    return {
        "color_gap": float(gap),
        "color_gap_shuffled": float(shuffled.mean()),
        "color_gap_p": (1 + as_wide) / (1 + DEALS),
    }


def nearest_neighbour_metrics(net: AlexNet, train: Images, test: Images) -> dict[str, float | None]:
    """Share of the ``NEIGHBOURS`` nearest of ``train`` that have the class of an image of ``test`` (Fig. 4).

    Both sets at their centres; Euclidean distance. knn_features: in the last hidden layer, as at test time; knn_pixels:
    between the inputs. Over the first ``QUERIES`` images of ``test``.
    """
    with eval_mode(net):
        return {
            "knn_features": _agreement(train, test, net.features),
            "knn_pixels": _agreement(train, test, lambda inputs: inputs.flatten(1)),
        }


@torch.no_grad()
def vectors(images: Images, count: int, of: Callable[[Tensor], Tensor]) -> Tensor:
    """The function ``of`` applied to the inputs of the first ``count`` images: (count, size)."""
    return torch.cat([of(part.inputs()) for part in images.first(count).split(BATCH)])


def nearest(queries: Tensor, among: Tensor, count: int) -> Tensor:
    """Indices (queries, count) of the nearest rows of ``among`` by Euclidean distance, the nearest first."""
    lengths = among.square().sum(1)
    found = [(lengths - 2 * part @ among.T).topk(count, largest=False).indices for part in queries.split(BATCH)]
    return torch.cat(found)


def _agreement(train: Images, test: Images, of: Callable[[Tensor], Tensor]) -> float:
    queries = vectors(test, QUERIES, of)
    found = nearest(queries, vectors(train, len(train.labels), of), NEIGHBOURS)
    same = train.labels[found] == test.labels[: len(queries), None]
    return same.sum().item() / same.numel()
