"""The Triton kernels without a GPU: what they compute, by Triton's interpreter, and that they compile for GPUs."""

from types import SimpleNamespace

import pytest
import torch

from alexnet_repro.training import models
from alexnet_repro.training.models import lrn

from . import triton_kernels
from .pretend_gpu import PretendTensor, pretend_gpu, pretending
from .triton_kernels import FORMATS

RESULTS = """
from alexnet_repro.training.models import lrn_triton

def results(x, upper, constants):
    return lrn_triton.forward(x, *constants), lrn_triton.gradient(x, upper, *constants)
"""
SHAPES = {  # none fills its last block of 256
    "two columns": ((3, 12, 5, 7), (5, 0.3, 0.75, 2.0, 2)),
    "windows wider than the maps": ((2, 4, 3, 3), (9, 0.3, 0.6, 2.0, 1)),
    "a window of one map": ((2, 3, 5, 5), (1, 0.3, 0.75, 2.0, 1)),
    "several blocks": ((2, 9, 7, 5), (3, 0.3, 0.75, 2.0, 3)),
    "one pixel": ((5, 6, 1, 1), (5, 0.3, 0.75, 1.0, 1)),
    "k = 0": ((2, 8, 3, 3), (3, 0.3, 0.75, 0.0, 2)),
    "no pixels": ((4, 6), (3, 0.3, 0.75, 1.0, 2)),
    "no images": ((0, 6, 3, 3), (3, 0.3, 0.75, 1.0, 2)),
}
CASES = [
    (dtype, shape, memory_format)
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    for shape, (sides, _) in SHAPES.items()
    if dtype in (torch.float64, torch.float32) or shape == "two columns"
    for memory_format in (FORMATS if len(sides) == 4 else ["contiguous"])
]


def case(dtype, shape, memory_format):
    sides, constants = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    x, upper = (
        torch.randn(sides, generator=generator, dtype=torch.double).mul(2).to(dtype).contiguous(memory_format=form)
        for form in [FORMATS[memory_format]] * 2
    )
    return x, upper, constants


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    path = tmp_path_factory.mktemp("triton") / "cases"
    return dict(zip(CASES, triton_kernels.interpret(RESULTS, [case(*each) for each in CASES], path), strict=True))


@pytest.mark.parametrize("each", CASES, ids=triton_kernels.name)
def test_the_kernels_compute_the_formula(each, interpreted):
    x, upper, constants = case(*each)
    expected = lrn._formula(x.double(), *constants), lrn._gradient_formula(x.double(), upper.double(), *constants)
    for ours, theirs in zip(interpreted[each], expected, strict=True):
        triton_kernels.assert_close(ours, theirs, x)


@pytest.mark.parametrize("name", ["_forward", "_backward"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp64"])
def test_the_kernels_compile_for_a_gpu(dtype, name, tmp_path, monkeypatch):
    triton_kernels.triton()
    from alexnet_repro.training.models import lrn_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {"SIZE": 5, "SCALE": 1e-4, "BETA": 0.75, "K": 2.0, "MAPS": 48, "PIXELS": 1, "BLOCK": lrn_triton.BLOCK}
    code = triton_kernels.ptx(getattr(lrn_triton, name), dtype, constants, 80, lrn_triton.WARPS)
    # The window's elements once each: 5 forward; 9, and 5 of the gradient, backward.
    assert code.count("ld.global") == {"_forward": 5, "_backward": 14}[name]
    assert ("cvt.rn.bf16" in code) is (dtype == "bf16")


@pytest.fixture
def first_use():
    lrn._kernels.cache_clear()
    yield
    lrn._kernels.cache_clear()


def fail(*arguments):
    raise RuntimeError("Failed to find C compiler.\nSet CC.")


@pretending
@pytest.mark.usefixtures("first_use")
def test_where_triton_fails_the_formula_is_used_and_stderr_says_why(monkeypatch, capfd):
    monkeypatch.setattr(models, "lrn_triton", SimpleNamespace(forward=fail, gradient=fail), raising=False)
    with pretend_gpu():
        assert lrn._kernels() is None
        assert lrn._kernels() is None
    said = "Triton fails here (Failed to find C compiler.): normalization is slower without it\n"
    assert capfd.readouterr().err == said


@pretending
@pytest.mark.usefixtures("first_use")
@pytest.mark.parametrize("wrong", ["forward", "gradient"])
def test_kernels_that_differ_from_the_formula_are_not_used(wrong, monkeypatch, capfd):
    kernels = {"forward": lrn._formula, "gradient": lrn._gradient_formula}
    right = kernels[wrong]
    kernels[wrong] = lambda *given: 1.01 * right(*given)
    monkeypatch.setattr(models, "lrn_triton", SimpleNamespace(**kernels), raising=False)
    with pretend_gpu():
        assert lrn._kernels() is None
    assert capfd.readouterr().err.startswith("Triton fails here (Tensor-likes are not close!)")


@pretending
@pytest.mark.usefixtures("first_use")
def test_a_gpu_has_the_kernels_and_a_compiled_net_the_formula(monkeypatch):
    kernels = SimpleNamespace(
        forward=lambda *given: lrn._formula(*given), gradient=lambda *given: lrn._gradient_formula(*given)
    )
    monkeypatch.setattr(models, "lrn_triton", kernels, raising=False)
    choose = lrn._passes
    with pretend_gpu():
        x = torch.ones(1, 1, device="cuda")
        assert type(x) is PretendTensor
        assert choose(x) == (kernels.forward, kernels.gradient)
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert choose(x) == (lrn._formula, lrn._gradient_formula)
