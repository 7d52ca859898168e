"""Layers of 2012 that torch lacks or has in another form, dropout masks, and initial weights."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...common.rng import stream


class GroupedLinear(nn.Linear):
    """A fully-connected layer in ``groups`` equal parts, each of which reads its own part of the inputs.

    Like nn.Conv2d with groups: weight is (outputs, inputs / groups). Input (batch, inputs), output (batch, outputs).
    in_features counts the inputs of one part.
    """

    def __init__(self, group_inputs: int, outputs: int, groups: int) -> None:
        super().__init__(group_inputs, outputs)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return _group_by_group(F.linear, x, self)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, groups={self.groups}"


class SplitConv2d(nn.Conv2d):
    """A grouped convolution computed as one convolution per group, which some GPUs do faster.

    The results are those of nn.Conv2d but for rounding. ``training.convolutions`` says where it is used.
    """

    @classmethod
    def of(cls, conv: nn.Conv2d) -> "SplitConv2d":
        """The same layer, with the very parameters of ``conv``."""
        split = cls(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,  # type: ignore[arg-type]
            groups=conv.groups, device="meta",
        )  # fmt: skip
        split.weight, split.bias = conv.weight, conv.bias
        return split

    def forward(self, x: Tensor) -> Tensor:
        return _group_by_group(partial(F.conv2d, stride=self.stride, padding=self.padding), x, self)


def _group_by_group(compute: Callable[..., Tensor], x: Tensor, layer: "GroupedLinear | SplitConv2d") -> Tensor:
    """``compute`` of each group's inputs, weights and biases, one after another; the outputs side by side."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    parts = zip(*(t.chunk(layer.groups, d) for t, d in ((x, 1), (weight, 0), (bias, 0))), strict=True)
    return torch.cat([compute(*part) for part in parts], 1)


class Dropout(nn.Dropout):
    """Section 4.2: in training, multiplies by a mask of zeros and ones; without a mask, as at test time, by 1 - p.

    nn.Dropout instead multiplies by 1 / (1 - p) in training, and by nothing at test time. The mask is given, see
    ``dropout_mask``, so that a step can be repeated exactly.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x * (1 - self.p if mask is None else mask)


class LocallyConnected(nn.Module):
    """A convolution without weight sharing: each position of the output has its own kernels and biases.

    Input (batch, inputs, side, side), output (batch, outputs, side, side): stride 1 and padding kernel // 2, which
    keeps the side, so ``kernel`` is odd. weight: (side, side, kernel, kernel, inputs, outputs); bias: (side, side,
    outputs). Both start at zero. Source: cuda-convnet's locally connected layer with unshared weights.
    """

    def __init__(self, inputs: int, outputs: int, side: int, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} has no centre: use an odd number of pixels")
        self.weight = nn.Parameter(torch.zeros(side, side, kernel, kernel, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(side, side, outputs))

    def forward(self, x: Tensor) -> Tensor:
        side, _, _, _, inputs, _ = self.weight.shape
        if x.shape[1:] != (inputs, side, side):
            raise ValueError(f"input of shape {tuple(x.shape)}: this layer takes (batch, {inputs}, {side}, {side})")
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        one = (t.to(dtype)[None] for t in (x.permute(2, 3, 0, 1), self.weight, self.bias))
        result: Tensor = _Local.apply(*one)[0]
        return result[0].permute(2, 3, 0, 1)


class _Local(torch.autograd.Function):
    """x (nets, side, side, batch, inputs) to (nets, side, side, batch, outputs), one matmul per net and position.

    ``nets`` is 1, or more under vmap. The windows that each position reads are an output too, saved for backward.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        nets, side, _, kernel, _, inputs, outputs = weight.shape
        border, batch = kernel // 2, x.shape[3]
        padded = F.pad(x, (0, 0, 0, 0, border, border, border, border))
        windows = x.new_empty(nets, side, side, batch, kernel, kernel, inputs)
        for row, column in product(range(kernel), repeat=2):
            windows[:, :, :, :, row, column] = padded[:, row : row + side, column : column + side]
        products = torch.baddbmm(bias.flatten(0, 2)[:, None], _matrices(windows), _kernels(weight))
        return products.view(nets, side, side, batch, outputs), windows

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(output[1], inputs[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        windows, weight = ctx.saved_tensors
        nets, side, _, kernel, _, _, outputs = weight.shape
        upper = gradient.reshape(nets * side**2, -1, outputs)
        of_weight = torch.bmm(_matrices(windows).transpose(1, 2), upper).view_as(weight)
        of_windows = torch.bmm(upper, _kernels(weight).transpose(1, 2)).view_as(windows)
        border = kernel // 2
        padded = windows.new_zeros(nets, side + 2 * border, side + 2 * border, *(windows.shape[i] for i in (3, 6)))
        for row, column in product(range(kernel), repeat=2):
            padded[:, row : row + side, column : column + side] += of_windows[:, :, :, :, row, column]
        inside = slice(border, border + side)
        return padded[:, inside, inside], of_weight, upper.sum(1).view(nets, side, side, outputs)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, ...], *given: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        several = [t.movedim(dim, 0).flatten(0, 1) for t, dim in zip(given, in_dims, strict=True)]
        return tuple(t.unflatten(0, (info.batch_size, 1)) for t in _Local.apply(*several)), (0, 0)


def _matrices(windows: Tensor) -> Tensor:
    """A matrix per net and position, a row per image."""
    return windows.flatten(4).flatten(0, 2)


def _kernels(weight: Tensor) -> Tensor:
    """A matrix per net and position, a column per output."""
    return weight.flatten(3, 5).flatten(0, 2)


def dropout_mask(batch: int, units: int, rate: float, generator: torch.Generator) -> Tensor:
    """Section 4.2 in training: which outputs to keep as they are, (batch, units) of True and False.

    Each is False with probability ``rate``, on the generator's device. At test time the outputs are to be scaled by
    1 - rate instead.
    """
    return torch.rand(batch, units, generator=generator, device=generator.device) >= rate


def gaussian_(weight: Tensor, std: float, seed: int, number: int) -> None:
    """Fill in place: layer ``number``'s draws of the stream "init", times ``std``.

    The draws do not depend on ``std``, so two nets of one seed differ by that factor alone where shapes agree.
    """
    draws = stream(seed, "init", number).standard_normal(tuple(weight.shape), dtype="float32")
    with torch.no_grad():
        weight.copy_(torch.from_numpy(draws)).mul_(std)
