"""Local response normalization across maps (section 3.3), forward and backward, fast on CPUs and GPUs."""

import functools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class LocalResponseNorm(nn.Module):
    """Local response normalization as the paper prints it (section 3.3); see ``cross_map_norm``.

    torch.nn.LocalResponseNorm divides alpha by ``size``, as ``divide_alpha`` does here, and has no groups.
    """

    def __init__(
        self, size: int, alpha: float, beta: float, k: float, divide_alpha: bool = False, groups: int = 1
    ) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.divide_alpha, self.groups = divide_alpha, groups

    def forward(self, x: Tensor) -> Tensor:
        return cross_map_norm(x, self.size, self.alpha, self.beta, self.k, self.divide_alpha, self.groups)

    def extra_repr(self) -> str:
        constants = f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
        return f"{constants}, divide_alpha={self.divide_alpha}, groups={self.groups}"


def cross_map_norm(
    x: Tensor, size: int, alpha: float, beta: float, k: float, divide_alpha: bool, groups: int = 1
) -> Tensor:
    """b = a / (k + scale * sum a^2)^beta, the sum over the ``size`` maps around each, fewer at the edges.

    x: (batch, maps, ...); the result has its shape, type and memory format. ``size`` is odd. scale is alpha, as
    the paper prints it, or alpha / size with ``divide_alpha``, as the 2012 source and torch.nn.LocalResponseNorm
    have it. With ``groups`` (columns), no sum crosses from one equal part of the maps to the next. NaN and
    infinity go through; half precision is summed in single. The gradient can't be differentiated again.
    Raises ValueError where ``size`` is even or ``groups`` does not divide the maps.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size={size} has no centre: use an odd number of maps")
    if x.dim() < 2 or x.shape[1] % groups:
        raise ValueError(f"input of shape {tuple(x.shape)}: needs maps in dimension 1, a multiple of groups={groups}")
    result: Tensor = _CrossMapNorm.apply(x, size, alpha / size if divide_alpha else alpha, beta, k, groups)
    return result


class _CrossMapNorm(torch.autograd.Function):
    """Saves its input and nothing else: to sum again in cache is cheaper than to write and read the sums."""

    @staticmethod
    def forward(x: Tensor, *constants: Any) -> Tensor:
        return _passes(x).forward(dense(x), *constants)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, *ctx.constants = inputs
        ctx.save_for_backward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x = dense(*ctx.saved_tensors)
        gradient = gradient.contiguous(memory_format=format_of(x))
        return _passes(x).gradient(x, gradient, *ctx.constants), None, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, *constants: Any) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        several = x.movedim(in_dims[0], 0)
        return _CrossMapNorm.apply(several.flatten(0, 1), *constants).unflatten(0, several.shape[:2]), 0


class _Passes(NamedTuple):
    """One way to compute both passes.

    forward: of the input and the constants size, scale, beta, k, groups. gradient: of the input, the gradient of the
    result, and the constants.
    """

    forward: Callable[..., Tensor]
    gradient: Callable[..., Tensor]


def _passes(x: Tensor) -> _Passes:
    if torch.compiler.is_compiling():  # the caller compiles: leave the fusing to it
        return _Passes(_formula, _gradient_formula)
    if x.device.type == "cpu":
        return _Passes(_by_pieces, _gradient_by_pieces)
    return (_kernels() if x.is_cuda else None) or _Passes(_formula, _gradient_formula)


@functools.cache
def _kernels() -> _Passes | None:
    """The Triton kernels, once they agree with the formula."""

    def load() -> _Passes:
        from . import lrn_triton

        return _Passes(lrn_triton.forward, lrn_triton.gradient)

    def agree(found: _Passes) -> None:
        x, constants = torch.linspace(-3, 3, 192, device="cuda").view(2, 6, 4, 4), (3, 0.5, 0.75, 2.0, 2)
        for one in (x, x.contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(found.forward(one, *constants), _formula(one, *constants))
            torch.testing.assert_close(found.gradient(one, one, *constants), _gradient_formula(one, one, *constants))

    return at_first_use(load, agree)


Found = TypeVar("Found")


def at_first_use(load: Callable[[], Found], agree: Callable[[Found], None]) -> Found | None:
    """Triton kernels, once ``agree`` finds them right; None where Triton is missing, or fails, which stderr says."""
    try:
        found = load()
        agree(found)
    except ImportError:
        return None
    except Exception as error:  # whatever Triton lacks: a C compiler, a GPU that is new enough
        said = str(error).partition("\n")[0]
        print(f"Triton fails here ({said}): normalization is slower without it", file=sys.stderr)
        return None
    return found


def dense(x: Tensor) -> Tensor:
    """The tensor without gaps in its memory, in the format that it has."""
    return x.contiguous(memory_format=format_of(x))


def format_of(x: Tensor) -> torch.memory_format:
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def working_type(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


# With s = k + scale W(a^2) and W the sum over a window: b = a s^-beta, and for g, the gradient of b, that of a is
# g s^-beta - 2 scale beta a W(g a s^-(beta + 1)), because W is symmetric.


def _inverse_power(s: Tensor, beta: float, out: Tensor | None = None) -> Tensor:
    """s^-beta; for the paper's 0.75 by square roots, which are many times faster than a power."""
    if beta != 0.75:
        return torch.pow(s, -beta, out=out)
    root = torch.rsqrt(s, out=out)
    return root.mul_(root.sqrt())


