"""The pages of the ablations: every cell's call, on records that no training made."""

import dataclasses

import pytest

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.cifar_alexnet import ABLATIONS, ARMS, LABELS, arm_label
from alexnet_repro.experiments.registry import study
from alexnet_repro.records import outputs
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store
from alexnet_repro.report import features
from alexnet_repro.report.page import Page
from alexnet_repro.report.tables import METRICS
from tests.runs import record

OTHERS = {
    name: 0.1
    for name in ("early_train_loss", "color_gap", "color_gap_shuffled", "color_gap_p", "knn_features", "knn_pixels")
}
VALUES = {
    "baseline": OTHERS | {"test_error": 0.40, "ten_view_error": 0.38, "clean_train_error": 0.36, "gap": 0.04},
    "no_lrn": {"test_error": 0.42, "ten_view_error": 0.40, "clean_train_error": 0.37, "gap": 0.05},
    "strong_lrn": {"test_error": 0.39, "ten_view_error": 0.37, "clean_train_error": 0.35, "gap": 0.04},
}


@pytest.fixture
def page(tmp_path, monkeypatch):
    store, plan = Store(tmp_path, tmp_path / "evidence"), study("lrn")
    for arm, metrics in VALUES.items():
        for seed in range(4):
            shifted = {name: value + 0.001 * seed for name, value in metrics.items()}
            store.save(record(plan.config(arm, seed), metrics=shifted))
    shown = Page("cifar10", False, "cpu", 0)
    monkeypatch.setattr(shown, "store", store)
    return shown


