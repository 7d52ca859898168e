"""The public names: their examples run, and those of networks give what the inner modules give."""

import doctest
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch

import alexnet_repro
from alexnet_repro import build_model, load_data, top1_error, top5_error
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.config import DIGESTS
from alexnet_repro.experiments.registry import study
from alexnet_repro.networks import config as networks
from alexnet_repro.training import api
from alexnet_repro.training.data import cifar10
from alexnet_repro.training.models.alexnet import AlexNet
from alexnet_repro.training.models.cuda_convnet import CudaConvnet


@pytest.mark.parametrize("home", sorted(set(alexnet_repro._HOMES.values())))
def test_examples_in_docstrings_run(home):
    done = doctest.testmod(import_module(f"alexnet_repro.{home}"))
    assert done.attempted > 0
    assert done.failed == 0


def test_every_public_name_is_there():
    for name in alexnet_repro.__all__:
        assert getattr(alexnet_repro, name).__doc__


def test_torch_is_imported_with_the_first_name_that_needs_it():
    code = (
        "import sys, alexnet_repro\n"
        "assert 'build_model' in dir(alexnet_repro)\n"
        "from alexnet_repro import load_runs\n"
        "assert 'torch' not in sys.modules\n"
        "from alexnet_repro import top1_error\n"
        "assert 'torch' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_preset_a_config_and_a_run_build_the_same_net():
    config = study("lrn").config("baseline", 3)
    nets = [build_model("cifar", 3), build_model(networks.CIFAR_ALEXNET, seed=3), build_model(config)]
    expected = AlexNet(networks.CIFAR_ALEXNET, 3).state_dict()
    for net in nets:
        assert net.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in net.state_dict().items())
    other = build_model(config, seed=4)
    assert not torch.equal(other.conv1.weight, nets[0].conv1.weight)
    assert build_model(config, seed=0).conv1.weight.equal(build_model("cifar").conv1.weight)


@pytest.mark.parametrize("name", api.PRESETS)
def test_every_preset_takes_its_images(name):
    config = api.PRESETS[name]
    model = build_model(name, device="meta").eval()
    images = torch.empty(2, 3, config.image_size, config.image_size, device="meta")
    assert model(images).shape == (2, config.classes)


def test_cuda_convnets_nets_are_built_from_their_configs():
    config = study("relu_speed").config("relu", 0)
    assert isinstance(build_model(config.model), CudaConvnet)
    assert build_model(config, device="meta").eval()(torch.empty(1, 3, 32, 32, device="meta")).shape == (1, 10)


def test_an_unknown_network_is_named():
    with pytest.raises(UserError, match="unknown network 'vgg': choose one of cifar, paper, source, tiny-imagenet"):
        build_model("vgg")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named():
    with pytest.raises(UserError, match="'cuda:1' is not available"):
        build_model("cifar", device="cuda:1")


def test_errors_against_sorted_logits():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 12)), rng.integers(0, 12, 200)
    best = np.argsort(-logits, axis=1)
    given = torch.from_numpy(logits), torch.from_numpy(labels)
    assert top1_error(*given) == np.mean(best[:, 0] != labels)
    assert top5_error(*given) == np.mean([label not in row[:5] for label, row in zip(labels, best, strict=True)])
    assert top5_error(given[0][:, :5], given[1] % 5) == 0.0


def test_ties_and_nan_count_as_said():
    tied = torch.zeros(2, 6)
    assert top1_error(tied, torch.tensor([0, 5])) == 0.5  # the first of equals
    lost = torch.tensor([[1.0, float("nan"), 3.0]])
    assert top1_error(lost, torch.tensor([1])) == 0.0
    assert top1_error(lost, torch.tensor([2])) == 1.0


@pytest.mark.parametrize("error", [top1_error, top5_error])
@pytest.mark.parametrize(
    ("logits", "labels"), [((4, 3), (4, 1)), ((4, 3), (3,)), ((4,), (4,)), ((0, 3), (0,))], ids=str
)
def test_shapes_that_do_not_match_are_named(error, logits, labels):
    with pytest.raises(ValueError, match=r"give \(n, classes\) and \(n,\)"):
        error(torch.zeros(logits), torch.zeros(labels, dtype=torch.int64))


def test_the_sample_as_tensors():
    data, inner = load_data("sample"), cifar10.sample()
    assert inner.digest == DIGESTS["sample"]
    for ours, theirs in zip(
        data, (inner.train_images, inner.train_labels, inner.test_images, inner.test_labels), strict=True
    ):
        assert ours.numpy().tolist() == theirs.tolist()
    assert [tensor.dtype for tensor in data] == [torch.uint8, torch.int64] * 2
    data.train_images.zero_()  # one's own copy
    assert load_data("sample").train_images.any()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cifar10", "CIFAR-10 is not at .*: run 'alexnet-repro data cifar10'"),
        ("tiny-imagenet", "Tiny ImageNet is not at .*: run 'alexnet-repro data tiny-imagenet'"),
        ("mnist", "unknown data set 'mnist': choose one of cifar10, sample, tiny-imagenet"),
    ],
)
def test_data_that_is_not_there_is_named_and_not_fetched(name, said, tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "none"))
    with pytest.raises(UserError, match=said):
        load_data(name)
    assert not (tmp_path / "none").exists()
