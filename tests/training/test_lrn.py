import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_repro.training.models import lrn
from alexnet_repro.training.models.lrn import cross_map_norm

FORMATS = [torch.contiguous_format, torch.channels_last]


def literal(x, size, alpha, beta, k):
    """Section 3.3's formula, one activity at a time."""
    b = torch.empty_like(x)
    images, maps, height, width = x.shape
    for image, i, r, c in itertools.product(range(images), range(maps), range(height), range(width)):
        total = 0.0
        for j in range(max(0, i - size // 2), min(maps - 1, i + size // 2) + 1):
            total += x[image, j, r, c].item() ** 2
        b[image, i, r, c] = x[image, i, r, c] / (k + alpha * total) ** beta
    return b


def normal(*shape, dtype=torch.double, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture
def tiny_pieces(monkeypatch):
    """Pieces so small that the tests' inputs need several, with a shorter one at the end."""
    monkeypatch.setattr(lrn, "PIECE", 24)


def test_by_hand():
    x = torch.tensor([1.0, 2.0, -3.0]).view(1, 3, 1, 1)
    # Sums of squares over three maps: 1 + 4, 1 + 4 + 9, 4 + 9.
    expected = torch.tensor([1 / (2 + 5), 2 / (2 + 14), -3 / (2 + 13)]).view(1, 3, 1, 1)
    torch.testing.assert_close(cross_map_norm(x, 3, 1.0, 1.0, 2.0, divide_alpha=False), expected)
    expected = torch.tensor([1 / (2 + 5 / 3), 2 / (2 + 14 / 3), -3 / (2 + 13 / 3)]).view(1, 3, 1, 1)
    torch.testing.assert_close(cross_map_norm(x, 3, 1.0, 1.0, 2.0, divide_alpha=True), expected)


@pytest.mark.usefixtures("tiny_pieces")
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("size", [1, 3, 5, 7, 9, 11])
def test_the_papers_formula(size, memory_format):
    x = normal(3, 8, 2, 3).to(memory_format=memory_format)
    result = cross_map_norm(x, size, 0.3, 0.75, 2.0, divide_alpha=False)
    torch.testing.assert_close(result, literal(x, size, 0.3, 0.75, 2.0), rtol=1e-13, atol=1e-13)
    assert result.is_contiguous(memory_format=memory_format)


@pytest.mark.usefixtures("tiny_pieces")
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_torch_value_and_gradient(beta, memory_format):
    x = normal(5, 6, 3, 4).to(memory_format=memory_format).requires_grad_()
    upper = normal(5, 6, 3, 4, seed=1)  # always contiguous: the gradient may come in another format
    theirs = torch.nn.LocalResponseNorm(5, 0.4, beta, 2.0)(x)
    ours = cross_map_norm(x, 5, 0.4, beta, 2.0, divide_alpha=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)
    (expected,) = torch.autograd.grad(theirs, x, upper)
    (gradient,) = torch.autograd.grad(ours, x, upper)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)
    assert gradient.is_contiguous(memory_format=memory_format)


@settings(max_examples=30)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 2, *[st.integers(1, 6)] * 2),
    size=st.sampled_from([1, 3, 5, 9]),
    groups=st.integers(1, 3),
    piece=st.integers(1, 60),
    channels_last=st.booleans(),
)
def test_pieces_of_any_size_give_the_same(shape, size, groups, piece, channels_last):
    images, maps, height, width = shape
    x = normal(images, maps * groups, height, width)
    x = x.contiguous(memory_format=FORMATS[channels_last]).requires_grad_()
    constants = size, 0.2, 0.75, 1.0, groups
    upper = normal(*x.shape, seed=2).contiguous(memory_format=FORMATS[channels_last])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lrn, "PIECE", piece)
        y = lrn._by_pieces(x.detach(), *constants)
        gradient = lrn._gradient_by_pieces(x.detach(), upper, *constants)
    theirs = torch.nn.LocalResponseNorm(size, 0.2 * size, 0.75, 1.0)
    expected = torch.cat([theirs(column) for column in x.chunk(groups, 1)], 1)
    (expected_gradient,) = torch.autograd.grad(expected, x, upper)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-12, atol=1e-12)
    # What torch.compile fuses, and a GPU without Triton computes.
    x = x.detach()
    torch.testing.assert_close(lrn._formula(x, *constants), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(lrn._gradient_formula(x, upper, *constants), expected_gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("tiny_pieces")
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("divide_alpha", [True, False])
def test_gradcheck(divide_alpha, memory_format):
    x = normal(2, 6, 2, 3).to(memory_format=memory_format).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cross_map_norm(x, 5, 0.5, 0.75, 2.0, divide_alpha, groups=2), x)


@pytest.mark.usefixtures("tiny_pieces")
@pytest.mark.parametrize("memory_format", FORMATS)
def test_groups_are_separate_columns(memory_format):
    x = normal(3, 12, 4, 3).contiguous(memory_format=memory_format)
    whole = cross_map_norm(x, 5, 0.3, 0.75, 2.0, divide_alpha=False, groups=2)
    halves = [cross_map_norm(half, 5, 0.3, 0.75, 2.0, divide_alpha=False) for half in x.chunk(2, 1)]
    torch.testing.assert_close(whole, torch.cat(halves, 1), rtol=0, atol=1e-15)
    assert not torch.allclose(whole, cross_map_norm(x, 5, 0.3, 0.75, 2.0, divide_alpha=False))


@pytest.mark.usefixtures("tiny_pieces")
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_go_where_torch_sends_them(value, memory_format):
    x = normal(2, 8, 3, 3)
    x[0, 2, 1, 1] = value
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    theirs = torch.nn.LocalResponseNorm(5, 0.4, 0.75, 2.0)(x)
    ours = cross_map_norm(x, 5, 0.4, 0.75, 2.0, divide_alpha=True)
    torch.testing.assert_close(ours, theirs, equal_nan=True)
    assert torch.isnan(ours).any()
    (gradient,) = torch.autograd.grad(ours.sum(), x)
    assert torch.isnan(gradient[0, :, 1, 1]).any()
    assert torch.isfinite(gradient[1]).all()  # no piece leaves anything behind for the next


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5), (2, 6, 3, 3, 2), (0, 6, 3, 3)])
def test_other_shapes(shape):
    x = normal(*shape).requires_grad_()
    y = cross_map_norm(x, 3, 0.3, 0.75, 2.0, divide_alpha=False)
    torch.testing.assert_close(y, lrn._formula(x, 3, 0.3, 0.75, 2.0, 1))
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_a_view_with_gaps():
    x = normal(4, 12, 5, 5)[:, ::2, 1:, :-1]
    y = cross_map_norm(x, 3, 0.3, 0.75, 2.0, divide_alpha=False)
    torch.testing.assert_close(y, cross_map_norm(x.contiguous(), 3, 0.3, 0.75, 2.0, divide_alpha=False))


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    x = (normal(2, 8, 3, 3, dtype=torch.float) * 300).to(dtype).requires_grad_()  # squares overflow in half
    y = cross_map_norm(x, 5, 1e-4, 0.75, 2.0, divide_alpha=False)
    assert y.dtype == dtype
    expected = cross_map_norm(x.detach().float(), 5, 1e-4, 0.75, 2.0, divide_alpha=False).to(dtype)
    torch.testing.assert_close(y, expected)
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match="size=4"):
        cross_map_norm(normal(1, 4, 2, 2), 4, 1e-4, 0.75, 2.0, divide_alpha=False)
    with pytest.raises(ValueError, match="groups=3"):
        cross_map_norm(normal(1, 4, 2, 2), 5, 1e-4, 0.75, 2.0, divide_alpha=False, groups=3)
