"""A training step of AlexNet in CIFAR size, beside a matrix product and other ways to write it, in one run.

    python benchmarks/alexnet.py [--batch 128] [--repeats 10] [--json PATH] [--publish]

One thread, CPU time; all take turns: the step as it is, with torch's local_response_norm, and without channels_last;
then each grouped convolution, forward and backward, as one and as one per column on slices of the maps. Rates count
the multiply-adds of the convolutions and fully-connected layers alone, twice each; conv1 needs no gradient of its
input.
"""

from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from common import MATRIX, Calls, finish, keep_buffers, machine, matrix_product, medians, options
from torch import Tensor, nn

from alexnet_repro.common.rng import torch_stream
from alexnet_repro.networks import layers as architecture
from alexnet_repro.networks.config import CIFAR_ALEXNET
from alexnet_repro.records.benchmarks import Row, row
from alexnet_repro.training.models import alexnet, lrn
from alexnet_repro.training.models.layers import SplitConv2d


def flops(batch: int) -> float:
    """Floating-point operations of a step."""
    layers = architecture.learned_layers(CIFAR_ALEXNET)
    return 2.0 * batch * sum(layer.multiply_adds * (2 if layer.number == 1 else 3) for layer in layers)


def step(batch: int, memory_format: torch.memory_format) -> Callable[[], None]:
    """Forward and backward pass of our net."""
    net = alexnet.AlexNet(CIFAR_ALEXNET, 0).to(memory_format=memory_format)  # type: ignore[call-overload]
    side = CIFAR_ALEXNET.image_size
    x = torch.randn(batch, 3, side, side).mul_(8).contiguous(memory_format=memory_format)
    labels = torch.randint(CIFAR_ALEXNET.classes, (batch,))

    def run() -> None:
        net.zero_grad()
        F.cross_entropy(net(x, torch_stream(0, "dropout", 0)), labels).backward()

    return run


def plain(run: Callable[[], None]) -> Callable[[], None]:
    """The same with torch's own normalization, column by column."""

    def norm(x: Tensor, size: int, alpha: float, beta: float, k: float, divide_alpha: bool, groups: int = 1) -> Tensor:
        scale = alpha if divide_alpha else alpha * size
        return torch.cat([F.local_response_norm(part, size, scale, beta, k) for part in x.chunk(groups, 1)], 1)

    def patched() -> None:
        with patch.object(lrn, "cross_map_norm", norm):
            run()

    return patched


def convolutions(batch: int) -> dict[str, Callable[[], object]]:
    """Each grouped convolution, whole and by columns."""
    calls: dict[str, Callable[[], object]] = {}
    for layer in architecture.learned_layers(CIFAR_ALEXNET):
        if layer.kind != "convolution" or layer.groups == 1:
            continue
        conv = nn.Conv2d(
            layer.inputs[0], layer.outputs[0], layer.kernel, padding=layer.kernel // 2, groups=layer.groups
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x, upper = (
            torch.randn(batch, *shape).contiguous(memory_format=torch.channels_last)
            for shape in (layer.inputs, layer.outputs)
        )
        x.requires_grad_()

        def run(conv: nn.Conv2d, x: Tensor = x, upper: Tensor = upper) -> None:
            conv(x).backward(upper)

        calls |= {layer.name: partial(run, conv), f"{layer.name} by columns": partial(run, SplitConv2d.of(conv))}
    return calls


def measure(batch: int, repeats: int) -> list[Row]:
    """The step beside its peers, and each grouped convolution beside one per column."""
    last = step(batch, torch.channels_last)
    steps: Calls = {
        "matmul": matrix_product(),
        "plain": plain(last),
        "contiguous": step(batch, torch.contiguous_format),
        "ours": last,
    }
    seconds = medians(steps, repeats)
    rates = {name: flops(batch) / seconds[name] / 1e9 for name in steps} | {
        "matmul": 2.0 * MATRIX**3 / seconds["matmul"] / 1e9
    }
    case = f"batch {batch}, 1 thread"
    rows = [
        row(case, "with torch's local_response_norm", "images/s", batch / seconds["ours"], batch / seconds["plain"]),
        row(case, "without channels_last", "images/s", batch / seconds["ours"], batch / seconds["contiguous"]),
        row(
            f"{case}: its own arithmetic", f"a product of {MATRIX}² matrices", "GFLOP/s", rates["ours"], rates["matmul"]
        ),
    ]
    alone = medians(convolutions(batch), repeats)
    for name in alone:
        if f"{name} by columns" in alone:
            rows.append(
                row(name, "a convolution per column", "ms", 1e3 * alone[name], 1e3 * alone[f"{name} by columns"])
            )
    return rows


def main() -> None:
    arguments = options(__doc__, batch=128, repeats=10).parse_args()
    keep_buffers()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    about = machine()
    finish("alexnet", arguments, {**about, "threads": 1}, measure(arguments.batch, arguments.repeats))


if __name__ == "__main__":
    main()
