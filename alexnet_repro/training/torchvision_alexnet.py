"""A table of torchvision's AlexNet, which is the network of "One weird trick" (2014), not that of 2012."""

import csv
from io import StringIO
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from ..common import paths
from ..common.files import write_atomic

COLUMNS = ("name", "kind", "maps", "side", "kernel", "stride", "padding", "groups", "parameters", "multiply_adds")


def path() -> Path:
    """The table's file, which the book reads, so that it need not import torch."""
    return paths.data() / "torchvision_alexnet.csv"


def rows() -> list[dict[str, str | int]]:
    """A row per leaf module, for inputs of 224 x 224 pixels. Shapes come from a forward pass on the device "meta".

    ``side`` is 1 and ``maps`` the width for a fully-connected layer; ``kernel`` is 0 where none slides.
    """
    net = torchvision.models.alexnet(weights=None).to("meta").eval()
    result: list[dict[str, str | int]] = []
    for name, module in net.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, _, output, name=name: result.append(_row(name, module, output)))
    net(torch.empty(1, 3, 224, 224, device="meta"))
    return result


def write() -> None:
    """Bring the table of the book up to date."""
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows())
    write_atomic(path(), text.getvalue())


def _row(name: str, module: nn.Module, output: Tensor) -> dict[str, str | int]:
    size = output[0].numel()
    side = output.shape[-1] if output.dim() == 4 else 1
    weight = getattr(module, "weight", None)
    fan_in = weight[0].numel() if weight is not None else 0
    values = (
        name,
        type(module).__name__,
        output.shape[1],
        side,
        _one(getattr(module, "kernel_size", 0)),
        _one(getattr(module, "stride", 1)),
        _one(getattr(module, "padding", 0)),
        getattr(module, "groups", 1),
        sum(p.numel() for p in module.parameters()),
        size * fan_in,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _one(value: int | str | tuple[int, ...]) -> int:
    """The number of a square window, given once or per side."""
    return int(value[0] if isinstance(value, tuple) else value)


if __name__ == "__main__":
    write()
