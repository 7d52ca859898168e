"""Cross-map normalization as Triton kernels, for GPUs: every element loads the neighbours in its window."""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK, WARPS = 256, 8
"""Elements and warps per program: one element per thread, so that neighbouring threads load neighbouring elements.
Several per thread would be loaded one by one all the same, since each has a mask of its own."""


def forward(x: Tensor, size: int, scale: float, beta: float, k: float, groups: int) -> Tensor:
    """b = a / (k + scale * sum a^2)^beta, see ``cross_map_norm``. x: contiguous, or channels_last."""
    result = torch.empty_like(x)
    _launch(_forward, (x, result), size, scale, beta, k, groups)
    return result


def gradient(x: Tensor, upper: Tensor, size: int, scale: float, beta: float, k: float, groups: int) -> Tensor:
    """The gradient of x, given ``upper``, that of the result; ``upper`` in the memory format of x."""
    result = torch.empty_like(x)
    _launch(_backward, (x, upper, result), size, scale, beta, k, groups)
    return result


def _launch(kernel: Any, tensors: tuple[Tensor, ...], *constants: Any) -> None:
    """Run a kernel over all elements; from one map to the next it is ``pixels`` elements."""
    *numbers, groups = constants
    x, count = tensors[0], tensors[0].numel()
    pixels = math.prod(x.shape[2:]) if x.is_contiguous() else 1
    if count:
        with torch.cuda.device_of(x):
            grid = (triton.cdiv(count, BLOCK),)
            kernel[grid](*tensors, count, *numbers, x.shape[1] // groups, pixels, BLOCK, num_warps=WARPS)


# All constants are tl.constexpr: as arguments, floats would be float32, and divisions by MAPS and PIXELS slow.


@triton.jit
def _elements(count, MAPS: tl.constexpr, PIXELS: tl.constexpr, BLOCK: tl.constexpr):
    """Places of this program's elements, which map of its group each lies in, and whether it is there at all."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    number, pixel = ((first // PIXELS) % MAPS).to(tl.int32), (first % PIXELS).to(tl.int32)
    within = tl.arange(0, BLOCK)
    place = first + within
    return place, (number + (pixel + within) // PIXELS) % MAPS, place < count


@triton.jit
def _load(tensor, place, number, there, STEP: tl.constexpr, MAPS: tl.constexpr, PIXELS: tl.constexpr):
    """The elements ``STEP`` maps further on, in single or double; 0 outside of the group."""
    inside = there & (number + STEP >= 0) & (number + STEP < MAPS)
    return at_least_single(tl.load(tensor + place + STEP * PIXELS, mask=inside, other=0.0))


@triton.jit
def at_least_single(value):
    """In single precision, or in double if it is."""
    return value if value.dtype == tl.float64 else value.to(tl.float32)


@triton.jit
def _bracket(
    x, place, number, there, STEP: tl.constexpr,
    SIZE: tl.constexpr, SCALE: tl.constexpr, K: tl.constexpr, MAPS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """s = k + scale * sum a^2, the sum over the window around the element ``STEP`` maps further on."""
    a = _load(x, place, number, there, STEP - SIZE // 2, MAPS, PIXELS)
    total = a * a
    for i in tl.static_range(1, SIZE):
        a = _load(x, place, number, there, STEP + i - SIZE // 2, MAPS, PIXELS)
        total += a * a
    return K + SCALE * total


@triton.jit
def inverse_power(s, BETA: tl.constexpr):
    """s^-beta; for the paper's 0.75 by square roots."""
    if BETA == 0.75:
        root = tl.rsqrt(s)
        power = root * tl.sqrt(root)
    else:
        power = tl.exp2(-BETA * tl.log2(s))
    return power


@triton.jit
def _forward(
    x, result, count, SIZE: tl.constexpr, SCALE: tl.constexpr, BETA: tl.constexpr, K: tl.constexpr,
    MAPS: tl.constexpr, PIXELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place, number, there = _elements(count, MAPS, PIXELS, BLOCK)
    a = _load(x, place, number, there, 0, MAPS, PIXELS)
    s = _bracket(x, place, number, there, 0, SIZE, SCALE, K, MAPS, PIXELS)
    tl.store(result + place, a * inverse_power(s, BETA), mask=there)


@triton.jit
def _backward(
    x, upper, result, count, SIZE: tl.constexpr, SCALE: tl.constexpr, BETA: tl.constexpr, K: tl.constexpr,
    MAPS: tl.constexpr, PIXELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # g s^-beta - 2 scale beta a W(g a s^-(beta + 1)), with W the sum over a window: see lrn.py. The compiler loads
    # each of the 2 SIZE - 1 elements behind W once.
    place, number, there = _elements(count, MAPS, PIXELS, BLOCK)
    a = _load(x, place, number, there, 0, MAPS, PIXELS)
    s = _bracket(x, place, number, there, 0, SIZE, SCALE, K, MAPS, PIXELS)
    direct = _load(upper, place, number, there, 0, MAPS, PIXELS) * inverse_power(s, BETA)
    through = direct * a / s
    for i in tl.static_range(SIZE):
        if i != SIZE // 2:
            other = _load(x, place, number, there, i - SIZE // 2, MAPS, PIXELS)
            s = _bracket(x, place, number, there, i - SIZE // 2, SIZE, SCALE, K, MAPS, PIXELS)
            g = _load(upper, place, number, there, i - SIZE // 2, MAPS, PIXELS)
            inside = (number + i - SIZE // 2 >= 0) & (number + i - SIZE // 2 < MAPS)
            through += tl.where(inside, g * inverse_power(s, BETA) * other / s, 0.0)  # s can be 0 outside
    tl.store(result + place, direct - 2 * SCALE * BETA * a * through, mask=there)
