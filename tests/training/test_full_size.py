"""The whole way of a full-size run, on a small tree with every bad file: prepare, train, resume, ten views."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import imagenet
from alexnet_repro.experiments import manifest as prepared
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.experiments.registry import study
from alexnet_repro.networks.config import CIFAR_ALEXNET
from alexnet_repro.training.cost import measure
from alexnet_repro.training.data import prepare as preparation
from alexnet_repro.training.data import shards
from alexnet_repro.training.evaluate import errors
from alexnet_repro.training.from_disk import OnDiskData
from alexnet_repro.training.trainer import Run, Stopped, train

from ..pictures import tree
from ..runs import after, numbers

SMALL = {"kernels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 3, "image_size": 70}
"""A net for 70 pixels, seven eighths of 80, that trains in no time."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tree(tmp_path_factory.mktemp("source"))


@pytest.fixture(autouse=True)
def _data(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path))
    monkeypatch.setattr(shards, "IMAGES", 16)


def prepare(source, size):
    return preparation.prepare(source, size, 1, progress=False, say=lambda _: None)


def small(manifest, **changes):
    """A run of the paper's recipe with a small net."""
    net = CIFAR_ALEXNET.change(**SMALL).model_dump()
    budget = {"budget.epochs": 2, "budget.measurements": 2, "optimizer.batch_size": 10}
    return imagenet.baseline(imagenet.Images.of(manifest)).changed(model=net, **(budget | changes))


@pytest.mark.slow
def test_the_paper_s_net_trains_resumes_and_is_tested(source, tmp_path):
    # 61 million parameters at 224 pixels; three steps of the smallest batches that say something.
    manifest = prepare(source, 256)
    config = imagenet.baseline(imagenet.Images.of(manifest)).changed(
        **{
            "model.classes": 1000,
            "data.train_images": 6,
            "optimizer.batch_size": 2,
            "budget.epochs": 1,
            "budget.measurements": 3,
            "budget.test_curve": False,
            "optimizer.plateau": None,
        }
    )
    path = tmp_path / "run"
    with pytest.raises(Stopped):
        train(config, DeviceConfig(), path, stop=after(2))
    resumed = Run(config, DeviceConfig())
    assert sum(p.numel() for p in resumed.net.parameters()) == 60_965_224
    resumed.resume(path)
    assert resumed.step == 2
    resumed.update()
    resumed.measure()
    assert resumed.status() == "finished"
    assert [point.images for point in resumed.curve] == [2, 4, 6]
    # At std 0.01 the first outputs hardly differ: the loss is that of a guess among a thousand.
    assert resumed.curve[0].train_loss == pytest.approx(math.log(1000), abs=0.7)
    found = errors(resumed.net, resumed.data.chunks(resumed.data.test, 4), 224, ten=True)
    assert len(found) == 2
    assert all(0 <= value <= 1 for each in found for value in each)


def test_pieces_give_the_same_record(source, tmp_path):
    config = small(prepare(source, 80))
    whole = train(config, DeviceConfig())
    for steps in (1, 4, 2):
        with pytest.raises(Stopped):
            train(config, DeviceConfig(), tmp_path / "run", stop=after(steps))
    assert numbers(train(config, DeviceConfig(), tmp_path / "run")) == numbers(whole)
    assert whole.provenance.data == config.data.digest
    assert {"test_error", "top5_error", "ten_view_error", "ten_view_top5_error", "gap"} <= set(whole.metrics)
    assert [point.test_error is not None for point in whole.curve] == [False, True] * 2


def test_errors_beside_those_in_memory(source):
    manifest = prepare(source, 80)
    run = Run(small(manifest), DeviceConfig())
    everything = next(run.data.chunks(run.data.test, len(run.data.test)))
    found = errors(run.net, run.data.chunks(run.data.test, len(run.data.test)), 70, ten=True)
    assert found == errors(run.net, everything.split(5), 70, ten=True)
    run.net.eval()
    outputs = run.net(everything.centre(70).inputs())
    assert found[0] == ((outputs.argmax(1) != everything.labels).double().mean().item(), 0.0)  # of three classes


def test_chunks_cover_every_image_once(source, monkeypatch):
    monkeypatch.setattr("alexnet_repro.training.from_disk.CHUNK", 5)
    run = Run(small(prepare(source, 80)), DeviceConfig())
    labels = torch.cat([images.labels for images in run.data.chunks(run.data.test, 12)])
    assert labels.tolist() == run.data.test.labels.tolist()
    assert sum(len(images.labels) for images in run.data.chunks(run.data.test, 10)) == 10


def test_the_rate_follows_the_validation_error(source, monkeypatch):
    # The error never improves after the first epoch: with patience 1, a drop after each, and the end.
    monkeypatch.setattr(OnDiskData, "curve_error", lambda self, net: 0.5)
    config = small(prepare(source, 80), **{"optimizer.plateau": 1, "budget.epochs": 9, "budget.ten_views": False})
    run, factors = Run(config, DeviceConfig()), []
    while run.status() is None:
        run.update()
        if run.should_log():
            run.measure()
        factors.append(run.optimizer.param_groups[0]["lr"] / config.optimizer.learning_rate)
    assert run.status() == "stopped"
    assert factors[:: run.epoch_steps] == pytest.approx([1, 1, 0.1, 0.01, 0.001])


