import shutil

import pytest
import torch

from alexnet_repro.training.models import lrn, within_map
from alexnet_repro.training.models.lrn import cross_map_norm
from alexnet_repro.training.models.within_map import WithinMapNorm

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="Triton needs a C compiler")
def test_where_triton_is_installed_its_kernels_are_used():
    pytest.importorskip("triton")
    assert lrn._kernels() is not None
    assert within_map._kernels() is not None


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", [(8, 96, 14, 14), (3, 22, 5, 7)])
@pytest.mark.parametrize(("size", "beta", "groups"), [(5, 0.75, 1), (5, 0.75, 2), (9, 0.6, 2), (1, 0.75, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.double, 1e-12), (torch.float, 1e-5)])
def test_the_gpu_computes_what_the_cpu_does(dtype, tolerance, size, beta, groups, shape, memory_format):
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=memory_format)
    upper = torch.randn_like(x)
    results = []
    for device in ("cpu", "cuda"):
        a = x.detach().to(device, copy=True).requires_grad_()  # a leaf of its own: on the CPU, to() gives x itself
        y = cross_map_norm(a, size, 1e-2, beta, 2.0, divide_alpha=False, groups=groups)
        y.backward(upper.to(device))
        assert y.is_contiguous(memory_format=memory_format)
        results.append((y.detach().cpu(), a.grad.cpu()))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_it_takes_no_more_memory_than_torch(memory_format):
    x = torch.randn(128, 96, 55, 55, device="cuda").contiguous(memory_format=memory_format).requires_grad_()
    upper = torch.randn_like(x)

    def peak(norm):
        norm(x).backward(upper)
        x.grad = None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        norm(x).backward(upper)
        x.grad = None
        return torch.cuda.max_memory_allocated()

    ours = peak(lambda x: cross_map_norm(x, 5, 1e-4, 0.75, 2.0, divide_alpha=True))
    assert ours <= peak(torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0))


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    x = (torch.randn(4, 96, 9, 9, device="cuda") * 300).to(dtype)
    y = cross_map_norm(x, 5, 1e-4, 0.75, 2.0, divide_alpha=False)
    expected = cross_map_norm(x.float().cpu(), 5, 1e-4, 0.75, 2.0, divide_alpha=False).to(dtype)
    torch.testing.assert_close(y.cpu(), expected)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.double, 1e-12), (torch.float, 1e-5), (torch.bfloat16, 2**-7)])
def test_the_gpu_normalizes_within_maps_as_the_cpu_does(dtype, tolerance, memory_format):
    x = torch.randn(8, 96, 13, 11, dtype=torch.double).to(dtype).contiguous(memory_format=memory_format)
    upper, results = torch.randn_like(x), []
    for device in ("cpu", "cuda"):
        a = x.detach().to(device, copy=True).requires_grad_()
        y = WithinMapNorm(5, 1e-1, 0.75, 1.0)(a)
        y.backward(upper.to(device))
        assert y.is_contiguous(memory_format=memory_format)
        results.append((y.detach().cpu(), a.grad.cpu()))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
