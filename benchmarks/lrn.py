"""Local response normalization, forward and backward, beside torch.nn.LocalResponseNorm in one run.

    python benchmarks/lrn.py [--device cuda] [--batch 128] [--threads 1] [--repeats 5] [--json PATH] [--publish]

At conv1's and conv2's shapes (section 3.5) and in both memory formats, the two take turns; the results are the median
milliseconds of a forward and a backward pass, and the peak memory that they add to input and upstream gradient. Memory
is what the process has touched on a CPU (Linux only), and what torch has allocated on a GPU.
"""

import gc
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import finish, machine, options
from torch import Tensor

from alexnet_repro.records.benchmarks import Row, row
from alexnet_repro.training.models.lrn import cross_map_norm

SHAPES = {"conv1": (96, 55, 55), "conv2": (256, 27, 27)}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
ON_GPU = 20
"""Passes of one measurement on a GPU, which is done with one before Python has launched the next."""
PEER = "torch.nn.LocalResponseNorm"
NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "torch": torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0),
    "ours": lambda x: cross_map_norm(x, 5, 1e-4, 0.75, 2.0, divide_alpha=True),
}


def _pass(norm: Callable[[Tensor], Tensor], x: Tensor, upper: Tensor, times: int = 1) -> None:
    for _ in range(times):
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


def measure(batch: int, device: str, repeats: int) -> list[Row]:
    """Time and memory, per shape and memory format."""
    rows = []
    for layer, shape in SHAPES.items():
        for name, memory_format in FORMATS.items():
            generator = torch.Generator().manual_seed(0)
            x, upper = (
                torch.randn(batch, *shape, generator=generator).to(device, memory_format=memory_format)
                for _ in range(2)
            )
            x = x.relu_().requires_grad_()
            seconds: dict[str, list[float]] = {norm: [] for norm in NORMS}
            times = ON_GPU if x.is_cuda else 1
            for apply in NORMS.values():
                _pass(apply, x, upper, times)
            for _ in range(repeats):
                for norm, apply in NORMS.items():
                    start = time.perf_counter()
                    _pass(apply, x, upper, times)
                    seconds[norm].append((time.perf_counter() - start) / times)
            case = f"{layer}, {batch}×{'×'.join(map(str, shape))}, {name}"
            peer, ours = (1000 * statistics.median(seconds[norm]) for norm in ("torch", "ours"))
            rows.append(row(case, PEER, "ms", ours, peer, bar=5.0))
            peer, ours = (_peak_bytes(NORMS[norm], x, upper) / 2**20 for norm in ("torch", "ours"))
            rows.append(row(case, PEER, "MiB", ours, peer, bar=1.0))
    return rows


def main() -> None:
    parser = options(__doc__, batch=128, threads=1, repeats=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    about = machine(arguments.device)
    rows = measure(arguments.batch, arguments.device, arguments.repeats)
    finish("lrn", arguments, {**about, "threads": arguments.threads}, rows)


if __name__ == "__main__":
    main()
