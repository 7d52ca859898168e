"""Predictions of trained networks, made from their kept weights; and the one network that is published whole."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import ensembles
from ..config import RunConfig
from ..errors import UserError
from ..files import remedy
from ..store import Store
from ..studies import study
from . import checkpoint, datasets
from .alexnet import AlexNet
from .batches import pixel_mean
from .evaluate import BATCH, testing
from .nets import build
from .resident import Resident


def network(path: Path, config: RunConfig) -> AlexNet:
    """The trained network whose weights lie at ``path``. Raises UserError where they are another run's."""
    tensors, values = checkpoint.load(path, remedy(path))
    if values.get("key") != config.key:
        raise UserError(f"{path} belongs to another run than {config.key}: {remedy(path)}", 1)
    net = build(config.model, config.seed)
    assert isinstance(net, AlexNet)
    net.load_state_dict({name: tensor for name, tensor in tensors.items() if name != "mean"})
    return net.eval()


def mean_of(path: Path) -> Tensor | None:
    """The pixel mean that goes with published weights; None where a file holds the weights alone."""
    return checkpoint.load(path, remedy(path))[0].get("mean")


def make(config: RunConfig, store: Store) -> bool:
    """Keep a run's predictions in the working store; False where its weights are not there.

    Raises UserError where they err otherwise than the record says.
    """
    path, record = store.weights(config.key), store.find(config)
    if record is None or not path.is_file():
        return False
    net = network(path, config)
    data = Resident(config, datasets.load(config.data.dataset), "cpu")
    images = data.test.centre(config.data.side)
    torch.set_num_threads(1)
    with torch.no_grad(), testing(net):
        parts = torch.arange(len(images.labels)).split(BATCH)
        outputs = torch.cat([net(images.batch(part)[0]).softmax(1) for part in parts]).numpy().astype(np.float16)
    labels = images.labels.numpy().astype(np.uint8)
    off = ensembles.off(outputs, labels, record)
    if off > ensembles.ROUNDED:
        raise UserError(f"the weights at {path} err on {off} other images than their record: delete them", 1)
    ensembles.write(ensembles.working(store, config.key), outputs, labels)
    return True


def publish(store: Store) -> int:
    """Publish the predictions of the ensembles' members, and the weights of the first: how many are published now.

    Only of runs whose record is published.
    """
    plan = study(ensembles.MEMBERS)
    records = store.published()
    for config in (plan.config("baseline", seed) for seed in plan.seeds):
        target = ensembles.published(store, config.key)
        if config.key in records and not target.is_file() and make(config, store):
            target.parent.mkdir(parents=True, exist_ok=True)
            ensembles.write(target, *ensembles.read(ensembles.working(store, config.key)))
    first = plan.config("baseline", plan.seeds[0])
    kept = store.weights(first.key)
    if first.key in records and kept.is_file() and not ensembles.published_weights(store, first.key).is_file():
        tensors, values = checkpoint.load(kept, remedy(kept))
        mean = pixel_mean(datasets.cifar10().train_images[: first.data.train_images])
        checkpoint.save(ensembles.published_weights(store, first.key), {**tensors, "mean": mean}, values)
    return sum(ensembles.published(store, plan.config("baseline", seed).key).is_file() for seed in plan.seeds)
