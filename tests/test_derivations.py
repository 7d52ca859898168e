"""The paper's arithmetic, by hand."""

import pytest

from alexnet_repro.common.errors import UserError
from alexnet_repro.paper.claims import Derived, load
from alexnet_repro.paper.derivations import derive, quantities

FIG_2 = {
    "conv1": 55 * 55 * 96,
    "conv2": 27 * 27 * 256,
    "conv3": 13 * 13 * 384,
    "conv4": 13 * 13 * 384,
    "conv5": 13 * 13 * 256,
    "fc6": 4096,
    "fc7": 4096,
    "fc8": 1000,
}


def entry(**changes):
    values = {"quantity": "parameters", "unit": "parameters", "paper_value": 60e6, "tolerance": 0.02, "rule": "r"}
    return Derived.model_validate(values | changes)


def test_the_layers_of_figure_2():
    known = quantities()
    assert {name.removeprefix("neurons_"): size for name, size in known.items() if "neurons_" in name} == FIG_2
    assert known["neurons"] == sum(FIG_2.values()) == 659_272
    assert known["input_size"] == 150_528
    assert known["learned_layers"] == 8


def test_parameters_by_hand():
    # Kernels that see one column in conv2, conv4 and conv5, and both in conv3.
    weights = 96 * 11 * 11 * 3 + 256 * 5 * 5 * 48 + 384 * 9 * 256 + 384 * 9 * 192 + 256 * 9 * 192
    weights += 4096 * 6 * 6 * 256 + 4096 * 4096 + 1000 * 4096
    biases = 96 + 256 + 384 + 384 + 256 + 4096 + 4096 + 1000
    assert quantities()["parameters"] == weights + biases == 60_965_224


def test_the_one_gpu_net_computes_more_than_each_of_two_gpus():
    # Multiply-adds by hand, in the order of the layers; per column conv3 and the fully-connected see everything.
    half = 55**2 * 48 * 363 + 27**2 * 128 * 1200 + 13**2 * (192 * 1152 + 192 * 1728 + 256 * 1728)
    half += 4096 * 9216 + 4096 * 4096 + 1000 * 4096
    column = 55**2 * 48 * 363 + 27**2 * 128 * 1200 + 13**2 * (192 * 2304 + 192 * 1728 + 128 * 1728)
    column += 2048 * 9216 + 2048 * 4096 + 500 * 4096
    assert quantities()["multiply_adds_ratio"] == pytest.approx(half / column)
    assert half / column == pytest.approx(1.08, abs=0.005)


def test_crops():
    assert quantities()["crops"] == 33 * 33 * 2 == 2178
    assert 32 * 32 * 2 == 2048  # the paper's


def test_which_numbers_of_the_paper_disagree():
    verdicts = {(claim.id, each.label): derive(each).verdict for claim in load() for each in claim.derived}
    assert {name for name, verdict in verdicts.items() if verdict == "derived: disagrees"} == {
        ("architecture", "Fig. 2, conv1"),
        ("augmentation", "crops and reflections"),
        ("architecture", "largest conv layer"),
        ("pooling_dimensions", "as the author ran it"),
    }
    assert len(verdicts) == 22
    assert 55 * 48 * 96 == 253_440  # where Figure 2's number may come from


@pytest.mark.parametrize(
    ("changes", "agrees"),
    [
        ({}, True),  # the tolerance is relative
        ({"tolerance": 0.016}, False),
        ({"tolerance": 0.0, "paper_value": 60_965_224.0}, True),
        ({"quantity": "crops", "tolerance": 0.0, "comparison": "above", "paper_value": 2177.0}, True),
        ({"quantity": "crops", "tolerance": 0.0, "comparison": "above", "paper_value": 2178.0}, False),
        ({"quantity": "crops", "tolerance": 0.0, "comparison": "at most", "paper_value": 2178.0}, True),
        ({"quantity": "crops", "tolerance": 0.0, "comparison": "at most", "paper_value": 2177.0}, False),
    ],
)
def test_each_comparison_has_its_bound(changes, agrees):
    assert derive(entry(**changes)).verdict == ("derived: agrees" if agrees else "derived: disagrees")


def test_the_largest_conv_layer_is_conv3():
    weights, biases = 384 * 9 * 256, 384
    assert quantities()["largest_conv_share"] == 100 * (weights + biases) / 60_965_224


def test_the_one_gpu_net_has_about_as_many_parameters():
    fc6 = 4096 * 6 * 6 * 256 + 4096
    dense = fc6 + 4096 * 4096 + 4096 + 1000 * 4096 + 1000
    half = 48 * 363 + 48 + 128 * 25 * 48 + 128 + 192 * 9 * 128 + 192 + 192 * 9 * 192 + 192 + 256 * 9 * 192 + 256
    assert quantities()["half_parameters_ratio"] == pytest.approx((half + dense) / 60_965_224)
    assert (half + dense) / 60_965_224 == pytest.approx(0.981, abs=5e-4)
    assert quantities()["fc6_share"] == pytest.approx(100 * fc6 / 60_965_224)


def test_windows_of_two_give_the_same_sides_where_the_last_is_dropped():
    # 3/2: 55 -> 27 -> 13 -> 6. 2/2 dropped: the same; rounded up as net 147, borders 1 and 0: 28, 26 -> 13, 11 -> 6.
    assert [1 + (55 - 3) // 2, 1 + (27 - 3) // 2, 1 + (13 - 3) // 2] == [27, 13, 6]
    assert [1 + (55 - 2) // 2, 1 + (27 - 2) // 2, 1 + (13 - 2) // 2] == [27, 13, 6]
    assert quantities()["same_sides"] == 3
    assert [1 + -(-(55 - 2) // 2), 1 + -(-(28 - 4 + 2 - 2) // 2), 1 + -(-(13 - 2 - 2) // 2)] == [28, 13, 6]
    assert quantities()["same_sides_147"] == 2


def test_bits():
    assert 2 ** quantities()["label_bits"] == pytest.approx(1000)
    assert quantities()["parameters_per_bit"] == pytest.approx(60_965_224 / 1_200_000 / 9.965784)
    assert quantities()["dropout_work"] == 1


def test_an_unknown_quantity_lists_the_valid_ones():
    said = r"unknown derived quantity 'crop' \(did you mean 'crops'\?\): choose one of crops, .*parameters"
    with pytest.raises(UserError, match=said):
        derive(entry(quantity="crop"))
