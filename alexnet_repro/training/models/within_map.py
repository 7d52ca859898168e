"""Local response normalization within maps, which the 2012 source has after conv2; on GPUs by Triton kernels."""

import functools
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .lrn import at_first_use, dense, format_of, working_type


class WithinMapNorm(nn.Module):
    """b = a / (k + scale / size^2 * sum a^2)^power, the sum over the ``size`` x ``size`` pixels around each.

    Input (batch, maps, height, width); the output is like it. ``size`` is odd; outside the map are zeros. Half
    precision is summed in single. Source: cuda-convnet's normalization within maps, which divides its scale by size
    squared. Raises ValueError where ``size`` is even.
    """

    def __init__(self, size: int, scale: float, power: float, k: float) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(f"size={size} has no centre: use an odd number of pixels")
        self.size, self.scale, self.power, self.k = size, scale, power, k

    def forward(self, x: Tensor) -> Tensor:
        constants = (self.size, self.scale, self.power, self.k)
        if not x.is_cuda or torch.compiler.is_compiling() or _kernels() is None:
            return _formula(x, *constants)
        result: Tensor = _ByKernels.apply(x, *constants)[0]
        return result

    def extra_repr(self) -> str:
        return f"{self.size}, scale={self.scale}, power={self.power}, k={self.k}"


def _formula(x: Tensor, size: int, scale: float, power: float, k: float) -> Tensor:
    a = x.to(working_type(x))
    # Averages that count the zeros outside divide by size squared.
    s = k + scale * F.avg_pool2d(a * a, size, stride=1, padding=size // 2)
    if power == 0.75:  # by square roots, which are many times faster than a power
        root = s.rsqrt()
        return (a * (root * root.sqrt())).to(x.dtype)
    return (a * s.pow(-power)).to(x.dtype)


class _Kernels(NamedTuple):
    forward: Any
    gradient: Any


@functools.cache
def _kernels() -> _Kernels | None:
    """The Triton kernels, once they agree with the formula."""

    def load() -> _Kernels:
        from . import within_map_triton

        return _Kernels(within_map_triton.forward, within_map_triton.gradient)

    def agree(found: _Kernels) -> None:
        x, constants = torch.linspace(-3, 3, 180, device="cuda").view(2, 3, 6, 5), (3, 0.5, 0.75, 1.0)
        for one in (x, x.contiguous(memory_format=torch.channels_last)):
            with torch.enable_grad():
                leaf = one.detach().requires_grad_()
                expected = _formula(leaf, *constants)
                (slope,) = torch.autograd.grad(expected, leaf, one)
            result, s = found.forward(one, *constants)
            torch.testing.assert_close(result, expected.detach())
            torch.testing.assert_close(found.gradient(one, s, one, *constants), slope)

    return at_first_use(load, agree)


class _ByKernels(torch.autograd.Function):
    """The result, and s = k + scale / size^2 * sum a^2, which the backward pass needs."""

    @staticmethod
    def forward(x: Tensor, *constants: Any) -> tuple[Tensor, Tensor]:
        kernels = _kernels()
        assert kernels is not None
        result: tuple[Tensor, Tensor] = kernels.forward(dense(x), *constants)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, *ctx.constants = inputs
        ctx.save_for_backward(x, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        kernels, (x, s) = _kernels(), ctx.saved_tensors
        assert kernels is not None
        x = dense(x)
        gradient = gradient.contiguous(memory_format=format_of(x))
        return kernels.gradient(x, s, gradient, *ctx.constants), None, None, None, None
