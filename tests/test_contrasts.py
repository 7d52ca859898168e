import pytest

from alexnet_repro.analysis.contrasts import contrasts
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.study import SCALES
from alexnet_repro.paper.claims import load


def test_a_pair_with_rules_of_both_stages_comes_once_and_knows_what_they_judge():
    (one,) = [each for each in contrasts(["augmentation"], "cifar10") if each.scale == "cifar10"]
    assert (one.arm, one.against) == ("no_crops", "baseline")
    assert one.judged == {"gap", "test_error"}
    assert one.label == "no crops, no flips minus the baseline"
    assert (one.setting, one.quantity, one.stops, one.shared) == ("CIFAR-10, 24 epochs", "train_error", False, True)


def test_an_arm_without_a_change_is_the_baseline():
    labels = [each.against for each in contrasts(["pca_color"], "cifar10") if each.scale == "cifar10"]
    assert labels == ["color_printed", "color_source"]


def test_controls_and_fresh_seeds_of_stage_two_are_there():
    pairs = [(each.study, each.arm) for each in contrasts(["lrn"], "cifar10") if each.scale == "cifar10"]
    assert pairs == [
        ("lrn", "no_lrn"),
        ("lrn", "no_lrn"),
        ("lrn_fresh", "no_lrn"),
        ("ablations", "lrn_scale"),
        ("lrn_fresh", "lrn_scale"),
    ]


def test_losses_are_compared_where_a_claim_is_about_them_and_runs_that_stop_say_so():
    assert [each.quantity for each in contrasts(["bias_one"], "cifar10")] == ["train_loss"] * 2
    assert [each.stops for each in contrasts(["dropout_convergence"], "cifar10")] == [True]


def test_what_has_no_second_arm_has_no_pair():
    assert contrasts(["ten_crop", "ensemble", "throughput", "filters", "lr_schedule"], "cifar10") == []


def test_a_pair_without_a_rule_is_given_by_study_and_arms():
    (one,) = contrasts([("longer", "no_crops", "baseline")], "cifar10")
    assert (one.setting, one.judged, one.shared) == ("CIFAR-10, 48 epochs", frozenset(), False)
    with pytest.raises(UserError, match="unknown arm"):
        contrasts([("longer", "no_cropz", "baseline")], "cifar10")


def test_a_rehearsal_stands_for_every_scale():
    found = contrasts([each.id for each in load()], "smoke")
    assert {each.scale for each in found} == {"smoke"}
    assert {each.setting.partition(",")[0] for each in found} == {"the sample"}
    assert {each.scale for each in contrasts([each.id for each in load()], "cifar10")} <= set(SCALES) - {"smoke"}


def test_pairs_that_a_scale_lacks_are_left_out() -> None:
    found = contrasts(["lrn", "bias_one", ("longer", "no_crops", "baseline")], "tiny-imagenet")
    assert {each.study for each in found} == {"lrn", "ablations", "lrn_fresh", "bias_early"}  # of stage two, all
    assert "strong_lrn" not in {each.against for each in found}
