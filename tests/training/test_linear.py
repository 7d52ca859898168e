"""The linear classifier, and the record of it that the book shows."""

import numpy as np
import pandas as pd
import pytest

from alexnet_repro.common import paths
from alexnet_repro.experiments.cifar_alexnet import BASELINE
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.lookup import records
from alexnet_repro.records.store import Store
from alexnet_repro.training.data.cifar10 import FILE, Dataset, cifar10
from alexnet_repro.training.linear import classifier


def images(labels: np.ndarray, noise: float) -> np.ndarray:
    """A pixel per class that is brighter where the class is, among noise."""
    pixels = np.random.default_rng(0).normal(128, noise, (len(labels), 48))
    pixels[np.arange(len(labels)), labels] += 40
    return pixels.clip(0, 255).astype(np.uint8).reshape(-1, 3, 4, 4)


@pytest.mark.parametrize(("noise", "low", "high"), [(5, 0.0, 0.01), (1_000, 0.8, 0.98)])
def test_it_learns_what_is_linear_and_nothing_else(noise, low, high):
    train, test = (np.random.default_rng(seed).integers(0, 10, 500).astype(np.uint8) for seed in (1, 2))
    data = Dataset(images(train, noise), train, images(test, noise)[::-1].copy(), test[::-1].copy(), "")
    assert low <= classifier(data, 500)[1] <= high


@pytest.mark.slow
def test_the_record_is_met_and_the_net_errs_far_less():
    (row,) = pd.read_csv(paths.data() / "linear_classifier.csv").itertuples()
    assert row.train_images == BASELINE.data.train_images
    if not (paths.downloads() / FILE).is_file():
        pytest.skip("CIFAR-10 is not here")
    penalty, error = classifier(cifar10(), row.train_images)
    assert (penalty, error) == (row.penalty, pytest.approx(row.test_error, abs=0.002))
    net = records(study("ablations"), Store())["baseline"].values()
    assert max(run.metric("test_error") for run in net) < error - 0.15
