"""A training step of cuda-convnet's 19pct net, data path included, beside what one would write first, in one run.

    python benchmarks/step.py [--steps 30] [--rounds 5] [--threads 1] [--json PATH]

What one would write first: torchvision's CIFAR10 and transforms, a DataLoader with two workers, contiguous memory,
torch.optim.SGD. Same network, same initial weights, same rule, on the bundled sample. Each side is a process of its
own, and the two take turns; the table has medians of images/s. The DataLoader's workers have cores of their own
where the machine has them.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10

from alexnet_repro.config import Placement
from alexnet_repro.lab import datasets
from alexnet_repro.lab.cifar import CudaConvnet
from alexnet_repro.lab.launch import MEMORY
from alexnet_repro.lab.training import Run
from alexnet_repro.networks import CudaConvnetConfig
from alexnet_repro.studies import CUDA_CONVNET_19PCT

CONFIG = CUDA_CONVNET_19PCT.changed(**{"data.dataset": "sample", "data.train_images": datasets.SAMPLE_TRAIN})
SIDES = ("first", "ours")


class Centred:
    """Raw pixels less the mean image, as section 2 has it."""

    def __init__(self, images: np.ndarray) -> None:
        self.mean = torch.from_numpy(images.mean(axis=0, dtype=np.float64).astype(np.float32))

    def __call__(self, image: Tensor) -> Tensor:
        return image * 255 - self.mean


def cifar10() -> CIFAR10:
    """torchvision's data set with the images of the sample: its archive has only all of CIFAR-10."""
    sample = datasets.sample()
    images = object.__new__(CIFAR10)
    images.data = np.ascontiguousarray(sample.train_images.transpose(0, 2, 3, 1))
    images.targets = sample.train_labels.tolist()
    images.transform = transforms.Compose([transforms.ToTensor(), Centred(sample.train_images)])
    images.target_transform = None
    return images


def first() -> Callable[[], int]:
    """A step as one would write it first; returns its images."""
    optimizer = CONFIG.optimizer
    loader = DataLoader(cifar10(), optimizer.batch_size, shuffle=True, num_workers=2, persistent_workers=True)
    assert isinstance(CONFIG.model, CudaConvnetConfig)
    net, criterion = CudaConvnet(CONFIG.model, CONFIG.seed), nn.CrossEntropyLoss()
    weights = [p for p in net.parameters() if p.ndim > 1]
    biases = [p for p in net.parameters() if p.ndim == 1]
    rate = optimizer.learning_rate
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "lr": rate * optimizer.bias_rate_factor}]
    sgd = torch.optim.SGD(groups, lr=rate, momentum=optimizer.momentum)

    def endless() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    batches, total, correct = endless(), 0.0, 0

    def step() -> int:
        nonlocal total, correct
        images, labels = next(batches)
        logits = net(images)
        loss = criterion(logits, labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        total += loss.item() * len(labels)
        correct += int((logits.argmax(1) == labels).sum().item())
        return len(labels)

    return step


def ours(threads: int) -> Callable[[], int]:
    """A step of this package; returns its images."""
    run = Run(CONFIG, Placement(threads=threads))

    def step() -> int:
        run.update()
        size, batch = CONFIG.data.train_images, CONFIG.optimizer.batch_size
        return min(batch, size - (run.step - 1) % run.epoch_steps * batch)

    return step


def serve(side: str, steps: int, threads: int) -> None:
    """For every line on stdin, time ``steps`` steps and print images/s."""
    torch.set_num_threads(threads)
    step = first() if side == "first" else ours(threads)
    for _ in range(3):
        step()
    for _ in sys.stdin:
        start = time.perf_counter()
        images = sum(step() for _ in range(steps))
        print(images / (time.perf_counter() - start), flush=True)


def measure(steps: int, rounds: int, threads: int) -> dict[str, list[float]]:
    """Images/s of each side in every round."""
    processes = {}
    for side in SIDES:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **(MEMORY if side == "ours" else {})}
        command = [sys.executable, __file__, "--side", side, "--steps", str(steps), "--threads", str(threads)]
        processes[side] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, process in processes.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            found[side].append(float(process.stdout.readline()))
    for process in processes.values():
        process.communicate()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        serve(arguments.side, arguments.steps, arguments.threads)
        return
    found = measure(arguments.steps, arguments.rounds, arguments.threads)
    medians = {side: statistics.median(rates) for side, rates in found.items()}
    ratio = statistics.median(b / a for a, b in zip(found["first"], found["ours"], strict=True))
    for side, title in zip(SIDES, ("what one would write first", "this package"), strict=True):
        print(f"{title:26} {medians[side]:8.0f} images/s")
    print(f"{'faster':26} {ratio:8.2f}x, the median of {arguments.rounds} rounds")
    if arguments.json:
        about = {
            "device": platform.machine(),
            "cores": os.cpu_count(),
            "threads": arguments.threads,
            "steps": arguments.steps,
            "torch": torch.__version__,
            "python": sys.version.split()[0],
        }
        result = {**about, "images_per_second": medians, "ratio": ratio, "rounds": found}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
