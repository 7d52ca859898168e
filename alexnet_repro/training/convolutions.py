"""Grouped convolutions on a GPU: as one operation, or as one convolution per group, whichever is faster there.

A net with two columns has three layers of two groups each, for which some GPUs have only slow kernels. Which way is
faster depends on the GPU, the layer's shape and the precision: both are timed before training, once a process. So two
processes on one GPU may choose differently, and then their numbers differ by rounding.
"""

from functools import cache, partial

import torch
from torch import nn

from ..experiments.config import Precision
from ..networks.layers import Layer, learned_layers
from .graphs import WARM_UP, CudaRecorder, Work
from .models.alexnet import AlexNet
from .models.layers import SplitConv2d
from .precision import autocast

ROUNDS, REPEATS = 5, 5
MARGIN = 0.95
"""The split way is chosen if it takes at most so much of the other's time, so that noise rarely decides."""


def split_where_faster(net: nn.Module, batch: int, precision: Precision, device: str) -> None:
    """On a CUDA device, replace the grouped convolutions of an AlexNet that train faster split, for such a batch.

    The names and the parameters of the net stay. Call it before the net is compiled or a step is captured. On other
    devices nothing is timed or changed.
    """
    if not device.startswith("cuda") or not isinstance(net, AlexNet):
        return
    for layer in learned_layers(net.config):
        conv = net.get_submodule(layer.name)
        if isinstance(conv, nn.Conv2d) and conv.groups > 1 and split_is_faster(layer, batch, precision, device):
            setattr(net, layer.name, SplitConv2d.of(conv))


@cache
def split_is_faster(layer: Layer, batch: int, precision: Precision, device: str) -> bool:
    """Whether a forward and a backward pass take less time with a convolution per group."""
    grouped, split = milliseconds(passes(layer, batch, precision, device), device)
    return split <= MARGIN * grouped


def passes(layer: Layer, batch: int, precision: Precision, device: str) -> list[Work]:
    """A forward and a backward pass of a grouped convolution in channels_last memory: as one operation, and split."""
    generator = torch.Generator(device).manual_seed(0)  # PyTorch's own generator stays as it was
    sizes = (layer.inputs[0], layer.outputs[0], layer.kernel, layer.stride, layer.padding[0])
    grouped = nn.Conv2d(*sizes, groups=layer.groups, device="meta")
    shapes = (layer.weight_shape, (batch, *layer.inputs), (batch, *layer.outputs))
    weight, x, upper = (
        torch.randn(shape, generator=generator, device=device).to(memory_format=torch.channels_last) for shape in shapes
    )
    grouped.weight, grouped.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(layer.biases, device=device))
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    x, upper = x.to(dtype).requires_grad_(), upper.to(dtype)

    def work(conv: nn.Module) -> None:
        with autocast(precision, device):
            result = conv(x)
        torch.autograd.grad(result, (x, *conv.parameters()), upper)

    return [partial(work, conv) for conv in (grouped, SplitConv2d.of(grouped))]


def milliseconds(works: list[Work], device: str) -> list[float]:
    """The shortest time that each takes on a GPU, over several rounds in which they take turns.

    Other processes that share the GPU only add to a time. The two are timed as CUDA graphs, as most training steps are:
    the time to launch operations from Python does not count.
    """
    with torch.cuda.device(device):
        replays = [_captured(CudaRecorder(device), work) for work in works]
        rounds = [[_timed(replay) for replay in replays] for _ in range(ROUNDS + 1)]
    return [min(times) for times in zip(*rounds[1:], strict=True)]


def _captured(recorder: CudaRecorder, work: Work) -> Work:
    """A graph of ``work``; where it can't be captured, ``work`` itself."""
    for _ in range(WARM_UP):
        recorder.warm_up(work)
    try:
        return recorder.capture(work)
    except RuntimeError:
        return work


def _timed(work: Work) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(REPEATS):
        work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / REPEATS
