"""The memory of training, by hand."""

import pytest

from alexnet_repro.common.errors import UserError
from alexnet_repro.networks import layers
from alexnet_repro.networks.config import CIFAR_ALEXNET, PAPER, SOURCE
from alexnet_repro.networks.cost import GPU_BYTES, memory_breakdown

# Numbers kept per image by net 145: conv and normalization outputs, poolings, fully-connected layers.
KEPT = 2 * 290_400 + 27 * 27 * 96 + 3 * 186_624 + 13 * 13 * 256 + 2 * 64_896 + 43_264 + 6 * 6 * 256 + 2 * 4096 + 1000


def test_one_gpu_by_hand():
    held = memory_breakdown(SOURCE, batch=128)
    assert held["outputs"] == held["gradients of outputs"] == 4 * 128 * KEPT
    assert held["images"] == 2 * 4 * 128 * 3 * 224 * 224
    assert held["denominators of normalization"] == 4 * 128 * (290_400 + 2 * 186_624)
    assert held["weights and biases"] == held["velocities"] == 4 * layers.PAPER_PARAMETERS
    # conv2: 729 positions, three at a time, for each of 256 x 48 x 25 weights; conv3 one column after the other.
    weights = {1: 96 * 363, 2: 256 * 1200, 3: 384 * 1152, 4: 384 * 1728, 5: 256 * 1728}
    groups = {1: 3025 // 5, 2: 729 // 3, 3: 13, 4: 13, 5: 13}
    assert held["partial sums of these"] == 4 * sum(groups[n] * weights[n] for n in weights)


def test_each_of_two_gpus_holds_a_half_and_the_other_columns_maps():
    one, two = memory_breakdown(PAPER, batch=128), memory_breakdown(PAPER, batch=128, gpus=2)
    copies = 4 * 128 * (13 * 13 * 128 + 6 * 6 * 128 + 2048 + 2048)
    assert two["outputs"] == one["outputs"] // 2 + copies
    assert two["weights and biases"] == one["weights and biases"] // 2
    assert two["images"] == one["images"]
    unlinked = memory_breakdown(PAPER.change(columns="unlinked"), batch=128, gpus=2)
    assert unlinked["outputs"] == one["outputs"] // 2 + 4 * 128 * 2048  # the last layer alone sees both


def test_the_net_of_2012_nearly_fills_one_gpu_and_half_fills_two():
    assert 0.8 < sum(memory_breakdown(SOURCE, batch=128).values()) / GPU_BYTES < 1
    assert sum(memory_breakdown(SOURCE, batch=128, gpus=2).values()) / GPU_BYTES < 0.5
    assert sum(memory_breakdown(SOURCE, batch=256).values()) > GPU_BYTES


@pytest.mark.parametrize("config", [PAPER.change(columns="half"), CIFAR_ALEXNET.change(columns="single")])
def test_a_net_without_columns_has_no_two_gpus(config):
    with pytest.raises(ValueError, match="one GPU, or one for each of two columns"):
        memory_breakdown(config, batch=1, gpus=2)
    with pytest.raises(ValueError, match="gpus=3"):
        memory_breakdown(PAPER, batch=1, gpus=3)


def test_a_batch_without_images_is_one_line():
    with pytest.raises(UserError, match="batch=0 has no images"):
        memory_breakdown(PAPER, batch=0)
