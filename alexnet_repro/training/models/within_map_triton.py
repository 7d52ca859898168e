"""Normalization within maps as Triton kernels, for GPUs: every element loads the pixels in its window."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .lrn_triton import BLOCK, WARPS, at_least_single, inverse_power


def forward(x: Tensor, size: int, scale: float, power: float, k: float) -> tuple[Tensor, Tensor]:
    """b = a / s^power and s = k + scale / size^2 * sum a^2, in single precision at least; see ``WithinMapNorm``.

    x: (batch, maps, height, width), contiguous or channels_last; both results are like it.
    """
    result = torch.empty_like(x)
    s = torch.empty_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
    _launch(_forward, (x, result, s), size, scale / size**2, power, k)
    return result, s


def gradient(x: Tensor, s: Tensor, upper: Tensor, size: int, scale: float, power: float, k: float) -> Tensor:
    """The gradient of x, given s and ``upper``, that of b; all in one memory format."""
    result, through = torch.empty_like(x), torch.empty_like(s)
    _launch(_through, (x, s, upper, through), size, scale / size**2, power, k)
    _launch(_backward, (x, s, upper, through, result), size, scale / size**2, power, k)
    return result


def _launch(kernel: Any, tensors: tuple[Tensor, ...], *constants: Any) -> None:
    """Run a kernel over all elements; from one pixel to the next it is ``step`` elements."""
    x, count = tensors[0], tensors[0].numel()
    step = 1 if x.is_contiguous() else x.shape[1]
    if count:
        with torch.cuda.device_of(x):
            grid = (triton.cdiv(count, BLOCK),)
            kernel[grid](*tensors, count, *constants, x.shape[2], x.shape[3], step, BLOCK, num_warps=WARPS)


@triton.jit
def _places(count, BLOCK: tl.constexpr):
    """Places of this program's elements, and whether they are there at all."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return place, place < count


@triton.jit
def _load(tensor, place, there):
    return at_least_single(tl.load(tensor + place, mask=there, other=0.0))


@triton.jit
def _window(
    tensor, place, there, SQUARES: tl.constexpr,
    SIZE: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """The sum over the window around each element, of the elements or of their squares; zeros outside of the map."""
    pixel = (place // STEP) % (HEIGHT * WIDTH)
    row, column = (pixel // WIDTH).to(tl.int32), (pixel % WIDTH).to(tl.int32)
    total = _load(tensor, place, there)
    if SQUARES:
        total = total * total
    for i in tl.static_range(SIZE * SIZE):
        if i != SIZE * SIZE // 2:
            down = i // SIZE - SIZE // 2
            right = i % SIZE - SIZE // 2
            inside = (
                there & (row + down >= 0) & (row + down < HEIGHT) & (column + right >= 0) & (column + right < WIDTH)
            )
            value = _load(tensor, place + (down * WIDTH + right) * STEP, inside)
            total += value * value if SQUARES else value
    return total


@triton.jit
def _forward(
    x, result, s, count, SIZE: tl.constexpr, SCALE: tl.constexpr, POWER: tl.constexpr, K: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place, there = _places(count, BLOCK)
    bracket = K + SCALE * _window(x, place, there, True, SIZE, HEIGHT, WIDTH, STEP)
    tl.store(result + place, _load(x, place, there) * inverse_power(bracket, POWER), mask=there)
    tl.store(s + place, bracket, mask=there)


# For g, the gradient of b, that of a is g s^-power - 2 scale power a W(g a s^-(power + 1)), W the sum over a window.


@triton.jit
def _through(
    x, s, upper, through, count, SIZE: tl.constexpr, SCALE: tl.constexpr, POWER: tl.constexpr, K: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place, there = _places(count, BLOCK)
    bracket = tl.load(s + place, mask=there, other=1.0)
    product = _load(upper, place, there) * _load(x, place, there)
    tl.store(through + place, product * inverse_power(bracket, POWER) / bracket, mask=there)


@triton.jit
def _backward(
    x, s, upper, through, result, count, SIZE: tl.constexpr, SCALE: tl.constexpr, POWER: tl.constexpr,
    K: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place, there = _places(count, BLOCK)
    around = _window(through, place, there, False, SIZE, HEIGHT, WIDTH, STEP)
    bracket = tl.load(s + place, mask=there, other=1.0)
    direct = _load(upper, place, there) * inverse_power(bracket, POWER)
    tl.store(result + place, direct - 2 * SCALE * POWER * _load(x, place, there) * around, mask=there)
