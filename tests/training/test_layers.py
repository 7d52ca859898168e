import itertools

import pytest
import torch

from alexnet_repro.common.rng import torch_stream
from alexnet_repro.training.models import layers


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def test_grouped_linear_is_a_layer_per_group():
    layer, x = layers.GroupedLinear(3, 4, groups=2).double(), normal(5, 6)
    assert layer.weight.shape == (4, 3)
    halves = [
        torch.nn.functional.linear(x[:, :3], layer.weight[:2], layer.bias[:2]),
        torch.nn.functional.linear(x[:, 3:], layer.weight[2:], layer.bias[2:]),
    ]
    torch.testing.assert_close(layer(x), torch.cat(halves, 1))


def test_dropout_multiplies_by_its_mask_or_by_what_it_keeps_on_average():
    dropout, x = layers.Dropout(0.25), torch.tensor([[2.0, -4.0]])
    assert dropout(x).tolist() == [[1.5, -3.0]]
    assert dropout(x, torch.tensor([[True, False]])).tolist() == [[2.0, 0.0]]


def local(inputs=3, outputs=4, side=5, kernel=3):
    layer = layers.LocallyConnected(inputs, outputs, side, kernel).double()
    with torch.no_grad():
        layer.weight.copy_(normal(*layer.weight.shape, seed=1))
        layer.bias.copy_(normal(*layer.bias.shape, seed=2))
    return layer


def test_locally_connected_by_a_loop():
    layer, x = local(), normal(2, 3, 5, 5)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    expected = torch.empty(2, 4, 5, 5, dtype=torch.double)
    for image, o, r, c in itertools.product(range(2), range(4), range(5), range(5)):
        window = padded[image, :, r : r + 3, c : c + 3]
        expected[image, o, r, c] = (window * layer.weight[r, c, ..., o].permute(2, 0, 1)).sum() + layer.bias[r, c, o]
    torch.testing.assert_close(layer(x), expected)


def test_locally_connected_with_equal_kernels_is_a_convolution():
    layer, x = local(), normal(2, 3, 5, 5)
    with torch.no_grad():
        layer.weight.copy_(layer.weight[2, 2].expand_as(layer.weight).clone())
        layer.bias.copy_(layer.bias[2, 2].expand_as(layer.bias).clone())
    expected = torch.nn.functional.conv2d(x, layer.weight[0, 0].permute(3, 2, 0, 1), layer.bias[0, 0], padding=1)
    torch.testing.assert_close(layer(x), expected)


def test_locally_connected_gradient_and_errors():
    layer = local(inputs=2, outputs=2, side=3)
    x = normal(2, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, layer.weight, layer.bias))
    with pytest.raises(ValueError, match=r"\(batch, 2, 3, 3\)"):
        layer(normal(2, 2, 4, 4))
    with pytest.raises(ValueError, match="kernel=2"):
        layers.LocallyConnected(1, 1, 3, 2)


def test_dropout_masks_hide_their_share():
    mask = layers.dropout_mask(200, 50, 0.3, torch_stream(0, "dropout", 7))
    assert mask.dtype == torch.bool
    assert (~mask).double().mean().item() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(mask, layers.dropout_mask(200, 50, 0.3, torch_stream(0, "dropout", 7)))
    assert not torch.equal(mask, layers.dropout_mask(200, 50, 0.3, torch_stream(0, "dropout", 8)))


def test_gaussian_draws_depend_on_seed_number_and_shape_alone():
    def weights(std, seed=0, number=1, shape=(64, 100)):
        weight = torch.empty(shape)
        layers.gaussian_(weight, std, seed, number)
        return weight

    a = weights(0.01)
    assert a.std().item() == pytest.approx(0.01, rel=0.03)
    assert a.mean().abs().item() < 5e-4
    torch.testing.assert_close(weights(0.03), 3 * a)
    assert not torch.equal(weights(0.01, number=2), a)
    assert not torch.equal(weights(0.01, seed=1), a)
    assert torch.equal(weights(0.01), a)
