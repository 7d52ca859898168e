"""What a run trains on and is tested on: the first images or drawn ones, and images that are held out."""

import numpy as np
import pytest
import torch

from alexnet_repro.experiments.cifar_alexnet import BASELINE, TINY_BASELINE
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.training import in_memory, trainer
from alexnet_repro.training.data import cifar10
from alexnet_repro.training.data.cifar10 import Dataset
from alexnet_repro.training.in_memory import InMemoryData, chosen
from alexnet_repro.training.trainer import train

SMALL = {"model.kernels": (4, 4, 4, 4, 4), "model.hidden": 8, "data.color_noise": "none"}
SAMPLE = BASELINE.changed(**SMALL, **{"data.dataset": "sample", "data.train_images": 300})


def indices(**changes):
    config = SAMPLE.changed(**changes)
    train_, held_out = chosen(config.data, config.seed)
    everything = np.arange(2_000)
    return everything[train_].tolist(), [] if held_out is None else held_out.tolist()


def test_without_either_they_are_the_first():
    assert indices() == (list(range(300)), [])
    assert chosen(SAMPLE.data, 5) == (slice(300), None)


def test_drawn_images_are_others_for_each_seed():
    draws = [indices(**{"data.drawn": True, "seed": seed})[0] for seed in (0, 1)]
    assert all(len(set(draw)) == 300 for draw in draws)
    assert all(draw == sorted(draw) for draw in draws)
    shared = len(set(draws[0]) & set(draws[1]))
    assert 20 < shared < 80  # 45 are expected
    assert indices(**{"data.drawn": True, "optimizer.learning_rate": 0.5})[0] == draws[0]


@pytest.mark.parametrize("drawn", [False, True])
def test_held_out_images_never_train_and_are_the_same_for_every_seed(drawn):
    change = {"data.drawn": drawn, "data.held_out": 1_000}
    runs = [indices(**change, **{"data.train_images": 990, "seed": seed}) for seed in (0, 1_000)]
    assert runs[0][1] == runs[1][1]
    assert len(set(runs[0][1])) == 1_000
    assert runs[0][1] != list(range(1_000))
    for train_, held_out in runs:
        assert not set(train_) & set(held_out)
        assert len(set(train_)) == 990
    assert (runs[0][0] == runs[1][0]) is not drawn
    if not drawn:  # the first of those that are left
        assert runs[0][0] == [i for i in range(2_000) if i not in set(runs[0][1])][:990]


def test_a_larger_part_that_is_held_out_holds_the_smaller():
    assert set(indices(**{"data.held_out": 100})[1]) < set(indices(**{"data.held_out": 200})[1])


@pytest.mark.parametrize("changes", [{}, {"data.drawn": True}, {"data.held_out": 50}])
def test_images_labels_and_mean_are_those_of_the_indices(changes):
    data, config = cifar10.sample(), SAMPLE.changed(**changes)
    found = InMemoryData(config, data, "cpu")
    train_, held_out = indices(**changes)
    assert np.array_equal(found.train.pixels.permute(0, 3, 1, 2), data.train_images[train_])
    assert found.train.labels.tolist() == data.train_labels[train_].tolist()
    mean = data.train_images[train_].astype(np.float64).mean(0).transpose(1, 2, 0).astype(np.float32)
    assert np.array_equal(found.train.mean, mean)
    assert found.test.mean is found.train.mean
    tests = data.train_images[held_out] if held_out else data.test_images
    labels = data.train_labels[held_out] if held_out else data.test_labels
    assert np.array_equal(found.test.pixels.permute(0, 3, 1, 2), tests)
    assert found.test.labels.tolist() == labels.tolist()


def tiny_set(train_images=40, tests=20):
    """Tiny ImageNet of noise, channels last as it is stored."""
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, (train_images + tests, 64, 64, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    labels = random.integers(0, 200, train_images + tests).astype(np.uint8)
    return Dataset(pixels[:train_images], labels[:train_images], pixels[train_images:], labels[train_images:], "3" * 64)


def test_stored_images_are_not_copied():
    data = tiny_set()
    found = InMemoryData(TINY_BASELINE.changed(**{"data.train_images": 40, "optimizer.batch_size": 10}), data, "cpu")
    assert found.train.pixels.data_ptr() == data.train_images.ctypes.data
    assert found.test.pixels.data_ptr() == data.test_images.ctypes.data


def test_a_run_on_tiny_imagenet_records_top5_and_measures_a_part_of_its_training_images(monkeypatch):
    data = tiny_set()
    monkeypatch.setattr(trainer, "load", lambda name: {"tiny-imagenet": data}[name])
    monkeypatch.setattr(in_memory, "MEASURED", 12)
    seen = []
    evaluated = in_memory.alexnet_metrics

    def spy(net, config, train_, *rest):
        seen.extend(train_)
        return evaluated(net, config, seen, *rest)

    monkeypatch.setattr(in_memory, "alexnet_metrics", spy)
    config = TINY_BASELINE.changed(
        **SMALL,
        **{"data.train_images": 40, "optimizer.batch_size": 20, "optimizer.drops": (), "budget.epochs": 1},
    )
    record = train(config, DeviceConfig())
    assert record.status == "finished"
    assert set(record.metrics) == {
        "epochs", "train_error", "train_loss", "test_error", "test_top5_error", "clean_train_error", "gap",
        "early_train_loss", "ten_view_error", "ten_view_top5_error", "color_gap", "color_gap_shuffled", "color_gap_p",
        "knn_features", "knn_pixels",
    }  # fmt: skip
    assert record.metric("test_top5_error") <= record.metric("test_error")
    assert record.metric("clean_train_error") * 12 == round(record.metric("clean_train_error") * 12)
    assert torch.equal(
        torch.cat([images.pixels for images in seen]),
        torch.from_numpy(data.train_images[:12].transpose(0, 2, 3, 1).copy()),
    )
    assert record.provenance.data == "3" * 64


def test_held_out_images_are_what_a_run_is_tested_on(monkeypatch):
    config = SAMPLE.changed(
        **{"data.held_out": 7, "optimizer.drops": (), "budget.epochs": 1, "budget.test_curve": True}
    )
    record = train(config, DeviceConfig())
    assert record.metric("test_error") * 7 == pytest.approx(round(record.metric("test_error") * 7))
    assert "test_top5_error" not in record.metrics
