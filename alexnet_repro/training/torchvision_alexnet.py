"""A table of torchvision's AlexNet, which is the network of "One weird trick" (2014), not that of 2012."""

from pathlib import Path

import pandas as pd
import torch
import torchvision
from torch import Tensor, nn

from ..common import paths
from ..common.files import write_atomic


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
    write_atomic(path(), pd.DataFrame(rows()).to_csv(index=False, lineterminator="\n"))


def _row(name: str, module: nn.Module, output: Tensor) -> dict[str, str | int]:
    size = output[0].numel()
    side = output.shape[-1] if output.dim() == 4 else 1
    weight = getattr(module, "weight", None)
    fan_in = weight[0].numel() if weight is not None else 0
    return {
        "name": name,
        "kind": type(module).__name__,
        "maps": output.shape[1],
        "side": side,
        "kernel": _one(getattr(module, "kernel_size", 0)),
        "stride": _one(getattr(module, "stride", 1)),
        "padding": _one(getattr(module, "padding", 0)),
        "groups": getattr(module, "groups", 1),
        "parameters": sum(p.numel() for p in module.parameters()),
        "multiply_adds": size * fan_in,
    }


def _one(value: int | str | tuple[int, ...]) -> int:
    """The number of a square window, given once or per side."""
    return int(value[0] if isinstance(value, tuple) else value)


if __name__ == "__main__":
    write()
