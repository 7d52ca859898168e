"""Grouped convolutions, both ways, on the GPU that is here. tests/training has all that needs none."""

import pytest
import torch
from torch import nn

from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.networks.config import CIFAR_ALEXNET, PAPER
from alexnet_repro.networks.layers import learned_layers
from alexnet_repro.training import convolutions
from alexnet_repro.training.models.layers import SplitConv2d
from alexnet_repro.training.trainer import Run

from ..runs import load_few_test_images
from ..training.test_parallel import TINY, advance

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

LAYERS = [
    pytest.param(layer, id=f"{name} {layer.name}")
    for name, config in (("paper", PAPER), ("cifar", CIFAR_ALEXNET))
    for layer in learned_layers(config)
    if layer.kind == "convolution" and layer.groups > 1
]


@pytest.fixture(autouse=True)
def _few_test_images_and_nothing_timed_before(monkeypatch):
    load_few_test_images(monkeypatch.setattr)
    convolutions.split_is_faster.cache_clear()
    yield
    convolutions.split_is_faster.cache_clear()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("layer", LAYERS)
def test_both_ways_give_the_same_outputs_and_gradients(layer, memory_format):
    def draw(*shape):
        values = torch.randn(shape, dtype=torch.double, device="cuda")
        return values.contiguous(memory_format=memory_format) if len(shape) == 4 else values

    sizes = (layer.inputs[0], layer.outputs[0], layer.kernel, layer.stride, layer.padding[0])
    grouped = nn.Conv2d(*sizes, groups=layer.groups, device="meta")
    grouped.weight, grouped.bias = nn.Parameter(draw(*layer.weight_shape)), nn.Parameter(draw(layer.outputs[0]))
    x, upper = draw(4, *layer.inputs).requires_grad_(), draw(4, *layer.outputs)
    results = []
    for conv in (grouped, SplitConv2d.of(grouped)):
        result = conv(x)
        results.append((result, *torch.autograd.grad(result, (x, conv.weight, conv.bias), upper)))
    for ours, theirs in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12 * theirs.abs().max().item())


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("layer", LAYERS)
def test_both_ways_are_captured_and_take_some_time(layer, precision, monkeypatch):
    captured = []
    replay = convolutions._captured

    def kept(recorder, work):
        captured.append((work, replay(recorder, work)))
        return captured[-1][1]

    monkeypatch.setattr(convolutions, "_captured", kept)
    times = convolutions.milliseconds(convolutions.passes(layer, 32, precision, "cuda"), "cuda")
    assert all(found is not work for work, found in captured)
    assert len(times) == 2
    assert min(times) > 0


@pytest.mark.parametrize("times", [(1.0, 2.0), (2.0, 1.0)], ids=["grouped", "split"])
def test_a_run_is_captured_either_way(times, monkeypatch):
    monkeypatch.setattr(convolutions, "milliseconds", lambda works, device: list(times))
    run = Run(TINY, DeviceConfig(device="cuda"))
    split = any(isinstance(module, SplitConv2d) for module in run.net.modules())
    assert split is (times[1] < times[0])
    advance(run, 8)
    assert run.graph._replay is not None
    assert run.loss.isfinite()


def test_both_ways_train_alike(monkeypatch):
    losses = []
    for times in ((1.0, 2.0), (2.0, 1.0)):
        convolutions.split_is_faster.cache_clear()
        monkeypatch.setattr(convolutions, "milliseconds", lambda works, device, times=times: list(times))
        run = Run(TINY, DeviceConfig(device="cuda"))
        for _ in range(3):
            run.update()
        losses.append(run.loss)
    torch.testing.assert_close(*losses, rtol=1e-4, atol=0)  # as for two eager runs in test_graphs.py
