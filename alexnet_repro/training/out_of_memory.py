"""What to do when a run does not fit into memory: for full-size runs, the batch that does is found by trying."""

import gc

import torch
from torch.nn.functional import cross_entropy

from ..common.machine import launched
from ..common.rng import torch_stream
from ..experiments.config import DeviceConfig, RunConfig
from ..experiments.imagenet import SMALL
from .models.alexnet import AlexNet
from .models.build import build
from .optim import AlexNetSGD, param_groups
from .precision import at_least_float32, autocast

EXHAUSTED = ("out of memory", "not enough memory", "allocate memory", "alloc_failed", "allocation_failed")
"""What the errors say that torch, cuBLAS and cuDNN raise where memory runs out, in small letters."""
SMALL_SIDE = 128
"""Side of the images of studies whose name ends in ``SMALL``."""


def remedy(config: RunConfig, placement: DeviceConfig) -> str:
    """What to change, in words. A full-size run on a GPU tries its batch on its own, then half of it, a quarter, ..."""
    if launched():
        return "share every batch among more devices, or end what else uses these"
    fewer = "train fewer runs at once (--workers)"
    if config.data.dataset != "imagenet" or placement.device == "cpu":
        return fewer
    whole, fits = config.optimizer.batch_size, fitting_batch(config, placement.device)
    if fits in (None, whole):
        found = "not even one image fits" if fits is None else "a step alone fits"
        return f"{found}; {fewer}, or end what else uses this GPU"
    devices = -(-whole // fits)
    ways = [fewer, f"share every batch among {devices} GPUs (--devices {devices} --parallel data)"]
    if config.data.whole > SMALL_SIDE:
        ways.append(f"take a study whose name ends in {SMALL}, on squares of {SMALL_SIDE} pixels")
    return f"a batch of {whole} images does not fit, one of {fits} does; {', '.join(ways[:-1])}, or {ways[-1]}"


def fitting_batch(config: RunConfig, device: str) -> int | None:
    """The largest batch of which a training step fits: the whole, half, a quarter, ...; None if none does."""
    batch = config.optimizer.batch_size
    while batch:
        _free()
        try:
            _step(config, device, batch)
        except (MemoryError, RuntimeError) as error:
            if not says_memory(error):
                raise
            batch //= 2
        else:
            _free()
            return batch
    return None


def says_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out; an "illegal memory access" is another one."""
    said = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in said for words in EXHAUSTED)


def _step(config: RunConfig, device: str, batch: int) -> None:
    """A training step on a batch of zeros."""
    net = build(config.model, config.seed)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = AlexNetSGD(param_groups(net, config.optimizer))
    inputs = torch.zeros(batch, 3, config.data.side, config.data.side, device=device)
    assert isinstance(net, AlexNet)  # all full-size nets are
    masks = net.masks(batch, torch_stream(config.seed, "dropout", 0, device=device))
    with autocast(config.precision, device):
        logits = net(inputs.contiguous(memory_format=torch.channels_last), masks=masks)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    cross_entropy(at_least_float32(logits), labels).backward()
    optimizer.step()


def _free() -> None:
    """Give memory back that nothing uses any more."""
    gc.collect()
    torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