# In plain operations, for torch.compile, which fuses them, and for GPUs without Triton. lrn_triton.py has the kernels.


def _window_sums(x: Tensor, size: int) -> Tensor:
    padded = F.pad(x, (0, 0) * (x.dim() - 3) + (size // 2, size // 2))
    return functools.reduce(torch.add, (padded.narrow(2, i, x.shape[2]) for i in range(size)))


def _formula(x: Tensor, size: int, scale: float, beta: float, k: float, groups: int) -> Tensor:
    a = x.unflatten(1, (groups, -1)).to(working_type(x))
    s = k + scale * _window_sums(a * a, size)
    return (a * _inverse_power(s, beta)).flatten(1, 2).to(x.dtype)


def _gradient_formula(
    x: Tensor, gradient: Tensor, size: int, scale: float, beta: float, k: float, groups: int
) -> Tensor:
    a, g = (t.unflatten(1, (groups, -1)).to(working_type(x)) for t in (x, gradient))
    s = k + scale * _window_sums(a * a, size)
    direct = g * _inverse_power(s, beta)
    through = a * _window_sums(direct * a / s, size)
    return (direct - 2 * scale * beta * through).flatten(1, 2).to(x.dtype)


# On a CPU: the same in place, piece by piece, so that all but the input and the result stays in cache.

PIECE = 384 * 1024
"""Elements of a piece per thread: few enough for the cache, enough to hide what a call of torch costs. No number
depends on it."""


class _Piece(NamedTuple):
    """A piece of the input and the buffers for it.

    place: the piece's index in the input. padded: (a, b + size - 1, c), zero wherever ``inner``, the view for the
    piece's own elements, is not. total: (a, b, c), for the sums over windows of ``padded``. spare: like ``total``.
    sums, rest: the views of ``total`` and ``spare`` for the piece's own elements.
    """

    place: tuple[slice, ...]
    padded: Tensor
    inner: Tensor
    total: Tensor
    spare: Tensor
    sums: Tensor
    rest: Tensor


def _by_maps(x: Tensor, groups: int) -> Tensor:
    """View as (pixels, maps of a group) if the maps lie side by side, else (images, maps of a group, pixels)."""
    if format_of(x) == torch.channels_last:
        x = x.permute(0, 2, 3, 1)
    elif x.dim() > 2:
        return x.view(x.shape[0] * groups, x.shape[1] // groups, math.prod(x.shape[2:]))
    return x.view(-1, x.shape[-1] // groups)


def _pieces(x: Tensor, size: int, dtype: torch.dtype) -> Iterator[_Piece]:
    return _rows(x, size, dtype) if x.dim() == 2 else _planes(x, size, dtype)


def _rows(x: Tensor, size: int, dtype: torch.dtype) -> Iterator[_Piece]:
    # The rows stand in one line, each followed by zeros that keep the windows of two rows apart: the sums then run
    # over contiguous memory, and what they leave at those zeros is never read.
    maps, radius = x.shape[1], size // 2
    width, rows = maps + radius, max(1, PIECE * torch.get_num_threads() // maps)
    rows = min(rows, len(x))
    line = x.new_zeros(1, rows * width + 2 * radius, 1, dtype=dtype)
    buffers = x.new_zeros(2, 1, rows * width, 1, dtype=dtype)
    for start in range(0, len(x), rows):
        here = slice(start, min(start + rows, len(x)))
        length = (here.stop - start) * width
        padded = line[:, : length + 2 * radius]
        total, spare = buffers[:, :, :length]
        own = [t.view(-1, width)[:, :maps] for t in (line[:, radius : radius + length], total, spare)]
        yield _Piece((here,), padded, own[0], total, spare, own[1], own[2])


def _planes(x: Tensor, size: int, dtype: torch.dtype) -> Iterator[_Piece]:
    images, maps, pixels = x.shape
    radius, elements = size // 2, PIECE * torch.get_num_threads()
    width = math.ceil(pixels / math.ceil(pixels * maps / elements))  # equal parts: a small last one costs as much
    count = max(1, min(images, elements // (maps * width)))
    planes = x.new_zeros(count, maps + 2 * radius, width, dtype=dtype)
    buffers = x.new_zeros(2, count, maps, width, dtype=dtype)
    for first in range(0, images, count):
        some = slice(first, min(first + count, images))
        for left in range(0, pixels, width):
            part = slice(left, min(left + width, pixels))
            padded = planes[: some.stop - first, :, : part.stop - left]
            total, spare = buffers[:, : some.stop - first, :, : part.stop - left]
            yield _Piece(
                (some, slice(None), part), padded, padded[:, radius : radius + maps], total, spare, total, spare
            )


def _sum_windows(piece: _Piece, size: int) -> None:
    """piece.total from piece.padded, by doubling: for the paper's five maps, three additions."""
    padded, out = piece.padded, piece.total
    if size == 1:
        out.copy_(padded)
        return
    part, span, length = padded, 1, out.shape[1]
    while 4 * span <= size:
        part, span = part[:, :-span] + part[:, span:], 2 * span
    torch.add(part[:, :length], part[:, span : span + length], out=out)
    for i in range(2 * span, size):
        out.add_(padded[:, i : i + length])


def _bracket(piece: _Piece, a: Tensor, size: int, scale: float, k: float) -> None:
    """piece.total = s, and piece.inner is used up."""
    torch.mul(a, a, out=piece.inner)
    _sum_windows(piece, size)
    torch.add(piece.total.new_tensor(k), piece.total, alpha=scale, out=piece.total)


def _by_pieces(x: Tensor, size: int, scale: float, beta: float, k: float, groups: int) -> Tensor:
    result, dtype = torch.empty_like(x), working_type(x)
    inputs, outputs = _by_maps(x, groups), _by_maps(result, groups)
    for piece in _pieces(inputs, size, dtype) if x.numel() else ():
        a = inputs[piece.place].to(dtype)
        _bracket(piece, a, size, scale, k)
        _inverse_power(piece.total, beta, out=piece.total)
        torch.mul(a, piece.sums, out=outputs[piece.place])
    return result


def _gradient_by_pieces(
    x: Tensor, gradient: Tensor, size: int, scale: float, beta: float, k: float, groups: int
) -> Tensor:
    result, dtype = torch.empty_like(x), working_type(x)
    inputs, upper, outputs = (_by_maps(t, groups) for t in (x, gradient, result))
    for piece in _pieces(inputs, size, dtype) if x.numel() else ():
        a = inputs[piece.place].to(dtype)
        _bracket(piece, a, size, scale, k)
        _inverse_power(piece.total, beta, out=piece.spare)
        direct = piece.rest.mul_(upper[piece.place])
        torch.mul(direct, a, out=piece.inner).div_(piece.sums)
        _sum_windows(piece, size)
        torch.addcmul(direct, a, piece.sums, value=-2 * scale * beta, out=outputs[piece.place])
    return result
