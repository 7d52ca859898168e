"""What a trained network does on images that it has not seen."""

import torch
from torch import Tensor, nn

from .batches import Images

BATCH = 500


@torch.no_grad()
def error(net: nn.Module, images: Images) -> float:
    """Fraction of ``images`` misclassified (top-1), one view each."""
    wrong = torch.zeros((), dtype=torch.int64, device=images.labels.device)
    for start in range(0, len(images.labels), BATCH):
        index = torch.arange(start, min(start + BATCH, len(images.labels)), device=images.labels.device)
        inputs, labels = images.batch(index)
        wrong += (net(inputs).argmax(1) != labels).sum()
    return wrong.item() / len(images.labels)


def top1_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of a batch have another class on top, as a tensor: no host synchronization."""
    return (logits.argmax(1) != labels).sum()
