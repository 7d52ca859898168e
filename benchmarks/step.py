"""A training step of cuda-convnet's 11pct net, data path included, beside what one would write first, in one run.

    python benchmarks/step.py [--steps 20] [--rounds 7] [--threads 1] [--json PATH] [--publish]

What one would write first: torchvision's CIFAR10 and transforms, a DataLoader with two workers, contiguous memory,
torch.nn.LocalResponseNorm, unfold and einsum for the locally connected layers, torch.optim.SGD. Same network, same
initial weights, same rule, on the bundled sample. Each side is a process of its own; they take turns, with a second
between them in which the DataLoader's workers fill their queues and fall silent. The results are medians over the
rounds. A third process multiplies matrices: the step's own rate counts the multiply-adds of the convolutions, locally
connected and fully-connected layers alone, twice each; conv1 needs no gradient of its input.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from common import MATRIX, Process, finish, machine, matrix_product, options, serve
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10

from alexnet_repro.experiments.config import SAMPLE_TRAIN_IMAGES, DeviceConfig, RunConfig
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.benchmarks import row
from alexnet_repro.training.data import cifar10 as datasets
from alexnet_repro.training.models.layers import LocallyConnected
from alexnet_repro.training.trainer import Run

CONFIG: RunConfig = (
    study("lrn_cifar")
    .config("11pct", 0)
    .changed(**{"data.dataset": "sample", "data.train_images": SAMPLE_TRAIN_IMAGES})
)
SIDES = ("first", "ours", "matmul")
QUIET = 1.0
"""Seconds before a turn, for the workers of the other side to fall silent."""


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
    images.transform = transforms.Compose(
        [
            transforms.ToTensor(),
            Centred(sample.train_images),
            transforms.RandomCrop(24),
            transforms.RandomHorizontalFlip(),
        ]
    )
    images.target_transform = None
    return images


class Local(nn.Module):
    """A 3x3 convolution with kernels of its own at each place."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.empty(side * side, inputs * 9, outputs))
        self.bias = nn.Parameter(torch.empty(side * side, outputs))

    def forward(self, x: Tensor) -> Tensor:
        windows = F.unfold(x, kernel_size=3, padding=1)
        out = torch.einsum("bkp,pko->bop", windows, self.weight) + self.bias.T
        return out.view(len(x), -1, self.side, self.side)


def plain_net() -> nn.Sequential:
    """The net as one would write it first."""

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(9, alpha=1e-3, beta=0.75, k=1.0)

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        *(nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), pool(), norm()),
        *(nn.Conv2d(64, 64, 5, padding=2), nn.ReLU(), norm(), pool()),
        *(Local(64, 64, 6), nn.ReLU(), Local(64, 32, 6), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * 36, 10)),
    )


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """The same net: our initial weights in the layout of the other."""
    learned = [m for m in source.modules() if isinstance(m, nn.Conv2d | LocallyConnected | nn.Linear)]
    others = [m for m in target.modules() if isinstance(m, nn.Conv2d | Local | nn.Linear)]
    with torch.no_grad():
        for ours, other in zip(learned, others, strict=True):
            weight = ours.weight
            if isinstance(ours, LocallyConnected):  # unfold puts the map before the place
                weight = weight.permute(0, 1, 4, 2, 3, 5).reshape(other.weight.shape)
            other.weight.copy_(weight)
            other.bias.copy_(ours.bias.reshape(other.bias.shape))


def first() -> Callable[[], int]:
    """A step as one would write it first; returns its images."""
    optimizer = CONFIG.optimizer
    loader = DataLoader(cifar10(), optimizer.batch_size, shuffle=True, num_workers=2, persistent_workers=True)
    net, criterion = plain_net(), nn.CrossEntropyLoss()
    run = Run(CONFIG, DeviceConfig())
    copy_weights(run.net, net)
    run.data.start(0)
    inputs = run.data.batch(torch.arange(4), slice(0, 4))[0]
    torch.testing.assert_close(net(inputs), run.net(inputs), rtol=1e-4, atol=1e-5)
    layers = [module for module in net if hasattr(module, "weight")]
    rate = optimizer.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": [layer.weight], "weight_decay": decay}
        for layer, decay in zip(layers, optimizer.layer_decays, strict=True)
    ]
    groups.append({"params": [layer.bias for layer in layers], "lr": rate * optimizer.bias_rate_factor})
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
    run = Run(CONFIG, DeviceConfig(threads=threads))

    def step() -> int:
        run.update()
        size, batch = CONFIG.data.train_images, CONFIG.optimizer.batch_size
        return min(batch, size - (run.step - 1) % run.epoch_steps * batch)

    return step


def products() -> Callable[[], int]:
    """Matrix products; returns their operations in 10^9."""
    product = matrix_product()

    def several() -> int:
        for _ in range(10):
            product()
        return round(10 * 2 * MATRIX**3 / 1e9)

    return several


def operations() -> float:
    """Floating-point operations that an image takes in training, in 10^9."""
    run = Run(CONFIG, DeviceConfig())
    places: dict[nn.Module, int] = {}

    def note(module: nn.Module, _: object, result: Tensor) -> None:
        places[module] = result[0, 0].numel() if isinstance(module, nn.Conv2d) else 1

    learned = [m for m in run.net.modules() if isinstance(m, nn.Conv2d | LocallyConnected | nn.Linear)]
    for module in learned:
        module.register_forward_hook(note)
    run.net(torch.zeros(1, 3, CONFIG.data.side, CONFIG.data.side))
    passes = [2, *[3] * (len(learned) - 1)]
    counts = zip(passes, learned, strict=True)
    return sum(2.0 * count * module.weight.numel() * places[module] for count, module in counts) / 1e9


def take_turns(side: str, steps: int, threads: int) -> None:
    """One side: a turn is ``steps`` steps, and its number a rate."""
    torch.set_num_threads(threads)
    step = {"first": first, "ours": lambda: ours(threads), "matmul": products}[side]()
    for _ in range(3):
        step()

    def turn() -> float:
        start = time.perf_counter()
        done = sum(step() for _ in range(steps if side != "matmul" else max(1, steps // 4)))
        return done / (time.perf_counter() - start)

    serve(turn)


def measure(steps: int, rounds: int, threads: int) -> dict[str, list[float]]:
    """Images/s of either side and 10^9 operations/s of products in every round."""
    processes = {
        side: Process(
            "--side", side, "--steps", steps, "--threads", threads, threads=threads, keeps_buffers=side == "ours"
        )
        for side in SIDES
    }
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, process in processes.items():
            time.sleep(QUIET)
            process.tell()
            found[side].append(process.answer())
    for process in processes.values():
        process.close()
    return found


def main() -> None:
    parser = options(__doc__, steps=20, rounds=7, threads=1)
    parser.add_argument("--side", choices=SIDES)
    arguments = parser.parse_args()
    if arguments.side:
        take_turns(arguments.side, arguments.steps, arguments.threads)
        return
    about = machine()
    found = measure(arguments.steps, arguments.rounds, arguments.threads)
    peer, own, product = (statistics.median(found[side]) for side in SIDES)
    case = f"batch {CONFIG.optimizer.batch_size}, {arguments.threads} thread"
    rows = [
        row(case, "what one would write first", "images/s", own, peer, bar=2.0),
        row(
            f"{case}: its own arithmetic",
            f"a product of {MATRIX}² matrices",
            "GFLOP/s",
            own * operations(),
            product,
            0.7,
        ),
    ]
    finish("step", arguments, {**about, "threads": arguments.threads, "rounds": found}, rows)


if __name__ == "__main__":
    main()
