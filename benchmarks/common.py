"""What the benchmarks share: taking turns, processes that wait for theirs, the command line, results in one form."""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from alexnet_repro.common import paths
from alexnet_repro.records import benchmarks
from alexnet_repro.training import provenance
from alexnet_repro.training.launch.local import MEMORY

Calls = Mapping[str, Callable[[], object]]
MATRIX = 1024
"""Side of the matrices whose product gives the rate that a step is held against."""


def options(doc: str | None, **numbers: int) -> argparse.ArgumentParser:
    """A command line of whole ``numbers`` by name and default, and of where the results go."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--publish", action="store_true", help="write them to data/benchmarks/, which the book shows")
    return parser


def keep_buffers() -> None:
    """Start this program again as training processes are started: glibc then keeps large buffers."""
    if not MEMORY.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MEMORY})


def medians(calls: Calls, repeats: int) -> dict[str, float]:
    """Median CPU seconds of each call, which take turns, after two rounds to warm up.

    CPU seconds stay put where other programs share the machine.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 2):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            if repeat >= 2:
                seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def in_turns(calls: Calls, rounds: int, device: str, steps: int = 1, rest: float = 0.0) -> dict[str, float]:
    """Median time of a turn of each call, in seconds; the calls take turns, and the first round is not counted.

    steps: calls in a turn. rest: seconds of sleep before each turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            time.sleep(rest)
            start = time.perf_counter()
            for _ in range(steps):
                call()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def matrix_product() -> Callable[[], object]:
    """A product of ``2 * MATRIX ** 3`` operations."""
    a, b = torch.randn(2, MATRIX, MATRIX)
    return lambda: a @ b


class Process:
    """This very script as another process, which does a turn for every line that it reads and prints a number.

    With ``keeps_buffers``, started as training processes are.
    """

    def __init__(self, *words: object, threads: int, keeps_buffers: bool = True) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        for name in MEMORY:
            environment.pop(name, None)
        if keeps_buffers:
            environment |= MEMORY
        command = [sys.executable, sys.argv[0], *map(str, words)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.answer()

    def tell(self) -> None:
        """Let it begin a turn."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def answer(self) -> float:
        """Wait for the number: that it is ready, at first, then that of its turn."""
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def serve(turn: Callable[[], float]) -> None:
    """The other side of ``Process``: be ready, then take turns until told no more."""
    print(0, flush=True)
    for _ in sys.stdin:
        print(turn(), flush=True)


def machine(device: str = "cpu") -> dict[str, Any]:
    """What measures, when, and how busy it was."""
    commit, clean = provenance.commit()
    return {
        "device": provenance.device_name(device),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "commit": commit,
        "clean": clean,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance.versions(),
    }


def finish(name: str, arguments: argparse.Namespace, about: Mapping[str, Any], rows: list[benchmarks.Row]) -> None:
    """Print the results of benchmark ``name`` and write them where they were asked for."""
    print(benchmarks.table(rows).to_string(index=False), flush=True)
    gpu = about["device"] if getattr(arguments, "device", "cpu") != "cpu" else ""
    write(arguments, benchmarks.path(name, gpu), about, rows)


def write(arguments: argparse.Namespace, published: Path, about: Mapping[str, Any], rows: list[Any]) -> None:
    """Write results where they were asked for, and say where that is."""
    for path in filter(None, [arguments.json, published if arguments.publish else None]):
        benchmarks.write(path, about, rows)
        print(f"written: {path.relative_to(paths.repository()) if path.is_relative_to(paths.repository()) else path}")
