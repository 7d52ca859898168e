"""Two processes of one thread each beside one process of two threads, training the 19pct net, in one run.

    python benchmarks/launch.py [--steps 30] [--rounds 5] [--json PATH]

All processes are started as `launch` starts its workers, and the two ways take turns; the table has medians of the
images/s of all processes together. Training on the bundled sample.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from alexnet_repro.config import Placement
from alexnet_repro.lab import datasets
from alexnet_repro.lab.launch import MEMORY
from alexnet_repro.lab.training import Run
from alexnet_repro.studies import CUDA_CONVNET_19PCT

CONFIG = CUDA_CONVNET_19PCT.changed(**{"data.dataset": "sample", "data.train_images": datasets.SAMPLE_TRAIN})
WAYS = {"one process, two threads": (1, 2), "two processes, one thread each": (2, 1)}


def serve(steps: int, threads: int) -> None:
    """For every line on stdin, train ``steps`` steps and print how many images that were."""
    torch.set_num_threads(threads)
    run = Run(CONFIG, Placement(threads=threads))
    size, batch = CONFIG.data.train_images, CONFIG.optimizer.batch_size
    for _ in range(3):
        run.update()
    print("ready", flush=True)
    for _ in sys.stdin:
        images = 0
        for _ in range(steps):
            images += min(batch, size - run.step % run.epoch_steps * batch)
            run.update()
        print(images, flush=True)


def start(steps: int, threads: int) -> subprocess.Popen[str]:
    """A process that trains when told to, once it is ready."""
    environment = {**os.environ, **MEMORY, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--serve", str(threads), "--steps", str(steps)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def together(processes: list[subprocess.Popen[str]]) -> float:
    """Images/s of all processes, all told at once, until the last is done."""
    begin = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    images = 0
    for process in processes:
        assert process.stdout is not None
        images += int(process.stdout.readline())
    return images / (time.perf_counter() - begin)


def measure(steps: int, rounds: int) -> dict[str, list[float]]:
    """Images/s of each way in every round."""
    ways = {way: [start(steps, threads) for _ in range(count)] for way, (count, threads) in WAYS.items()}
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, processes in ways.items():
            found[way].append(together(processes))
    for processes in ways.values():
        for process in processes:
            process.communicate()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--serve", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.steps, arguments.serve)
        return
    found = measure(arguments.steps, arguments.rounds)
    medians = {way: statistics.median(rates) for way, rates in found.items()}
    ratio = statistics.median(two / one for one, two in zip(*found.values(), strict=True))
    for way, rate in medians.items():
        print(f"{way:30} {rate:8.0f} images/s")
    print(f"{'faster':30} {ratio:8.2f}x, the median of {arguments.rounds} rounds")
    if arguments.json:
        about = {
            "device": platform.machine(),
            "cores": os.cpu_count(),
            "steps": arguments.steps,
            "torch": torch.__version__,
            "python": sys.version.split()[0],
        }
        result = {**about, "images_per_second": medians, "ratio": ratio, "rounds": found}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
