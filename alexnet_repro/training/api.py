"""The networks, their errors and the data sets in a few calls, for use from other code; see also ``AlexNetSGD``.

>>> from alexnet_repro import AlexNetSGD, build_model, load_data, top1_error
>>> images, labels, _, _ = load_data("sample")
>>> model = build_model("cifar")
>>> optimizer = AlexNetSGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
>>> batch = images[:8, :, 4:28, 4:28].float()  # the central 24 x 24 pixels, which this network takes
>>> loss = torch.nn.functional.cross_entropy(model(batch, torch.Generator().manual_seed(0)), labels[:8])
>>> loss.backward()
>>> optimizer.step()
>>> 0 <= top1_error(model.eval()(batch), labels[:8]) <= 1
True
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..common.errors import one_of
from ..experiments.config import TRAIN_IMAGES, DeviceConfig, RunConfig
from ..networks.config import CIFAR_ALEXNET, PAPER, SOURCE, TINY_ALEXNET, AlexNetConfig, CudaConvnetConfig
from .data import cifar10
from .data.load import load
from .devices import available
from .evaluate import top1_wrong, top5_wrong
from .models.build import build

PRESETS = {"paper": PAPER, "source": SOURCE, "cifar": CIFAR_ALEXNET, "tiny-imagenet": TINY_ALEXNET}
"""Networks by name: the paper's (224 x 224 pixels, 1,000 classes), net 145 of the 2012 source (the same sizes), and the
baselines of the experiments on CIFAR-10 (24 x 24, 10 classes) and Tiny ImageNet (56 x 56, 200 classes)."""


class Data(NamedTuple):
    """A data set: images (n, 3, side, side) uint8 from 0 to 255, and labels (n,) int64, as ``cross_entropy`` takes."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def build_model(
    net: str | AlexNetConfig | CudaConvnetConfig | RunConfig = "paper", seed: int | None = None, device: str = "cpu"
) -> nn.Module:
    """A network with initial weights drawn from ``seed``, in training mode like any new nn.Module.

    net: a name from ``PRESETS``; a network's config; or a run's config, such as ``study("lrn").config("no_lrn", 0)``,
    for its network. seed: 0 by default, and for a run's config the run's. device: "cpu", "cuda", "cuda:1", "mps", or
    "meta" for shapes without weights. Raises UserError for an unknown name, and where there is no such GPU.

    Input (batch, 3, side, side), output logits (batch, classes). In training with dropout, AlexNet also takes the
    torch.Generator that draws the dropout masks: ``model(images, generator)``.

    >>> model = build_model(device="meta")
    >>> model.eval()(torch.randn(1, 3, 224, 224, device="meta")).shape
    torch.Size([1, 1000])
    >>> sum(p.numel() for p in model.parameters())
    60965224
    >>> build_model(PRESETS["cifar"].change(cross_map_norm=None), seed=1).norm1  # without normalization
    Identity()
    """
    if isinstance(net, str):
        if net not in PRESETS:
            raise one_of("network", net, list(PRESETS))
        net = PRESETS[net]
    if isinstance(net, RunConfig):
        seed = net.seed if seed is None else seed
        net = net.model
    if device.startswith(("cuda", "mps")):
        available(DeviceConfig(device=device))
    return build(net, seed or 0, device)


def top1_error(logits: Tensor, labels: Tensor) -> float:
    """Fraction of images whose largest logit is not that of their class.

    logits: (n, classes), or probabilities. labels: (n,) class numbers. Of equal largest logits, the first counts. NaN
    counts as larger than any number, as in torch.argmax: look for it before (``logits.isfinite().all()``). Raises
    ValueError for other shapes, and for no images.

    >>> logits = torch.tensor([[0.1, 0.9, 0.0], [0.7, 0.2, 0.1], [0.5, 0.5, 0.0]])
    >>> top1_error(logits, torch.tensor([1, 2, 1]))  # right, wrong, wrong: class 0 comes first
    0.6666666666666666
    """
    return top1_wrong(*_matching(logits, labels)).item() / len(labels)


def top5_error(logits: Tensor, labels: Tensor) -> float:
    """Fraction of images whose class is not among those of the five largest logits; 0 for five classes or fewer.

    Arguments, NaN and errors are those of ``top1_error``. Of logits that are equal to the fifth largest, torch.topk
    chooses, and does not say which.

    >>> logits = torch.arange(10.0).expand(3, 10)  # classes 5 to 9 have the largest
    >>> top5_error(logits, torch.tensor([9, 5, 4]))
    0.3333333333333333
    """
    return top5_wrong(*_matching(logits, labels)).item() / len(labels)


def load_data(name: str = "sample") -> Data:
    """A data set in memory, as it lies prepared on disk.

    name: "sample", the part of CIFAR-10 that comes with this package (2,000 training and 1,000 test images of 32 x 32
    pixels, 10 classes); "cifar10", all of it (50,000 and 10,000); or "tiny-imagenet" (100,000 training images of
    64 x 64 pixels, and as test images the 10,000 for validation, 200 classes; 1.4 GB). Raises UserError for an unknown
    name, and for a data set that has not been fetched: ``alexnet-repro data cifar10`` fetches it.

    >>> data = load_data()
    >>> data.train_images.shape, data.test_labels.shape
    (torch.Size([2000, 3, 32, 32]), torch.Size([1000]))
    """
    if name not in TRAIN_IMAGES:
        raise one_of("data set", name, list(TRAIN_IMAGES))
    found = cifar10.cifar10(fetch=False) if name == "cifar10" else load(name)
    return Data(
        torch.from_numpy(np.array(found.train_images)),
        torch.from_numpy(found.train_labels.astype(np.int64)),
        torch.from_numpy(np.array(found.test_images)),
        torch.from_numpy(found.test_labels.astype(np.int64)),
    )


def _matching(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The same two. Raises ValueError where they are not (n, classes) and (n,), n at least 1."""
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or not len(labels):
        shapes = f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}"
        raise ValueError(f"{shapes}: give (n, classes) and (n,), of at least one image")
    return logits, labels
