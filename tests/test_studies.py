"""What each study resolves to, pinned: a key that moves orphans recorded runs."""

import json

import pytest

from alexnet_repro.analysis.verdicts import MIN_PAIRS
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import step_timing
from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT, STUDIES, scales, study
from alexnet_repro.experiments.study import FRESH_SEEDS, PILOT_SEEDS

SECTION_3_1 = {
    "model": {"net": "cuda-convnet", "layers": "19pct", "nonlinearity": "relu", "initialization": "cuda-convnet"},
    "data": {"dataset": "cifar10", "train_images": 50_000, "divisor": 1.0},
    "optimizer": {
        "learning_rate": 0.001,
        "bias_rate_factor": 2.0,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "batch_size": 128,
    },
    "budget": {"epochs": 60, "measurements": 4, "stop_at_train_error": 0.25},
    "seed": 0,
}
RELU_RATES = {
    ("relu 0.000316", 1000): "eb49d4a2b123e039",
    ("relu 0.001", 1000): "69289a3ef3a31ace",
    ("relu 0.00316", 1000): "7880fcaea69f639c",
    ("relu 0.01", 1000): "862294fe7db6d29f",
    ("relu 0.0316", 1000): "5b48f58ebe993710",
    ("tanh 0.000316", 1000): "aab33b5343a16dcf",
    ("tanh 0.001", 1000): "3619207d639fcd92",
    ("tanh 0.00316", 1000): "2b56f4f77951d6e8",
    ("tanh 0.01", 1000): "8b52b08fbfd7e976",
    ("tanh 0.0316", 1000): "e770b55965161a0f",
}
LRN_CIFAR = {"13pct": "eb8d4dca065c44be", "13pct_lrn": "2b40c812d98d41b2", "11pct": "baf1e786bd9b5632"}


def keys(name, scale):
    return {(arm, config.seed): config.key for arm, config in study(name, scale).runs()}


def test_baseline_of_section_3_1():
    assert json.loads(CUDA_CONVNET_19PCT.model_dump_json(exclude_defaults=True)) == SECTION_3_1
    assert CUDA_CONVNET_19PCT.key == "4d91afb6f5a3cf83"


def test_relu_rates():
    # Contained, not equal: the rule of the search extends the grid where the best rate is at its edge.
    assert RELU_RATES.items() <= keys("relu_rates", "cifar10").items()


def test_relu_rates_changes_what_it_names_and_nothing_else():
    for arm, config in study("relu_rates").runs():
        nonlinearity, rate = arm.split()
        expected = json.loads(json.dumps(SECTION_3_1))
        expected["model"]["nonlinearity"] = nonlinearity
        expected["optimizer"]["learning_rate"] = float(rate)
        expected["budget"]["epochs"] = 16
        expected["seed"] = config.seed
        assert json.loads(config.model_dump_json(exclude_defaults=True)) == expected


def test_lrn_cifar_is_as_published_but_for_its_length():
    plan = study("lrn_cifar")
    found = {arm: json.loads(plan.config(arm, 0).model_dump_json(exclude_defaults=True)) for arm in plan.arms}
    rates = {"learning_rate": 0.001, "bias_rate_factor": 2.0, "momentum": 0.9, "weight_decay": 0.0, "batch_size": 128}
    last = {"13pct": 0.004, "13pct_lrn": 0.004, "11pct": 0.01}
    assert found.keys() == last.keys()
    for arm, values in found.items():
        decays = [0.0, 0.0, 0.004, 0.004, last[arm]]
        assert values["optimizer"] == rates | {"drops": [8, 9], "layer_decays": decays}
        crops = {"crop": 24, "random_crops": True, "reflect": True}
        assert values["data"] == {"dataset": "cifar10", "train_images": 50_000, "divisor": 1.0} | crops


def test_the_matched_pair_of_lrn_cifar_differs_in_normalization_alone():
    plan = study("lrn_cifar")
    without, with_it = (plan.config(arm, 3) for arm in ("13pct", "13pct_lrn"))
    assert without.changed(**{"model.normalization": "added"}) == with_it
    assert {arm: plan.config(arm, 0).key for arm in plan.arms} == LRN_CIFAR


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name in STUDIES for scale in scales(name)])
def test_every_study(name, scale):
    plan = study(name, scale)
    runs = plan.runs()
    assert plan.name == name
    assert len(runs) == sum(len(plan.seeds_of(arm)) for arm in plan.arms)
    assert len({config.key for _, config in runs}) == len(runs)
    # A pilot chooses settings: the study that uses them must never see its seeds.
    assert all((PILOT_SEEDS <= seed < FRESH_SEEDS) == plan.pilot for seed in plan.seeds)
    assert plan.pilot or min(len(plan.seeds_of(arm)) for arm in plan.arms) >= MIN_PAIRS
    if scale == "smoke":
        assert all(config.data.dataset == "sample" for _, config in runs)
    if scale == "tiny-imagenet":
        assert all(config.data.dataset == "tiny-imagenet" for _, config in runs)


@pytest.mark.parametrize("name", ["tiny_imagenet", "cifar10_long", "tiny_imagenet_rates", "cifar10_long_rates"])
def test_a_study_of_one_scale_needs_none_given(name):
    (scale,) = scales(name)
    assert study(name) == study(name, scale)


@pytest.mark.parametrize("name", ["tiny_imagenet_rates", "cifar10_long_rates"])
def test_rates_are_chosen_on_images_that_never_judge(name):
    plan = study(name)
    assert plan.pilot
    assert all(config.data.held_out == 10_000 for _, config in plan.runs())
    rates = {arm.split()[0]: [] for arm in plan.arms}
    for arm, config in plan.runs():
        rates[arm.split()[0]].append(config.optimizer.learning_rate)
    assert all(len(set(each)) >= 3 for each in rates.values())
    assert set(rates) == {"baseline", "no_lrn", "no_dropout", "half", "tanh"}


def test_a_study_cut_short_has_whole_pairs():
    plan = study("relu_rates")
    arms = [arm for arm, _ in plan.runs()]
    assert arms == list(plan.arms) * len(plan.seeds)


@pytest.mark.parametrize("name", step_timing.STUDIES)
def test_what_is_timed_says_how(name):
    with pytest.raises(UserError, match=f"'{name}' has no runs to train: it is timed by '{step_timing.COMMAND}'$"):
        study(name)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: study("relu_speeed"), ["relu_speeed", "relu_rates"]),
        (lambda: study("relu_rates", "huge"), ["huge", "smoke", "cifar10"]),
        (lambda: study("imagenet", "smoke"), ["smoke", "imagenet"]),
        (
            lambda: study("relu_rates", "tiny-imagenet"),
            ["'relu_rates' has no runs at the scale tiny-imagenet: it has smoke and cifar10"],
        ),
        (lambda: study("lrn_cifar", "tiny-imagenet"), ["'lrn_cifar'", "it has smoke and cifar10"]),
        (lambda: study("velocity", "tiny-imagenet"), ["'velocity'", "it has smoke and cifar10"]),
        (
            lambda: study("tiny_imagenet", "smoke"),
            ["'tiny_imagenet' has no runs at the scale smoke: it has tiny-imagenet"],
        ),
        (lambda: study("relu_rates").config("swish", 0), ["swish", "relu 0.001"]),
    ],
)
def test_unknown_names_list_the_valid_ones(call, named):
    with pytest.raises(UserError) as error:
        call()
    assert all(word in str(error.value) for word in named)
