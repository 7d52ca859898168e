"""The architecture page's tables hold what the architecture says."""

import pytest

from alexnet_repro.common.errors import UserError
from alexnet_repro.networks import layers as architecture
from alexnet_repro.networks.config import CIFAR_ALEXNET, PAPER, SOURCE
from alexnet_repro.networks.cost import memory_breakdown
from alexnet_repro.report import architecture as anatomy


@pytest.mark.parametrize("config", [PAPER, SOURCE, CIFAR_ALEXNET])
def test_totals(config):
    table = anatomy.table(config, batch=128)
    total = table.iloc[-1]
    layers = architecture.layers(config)
    assert list(table["layer"]) == [*(layer.name for layer in layers), anatomy.TOTAL]
    assert total["parameters"] == architecture.parameters(config)
    assert total["neurons"] == sum(architecture.neurons(config))
    assert total["multiply-accumulates (M)"] == pytest.approx(sum(layer.multiply_adds for layer in layers) / 1e6)
    assert total["activations (MiB)"] == pytest.approx(sum(layer.activation_bytes(128) for layer in layers) / 2**20)


def test_the_words_carry_the_numbers():
    assert "60,965,224" in anatomy.parameters_words().data
    assert "659,272" in anatomy.neurons_words().data
    assert "55 × 48 × 96 = 253,440" in anatomy.neurons_words().data
    assert "1 + ⌈53.25⌉ = 55" in anatomy.border_words().data
    assert f"{sum(memory_breakdown(SOURCE, 128).values()) / 2**30:.2f} GiB" in anatomy.memory_words(128).data
    assert "does not fit" in anatomy.memory_words(1024).data


def test_the_layer_table_says_what_it_counts():
    shown = anatomy.layer_table(CIFAR_ALEXNET, 64).data
    assert shown.startswith("*All columns together")
    assert "a batch of 64" in shown
    last = next(line for line in shown.splitlines() if line.startswith("| fc8"))
    assert "| 0.0051 | 0.0024 |" in last  # 512 x 10 multiply-accumulates, 10 x 64 numbers of four bytes


def test_shares_add_up():
    shares = anatomy.shares(PAPER)
    assert list(shares.index) == [layer.name for layer in architecture.learned_layers(PAPER)]
    assert shares.sum().tolist() == pytest.approx([100] * 3)


def test_side_by_side():
    table = anatomy.side_by_side().set_index("")
    assert table.loc["parameters"].tolist() == ["60,965,224", "60,965,224", "61,100,840"]
    assert table.loc["after conv1"].tolist() == ["ReLU, LRN, max pool", "LRN, max pool, ReLU", "ReLU, max pool"]
    assert list(table.index[:8]) == [layer.name for layer in architecture.learned_layers(PAPER)]


def test_the_ledger_adds_up():
    table = anatomy.memory_table(128)
    assert table.loc[anatomy.TOTAL, "source, each of two"] * 2**20 == sum(
        memory_breakdown(SOURCE, 128, gpus=2).values()
    )


@pytest.mark.parametrize("batch", [0, -1, "x", 1.5])
def test_a_batch_that_is_none_is_named(batch):
    with pytest.raises(UserError, match="has no images: give a whole number"):
        anatomy.layer_table(PAPER, batch)
