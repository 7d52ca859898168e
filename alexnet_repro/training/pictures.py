"""What one trained network makes of a few images drawn at random, after the paper's Figs. 3 and 4."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..experiments.config import RunConfig
from ..experiments.registry import study
from ..records.curves import TOP
from ..records.outputs import published_weights
from ..records.pictures import Pictures, published, read, write
from ..records.store import Store
from .data import cifar10, tiny_imagenet
from .data.images import Images, pixel_mean
from .data.load import load
from .evaluate import BATCH, eval_mode
from .features import NEIGHBOURS, QUERIES, color_index, vectors
from .in_memory import parts
from .models.alexnet import AlexNet
from .predict import mean_of, network

DRAWN = 10
"""Test images with guesses."""
SHOWN = 5
"""Test images with neighbours."""


def of_sample(store: Store, config: RunConfig) -> Pictures | None:
    """The pictures of a run on CIFAR-10, with the images of the bundled sample; None if its weights are not there."""
    path = next((p for p in (published_weights(store, config.key), store.weights(config.key)) if p.is_file()), None)
    if path is None:
        return None
    data, mean = cifar10.sample(), mean_of(path)
    mean = pixel_mean(data.train_images) if mean is None else mean
    train, test = (
        Images.of(images, labels, mean, config.data.divisor, "cpu")
        for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels))
    )
    return pictures(network(path, config), config, cifar10.CLASSES, train, test)


SHOWN_RUNS = (("tiny_imagenet", "baseline"), ("tiny_imagenet_rates", "baseline 0.03"))
"""Studies and arms on Tiny ImageNet: the first of them whose first seed is published is drawn."""


def publish(store: Store) -> bool:
    """Publish the pictures of the first of ``SHOWN_RUNS`` that is there; False if they are published already.

    Needs the published record, the weights in the working store, and the images of Tiny ImageNet.
    """
    plans = [(study(name), arm) for name, arm in SHOWN_RUNS]
    configs = [plan.config(arm, plan.seeds[0]) for plan, arm in plans]
    config = next((c for c in configs if c.key in store.published() and store.weights(c.key).is_file()), None)
    if config is None or (published(store).is_file() and read(published(store)).key == config.key):
        return False
    names = [words.split(",")[0] for words in tiny_imagenet.describe().words]
    data = load(config.data.dataset)
    train, _ = parts(config, data, "cpu")
    test = Images.of(data.test_images, data.test_labels, train.mean, config.data.divisor, "cpu")
    write(published(store), pictures(network(store.weights(config.key), config), config, names, train, test))
    return True


@torch.no_grad()
def pictures(net: AlexNet, config: RunConfig, classes: Sequence[str], train: Images, test: Images) -> Pictures:
    """What ``net`` makes of images: guesses of all test images, and neighbours among all training images.

    train, test: whole images, which are cut to the centre here.
    """
    torch.set_num_threads(1)  # two threads on two cores collapse where anything else runs
    train, test = train.centre(config.data.side), test.centre(config.data.side)
    index = one_of_each(test.labels.numpy())
    drawn = index[:: -(-len(index) // DRAWN)]
    shown = np.arange(0, len(drawn), len(drawn) // SHOWN)
    with eval_mode(net):
        logits = torch.cat([net(part.inputs()) for part in test.split(BATCH)])
        near = torch.stack([
            _neighbours(test, train, drawn[shown], net.features),
            _neighbours(test, train, drawn[shown], lambda inputs: inputs.flatten(1)),
        ])  # fmt: skip
    by_layer_and_pixels, queries = near[:, : len(shown)].numpy(), test.labels[:QUERIES]
    probabilities, guesses = logits[drawn].softmax(1).topk(min(TOP, len(classes)))
    better = (logits > logits.gather(1, test.labels[:, None])).sum(1)
    columns = net.conv1_kernels()
    return Pictures(
        key=np.array(config.key),
        classes=np.array(classes),
        kernels=torch.cat(columns).numpy(),
        colour=torch.cat([color_index(kernels) for kernels in columns]).numpy(),
        columns=np.array(len(columns)),
        images=test.pixels[drawn].numpy(),
        labels=test.labels[drawn].numpy(),
        guesses=guesses.numpy(),
        probabilities=probabilities.numpy(),
        right=np.array([len(better), int((better == 0).sum()), int((better < TOP).sum())]),
        shown=shown,
        near=train.pixels.numpy()[by_layer_and_pixels],
        near_labels=train.labels.numpy()[by_layer_and_pixels],
        same=(train.labels[near[:, len(shown) :]] == queries[:, None]).double().mean((1, 2)).numpy(),
        queries=np.array(len(queries)),
    )


def _neighbours(test: Images, train: Images, index: NDArray[np.int64], of: Callable[[Tensor], Tensor]) -> Tensor:
    """Nearest training images of the test images at ``index``, then of the first ``QUERIES``: (queries, rank)."""
    wanted = Images(test.pixels[index], test.labels[index], test.mean, test.divisor)
    queries = torch.cat([vectors(wanted, len(index), of), vectors(test, QUERIES, of)])
    best, found, start = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64), 0
    for part in train.split(BATCH):  # as pixels, 100,000 photographs are more than memory may hold
        among = of(part.inputs())
        distances = torch.cat([best, among.square().sum(1) - 2 * queries @ among.T], 1)
        places = torch.cat([found, torch.arange(start, start + len(among)).expand(len(queries), -1)], 1)
        best, order = distances.topk(min(NEIGHBOURS, distances.shape[1]), largest=False)
        found, start = places.gather(1, order), start + len(among)
    return found


def one_of_each(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of an image of each class, drawn at random with the seed 0, in order of class: none is hand-picked."""
    draw = np.random.default_rng(0)
    return np.array([int(draw.choice(np.flatnonzero(labels == label))) for label in np.unique(labels)])
