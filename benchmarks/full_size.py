"""AlexNet at full size beside torchvision's, its grouped convolutions both ways, and images from disk, in one run.

    python benchmarks/full_size.py [--device cuda] [--batch 128] [--steps 20] [--rounds 3] [--images 1024] [--cores 16]
                                   [--json PATH] [--publish]

Three parts, at each precision (on a CPU, in float32 alone):

* Training steps on a batch that is on the device: the 2012 source's net as `run imagenet_source` trains it, beside
  torchvision's AlexNet, a smaller net without normalization, with torch.optim.SGD and one operation at a time.
* On a GPU, each grouped convolution, forward and backward, as one operation and as one convolution per column: training
  takes the faster way.
* Training on images from disk: the same JPEG files, prepared once as squares of 256 pixels and read ahead, beside
  torchvision's ImageFolder and a DataLoader with a worker per core, which decodes them anew for every batch.

The two sides of a row take turns, after one turn to warm up; the results are medians over the rounds.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import imagenet as files
import torch
import torchvision
from common import finish, in_turns, keep_buffers, machine, options
from torch import Tensor
from torch.nn.functional import cross_entropy

from alexnet_repro.common.machine import cores
from alexnet_repro.experiments import imagenet
from alexnet_repro.experiments.config import PRECISIONS, DeviceConfig, Precision, RunConfig
from alexnet_repro.networks.config import SOURCE
from alexnet_repro.networks.layers import learned_layers
from alexnet_repro.records.benchmarks import Row, row
from alexnet_repro.training import convolutions
from alexnet_repro.training.data import prepare
from alexnet_repro.training.precision import autocast, set_tf32
from alexnet_repro.training.trainer import Run

PEER = "torchvision's AlexNet"
COPIES = 8
"""Names of each file: reading ahead starts anew with every epoch, which is not to be a few steps long."""
LONGER, REST = 3, 4.0
"""From disk, turns have so many times as many steps. A rest of so many seconds lets the DataLoader's workers end what
they read ahead, which would slow the other side."""


def config(batch: int, precision: Precision) -> RunConfig:
    """The source's run on as many of the prepared images as fill batches, with the paper's thousand classes."""
    found = imagenet.study("imagenet_source").config("source", 0)
    images = found.data.train_images // batch * batch
    changes = {"model.classes": 1000, "optimizer.batch_size": batch, "data.train_images": images}
    return found.changed(**changes, precision=precision)


def same_batch(run: Run) -> Callable[[], object]:
    """A step of ours on one batch, again and again, as ``Run.update`` makes it."""
    part = run.start_step()
    inputs, labels = run.batch(part)
    batch, compute = {"inputs": inputs, "labels": labels, **run.masks(part)}, partial(run.compute, part)
    if run.graph is None:
        return partial(compute, batch)
    return partial(run.graph, compute, run.tensors, batch, *(group["lr"] for group in run.optimizer.param_groups))


def peer(device: str, precision: Precision) -> Callable[[Tensor, Tensor], None]:
    """A training step of torchvision's AlexNet."""
    net = torchvision.models.alexnet(weights=None).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0005)

    def step(inputs: Tensor, labels: Tensor) -> None:
        with autocast(precision, device):
            loss = cross_entropy(net(inputs).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def read_by_torchvision(step: Callable[[Tensor, Tensor], None], batches: Generator[tuple[Tensor, Tensor]], device: str):
    """A step on the next batch that torchvision reads."""
    inputs, labels = (each.to(device, non_blocking=True) for each in next(batches))
    step(inputs.contiguous(memory_format=torch.channels_last), labels)


def rates(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    images: int,
    steps: int,
    rounds: int,
    device: str,
    rest: float = 0.0,
):
    """Images/s of both, in turns, with a rest before each."""
    found = in_turns({"ours": ours, "theirs": theirs}, rounds, device, steps, rest)
    return [images * steps / seconds for seconds in found.values()]


def grouped(batch: int, precision: Precision, device: str) -> list[Row]:
    """Each grouped convolution as one operation, beside one per column."""
    rows = []
    for layer in learned_layers(SOURCE):
        if layer.kind == "convolution" and layer.groups > 1:
            whole, split = convolutions.milliseconds(convolutions.passes(layer, batch, precision, device), device)
            rows.append(row(f"{layer.name}, {precision}", "a convolution per column", "ms", whole, split))
    return rows


def measure(root: Path, batch: int, steps: int, rounds: int, workers: int, device: str) -> list[Row]:
    """All rows."""
    rows, shared = [], Path("/dev/shm")  # where a DataLoader's workers leave their batches
    needed = 2 * max(workers, 1) * batch * 3 * 224**2 * 4
    room = not shared.is_dir() or shutil.disk_usage(shared).free > needed
    if not room:
        print(f"nothing is read from disk: torchvision's DataLoader needs {needed / 2**30:.1f} GiB of {shared}")
    for precision in PRECISIONS if device == "cuda" else PRECISIONS[:1]:
        if precision == "bfloat16" and device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            continue
        run = Run(config(batch, precision), DeviceConfig(device=device, threads=workers if device == "cpu" else 1))
        labels = torch.arange(batch, device=device) % 1000
        inputs = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)
        step, batches = peer(device, precision), files.theirs(root, batch, workers, device == "cuda")
        said = f"a step, batch {batch}, {precision}"
        rows.append(
            row(
                said,
                PEER,
                "images/s",
                *rates(same_batch(run), partial(step, inputs, labels), batch, steps, rounds, device),
            )
        )
        theirs = partial(read_by_torchvision, step, batches, device)
        peers = f"{PEER} and a DataLoader of {workers} workers"
        if room:
            both = rates(run.update, theirs, batch, steps * LONGER, rounds, device, REST)
            rows.append(row(f"from disk, {precision}", peers, "images/s", *both))
        batches.close()
        run.data.loader.close()
        rows += grouped(batch, precision, device) if device == "cuda" else []
        set_tf32("float32")
    return rows


def main() -> None:
    parser = options(__doc__, batch=128, steps=20, rounds=3, images=1024, cores=cores())
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA GPU here: rehearse with --device cpu --batch 2 --steps 1 --rounds 1 --images 64")
    keep_buffers()
    about = machine(arguments.device)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "images"
        files.make(root, arguments.images, COPIES)
        os.environ["ALEXNET_REPRO_DATA"] = scratch
        prepare.prepare(root, 256, arguments.cores, progress=False, say=lambda _: None)
        rows = measure(root, arguments.batch, arguments.steps, arguments.rounds, arguments.cores, arguments.device)
    finish("full_size", arguments, {**about, "images": arguments.images}, rows)


if __name__ == "__main__":
    main()