def test_the_net_stands_beside_a_linear_classifier(page):
    said = page.beside_linear().data
    assert "The baseline of the ablations has a test error of 40.2 % (mean of 4 seeds)" in said
    assert "the same 10,000 training images has a test error of 61.3 %" in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("cifar11", False, "cpu", 0), "scale"),
        (("cifar10", "false", "cpu", 0), "train='false'"),
        (("cifar10", False, "tpu", 0), "tpu"),
        (("cifar10", False, "cpu", "two"), "workers='two'"),
        (("cifar10", False, "cpu", -3), "workers=-3"),
    ],
)
def test_a_parameter_that_is_none_is_named(values, said):
    with pytest.raises(UserError, match=said):
        Page(*values)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The page at the scale tiny-imagenet, with two seeds of two arms."""
    store, plan = Store(tmp_path, tmp_path / "evidence"), study("tiny_imagenet")
    for arm, error in (("baseline", 0.6), ("no_lrn", 0.625)):
        for seed in range(2):
            metrics = {"test_error": error, "test_top5_error": error / 2}
            store.save(record(plan.config(arm, seed), metrics=metrics))
    shown = Page("tiny-imagenet", False, "cpu", 0)
    monkeypatch.setattr(shown, "store", store)
    return shown


def test_a_study_that_is_not_at_the_scale_is_one_line(tiny):
    said = "*Study 'lrn_cifar' has no runs at the scale tiny-imagenet: it has smoke and cifar10.*"
    assert tiny.arms("lrn_cifar", ["test_error"]).data == said
    for method in (tiny.curves, tiny.curves_found, tiny.parameters):
        assert method("lrn_cifar").data == said
    first, second = tiny.study_summary("lrn", "lrn_cifar").data.split("\n\n")
    assert "4" in first
    assert second == said
    assert tiny.ensembles().data.startswith("*Study 'ensemble' has no runs at the scale tiny-imagenet")


def test_no_rule_for_cifar10_judges_tiny_imagenet(tiny):
    said = "*Stage one's rules are for 24 epochs of CIFAR-10: no verdict at the scale tiny-imagenet.*"
    for method in (tiny.effects, tiny.effects_found):
        assert method("lrn").data == said
    assert "first images of CIFAR-10 alone" in tiny.beside_linear().data
    card = tiny.verdict("lrn").data
    assert card.endswith(said)
    assert "**Conclusion: not run.** Not all of the runs that this sentence needs are there yet." in card


def test_a_pair_of_arms_that_is_not_at_the_scale_is_a_line(tiny):
    lines = tiny.differences("lrn_scaling", ("no_lrn", "baseline"), ("strong_lrn", "baseline")).data.splitlines()
    assert lines[-2:] == [
        "* no normalization minus the baseline: no number yet.",
        "* normalization, alpha × 64 minus the baseline: not at the scale tiny-imagenet.",
    ]


def test_arms_at_the_scale_have_their_top5(tiny):
    table = tiny.arms("lrn", ["test_error", "test_top5_error"]).data
    assert "test error, top-5 (%)" in table
    assert "62.50" in table
    assert "30.00" in table
    assert "Tiny ImageNet" in tiny.baseline().data


def test_a_diverged_run_on_tiny_imagenet_counts_at_its_chance(tiny):
    for seed in range(2):
        lost = {"test_error": None, "test_top5_error": None}
        tiny.store.save(record(study("tiny_imagenet").config("no_lrn", seed), status="diverged", metrics=lost))
    table = tiny.arms("lrn", ["test_error", "test_top5_error"]).data
    assert "99.50" in table
    assert "97.50" in table


def test_a_trial_has_a_name_for_readers():
    assert arm_label("he, no_dropout") == "he, no dropout"
    assert arm_label("relu 0.001") == "ReLU 0.001"


def test_every_arm_has_a_name_for_readers():
    assert set(ARMS) <= set(LABELS)
    assert {arm for plan in ABLATIONS.values() for arm in plan.arms} <= set(LABELS)


def test_effects_show_every_seed_and_what_is_missing(page):
    figure = page.effects("lrn", "depth")
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [4, 4]
    assert list(dots[0].get_xdata()) == pytest.approx([2.0] * 4)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no runs yet"] * 3
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "Every middle layer\ncounts, conv4" in labels
    marks = {"one seed", "mean, 95 % interval", "threshold", "the paper", "no effect"}
    assert {text.get_text() for text in figure.legends[0].texts} == marks
    assert page.effects_found("lrn", "depth").data.count("Every middle layer counts") == 3


def test_arms_table(page):
    text = page.arms("lrn", ["test_error", "gap"]).data
    assert "| the baseline | 4 | 40.15 ± 0.13 | 4.15 ± 0.13 |" in text
    assert "diverged" not in text


def test_arms_are_compared_over_the_seeds_that_all_have(page):
    page.store.save(record(study("lrn").config("baseline", 4), metrics=VALUES["baseline"] | {"test_error": 0.90}))
    text = page.arms("lrn", ["test_error"]).data
    assert "| the baseline | 4 | 40.15 ± 0.13 |" in text
    assert "the seeds that all of these arms have" in text


def test_differences_are_paired_by_seed(page):
    text = page.differences("lrn", ("no_lrn", "baseline"), ("strong_lrn", "no_lrn")).data
    assert "* no normalization minus the baseline: 2.00 points (2.00 to 2.00) from 4 pairs: 2.00, 2.00" in text
    assert "alpha × 64 minus no normalization: −3.00 points (−3.00 to −3.00) from 4 pairs: −3.00," in text
    gap = page.differences("lrn", ("no_lrn", "baseline"), metric="gap").data
    assert gap.startswith("Gap, paired by seed")
    assert "no number yet" in page.differences("lrn_scaling", ("lrn_scale", "baseline")).data


def test_an_effect_by_epoch_has_a_panel_for_each_pair_that_has_runs(page):
    plan = study("lrn")
    for arm, errors in {"baseline": (0.6, 0.5), "no_lrn": (0.59, 0.53)}.items():
        for seed in range(4):
            curve = [
                Measurement(epoch=float(e), images=10_000 * e, train_loss=1.0, train_error=error + 0.001 * seed)
                for e, error in enumerate(errors, 1)
            ]
            page.store.save(record(plan.config(arm, seed), curve=curve, metrics=VALUES[arm]))
    figure = page.by_epoch("lrn", "depth")
    panel, _ = figure.axes  # the other pair's curves have one epoch
    (line,) = [line for line in panel.lines if line.get_label() == "training, by epoch"]
    assert list(line.get_xdata()) == [1, 2]
    assert list(line.get_ydata()) == pytest.approx([-1, 3])
    (final,) = [each for each in panel.containers if each.get_label() == "test, final network"]
    assert final.lines[0].get_ydata() == pytest.approx([2.0])
    marks = {"training, by epoch", "95 % interval", "test, final network", "no effect"}
    assert {text.get_text() for text in figure.legends[0].texts} == marks
    assert "no normalization\nminus the baseline\n(points of error)" in panel.get_ylabel()
    text = page.by_epoch_found("lrn", "depth").data
    assert text.startswith(
        "In the last epoch of training (CIFAR-10, 24 epochs), no normalization minus the baseline is "
        "3.00 points (3.00 to 3.00), after a change of sign by epoch 2; no normalization minus"
    )


def test_an_effect_in_its_parts_and_by_the_model_of_all_arms(page):
    text = page.parts("lrn", "depth").data
    one = "1.00 points (1.00 to 1.00)"
    assert f"| no normalization minus the baseline | training error | {one} | 100 % of 4 | {one} |" in text
    two = "2.00 points (2.00 to 2.00)"
    assert f"| test error | **{two}** | 100 % of 4 | {two} |" in text
    assert "conv3" not in text
    assert f"| no normalization | 4 | {two} | {two} | 0.00 |" in page.pooled().data


def test_a_claim_side_by_side_with_its_sources(page):
    text = page.side_by_side("lrn", "depth").data
    assert "**Every middle layer counts**" in text
    assert "| the author's log | top-1 | 1.37 points (0.35 to 2.39) | 1 | yes |" in text
    assert "2.00 points" in text


def test_colours_by_chance_come_from_the_baselines_runs(page):
    assert "The ratio of the 4 runs is 1×" in page.colours_by_chance(None).data


def test_when_a_pilot_reached_an_error_that_did_not_end_it(page):
    config = study("alexnet_convergence").config("no_crops", 1000)
    size = config.data.train_images
    curve = [
        Measurement(epoch=e, images=e * size, train_loss=1.0, train_error=error)
        for e, error in enumerate((0.5, 0.1, 0.02), 1)
    ]
    page.store.save(record(config, curve=curve))
    text = page.reached_in_pilot("alexnet_convergence", 6, "no_crops", "no_dropout").data
    assert text == "In the pilot (seed 1000), the training error came down to 6 % after 2 epochs (no crops, no flips)."
    text = page.reached_in_pilot("alexnet_convergence", 1, "no_crops").data
    assert text.endswith("1 % never (no crops, no flips).")
    text = page.reached_in_pilot("alexnet_convergence", 1, "no_dropout").data
    assert text.endswith("1 % in no run yet.")


def test_parameters_are_those_of_the_nets(page):
    text = page.parameters("depth").data
    assert "708,970 (the baseline)" in text
    assert "828,714, or 117 % (without conv5)" in text


def test_a_diverged_run_counts_at_chance(page):
    lost = record(study("lrn").config("no_lrn", 0), status="diverged", metrics={"test_error": None})
    page.store.save(lost)
    text = page.arms("lrn", ["test_error"]).data
    assert f"| no normalization | 4 | {(90 + 42.1 + 42.2 + 42.3) / 4:.2f} ±" in text
    assert "count at chance" in text


def test_a_study_with_a_threshold_says_when_it_was_reached(page):
    plan = study("dropout_convergence")
    for seed, epochs in enumerate((50.0, 52.0)):
        page.store.save(record(plan.config("no_crops", seed), metrics={"epochs_to_threshold": epochs}))
    assert "2 of 2 runs reached 5 %; median 51.0 epochs" in page.curves_found("dropout_convergence").data


def test_cost_counts_the_runs(page):
    assert "12 of 60 planned runs" in page.study_summary("lrn").data


def test_the_log_is_beside_it(page):
    text = page.log("lrn").data
    assert "first author's log" in text
    assert "Mishkin" in text


@pytest.mark.parametrize("name", ["alexnet_pilot", "dropout_convergence", "features", "initialization"])
def test_a_page_without_runs_is_a_page(page, name):
    assert page.study_summary(name).data
    assert page.arms(name, list(METRICS)).data
    assert page.curves(name).axes


def test_analyses_without_runs_say_so(page):
    assert page.by_epoch("depth").axes[0].texts[0].get_text() == "no runs yet"
    assert page.by_epoch_found("depth").data == "No runs yet."
    assert page.parts("depth").data.startswith("No comparison")


def test_without_weights_and_predictions_there_are_no_pictures(page, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "published", lambda store, key: tmp_path / "none")
    assert page.ensembles().axes[0].texts[0].get_text() == "no whole group yet"
    for picture in (features.kernels, features.guesses, features.neighbours):
        assert "No weights" in picture(None).axes[0].texts[0].get_text()


def test_the_box_has_the_claim_the_answer_and_the_scales(page):
    text = page.box("lrn", "relu_consistent").data
    first, second = text.split("**The paper (")[1:]
    assert first.startswith("section 3.3):** Local response normalization after conv1 and conv2")
    assert "Not all of the runs that this sentence needs are there yet." in first
    assert (
        "**[The verdict](../verdicts.md):** supported, so far. Scales: CIFAR-10, 24 epochs, 4 of 20 pairs. "
        "No verdict yet: CIFAR-10, 24 epochs, fresh" in first
    )
    assert second.startswith("section 3.1, Fig. 1):**")
    assert "No verdict yet: AlexNet in CIFAR size, to 50 % training error." in second
    assert text.startswith(":::{admonition}")
    assert text.endswith(":::")


def test_the_title_has_the_finding_or_the_conclusion(page, monkeypatch):
    title = page.title("overlapping_pooling")
    assert title.metadata == {"title": True}
    assert title.data == page._conclusions()["overlapping_pooling"].conclusion  # of runs that are not there
    known = page._conclusions() | {"lrn": dataclasses.replace(page._conclusions()["lrn"], heading="it costs 2 points")}
    monkeypatch.setattr(page, "_conclusions", lambda: known)
    assert page.title("lrn").data == "it costs 2 points"


def test_a_rehearsal_has_no_finding_in_its_title_and_no_answer(monkeypatch):
    rehearsal = Page("smoke", False, "cpu", 0)
    assert rehearsal.title("lrn").data == ""
    assert "none; this is a rehearsal" in rehearsal.box("lrn").data


def test_rules_in_full_are_folded_with_their_verdicts(page):
    text = page.rules("lrn", "lrn_generalization").data
    assert text.startswith(
        "::::{dropdown} Rules, verdicts and others' numbers in full\n\n**Local response normalization"
    )
    assert text.endswith("::::")
    assert "**The rule (constants as printed), written down before the runs** (version 1): Effect:" in text
    assert "bootstrap interval" in text
    assert "*Observed, gap: without a rule" in text
    assert "Mishkin" in text


def test_a_page_prepares_what_its_scale_has(tiny):
    tiny.prepare("lrn", "lrn_cifar")  # the second has no such scale
    assert tiny.by_epoch("lrn", "bias_one").axes  # nor has bias_one, and lrn lacks an arm there
    assert tiny.side_by_side("lrn").data.startswith("*Stage one's rules are for 24 epochs")
