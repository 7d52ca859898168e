"""The tutorial's slips, as the network shows them."""

import nbformat

from alexnet_repro.report import slips
from alexnet_repro.site import notebooks


def test_what_the_network_shows():
    shown = {slip.name: slip.shown for slip in slips.slips()}
    assert "67.5" in shown["The size of the input"]
    assert "227 would give 55" in shown["The size of the input"]
    assert "conv1: ReLU, LRN, max pool" in shown["Pooling before normalization"]
    assert "conv2: 2 × 128 kernels, 256 maps" in shown["Kernels of one column, outputs of both"]
    assert "fc6 and fc7" in shown["Dropout on the last layer"]
    assert "61,100,840" in shown["torchvision's network as the paper's"]
    assert "no columns" in shown["torchvision's network as the paper's"]


def test_the_page_has_a_section_for_each():
    cells = nbformat.read(notebooks.path("slips"), as_version=4).cells
    headings = [cell.source.removeprefix("## ") for cell in cells if cell.source.startswith("## ")]
    assert [slip.name for slip in slips.slips()] == headings[:-1]  # the last one says why they last
