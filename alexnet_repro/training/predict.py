"""Compute the predictions of trained networks from their saved weights, and publish them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..common.errors import UserError
from ..common.files import remedy
from ..experiments.config import RunConfig
from ..records import outputs
from ..records.predictions import Classes, Predictions, ranked, write
from ..records.record import RunRecord
from ..records.store import Store
from . import checkpoint
from .data import cifar10
from .data.images import pixel_mean
from .data.load import load
from .evaluate import BATCH, eval_mode
from .in_memory import parts
from .models.alexnet import AlexNet
from .models.build import build


def network(path: Path, config: RunConfig) -> AlexNet:
    """The trained network with the weights in the file ``path``. Raises UserError if they are another run's."""
    tensors, values = checkpoint.load(path, remedy(path))
    if values.get("key") != config.key:
        raise UserError(f"{path} belongs to another run than {config.key}: {remedy(path)}", 1)
    net = build(config.model, config.seed)
    assert isinstance(net, AlexNet)
    net.load_state_dict({name: tensor for name, tensor in tensors.items() if name != "mean"})
    return net.eval()


def mean_of(path: Path) -> Tensor | None:
    """The mean image stored with published weights; None if a file has only weights."""
    return checkpoint.load(path, remedy(path))[0].get("mean")


def make(config: RunConfig, store: Store) -> bool:
    """Keep a run's predictions in the working store; False where its weights are not there.

    Raises UserError where they err otherwise than the record says.
    """
    path, record = store.weights(config.key), store.find(config)
    if record is None or not path.is_file():
        return False
    logits, labels = _logits(path, config)
    probabilities = logits.softmax(1).numpy().astype(np.float16)
    _check(path, outputs.off(probabilities, labels, record))
    outputs.write(outputs.working(store, config.key), probabilities, labels)
    return True


def publish_predicted_classes(record: RunRecord, store: Store) -> None:
    """Publish the classes that a run's kept weights predict.

    Raises UserError where they err otherwise than the record says.
    """
    path = store.weights(record.key)
    logits, labels = _logits(path, record.config)
    predictions = Predictions(ranked(logits.numpy()), labels)
    _check(path, predictions.off(record))
    write(outputs.published(store, record.key), predictions)


def _logits(path: Path, config: RunConfig) -> tuple[Tensor, Classes]:
    """Logits (images, classes) for the centres of the test images, with the weights at ``path``, and the labels."""
    net = network(path, config)
    _, test = parts(config, load(config.data.dataset), "cpu")
    images = test.centre(config.data.side)
    torch.set_num_threads(1)
    with torch.no_grad(), eval_mode(net):
        logits = torch.cat([net(part.inputs()) for part in images.split(BATCH)])
    return logits, images.labels.numpy().astype(np.uint8)


def _check(path: Path, off: int) -> None:
    if off > outputs.ROUNDED:
        raise UserError(f"the weights at {path} err on {off} other images than their record: delete them", 1)


def publish_ensembles(store: Store) -> int:
    """Publish the predictions of the ensembles' members, and the weights of the first: how many are published now.

    Only of runs whose record is published.
    """
    records, members = store.published(), outputs.members()
    for config in members:
        target = outputs.published(store, config.key)
        if config.key in records and not target.is_file() and make(config, store):
            target.parent.mkdir(parents=True, exist_ok=True)
            outputs.write(target, *outputs.read(outputs.working(store, config.key)))
    first = members[0]
    kept = store.weights(first.key)
    if first.key in records and kept.is_file() and not outputs.published_weights(store, first.key).is_file():
        tensors, values = checkpoint.load(kept, remedy(kept))
        mean = pixel_mean(cifar10.cifar10().train_images[: first.data.train_images])
        checkpoint.save(outputs.published_weights(store, first.key), {**tensors, "mean": mean}, values)
    return sum(outputs.published(store, config.key).is_file() for config in members)
