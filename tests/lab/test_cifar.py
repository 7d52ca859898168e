"""The 19pct network, layer by layer against arrays made by hand."""

import itertools

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import nn

from alexnet_repro.lab.cifar import CudaConvnet, _average_pool, _conv, _max_pool
from alexnet_repro.networks import CudaConvnetConfig


def net(nonlinearity="relu", initialization="cuda-convnet", seed=0):
    config = CudaConvnetConfig(
        net="cuda-convnet", layers="19pct", nonlinearity=nonlinearity, initialization=initialization
    )
    return CudaConvnet(config, seed)


def convolved(x, weight, bias):
    """5x5 correlation with two zero pixels on each side, (maps, h, w)."""
    return np.stack(
        [correlate(np.pad(x, ((0, 0), (2, 2), (2, 2))), w, "valid")[0] + b for w, b in zip(weight, bias, strict=True)]
    )


def windows(side):
    """Where 3-pixel windows with stride 2 lie, the last one cut off at the edge: cuda-convnet's rule."""
    return [slice(start, min(start + 3, side)) for start in range(0, side - 1, 2)]


def pooled(x, how):
    """``how`` over each window's pixels, those inside the map alone."""
    places = windows(x.shape[-1])
    return np.array([[[how(m[rows, columns]) for columns in places] for rows in places] for m in x])


def test_a_convolution_by_hand():
    layer = nn.Conv2d(1, 1, 5, padding=2)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 2, 3] = 2.0  # the pixel to the right
        layer.weight[0, 0, 0, 2] = 10.0  # two rows up
        layer.bias.fill_(0.5)
    fresh = _conv(1, 1)
    fresh.load_state_dict(layer.state_dict())
    x = np.arange(9.0).reshape(1, 3, 3)
    by_hand = np.array([[[2.5, 4.5, 0.5], [8.5, 10.5, 0.5], [14.5, 26.5, 20.5]]])
    assert convolved(x, layer.weight.detach().numpy(), [0.5]) == pytest.approx(by_hand, abs=1e-6)
    assert fresh(torch.from_numpy(x).float()[None])[0].detach().numpy() == pytest.approx(by_hand, abs=1e-6)


def test_max_pooling_by_hand():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert _max_pool()(x).tolist() == [[[[10.0, 11.0], [14.0, 15.0]]]]
    # Where the window hangs over the edge, no zero comes in.
    assert _max_pool()(x - 100).tolist() == [[[[-90.0, -89.0], [-86.0, -85.0]]]]


def test_average_pooling_by_hand():
    # Windows of 9, 6, 6 and 4 pixels, each divided by the pixels that it has.
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert _average_pool()(x).tolist() == [[[[5.0, 6.5], [11.0, 12.5]]]]
    assert torch.equal(_average_pool()(torch.ones(1, 1, 16, 16)), torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize(("side", "after"), [(32, 16), (16, 8), (8, 4)])
@pytest.mark.parametrize(("layer", "how"), [(_max_pool, np.max), (_average_pool, np.mean)], ids=["max", "average"])
def test_pooling_against_a_loop(layer, how, side, after):
    x = np.random.default_rng(0).standard_normal((2, side, side))
    found = layer()(torch.from_numpy(x)[None])[0].numpy()
    assert found.shape == (2, after, after)
    assert found == pytest.approx(pooled(x, how), abs=1e-12)


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_the_whole_network_against_numpy(nonlinearity):
    # In double precision, so that only the order of summation differs.
    model = net(nonlinearity, "he", seed=3).double()
    for parameter in model.parameters():
        parameter.data += 0.01  # biases, too
    w = [p.detach().numpy() for p in model.parameters()]
    f = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}[nonlinearity]
    x = np.random.default_rng(1).standard_normal((3, 32, 32))
    h = f(pooled(convolved(x, w[0], w[1]), np.max))
    h = pooled(f(convolved(h, w[2], w[3])), np.mean)
    h = pooled(f(convolved(h, w[4], w[5])), np.mean)
    assert h.shape == (64, 4, 4)
    expected = w[6] @ h.reshape(-1) + w[7]
    assert model(torch.from_numpy(x)[None])[0].detach().numpy() == pytest.approx(expected, rel=1e-10)


def test_parameters_counted_by_hand():
    # conv1 3·32·25 + 32, conv2 32·32·25 + 32, conv3 32·64·25 + 64, fc 1,024·10 + 10
    assert [p.numel() for p in net().parameters()] == [2_400, 32, 25_600, 32, 51_200, 64, 10_240, 10]
    assert sum(p.numel() for p in net().parameters()) == 89_578


def test_tanh_differs_in_the_nonlinearity_alone():
    relu, tanh = net("relu"), net("tanh")
    layers = zip(relu.modules(), tanh.modules(), strict=True)
    differ = [
        (type(a), type(b)) for a, b in itertools.islice(layers, 1, None) if str(a) != str(b) and not list(a.children())
    ]
    assert differ == [(nn.ReLU, nn.Tanh)] * 3
    for a, b in zip(relu.parameters(), tanh.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_seed_decides_the_weights():
    same, other = net(seed=5), net(seed=6)
    for a, b, c in zip(net(seed=5).learned(), same.learned(), other.learned(), strict=True):
        assert torch.equal(a.weight, b.weight)
        assert not torch.equal(a.weight, c.weight)


def test_layers_draw_apart():
    # One stream a layer: equal draws would correlate the layers.
    firsts = [layer.weight.flatten()[:100] / layer.weight.std() for layer in net().learned()]
    for a, b in itertools.combinations(firsts, 2):
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.5  # of 100 pairs, sd 0.1


@pytest.mark.parametrize(
    ("nonlinearity", "initialization", "stds"),
    [
        ("relu", "cuda-convnet", [0.0001, 0.01, 0.01, 0.01]),  # initW of layers-19pct.cfg
        ("tanh", "cuda-convnet", [0.0001, 0.01, 0.01, 0.01]),
        ("relu", "he", [(2 / 75) ** 0.5, (2 / 800) ** 0.5, (2 / 800) ** 0.5, (2 / 1_024) ** 0.5]),
        ("tanh", "he", [(1 / 75) ** 0.5, (1 / 800) ** 0.5, (1 / 800) ** 0.5, (1 / 1_024) ** 0.5]),
    ],
)
def test_initial_weights(nonlinearity, initialization, stds):
    layers = net(nonlinearity, initialization).learned()
    for layer, std in zip(layers, stds, strict=True):
        n = layer.weight.numel()
        # Five standard errors of a standard deviation and of a mean.
        assert layer.weight.std().item() == pytest.approx(std, rel=5 / (2 * n) ** 0.5)
        assert abs(layer.weight.mean().item()) < 5 * std / n**0.5
        assert not layer.bias.any()
