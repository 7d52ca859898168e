"""Tables to compare with: a linear classifier, untrained networks, torchvision's AlexNet, others' errors."""

import pandas as pd

from ..common import paths
from ..common.errors import UserError
from ..common.files import read_csv


def linear_classifier() -> tuple[int, float]:
    """(training images, test error) of the linear classifier of data/linear_classifier.csv. Raises UserError, too."""
    path = paths.data() / "linear_classifier.csv"
    table = read_csv(path, dict.fromkeys(("train_images", "penalty", "test_error"), float))
    if len(table) != 1:
        raise UserError(f"{path} has {len(table)} rows where one belongs: restore it with 'git checkout -- {path}'", 1)
    return int(table["train_images"].item()), float(table["test_error"].item())


def untrained_neighbours() -> pd.Series:
    """data/untrained_neighbours.csv: ``knn_features`` of the study features' networks before training, by seed."""
    table = read_csv(paths.data() / "untrained_neighbours.csv", {"seed": int, "knn_features": float})
    return table.set_index("seed")["knn_features"]


def tiny_imagenet_results() -> pd.DataFrame:
    """data/tiny_imagenet_results.csv: errors of others' small networks on Tiny ImageNet, a row each, in percent."""
    texts = ("who", "source", "network", "training", "tested_on")
    return read_csv(paths.data() / "tiny_imagenet_results.csv", {**dict.fromkeys(texts, str), "top1_error": float})


def torchvision_table() -> pd.DataFrame:
    """torchvision's AlexNet, a row per module; training/torchvision_alexnet.py wrote the table."""
    numbers = ("maps", "side", "kernel", "stride", "padding", "groups", "parameters", "multiply_adds")
    columns: dict[str, type] = {"name": str, "kind": str, **dict.fromkeys(numbers, float)}
    return read_csv(paths.data() / "torchvision_alexnet.csv", columns)
