"""A training step of AlexNet in CIFAR size, beside the matrix-multiply rate and other ways to write it, in one run.

    python benchmarks/alexnet.py [--batch 128] [--repeats 10] [--json PATH]

One thread; all take turns. "plain" has torch's local_response_norm; "contiguous" is ours without channels_last. Then
each grouped convolution, forward and backward, as one and as one per column on slices of the maps. Rates count the
multiply-adds of the convolutions and fully-connected layers alone, twice each; conv1 needs no gradient of its input.
CPU seconds stay put where other programs share the machine.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet_repro import architecture
from alexnet_repro.lab import alexnet
from alexnet_repro.lab.launch import MEMORY
from alexnet_repro.lab.streams import torch_stream
from alexnet_repro.networks import CIFAR_ALEXNET

Calls = dict[str, Callable[[], object]]
MATRIX = 1024


def medians(calls: Calls, repeats: int) -> dict[str, float]:
    """Median CPU seconds of each call, taken in turns after two rounds to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 2):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            if repeat >= 2:
                seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


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
        with patch.object(alexnet, "cross_map_norm", norm):
            run()

    return patched


def convolutions(batch: int) -> Calls:
    """Each grouped convolution, whole and by columns, in both memory formats."""
    calls: Calls = {}
    for layer in architecture.learned_layers(CIFAR_ALEXNET):
        if layer.kind != "convolution" or layer.groups == 1:
            continue
        for name, memory_format in (("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last)):
            conv = nn.Conv2d(
                layer.inputs[0], layer.outputs[0], layer.kernel, padding=layer.kernel // 2, groups=layer.groups
            ).to(memory_format=memory_format)  # type: ignore[call-overload]
            x = torch.randn(batch, *layer.inputs).contiguous(memory_format=memory_format).requires_grad_()
            upper = torch.randn(batch, *layer.outputs).contiguous(memory_format=memory_format)

            def whole(conv: nn.Conv2d = conv, x: Tensor = x, upper: Tensor = upper) -> None:
                conv(x).backward(upper)

            def columns(conv: nn.Conv2d = conv, x: Tensor = x, upper: Tensor = upper) -> None:
                parts = zip(
                    *(t.chunk(conv.groups, d) for t, d in ((x, 1), (conv.weight, 0), (conv.bias, 0))), strict=True
                )
                torch.cat([F.conv2d(a, w, b, padding=conv.padding) for a, w, b in parts], 1).backward(upper)

            calls |= {f"{layer.name} grouped, {name}": whole, f"{layer.name} by columns, {name}": columns}
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    if not MEMORY.items() <= os.environ.items():  # glibc reads them when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MEMORY})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    a, b = torch.randn(2, MATRIX, MATRIX)
    last = step(arguments.batch, torch.channels_last)
    steps: Calls = {
        "matmul": lambda: a @ b,
        "plain": plain(last),
        "contiguous": step(arguments.batch, torch.contiguous_format),
        "ours": last,
    }
    seconds = medians(steps, arguments.repeats)
    work = dict.fromkeys(steps, flops(arguments.batch)) | {"matmul": 2.0 * MATRIX**3}
    rates = {name: work[name] / seconds[name] / 1e9 for name in steps}
    print(f"{'step':36} {'ms':>8} {'images/s':>9} {'GFLOP/s':>8} {'of matmul':>10}")
    for name in steps:
        images = f"{arguments.batch / seconds[name]:9.0f}" if name != "matmul" else " " * 9
        share = 100 * rates[name] / rates["matmul"]
        print(f"{name:36} {1000 * seconds[name]:8.2f} {images} {rates[name]:8.1f} {share:9.0f}%")
    alone = medians(convolutions(arguments.batch), arguments.repeats)
    for name, value in alone.items():
        print(f"{name:36} {1000 * value:8.2f}")
    if arguments.json:
        about = {"device": platform.machine(), "threads": 1, "batch": arguments.batch, "torch": torch.__version__}
        numbers = {"cpu_seconds": seconds | alone, "gflop_per_second": rates}
        arguments.json.write_text(json.dumps({**about, **numbers}, indent=1) + "\n")


if __name__ == "__main__":
    main()
