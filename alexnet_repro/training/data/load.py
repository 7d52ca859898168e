"""Load a data set by its name."""

from . import cifar10, tiny_imagenet
from .dataset import Dataset


def load(name: str) -> Dataset:
    """The data set of a DataConfig: "cifar10", "sample" (the bundled part of it) or "tiny-imagenet"."""
    if name == "tiny-imagenet":
        return tiny_imagenet.load()
    return cifar10.sample() if name == "sample" else cifar10.cifar10()
