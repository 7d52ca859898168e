"""Normalization within maps: by hand, by its formula, in half precision, and its Triton kernels without a GPU."""

import itertools

import pytest
import torch

from alexnet_repro.training.models import within_map
from alexnet_repro.training.models.within_map import WithinMapNorm

from . import triton_kernels
from .test_layers import normal
from .triton_kernels import FORMATS


def test_within_map_norm_by_hand():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
    # A 3x3 window around any pixel covers all four: the sum is 30 and the divisor stays 9.
    torch.testing.assert_close(WithinMapNorm(3, 0.9, 1.0, 1.0)(x), x / (1 + 0.1 * 30))


@pytest.mark.parametrize("power", [0.75, 0.5])
def test_within_map_norm_by_the_formula(power):
    x, size, scale, k = normal(2, 3, 6, 5), 5, 0.7, 1.0
    expected = torch.empty_like(x)
    for image, i, r, c in itertools.product(range(2), range(3), range(6), range(5)):
        window = x[image, i, max(0, r - 2) : r + 3, max(0, c - 2) : c + 3]
        expected[image, i, r, c] = x[image, i, r, c] / (k + scale / size**2 * (window**2).sum()) ** power
    norm = WithinMapNorm(size, scale, power, k)
    torch.testing.assert_close(norm(x), expected)
    assert torch.autograd.gradcheck(norm, normal(1, 2, 4, 4).requires_grad_())


def test_within_map_norm_needs_a_centre():
    with pytest.raises(ValueError, match="size=2"):
        WithinMapNorm(2, 1.0, 0.75, 1.0)


def test_half_precision_is_summed_in_single():
    x = normal(2, 3, 6, 5).mul(2).to(torch.bfloat16)
    norm = WithinMapNorm(5, 1e-3, 0.75, 1.0)  # in bfloat16, what it divides by would be 1
    with torch.autocast("cpu", torch.bfloat16):
        found = norm(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, norm(x.double()).to(torch.bfloat16), rtol=0, atol=0)
    assert not torch.equal(found, x)


RESULTS = """
from alexnet_repro.training.models import within_map_triton

def results(x, upper, constants):
    result, s = within_map_triton.forward(x, *constants)
    return result, within_map_triton.gradient(x, s, upper, *constants)
"""
SHAPES = {  # none fills its last block of 256
    "the source's window": ((2, 3, 7, 6), (5, 0.7, 0.75, 1.0)),
    "windows wider than the map": ((3, 2, 3, 2), (9, 0.7, 0.6, 1.0)),
    "a window of one pixel": ((2, 4, 5, 5), (1, 0.7, 0.75, 1.0)),
    "one map": ((5, 1, 9, 9), (3, 0.7, 0.75, 1.0)),
    "no images": ((0, 3, 4, 4), (3, 0.7, 0.75, 1.0)),
}
CASES = [
    (dtype, shape, memory_format)
    for dtype in (torch.float64, torch.float32, torch.bfloat16)
    for shape in SHAPES
    for memory_format in FORMATS
]


def case(dtype, shape, memory_format):
    sides, constants = SHAPES[shape]
    x, upper = (normal(*sides, seed=seed).mul(2).to(dtype) for seed in (0, 1))
    x, upper = (each.contiguous(memory_format=FORMATS[memory_format]) for each in (x, upper))
    return x, upper, constants


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    path = tmp_path_factory.mktemp("triton") / "cases"
    return dict(zip(CASES, triton_kernels.interpret(RESULTS, [case(*each) for each in CASES], path), strict=True))


@pytest.mark.parametrize("each", CASES, ids=triton_kernels.name)
def test_the_kernels_compute_the_formula(each, interpreted):
    x, upper, constants = case(*each)
    leaf = x.double().requires_grad_()
    expected = within_map._formula(leaf, *constants)
    (slope,) = torch.autograd.grad(expected, leaf, upper.double())
    for ours, theirs in zip(interpreted[each], (expected.detach(), slope), strict=True):
        triton_kernels.assert_close(ours, theirs, x)


@pytest.mark.parametrize("name", ["_forward", "_through", "_backward"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp64"])
def test_the_kernels_compile_for_a_gpu(dtype, name, tmp_path, monkeypatch):
    triton_kernels.triton()
    from alexnet_repro.training.models import within_map_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    sums = "*fp64" if dtype == "fp64" else "*fp32"
    window = {"SIZE": 5, "SCALE": 4e-5, "POWER": 0.75, "K": 1.0}
    constants = window | {"HEIGHT": 27, "WIDTH": 27, "STEP": 256, "BLOCK": 256}
    kernel, others = getattr(within_map_triton, name), {"s": sums, "through": sums}
    code = triton_kernels.ptx(kernel, dtype, constants, 90, within_map_triton.WARPS, others)
    # The window's pixels once each, and what else is read.
    assert code.count("ld.global") == {"_forward": 25, "_through": 3, "_backward": 28}[name]
