"""The page that builds the network layer by layer: its class is the package's network, and its comments are true."""

import re
from typing import Any

import nbformat
import pandas as pd
import pytest
import torch
import torchvision
from torch import nn

from alexnet_repro.networks.config import CIFAR_ALEXNET, PAPER
from alexnet_repro.report import cards
from alexnet_repro.training.models.alexnet import AlexNet

from . import homes

CELLS = nbformat.read(homes.ROOT / "notebooks" / "layer_by_layer.ipynb", as_version=4).cells
(SOURCE,) = [cell.source for cell in CELLS if "class AlexNet(nn.Module)" in cell.source]
SMALL: dict[str, Any] = {
    "kernels": (24, 64, 96, 96, 64),
    "hidden": 512,
    "classes": 10,
    "window": 5,
    "stride": 1,
    "border": (2, 2),
    "side": 3,
}
SHAPE = re.compile(r"^( +)(x = .*?|def forward\(self, x\):)  # (\d+(?: x \d+)*)$", re.MULTILINE)


def page_class(source: str = SOURCE, **names: object) -> type[nn.Module]:
    """The class, by running its cell alone."""
    space: dict[str, Any] = dict(names)
    exec(source, space)
    return space["AlexNet"]


def equal_nets(config: Any, sizes: dict[str, Any], dtype: torch.dtype) -> tuple[nn.Module, AlexNet]:
    """The page's network and the package's, with the same weights."""
    package = AlexNet(config, seed=0).to(dtype)
    with torch.device("meta"):
        page = page_class()(**sizes)
    page.load_state_dict(package.state_dict(), assign=True)
    return page, package


@torch.no_grad()
@pytest.mark.parametrize(("config", "sizes"), [(PAPER, {}), (CIFAR_ALEXNET, SMALL)], ids=["paper", "cifar"])
def test_class_gives_the_outputs_of_the_packages_network(config: Any, sizes: dict[str, Any]) -> None:
    page, package = equal_nets(config, sizes, torch.float64)
    side = config.image_size
    images = 70 * torch.randn(1, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = package.eval()(images)
    assert expected.std() > 0.01  # outputs that differ from class to class
    torch.testing.assert_close(page.eval()(images), expected)


@torch.no_grad()
def test_class_drops_in_training_what_the_packages_network_drops() -> None:
    page, package = equal_nets(CIFAR_ALEXNET, SMALL, torch.float32)
    images = torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    expected = package.train()(images, torch.Generator().manual_seed(2))
    torch.manual_seed(2)
    torch.testing.assert_close(page.train()(images), expected)
    assert not torch.allclose(page(images), expected)  # the next masks are others


def test_every_line_of_forward_has_its_shape() -> None:
    forward = SOURCE.partition("def forward")[2].partition("def normalize")[0]
    assert len(SHAPE.findall(SOURCE)) == len(re.findall("^ +x = ", forward, re.MULTILINE)) + 1
    noted: list[tuple[str, tuple[int, ...]]] = []
    indent = " " * 8
    recording = SHAPE.sub(rf"\g<0>\n{indent}note('\3', x)", SOURCE)
    space = {"note": lambda text, x: noted.append((text, tuple(x.shape[1:])))}
    with torch.device("meta"):
        page_class(recording, **space)().eval()(torch.empty(1, 3, 224, 224))
    assert [text for text, _ in noted] == [" x ".join(map(str, shape)) for _, shape in noted]


def test_class_is_read_on_one_screen() -> None:
    assert len(SOURCE[SOURCE.index("class AlexNet") :].splitlines()) <= 65


def test_all_code_but_that_of_drawings_is_in_sight() -> None:
    tagged = {cell.id: set(cell.metadata.get("tags", [])) for cell in CELLS}
    assert set().union(*tagged.values()) == {"parameters", "remove-input"}
    removed = [cell for cell in CELLS if "remove-input" in tagged[cell.id]]
    assert [
        cell.source for cell in removed if "mystnb" not in cell.metadata and "sns.set_theme" not in cell.source
    ] == []
    assert any("import torch\n" in cell.source for cell in CELLS if "remove-input" not in tagged[cell.id])


def test_slips_are_answered_by_the_networks() -> None:
    (source,) = [cell.source for cell in CELLS if "slips = [" in cell.source]
    with torch.device("meta"):
        nets = {"ours": page_class()(), "other": torchvision.models.alexnet()}
    found: dict[str, Any] = {"nn": nn, "pd": pd, "cards": cards, **nets}
    exec(source, found)
    answers = [answer for _, _, answer in found["slips"]]
    assert "= 67.5. It looks like a misprint of 227, and (227 − 11) / 4 + 1 = 55." in answers[0]
    assert "55 × 55 values of each map of conv1, and pooling keeps 27 × 27" in answers[1]
    assert "[48, 128, 192, 192, 128] kernels, and yet [96, 256, 384, 384, 256] maps" in found["slips"][2][0]
    assert "1,000 outputs of fc8" in answers[3]
    assert "fc7 reads 4,096 values, fc8 4,096" in answers[4]
    assert "1 column, 0 normalizations, and 61,100,840 parameters instead of 60,965,224" in answers[5]


def test_torchvisions_network_differs_where_the_page_says() -> None:
    with torch.device("meta"):
        other = torchvision.models.alexnet()
    convs = [m for m in other.modules() if isinstance(m, nn.Conv2d)]
    fewer = [n for n, (conv, ours) in enumerate(zip(convs, PAPER.kernels, strict=True), 1) if conv.out_channels < ours]
    assert fewer == [1, 2, 4]
    assert [conv.groups for conv in convs] == [1] * 5
    assert not any("Norm" in type(m).__name__ for m in other.modules())
    assert convs[0].padding == (2, 2)
    names = [type(m).__name__ for m in other.classifier]
    assert names == ["Dropout", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
    assert other.avgpool.output_size == (6, 6)
