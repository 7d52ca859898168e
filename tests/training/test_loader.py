"""What the loader gives is what Augmentation gives of the same images in memory, from any batch on."""

import numpy as np
import pytest
import torch

from alexnet_repro.common.rng import stream
from alexnet_repro.experiments import manifest as prepared
from alexnet_repro.experiments.config import DataConfig
from alexnet_repro.training.data import prepare, shards
from alexnet_repro.training.data.augment import Augmentation, ColorNoise
from alexnet_repro.training.data.images import Images, pixel_mean
from alexnet_repro.training.data.loader import Loader
from alexnet_repro.training.data.shards import Shards

from ..pictures import tree

SIZE, SIDE, BATCH = 31, 24, 8


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("ALEXNET_REPRO_DATA", str(tmp_path_factory.mktemp("data")))
    patch.setattr(shards, "IMAGES", 7)
    source = tree(tmp_path_factory.mktemp("source"))
    manifest = prepare.prepare(source, SIZE, 1, progress=False, say=lambda _: None)
    yield Shards(prepared.folder(SIZE), manifest, "train")
    patch.undo()


def pair(part, seed=3, **changes):
    """The loader, and the augmentation in memory, of the same run."""
    values = {"dataset": "cifar10", "train_images": len(part) - 5, "divisor": 1.0, "crop": SIDE, "random_crops": True}
    config = DataConfig(**(values | changes))
    pixels = np.empty((config.train_images, SIZE, SIZE, 3), np.uint8)
    part.read(range(config.train_images), pixels)
    channels = pixels.transpose(0, 3, 1, 2)
    mean = pixel_mean(channels)
    memory = Images.of(channels, part.labels[: config.train_images], mean, config.divisor, "cpu")
    noise = None if config.color_noise == "none" else ColorNoise.of(memory.pixels, config.color_noise)
    return Loader(part, config, seed, mean, noise, "cpu", BATCH), Augmentation(config, memory, seed)


def batches(source, count, epoch, seed=3, first=0, step=BATCH):
    order = torch.from_numpy(stream(seed, "order", epoch).permutation(count))
    source.start(epoch)
    for start in range(first, count, step):
        here = slice(start, min(start + step, count))
        yield source.batch(order[here], here)


SETTINGS = [
    {},
    {"reflect": True},
    {"reflect": True, "color_noise": "paper", "divisor": 8.0},
    {"reflect": True, "color_noise": "source", "shared_crops": 4},
    {"random_crops": False},
]


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
@pytest.mark.parametrize("epoch", [0, 2])
def test_bit_for_bit(part, changes, epoch):
    loader, memory = pair(part, **changes)
    count = loader.config.train_images
    seen = 0
    for (ours, labels), (theirs, same) in zip(
        batches(loader, count, epoch), batches(memory, count, epoch), strict=True
    ):
        assert torch.equal(ours, theirs)
        assert torch.equal(labels, same)
        assert ours.is_contiguous(memory_format=torch.channels_last)
        seen += len(labels)
    assert seen == count
    loader.close()


def test_a_resumed_run_starts_anywhere(part):
    loader, _ = pair(part, reflect=True, color_noise="paper")
    count = loader.config.train_images
    whole = list(batches(loader, count, 1))
    for first in (8, 32, 40):
        for (ours, _), (theirs, _) in zip(batches(loader, count, 1, first=first), whole[first // 8 :], strict=True):
            assert torch.equal(ours, theirs)
    loader.close()


def test_a_part_of_each_batch(part):
    # As in data parallel: this process takes the second half of every batch; the last is uneven.
    loader, memory = pair(part, reflect=True)
    count = loader.config.train_images
    order = torch.from_numpy(stream(3, "order", 0).permutation(count))
    loader.start(0)
    memory.start(0)
    for start in range(0, count, BATCH):
        middle, end = start + BATCH // 2, min(start + BATCH, count)
        here = slice(middle, end)
        assert torch.equal(loader.batch(order[here], here)[0], memory.batch(order[here], here)[0])
    loader.close()


def test_it_reads_ahead_and_no_image_twice(part, monkeypatch):
    loader, _ = pair(part)
    count, read = loader.config.train_images, []
    true_read = Shards.read

    def counting(self, index, into, *rows):
        read.extend(int(i) for i in index)
        true_read(self, index, into, *rows)

    monkeypatch.setattr(Shards, "read", counting)
    taken = batches(loader, count, 0)
    next(taken)
    for _, future in loader._ahead:
        future.result()
    assert len(read) > BATCH
    list(taken)
    assert sorted(read) == list(range(count))
    loader.close()
