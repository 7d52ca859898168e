"""Local response normalization, forward and backward, beside torch.nn.LocalResponseNorm in one run.

    python benchmarks/lrn.py [--device cuda] [--batch 128] [--threads 1] [--repeats 5] [--json PATH]

At conv1's and conv2's shapes (section 3.5) and in both memory formats, the two take turns; the table has the median
seconds of a forward and a backward pass, and the peak memory that they add to input and upstream gradient. Memory
is what the process has touched on a CPU (Linux only), and what torch has allocated on a GPU. CPU seconds are those
of all threads, and stay put where other programs share the machine.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet_repro.lab.lrn import cross_map_norm

SHAPES = {"conv1": (96, 55, 55), "conv2": (256, 27, 27)}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "torch": torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0),
    "ours": lambda x: cross_map_norm(x, 5, 1e-4, 0.75, 2.0, divide_alpha=True),
}


def _pass(norm: Callable[[Tensor], Tensor], x: Tensor, upper: Tensor) -> None:
    x.grad = None
    norm(x).backward(upper)
    if x.is_cuda:
        torch.cuda.synchronize()


def _resident() -> int:
    """Bytes that this process holds in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS in /proc/self/status: this benchmark's memory column needs Linux")


def _peak_bytes(norm: Callable[[Tensor], Tensor], x: Tensor, upper: Tensor) -> int:
    x.grad = None
    gc.collect()
    if x.is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        _pass(norm, x, upper)
        return torch.cuda.max_memory_allocated() - before
    before, peak, done = _resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    _pass(norm, x, upper)
    done.set()
    watcher.join()
    return max(peak, _resident()) - before


def measure(batch: int, device: str, repeats: int) -> list[dict[str, Any]]:
    """One row per shape, memory format and norm."""
    rows = []
    for layer, shape in SHAPES.items():
        for name, memory_format in FORMATS.items():
            generator = torch.Generator().manual_seed(0)
            x, upper = (
                torch.randn(batch, *shape, generator=generator).to(device, memory_format=memory_format)
                for _ in range(2)
            )
            x = x.relu_().requires_grad_()
            wall: dict[str, list[float]] = {norm: [] for norm in NORMS}
            cpu: dict[str, list[float]] = {norm: [] for norm in NORMS}
            for apply in NORMS.values():
                _pass(apply, x, upper)
            for _ in range(repeats):
                for norm, apply in NORMS.items():
                    start, start_cpu = time.perf_counter(), time.process_time()
                    _pass(apply, x, upper)
                    wall[norm].append(time.perf_counter() - start)
                    cpu[norm].append(time.process_time() - start_cpu)
            for norm, apply in NORMS.items():
                rows.append(
                    {
                        "layer": layer,
                        "shape": [batch, *shape],
                        "memory_format": name,
                        "norm": norm,
                        "seconds": statistics.median(wall[norm]),
                        "cpu_seconds": statistics.median(cpu[norm]),
                        "peak_bytes": _peak_bytes(apply, x, upper),
                    }
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = measure(arguments.batch, arguments.device, arguments.repeats)
    titles = f"{'layer':6} {'format':14} {'torch s':>9} {'ours s':>9} {'faster':>7} {'by CPU s':>9}"
    print(f"{titles}  {'MiB: torch':>10} {'ours':>6}")
    for torchs, ours in zip(rows[::2], rows[1::2], strict=True):
        print(
            f"{ours['layer']:6} {ours['memory_format']:14} {torchs['seconds']:9.4f} {ours['seconds']:9.4f} "
            f"{torchs['seconds'] / ours['seconds']:6.1f}x {torchs['cpu_seconds'] / ours['cpu_seconds']:8.1f}x  "
            f"{torchs['peak_bytes'] / 2**20:10.0f} {ours['peak_bytes'] / 2**20:6.0f}"
        )
    if arguments.json:
        about = {
            "device": torch.cuda.get_device_name() if arguments.device.startswith("cuda") else platform.machine(),
            "threads": arguments.threads,
            "repeats": arguments.repeats,
            "torch": torch.__version__,
            "python": sys.version.split()[0],
        }
        arguments.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
