"""Prepared images through our loader, beside torchvision's ImageFolder and DataLoader on the same files.

    python benchmarks/imagenet.py [--images 512] [--batches 12] [--batch 128] [--cores 2] [--json PATH] [--publish]

Makes JPEG files of ImageNet's usual size (500 x 375), prepares them once, then lets the two take turns: torchvision
decodes, resizes, crops, reflects and scales each image anew (RandomCrop(224) of Resize(256), ToTensor), in as many
worker processes as there are ``cores``; ours reads prepared pixels ahead in threads, crops, reflects, adds the colour
noise and takes off the mean. The results are images per second of the wall clock, the median over the turns, and per
CPU second of all processes together, which other programs on the machine do not distort.
Both keep their large buffers, as every training process here does (launch.MEMORY).
"""

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import finish, keep_buffers, machine, options
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

from alexnet_repro.experiments import manifest as prepared
from alexnet_repro.experiments.imagenet import Images, baseline
from alexnet_repro.records.benchmarks import row
from alexnet_repro.training.data import prepare
from alexnet_repro.training.data.augment import ColorNoise
from alexnet_repro.training.data.images import pixel_mean
from alexnet_repro.training.data.loader import Loader
from alexnet_repro.training.data.shards import Shards

CLASSES = 4
TURNS = 3
WARM = 2
"""Batches before the clock starts: processes are up, and as many batches are ahead as will be left at the end."""


def make(root: Path, count: int, copies: int = 1) -> None:
    """Smooth pictures with grain: files of about 100 KB, as ImageNet's; each under so many names."""
    rng = np.random.default_rng(0)
    for i in range(count):
        part = "val" if i % 16 == 0 else "train"
        folder = root / part / f"class{i // 16 % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = rng.integers(-12, 13, smooth.shape, dtype=np.int16)
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(folder / f"{i}.JPEG", quality=90)
        for copy in range(1, copies):
            os.link(folder / f"{i}.JPEG", folder / f"{i}-{copy}.JPEG")


def theirs(root: Path, batch: int, cores: int, pinned: bool = False) -> Generator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches and labels as torchvision reads them, without end."""
    steps = [
        transforms.Resize(256),
        transforms.RandomCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
    ]
    folder = ImageFolder(str(root / "train"), transforms.Compose(steps))
    sampler = RandomSampler(folder, replacement=True, num_samples=10**9)  # no epoch ends, no worker starts anew
    yield from DataLoader(folder, batch, sampler=sampler, num_workers=cores, pin_memory=pinned)


def _ours(batch: int) -> Generator[tuple[torch.Tensor, torch.Tensor]]:
    manifest = prepared.read(prepared.folder(256))
    shards = Shards(prepared.folder(256), manifest, "train")
    data = baseline(Images.of(manifest)).data
    some = np.empty((64, 256, 256, 3), np.uint8)
    shards.read(range(64), some)
    noise, mean = ColorNoise.of(torch.from_numpy(some), "paper"), pixel_mean(some.transpose(0, 3, 1, 2))
    loader = Loader(shards, data, 0, mean, noise, "cpu", batch)
    try:
        for epoch in range(10**6):
            loader.start(epoch)
            for start in range(0, len(shards) - batch + 1, batch):
                yield loader.batch(torch.empty(0), slice(start, start + batch))
    finally:
        loader.close()


def _cpu() -> float:
    """CPU seconds of this process and of its children, dead or alive (Linux only)."""
    ended = (resource.getrusage(who)[:2] for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    total, ticks = sum(map(sum, ended)), os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def _turn(batches: Generator[tuple[torch.Tensor, torch.Tensor]], count: int) -> tuple[float, float]:
    """Images per second, of the clock and of the CPU, once all is under way; ends what the batches come from."""
    for _ in range(WARM):
        next(batches)
    start, start_cpu, images = time.perf_counter(), _cpu(), 0
    for _ in range(count):
        inputs, _ = next(batches)
        assert inputs.shape[1:] == (3, 224, 224)
        images += len(inputs)
    rates = images / (time.perf_counter() - start), images / (_cpu() - start_cpu)
    batches.close()
    return rates


def measure(images: int, batches: int, batch: int, cores: int) -> dict[str, Any]:
    """Rates of both, in turns, and of the preparation."""
    torch.set_num_threads(cores)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "images"
        make(root, images)
        os.environ["ALEXNET_REPRO_DATA"] = scratch
        start, start_cpu = time.perf_counter(), _cpu()
        prepare.prepare(root, 256, 1, progress=False, say=lambda _: None)
        rates = {"preparing": [(images / (time.perf_counter() - start), images / (_cpu() - start_cpu))]}
        for _ in range(TURNS):
            rates.setdefault("torchvision", []).append(_turn(theirs(root, batch, cores), batches))
            rates.setdefault("ours", []).append(_turn(_ours(batch), batches))
    names = ("images_per_second", "per_cpu_second")
    return {
        source: dict(zip(names, map(statistics.median, zip(*turns, strict=True)), strict=True))
        for source, turns in rates.items()
    }


def main() -> None:
    arguments = options(__doc__, images=512, batches=12, batch=128, cores=2).parse_args()
    keep_buffers()
    about = machine()
    rates = measure(arguments.images, arguments.batches, arguments.batch, arguments.cores)
    theirs, ours = rates["torchvision"], rates["ours"]
    peer, case = "torchvision's ImageFolder and DataLoader", f"batch {arguments.batch}, {arguments.cores} cores"
    rows = [
        row(case, peer, "images/s", ours["images_per_second"], theirs["images_per_second"], bar=5),
        row(case, peer, "images per CPU second", ours["per_cpu_second"], theirs["per_cpu_second"]),
    ]
    finish("imagenet", arguments, {**about, "preparing": rates["preparing"]}, rows)


if __name__ == "__main__":
    main()
