import pytest
import torch

from alexnet_repro.training.models.lrn import cross_map_norm

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("groups", [1, 2])
def test_the_fused_path_equals_the_cpus(groups, memory_format):
    x = torch.randn(8, 96, 14, 14, dtype=torch.double).contiguous(memory_format=memory_format)
    upper = torch.randn_like(x)
    results = []
    for device in ("cpu", "cuda"):
        a = x.detach().to(device, copy=True).requires_grad_()  # a leaf of its own: on the CPU, to() gives x itself
        y = cross_map_norm(a, 5, 1e-2, 0.75, 2.0, divide_alpha=False, groups=groups)
        y.backward(upper.to(device))
        results.append((y.detach().cpu(), a.grad.cpu()))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_fused_path_takes_no_more_memory_than_torch(memory_format):
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
