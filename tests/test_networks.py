import json

import pytest
from pydantic import ValidationError

from alexnet_repro.networks.config import (
    CIFAR_ALEXNET,
    PAPER,
    SOURCE,
    TINY_ALEXNET,
    AlexNetConfig,
    CrossMapNorm,
    side_after,
)


@pytest.mark.parametrize("config", [PAPER, SOURCE, CIFAR_ALEXNET, TINY_ALEXNET])
def test_a_config_survives_json(config):
    assert AlexNetConfig.model_validate_json(config.model_dump_json()) == config


def test_no_field_has_a_default():
    assert all(field.is_required() for field in AlexNetConfig.model_fields.values())
    assert all(field.is_required() for field in CrossMapNorm.model_fields.values())


def test_the_presets_differ_where_paper_and_source_do():
    different = {name for name in AlexNetConfig.model_fields if getattr(PAPER, name) != getattr(SOURCE, name)}
    assert different == {"conv1_order", "cross_map_norm", "within_map_norm", "pool_rounding", "weight_init"}


def test_the_small_presets_differ_in_sizes_alone():
    different = {
        name for name in AlexNetConfig.model_fields if getattr(TINY_ALEXNET, name) != getattr(CIFAR_ALEXNET, name)
    }
    sizes = {"image_size", "classes", "kernels", "conv1_kernel", "conv1_stride", "conv1_padding", "hidden"}
    assert different == sizes


def test_224_gives_55():
    assert side_after(224, 11, 4, border=3) == 55
    assert side_after(224, 11, 4, rounding="ceil") == 55  # how the source gets there
    assert side_after(224, 11, 4) == 54
    assert side_after(227, 11, 4) == 55
    assert (277 - 11) / 4 + 1 == 67.5  # the tutorial's 277


def test_pooling_rounds_as_cuda_convnet_does():
    halved = {32: 16, 16: 8, 8: 4, 24: 12, 12: 6, 6: 3}
    assert {side: side_after(side, 3, 2, rounding="ceil") for side in halved} == halved


def test_change_validates():
    assert CIFAR_ALEXNET.change(dropout=0.0).dropout == 0
    assert CIFAR_ALEXNET.change() == CIFAR_ALEXNET
    with pytest.raises(ValidationError, match="dropuot"):
        CIFAR_ALEXNET.change(dropuot=0.0)
    with pytest.raises(ValidationError):
        CIFAR_ALEXNET.dropout = 0.1


AFTER_CONV3 = CIFAR_ALEXNET.cross_map_norm.model_copy(update={"layers": (3,)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dropout": 1.0}, "less than 1"),
        ({"dropout": float("nan")}, "finite"),
        ({"classes": "10"}, "valid integer"),
        ({"hidden": 511}, "even number"),
        ({"pool": (2, 3)}, "stride of at most 2"),
        ({"image_size": 4}, "enlarge it"),
        ({"conv1_padding": (5, 5)}, "below 5"),
        ({"removed": ("conv4", "conv3")}, "ascending"),
        ({"removed": ("conv2",)}, "conv3"),
        ({"nonlinearity": "sigmoid"}, "relu"),
        ({"cross_map_norm": AFTER_CONV3, "removed": ("conv3",)}, "take 3 out"),
    ],
)
def test_a_wrong_value_is_named(changes, message):
    with pytest.raises(ValidationError, match=message):
        CIFAR_ALEXNET.change(**changes)


def test_an_even_normalization_window_is_refused():
    with pytest.raises(ValidationError, match="odd"):
        CrossMapNorm(size=4, alpha=1e-4, beta=0.75, k=2.0, divide_alpha=True, layers=(1,))


def test_json_types_are_strict():
    values = json.loads(CIFAR_ALEXNET.model_dump_json())
    with pytest.raises(ValidationError):
        AlexNetConfig.model_validate_json(json.dumps({**values, "classes": "10"}))
