"""Batches with crops, reflections and colour noise, beside torchvision's transforms image by image, in one run.

    python benchmarks/augment.py [--batch 128] [--repeats 20] [--json PATH] [--publish]

On the bundled sample and one thread, CPU time. The two take turns with a training step of AlexNet in CIFAR size, of
which batches are to be at most 5 %, a twentieth.
"""

from collections.abc import Callable

import torch
from common import Calls, finish, keep_buffers, machine, medians, options
from torch import Tensor
from torchvision.transforms import v2

from alexnet_repro.experiments.cifar_alexnet import BASELINE
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.records.benchmarks import row
from alexnet_repro.training.data.augment import Augmentation, ColorNoise
from alexnet_repro.training.data.images import Images
from alexnet_repro.training.trainer import Run


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
    run = Run(BASELINE.changed(**{"data.dataset": "sample", "data.train_images": 2_000}), DeviceConfig())
    augmentation = Augmentation(run.config.data, run.train, seed=0)
    noise = augmentation.noise
    assert noise is not None
    peer = image_by_image(run.train, noise)
    index, part = torch.randperm(2_000)[:batch], slice(0, batch)
    calls: Calls = {
        "torchvision": lambda: peer(index),
        "draws": lambda: augmentation.start(0),
        "ours": lambda: augmentation.batch(index, part),
        "step": run.update,
    }
    found = medians(calls, repeats)
    return found | {"draws": found["draws"] / run.epoch_steps}


def main() -> None:
    arguments = options(__doc__, batch=128, repeats=20).parse_args()
    keep_buffers()
    torch.set_num_threads(1)
    about = machine()
    seconds = measure(arguments.batch, arguments.repeats)
    ours, case = 1000 * (seconds["ours"] + seconds["draws"]), f"batch {arguments.batch}, 1 thread"
    rows = [
        row(case, "torchvision's transforms, image by image", "ms", ours, 1000 * seconds["torchvision"]),
        row(
            f"{case}: within a step",
            "the whole step of AlexNet in CIFAR size",
            "ms",
            ours,
            1000 * seconds["step"],
            20.0,
        ),
    ]
    finish("augment", arguments, {**about, "threads": 1}, rows)


if __name__ == "__main__":
    main()
