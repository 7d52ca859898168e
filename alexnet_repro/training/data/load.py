"""Load a data set by its name."""

from collections.abc import Callable, Mapping

from . import cifar10, tiny_imagenet
from .dataset import Dataset

LOADERS: Mapping[str, Callable[[], Dataset]] = {
    "cifar10": cifar10.cifar10,
    "sample": cifar10.sample,
    "tiny-imagenet": tiny_imagenet.load,
}


def load(name: str) -> Dataset:
    """The data set that a DataConfig calls ``name``, one of ``LOADERS``."""
    return LOADERS[name]()
