"""Batches with crops, reflections and colour noise, beside torchvision's transforms image by image, in one run.

    python benchmarks/augment.py [--batch 128] [--repeats 20] [--json PATH]

On the bundled sample and one thread. The two take turns; the last column is the share of a training step of AlexNet
in CIFAR size. CPU seconds stay put where other programs share the machine.
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

import torch
from torch import Tensor
from torchvision.transforms import v2

from alexnet_repro.ablations import BASELINE
from alexnet_repro.config import Placement
from alexnet_repro.lab.augment import Augmentation, ColorNoise
from alexnet_repro.lab.batches import Images
from alexnet_repro.lab.launch import MEMORY
from alexnet_repro.lab.training import Run


def image_by_image(images: Images, noise: ColorNoise) -> Callable[[Tensor], Tensor]:
    """What one would write first: the same, with torchvision and a loop."""
    # Crops take the mean alongside, as a fourth to sixth channel.
    mean = images.mean.permute(2, 0, 1)
    transform = v2.Compose([v2.RandomCrop(24), v2.RandomHorizontalFlip()])

    def batch(index: Tensor) -> Tensor:
        result = []
        for place in index.tolist():
            both = torch.cat([images.pixels[place].permute(2, 0, 1).float(), mean])
            pixels, means = transform(both).chunk(2)
            shift = (0.1 * torch.randn(3)) @ noise.directions
            result.append((pixels - means + shift[:, None, None]) / images.divisor)
        return torch.stack(result)

    return batch


def measure(batch: int, repeats: int) -> dict[str, float]:
    """Median CPU seconds of a batch either way, of a training step, and of the draws of an epoch per step."""
    run = Run(BASELINE.changed(**{"data.dataset": "sample", "data.train_images": 2_000}), Placement())
    augmentation = Augmentation(run.config.data, run.train, seed=0)
    noise = augmentation.noise
    assert noise is not None
    peer = image_by_image(run.train, noise)
    index, part = torch.randperm(2_000)[:batch], slice(0, batch)
    calls: dict[str, Callable[[], object]] = {
        "torchvision": lambda: peer(index),
        "draws": lambda: augmentation.start(0),
        "ours": lambda: augmentation.batch(index, part),
        "step": run.update,
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 2):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            if repeat >= 2:
                seconds[name].append(time.thread_time() - start)
    found = {name: statistics.median(values) for name, values in seconds.items()}
    return found | {"draws": found["draws"] / run.epoch_steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    if not MEMORY.items() <= os.environ.items():  # glibc reads them when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MEMORY})
    torch.set_num_threads(1)
    seconds = measure(arguments.batch, arguments.repeats)
    ours = seconds["ours"] + seconds["draws"]
    print(f"{'batch of ' + str(arguments.batch):14} {'ms':>8} {'of a step':>10}")
    for name, value in (("torchvision", seconds["torchvision"]), ("ours", ours), ("step", seconds["step"])):
        print(f"{name:14} {1000 * value:8.2f} {100 * value / seconds['step']:9.1f}%")
    if arguments.json:
        about = {"device": platform.machine(), "threads": 1, "batch": arguments.batch, "torch": torch.__version__}
        arguments.json.write_text(json.dumps({**about, "cpu_seconds": seconds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
