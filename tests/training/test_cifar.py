"""cuda-convnet's networks, layer by layer against arrays made by hand."""

import itertools

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import nn

from alexnet_repro.networks.config import CudaConvnetConfig
from alexnet_repro.training.models.cuda_convnet import CudaConvnet, _average_pool, _conv, _max_pool
from alexnet_repro.training.models.lrn import LocalResponseNorm


def net(nonlinearity="relu", initialization="cuda-convnet", seed=0, layers="19pct", normalization="file"):
    config = CudaConvnetConfig(
        net="cuda-convnet",
        layers=layers,
        nonlinearity=nonlinearity,
        initialization=initialization,
        normalization=normalization,
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


@pytest.mark.parametrize(("side", "after"), [(32, 16), (16, 8), (8, 4), (24, 12), (12, 6), (6, 3)])
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


def local(x, weight, bias):
    """3x3 correlation with one zero pixel on each side, each place with its own kernels, (maps, h, w)."""
    padded, (maps, side, _) = np.pad(x, ((0, 0), (1, 1), (1, 1))), x.shape
    result = np.empty((weight.shape[-1], side, side))
    for r, c in itertools.product(range(side), repeat=2):
        window = padded[:, r : r + 3, c : c + 3].transpose(1, 2, 0)
        result[:, r, c] = (window[..., None] * weight[r, c]).sum((0, 1, 2)) + bias[r, c]
    assert maps == weight.shape[-2]
    return result


def normalized(x, size):
    """x / (1 + .001 / size * sum of squares over the maps around each)^.75: cuda-convnet's constants."""
    half, squares = size // 2, x**2
    sums = [squares[max(0, i - half) : i + half + 1].sum(0) for i in range(len(x))]
    return x / (1 + 1e-3 / size * np.stack(sums)) ** 0.75


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize(
    ("layers", "normalization", "by_hand"),
    [
        # What stands between conv1, conv2 and local3: layers-conv-local-13pct.cfg, then the two versions of 11pct.
        ("13pct", "file", (lambda x: pooled(x, np.max), lambda x: pooled(x, np.max))),
        ("13pct", "added", (lambda x: pooled(normalized(x, 5), np.max),) * 2),
        ("11pct", "file", (lambda x: normalized(pooled(x, np.max), 9), lambda x: pooled(normalized(x, 9), np.max))),
        ("11pct", "none", (lambda x: pooled(x, np.max), lambda x: pooled(x, np.max))),
    ],
)
def test_the_networks_with_local_layers_against_numpy(layers, normalization, by_hand):
    model = net("relu", "he", 3, layers, normalization).double()
    for parameter in model.parameters():
        parameter.data += 0.01
    w = [p.detach().numpy() for p in model.parameters()]
    x = 20 * np.random.default_rng(1).standard_normal((3, 24, 24))
    h = by_hand[0](relu(convolved(x, w[0], w[1])))
    h = by_hand[1](relu(convolved(h, w[2], w[3])))
    assert h.shape == (64, 6, 6)
    h = relu(local(h, w[4], w[5]))
    h = relu(local(h, w[6], w[7]))
    expected = w[8] @ h.reshape(-1) + w[9]
    assert model(torch.from_numpy(x)[None])[0].detach().numpy() == pytest.approx(expected, rel=1e-10)


def test_pooling_before_relu_gives_the_same_numbers():
    model = net(layers="11pct")
    x = torch.randn(4, 64, 24, 24, generator=torch.Generator().manual_seed(0))
    plain, ours = (x.clone().requires_grad_() for _ in range(2))
    expected = _max_pool()(plain.relu())
    found = model.features[1:3](ours)
    assert [type(module) for module in model.features[1:3]] == [nn.MaxPool2d, nn.ReLU]
    assert torch.equal(found, expected)
    upper = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    expected.backward(upper)
    found.backward(upper)
    assert torch.equal(plain.grad, ours.grad)


@pytest.mark.parametrize(
    ("layers", "normalization", "differ"),
    [("13pct", "added", [5, 5]), ("11pct", "none", [9, 9])],
)
def test_a_matched_pair_differs_in_its_normalization_alone(layers, normalization, differ):
    file, other = net(layers=layers), net(layers=layers, normalization=normalization)
    with_it, without = (other, file) if normalization == "added" else (file, other)
    norms = [module for module in with_it.features if isinstance(module, LocalResponseNorm)]
    assert [norm.size for norm in norms] == differ
    assert not any(isinstance(module, LocalResponseNorm) for module in without.features)
    order = [[type(m) for m in model.features if not isinstance(m, LocalResponseNorm)] for model in (with_it, without)]
    # The maxima move before the ReLU where nothing stands between them, to the same numbers.
    assert sorted(map(str, order[0])) == sorted(map(str, order[1]))
    for a, b in zip(with_it.parameters(), without.parameters(), strict=True):
        assert torch.equal(a, b)


def test_13pct_and_11pct_share_what_they_can():
    a, b = (net(layers=layers).learned() for layers in ("13pct", "11pct"))
    same = [x.weight.shape == y.weight.shape for x, y in zip(a, b, strict=True)]
    assert same == [True, True, False, False, True]
    for x, y, shared in zip(a, b, same, strict=True):
        assert not shared or torch.equal(x.weight, y.weight)


@pytest.mark.parametrize(
    ("layers", "counts"),
    [
        # conv1 3·64·25 + 64, conv2 64·64·25 + 64, local 36 places of 9·inputs·outputs + outputs, fc 1,152·10 + 10
        ("13pct", [4_800, 64, 102_400, 64, 663_552, 1_152, 331_776, 1_152, 11_520, 10]),
        ("11pct", [4_800, 64, 102_400, 64, 1_327_104, 2_304, 663_552, 1_152, 11_520, 10]),
    ],
)
def test_parameters_of_the_local_nets_counted_by_hand(layers, counts):
    assert [p.numel() for p in net(layers=layers).parameters()] == counts


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
    ("nonlinearity", "initialization", "layers", "stds"),
    [
        ("relu", "cuda-convnet", "19pct", [0.0001, 0.01, 0.01, 0.01]),  # initW of the layer files
        ("tanh", "cuda-convnet", "19pct", [0.0001, 0.01, 0.01, 0.01]),
        ("relu", "cuda-convnet", "13pct", [0.0001, 0.01, 0.04, 0.04, 0.01]),
        ("relu", "cuda-convnet", "11pct", [0.0001, 0.01, 0.04, 0.04, 0.01]),
        ("relu", "he", "19pct", [(2 / 75) ** 0.5, (2 / 800) ** 0.5, (2 / 800) ** 0.5, (2 / 1_024) ** 0.5]),
        ("tanh", "he", "19pct", [(1 / 75) ** 0.5, (1 / 800) ** 0.5, (1 / 800) ** 0.5, (1 / 1_024) ** 0.5]),
        ("relu", "he", "13pct", [(2 / n) ** 0.5 for n in (75, 1_600, 576, 288, 1_152)]),
    ],
)
def test_initial_weights(nonlinearity, initialization, layers, stds):
    layers = net(nonlinearity, initialization, layers=layers).learned()
    for layer, std in zip(layers, stds, strict=True):
        n = layer.weight.numel()
        # Five standard errors of a standard deviation and of a mean.
        assert layer.weight.std().item() == pytest.approx(std, rel=5 / (2 * n) ** 0.5)
        assert abs(layer.weight.mean().item()) < 5 * std / n**0.5
        assert not layer.bias.any()
