"""Drawings hold what their config has."""

import pytest

from alexnet_repro.networks.config import CIFAR_ALEXNET, PAPER, SOURCE
from alexnet_repro.networks.layers import learned_layers
from alexnet_repro.report import architecture, drawings


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def links(figure):
    return sum(patch.get_gid() == "link" for patch in figure.axes[0].patches)


@pytest.mark.parametrize(
    "config", [PAPER, SOURCE, CIFAR_ALEXNET, PAPER.change(columns="half"), PAPER.change(removed=("conv4",))]
)
def test_every_layer_is_drawn_with_its_shape(config):
    figure = drawings.network(config)
    columns = 2 if config.columns == "linked" else 1
    for layer in learned_layers(config):
        assert layer.name in texts(figure)
        maps, side, _ = layer.outputs
        shown = maps if layer.name == "fc8" else maps // columns
        assert architecture.shape((shown, side, side)) in texts(figure)
        if layer.kind == "convolution":
            size = f"{layer.kernel} × {layer.kernel} × {layer.weight_shape[1]}"
            assert f"kernel {size}".replace(" ", architecture.UNBROKEN).replace(architecture.UNBROKEN, " ", 1) in texts(
                figure
            )
    assert architecture.shape((3, config.image_size, config.image_size)) in texts(figure)


@pytest.mark.parametrize(("columns", "count"), [("linked", 8), ("unlinked", 2), ("half", 0), ("single", 0)])
def test_links_lead_where_a_layer_sees_both_columns(columns, count):
    # Two arrows each into conv3, fc6, fc7 and, where nothing else is linked too, fc8.
    assert links(drawings.network(PAPER.change(columns=columns))) == count


def test_boxes_and_windows_are_to_scale():
    """The first face of each box of a column, in order: the image, then maps and in them the next layer's window."""
    faces = [patch.get_xy()[:4] for patch in drawings.network(PAPER).axes[0].patches if patch.get_gid() is None][::3]
    sizes = [tuple(face.max(0) - face.min(0)) for face in faces]
    assert sizes[:2] == [pytest.approx((3, 224)), pytest.approx((3, 11))]
    # conv1 in both columns, with what conv2's kernel reads of it: 5 of the 27 rows that pooling leaves.
    assert sizes[2:6] == [pytest.approx((48, 55)), pytest.approx((48, 55 * 5 / 27))] * 2
    assert sizes[6:10] == [pytest.approx((128, 27)), pytest.approx((128, 27 * 3 / 13))] * 2
    assert sizes[10:14] == [pytest.approx((192, 13)), pytest.approx((192, 3))] * 2


def test_the_border_ends_where_the_last_window_does():
    axes = drawings.border().axes[0]
    assert list(axes.get_xticks()) == [219, 223, 227]


def test_bars_are_the_tables_values():
    widths = [bar.get_width() for bar in drawings.shares().axes[0].patches]
    assert widths == pytest.approx(architecture.shares(PAPER).to_numpy().T.ravel().tolist())
    widths = [bar.get_width() for bar in drawings.memory(64).axes[0].patches]
    table = architecture.memory_table(64).drop(index=architecture.TOTAL)
    assert widths == pytest.approx((table / 1024).to_numpy().ravel().tolist())