def test_the_key_knows_the_images_and_not_their_place(source, tmp_path, monkeypatch):
    manifest = prepare(source, 80)
    config = small(manifest)
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "elsewhere"))
    assert small(prepare(source, 80)).key == config.key
    other = tree(tmp_path / "other", train=13)
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "others"))
    with pytest.raises(UserError, match="data imagenet"):
        Run(config, DeviceConfig())
    assert small(prepare(other, 80)).key != config.key


def test_more_images_than_there_are(source):
    config = small(prepare(source, 80)).changed(**{"data.train_images": 10_000})
    with pytest.raises(UserError, match="train_images=10000"):
        Run(config, DeviceConfig())


@pytest.mark.parametrize("name", imagenet.RECIPES)
def test_recipes(source, name, monkeypatch):
    manifest = prepare(source, 80).model_copy()
    part = manifest.parts["train"]
    many = part.model_copy(update={"shards": tuple(s.model_copy(update={"images": 700}) for s in part.shards)})
    manifest = manifest.model_copy(update={"size": 256, "parts": manifest.parts | {"train": many}})
    monkeypatch.setattr(prepared, "read", lambda _: manifest)
    plan = imagenet.study(name)
    for arm, config in plan.runs():
        assert config.model.image_size == config.data.side == 224
        assert config.data.digest == manifest.digest
        assert config.budget.epochs == (91 if arm == "source" else 90)
        assert arm in plan.arms
    if name == "imagenet_source":
        config = plan.config("source", 0)
        assert config.model.within_map_norm is not None
        log = pd.read_csv(paths.data() / "author_schedule.csv", dtype={"net": str})
        epochs = log[log["net"] == "145"].groupby("event")["epoch"].apply(tuple).to_dict()
        assert epochs == {
            "learning rate divided by 10": config.optimizer.drops,
            "learning rate of conv1 alone divided by 10": config.optimizer.conv1_drops,
            "conv1 frozen": (config.optimizer.conv1_frozen,),
            "colour noise switched off": (config.data.color_noise_epochs,),
            "stopped": (config.budget.epochs,),
        }
        assert config.optimizer.plateau is None


def test_recipes_ask_for_images(tmp_path):
    with pytest.raises(UserError, match="data imagenet --from"):
        imagenet.study("imagenet")


def test_cost(source):
    manifest = prepare(source, 80)
    cost = measure(small(manifest), DeviceConfig(), steps=3)
    assert cost.steps == 3
    assert cost.images_per_second == pytest.approx(30 / cost.seconds)
    assert cost.training_hours == pytest.approx(cost.seconds / 3 * 10 / 3600)
    assert cost.testing_hours > 0
    assert cost.watts is cost.kilowatt_hours is None  # a CPU does not tell
    drawn = replace(cost, watts=250.0, training_hours=7.0, testing_hours=1.0)
    assert drawn.kilowatt_hours == 2.0
    images = sum(part.images for part in manifest.parts.values())
    assert cost.images_bytes == images * 80 * 80 * 3
    assert cost.checkpoint_bytes > 2 * 4 * sum(p.numel() for p in Run(small(manifest), DeviceConfig()).net.parameters())


def test_a_cost_that_memory_does_not_suffice_for_is_said_as_the_run_says_it(source, monkeypatch):
    def full(run):
        raise MemoryError

    monkeypatch.setattr(Run, "update", full)
    with pytest.raises(UserError, match="too little memory on cpu"):
        measure(small(prepare(source, 80)), DeviceConfig(), steps=1)


def test_images_are_prepared_in_the_sizes_that_studies_take(monkeypatch):
    places = set()

    def read(place):
        places.add(place)
        raise UserError("no images")

    monkeypatch.setattr(prepared, "read", read)
    for name in imagenet.names():
        with pytest.raises(UserError, match="no images"):
            imagenet.study(name)
    assert places == {prepared.folder(size) for size in prepared.SIZES}


def test_a_study_by_name(tmp_path):
    for name in ("imagenet", "imagenet_source_128"):
        with pytest.raises(UserError, match="data imagenet --from"):
            study(name)
    with pytest.raises(UserError, match="imagenet_batch_256_128"):
        study("imagenet_nothing")


def test_the_source_recipe_freezes_conv1_and_ends_the_noise(source):
    changes = {"optimizer.plateau": None, "optimizer.conv1_drops": (1,), "optimizer.conv1_frozen": 2,
               "data.color_noise_epochs": 1, "budget.epochs": 4, "budget.ten_views": False}  # fmt: skip
    run = Run(small(prepare(source, 80), **changes), DeviceConfig())
    first = next(run.net.parameters()).detach()
    factors, noisy, moved = [], [], []
    while run.status() is None:
        before = first.clone()
        run.update()
        factors.append([group["lr"] / run.config.optimizer.learning_rate for group in run.optimizer.param_groups])
        noisy.append(run.data.loader._epoch.shifts is not None)
        moved.append((first - before).norm().item())
    steps = run.epoch_steps
    assert factors[::steps] == [pytest.approx([first, first, 1, 1]) for first in (1, 0.1, 0, 0)]
    assert noisy[::steps] == [True, False, False, False]
    assert min(moved[: 2 * steps]) > 0
    assert max(moved[2 * steps :]) == 0
    assert [group["first_layer"] for group in run.optimizer.param_groups] == [True, True, False, False]
    assert [len(group["params"]) for group in run.optimizer.param_groups] == [1, 1, 7, 7]
