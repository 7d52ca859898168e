import pytest

from alexnet_repro.networks import layers as architecture
from alexnet_repro.networks.config import CIFAR_ALEXNET, PAPER, SOURCE


def by_name(config):
    return {layer.name: layer for layer in architecture.layers(config)}


def shapes(config):
    return {layer.name: layer.outputs for layer in architecture.layers(config)}


@pytest.mark.parametrize("config", [PAPER, SOURCE])
def test_fig_2(config):
    assert architecture.parameters(config) == 60_965_224
    neurons = architecture.neurons(config)
    assert neurons == (290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000)
    assert sum(neurons) == 659_272
    assert sum(architecture.PAPER_NEURONS) == 622_312  # short of the 650,000 of the paper's own text
    assert architecture.PAPER_NEURONS[1:] == neurons[1:]
    learned = [layer.outputs for layer in architecture.learned_layers(config)]
    assert learned == [
        (96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13), (4096, 1, 1), (4096, 1, 1),
        (1000, 1, 1),
    ]  # fmt: skip


def test_section_3_5():
    # Kernel shapes as the text has them: per column where the kernels see their own column only.
    weights = [layer.weight_shape for layer in architecture.learned_layers(PAPER)]
    assert weights == [
        (96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3), (4096, 9216),
        (4096, 4096), (1000, 4096),
    ]  # fmt: skip


def test_counts_by_hand():
    conv2, fc6 = by_name(PAPER)["conv2"], by_name(PAPER)["fc6"]
    assert (conv2.weights, conv2.biases, conv2.neurons) == (256 * 48 * 25, 256, 256 * 27 * 27)
    assert conv2.multiply_adds == 256 * 27 * 27 * 48 * 25
    assert conv2.activation_bytes(batch=128) == 128 * 4 * 256 * 27 * 27
    assert (fc6.parameters, fc6.multiply_adds) == (9216 * 4096 + 4096, 9216 * 4096)
    pooling = by_name(PAPER)["conv1 pooling"]
    assert (pooling.parameters, pooling.neurons, pooling.multiply_adds) == (0, 0, 0)


def test_the_order_after_each_layer():
    def after(config, name):
        return [key.removeprefix(f"{name} ") for key in by_name(config) if key.startswith(f"{name} ")]

    assert after(PAPER, "conv1") == after(PAPER, "conv2") == ["nonlinearity", "cross-map norm", "pooling"]
    assert after(SOURCE, "conv1") == ["cross-map norm", "pooling", "nonlinearity"]
    assert after(SOURCE, "conv2") == ["nonlinearity", "cross-map norm", "within-map norm", "pooling"]
    assert after(PAPER, "conv3") == after(PAPER, "conv4") == ["nonlinearity"]
    assert after(PAPER, "conv5") == ["nonlinearity", "pooling"]
    assert after(PAPER, "fc6") == after(PAPER, "fc7") == ["nonlinearity", "dropout"]
    assert after(PAPER, "fc8") == []


@pytest.mark.parametrize("config", [PAPER, CIFAR_ALEXNET])
def test_pooling_without_overlap_keeps_every_shape(config):
    assert shapes(config.change(pool=(2, 2))) == shapes(config)  # "equivalent dimensions", section 3.4


def test_columns():
    groups = {
        columns: [layer.groups for layer in architecture.learned_layers(PAPER.change(columns=columns))]
        for columns in ("linked", "unlinked", "half", "single")
    }
    assert groups == {
        "linked": [1, 2, 1, 2, 2, 1, 1, 1],
        "unlinked": [1, 2, 2, 2, 2, 2, 2, 1],
        "half": [1] * 8,
        "single": [1] * 8,
    }


def test_half_a_net_has_about_as_many_parameters():
    # The footnote of section 3.2: conv5 and the fully-connected layers keep their width to that end.
    half = PAPER.change(columns="half")
    assert [layer.outputs[0] for layer in architecture.learned_layers(half)] == [
        48, 128, 192, 192, 256, 4096, 4096, 1000,
    ]  # fmt: skip
    assert architecture.parameters(half) / architecture.parameters(PAPER) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("removed", "linked"), [("conv3", "conv4"), ("conv4", "conv3"), ("conv5", "conv3")])
def test_a_removed_layer_takes_no_link_with_it(removed, linked):
    layers = by_name(PAPER.change(removed=(removed,)))
    assert not any(name.startswith(removed) for name in layers)
    assert {name for name, layer in layers.items() if name.startswith("conv") and layer.learned} == {
        f"conv{n}" for n in range(1, 6)
    } - {removed}
    assert layers[linked].groups == 1
    assert sum(layer.kind == "pooling" for layer in layers.values()) == 3
    assert layers["fc6"].inputs[1:] == (6, 6)


def test_initial_values_per_layer():
    def std(config):
        return [architecture.initial_weight_std(config, layer) for layer in architecture.learned_layers(config)]

    def bias(config):
        return [architecture.initial_bias(config, layer) for layer in architecture.learned_layers(config)]

    assert std(PAPER) == [0.01] * 8
    assert std(SOURCE) == [0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01]
    assert std(CIFAR_ALEXNET)[1] == pytest.approx((2 / (12 * 25)) ** 0.5)
    scaled = CIFAR_ALEXNET.change(weight_init="paper-scaled")
    spread = [
        [std * layer.fan_in**0.5 for std, layer in zip(std(net), architecture.learned_layers(net), strict=True)]
        for net in (scaled, PAPER)
    ]
    assert spread[0] == pytest.approx(spread[1])
    assert bias(PAPER) == bias(SOURCE) == [0, 1, 0, 1, 1, 1, 1, 0]
    assert bias(PAPER.change(bias_init="zero")) == [0] * 8
    assert bias(PAPER.change(removed=("conv3",))) == [0, 1, 1, 1, 1, 1, 0]
