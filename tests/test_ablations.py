"""Each arm changes what it names and nothing else, and the studies are those of data/claims.toml."""

import json
from pathlib import Path

import pytest

from alexnet_repro.analysis import rules
from alexnet_repro.analysis.ensembles import GROUP, judged
from alexnet_repro.experiments import cifar_alexnet
from alexnet_repro.experiments.cifar_alexnet import ABLATIONS, ARMS, BASELINE, LONG_BASELINE, SCALED, TINY_BASELINE
from alexnet_repro.experiments.registry import STUDIES, scales, study
from alexnet_repro.paper.claims import load
from alexnet_repro.records import outputs
from alexnet_repro.records.store import Store

PLAIN = json.loads(BASELINE.model_dump_json())
NAMED = {  # arm -> dotted fields and their values
    "half": {"model.columns": "half"},
    "unlinked": {"model.columns": "unlinked"},
    "no_lrn": {"model.cross_map_norm": None},
    "strong_lrn": {"model.cross_map_norm.alpha": 0.0064},
    "lrn_scale": {"model.cross_map_norm.alpha": 0.0},
    "pool_2_2": {"model.pool": [2, 2]},
    "no_crops": {"data.random_crops": False, "data.reflect": False},
    "no_color": {"data.color_noise": "none"},
    "color_source": {"data.color_noise": "source"},
    "no_dropout": {"model.dropout": 0.0},
    "no_crops_no_dropout": {"data.random_crops": False, "data.reflect": False, "model.dropout": 0.0},
    "no_weight_decay": {"optimizer.weight_decay": 0.0},
    "bias_zero": {"model.bias_init": "zero"},
    "no_conv3": {"model.removed": ["conv3"]},
    "no_conv4": {"model.removed": ["conv4"]},
    "no_conv5": {"model.removed": ["conv5"]},
    "paper_init": {"model.weight_init": "paper"},
    "torch_velocity": {"optimizer.velocity": "gradients"},
}
KEYS = {  # of seed 0
    "baseline": "7185e9c3d2206673",
    "half": "f55cfc1625659ef0",
    "unlinked": "ed5c75a97ca897cb",
    "no_lrn": "b90abe1030c3644d",
    "strong_lrn": "1a1b4a67f0f32dbc",
    "pool_2_2": "551cfcf4071d85dd",
    "no_crops": "987df236b1e013b1",
    "no_color": "02fba8a23574281a",
    "color_source": "62591508ac07a1d0",
    "no_dropout": "c539f949f1271007",
    "no_crops_no_dropout": "53feff6ecb509647",
    "no_weight_decay": "6b90825ebc76a0f2",
    "bias_zero": "e0fe9c717612d48b",
    "no_conv3": "53eb89ba80f461ce",
    "no_conv4": "5163c9e114fe096c",
    "no_conv5": "e47a45d6f3af7688",
    "paper_init": "7c672025d17ca0ce",
    "torch_velocity": "12189c246e8c1727",
    "lrn_scale": "c0828fbcbd8a3212",
}
ENTRIES = [(entry.study, entry) for claim in load() for entry in claim.measured if entry.study in STUDIES]


def differences(first, second, prefix=""):
    for name in first.keys() | second.keys():
        a, b = first.get(name), second.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(a, b, f"{prefix}{name}.")
        elif a != b:
            yield prefix + name, b


def test_every_arm_is_here():
    assert {"baseline", *NAMED} == set(ARMS)


@pytest.mark.parametrize("arm", NAMED)
def test_an_arm_changes_what_it_names(arm):
    changed = json.loads(study("ablations").config(arm, 0).model_dump_json())
    assert dict(differences(PLAIN, changed)) == NAMED[arm]


def test_pinned_keys():
    """A key that moves orphans recorded runs."""
    plan = study("ablations")
    assert {arm: plan.config(arm, 0).key for arm in plan.arms} == KEYS


@pytest.mark.parametrize("name", ABLATIONS)
def test_all_studies_share_their_runs(name):
    every = {config.key for _, config in study("ablations").runs()}
    assert {config.key for _, config in study(name).runs()} <= every


def test_no_arm_has_more_seeds_than_its_claims_ask_for():
    plan = study("ablations")
    assert {arm: len(plan.seeds_of(arm)) for arm in plan.arms if len(plan.seeds_of(arm)) < 20} == {
        "no_crops": 5, "no_crops_no_dropout": 5, "no_dropout": 5, "bias_zero": 10, "paper_init": 3,
        "torch_velocity": 3,
    }  # fmt: skip
    runs = plan.runs()
    assert len(runs) == 13 * 20 + 3 * 5 + 10 + 2 * 3
    assert ("paper_init", 3) not in [(arm, config.seed) for arm, config in runs]
    # Seed by seed: the runs of one seed are whole before the next begins.
    assert [config.seed for _, config in runs] == sorted(config.seed for _, config in runs)


def test_the_baseline_is_the_paper_but_for_what_the_pilot_picked():
    data, optimizer = BASELINE.data, BASELINE.optimizer
    assert (optimizer.momentum, optimizer.weight_decay, optimizer.batch_size) == (0.9, 0.0005, 128)
    assert optimizer.bias_rate_factor == 1
    assert data.random_crops
    assert data.reflect
    assert data.color_noise == "paper"
    assert (data.crop, data.shared_crops) == (BASELINE.model.image_size, 1)


@pytest.mark.parametrize("scale", ["cifar10", "tiny-imagenet"])
def test_overlap_is_not_confounded_with_size(scale):
    from alexnet_repro.networks.layers import layers

    plan = study("overlapping_pooling", scale)
    sides = [
        [layer.outputs for layer in layers(plan.config(arm, 0).model) if layer.kind == "pooling"]
        for arm in ("baseline", "pool_2_2")
    ]
    assert sides[0] == sides[1]


def test_tiny_imagenet_shares_settings_and_arms_with_cifar10():
    small, tiny = (json.loads(each.model_dump_json()) for each in (BASELINE, TINY_BASELINE))
    changed = dict(differences(small, tiny))
    assert {name for name in changed if not name.startswith("model.")} == {
        "data.dataset", "data.train_images", "data.divisor", "data.crop", "data.whole", "data.classes",
        "optimizer.learning_rate", "optimizer.drops", "budget.epochs", "precision",
    }  # fmt: skip
    plan = study("tiny_imagenet")
    assert plan.baseline == TINY_BASELINE
    there = dict(ARMS) | {
        "pool_2_2": {"model.pool": (2, 2), "model.pool_rounding": "floor"},
        "tanh": {"model.nonlinearity": "tanh"},
        "no_dropout": {"model.dropout": 0.0, "optimizer.learning_rate": 0.01},
    }
    assert dict(plan.arms) == {arm: there[arm] for arm in plan.arms}


def test_long_runs_change_the_length_and_the_images_alone():
    small, long = (json.loads(each.model_dump_json()) for each in (BASELINE, LONG_BASELINE))
    assert dict(differences(small, long)) == {
        "data.drawn": True, "optimizer.drops": [64, 84], "budget.epochs": 96, "budget.test_curve": True,
    }  # fmt: skip


LARGER = [(name, scale) for scale in SCALED for name in ABLATIONS if scale in scales(name)]


@pytest.mark.parametrize(("name", "scale"), LARGER)
def test_all_studies_of_a_scale_share_their_runs_and_their_table(name, scale):
    there = SCALED[scale]
    every = {config.key for _, config in study(there.published_in).runs()}
    plan = study(name, scale)
    assert {config.key for _, config in plan.runs()} <= every
    assert (plan.name, plan.published_in, plan.seeds) == (
        name,
        there.published_in,
        tuple(range(min(there.seeds, ABLATIONS[name].seeds))),
    )


def test_every_rule_of_stage_two_has_its_runs():
    for rule in rules.load():
        for scale, count in rule.seeds.items():
            setting = rules.SETTINGS[scale]
            plan = study(setting.study, setting.scale)
            assert min(len(plan.seeds_of(rule.arm)), len(plan.seeds_of(rule.against))) >= count


def test_studies_on_tiny_imagenet_keep_the_arms_that_are_run_there():
    assert list(study("lrn", "tiny-imagenet").arms) == ["baseline", "no_lrn"]
    assert list(study("depth", "tiny-imagenet").arms) == ["baseline", "no_conv4"]
    assert list(study("ten_crop", "tiny-imagenet").arms) == ["baseline"]
    assert "tiny-imagenet" not in scales("velocity")


def test_convergence_has_one_rate_and_a_threshold():
    plan, pilot = study("dropout_convergence"), study("alexnet_convergence")
    changed = dict(differences(PLAIN, json.loads(plan.baseline.model_dump_json())))
    assert set(changed) == {"optimizer.drops", "budget.epochs", "budget.stop_at_train_error", "budget.ten_views"}
    assert plan.arms == {arm: ARMS[arm] for arm in ("no_crops", "no_crops_no_dropout")}
    assert pilot.baseline.budget.test_curve
    assert pilot.baseline.optimizer == plan.baseline.optimizer
    assert set(plan.arms) < set(pilot.arms)
    assert not set(plan.seeds) & set(pilot.seeds)


def test_longer_is_twice_as_long_and_nothing_else():
    plan, short = study("longer"), study("ablations")
    assert plan.arms == {arm: ARMS[arm] for arm in ("baseline", "no_crops", "no_dropout")}
    assert plan.seeds == short.seeds_of("no_crops")
    for arm in plan.arms:
        once, twice = (json.loads(each.config(arm, 0).model_dump_json()) for each in (short, plan))
        drops = [2 * epoch for epoch in once["optimizer"]["drops"]]
        changed = {"optimizer.drops": drops, "budget.epochs": 2 * once["budget"]["epochs"]}
        assert dict(differences(once, twice)) == changed


@pytest.mark.parametrize(("name", "entry"), ENTRIES, ids=[f"{name} {entry.label}".strip() for name, entry in ENTRIES])
def test_a_claim_finds_its_arms_and_its_seeds(name, entry):
    plan = study(name)
    arms = {entry.arm} | ({entry.against} if isinstance(entry.against, str) else set())
    if name == outputs.MEMBERS:  # judged by group
        assert set(judged(Store(Path("none"), Path("none")))) == arms
        assert len(plan.seeds) == entry.seeds * GROUP
        return
    assert arms <= set(plan.arms)
    assert len(plan.seeds) == entry.seeds


def test_every_ablation_study_has_its_claim():
    assert set(ABLATIONS) - {name for name, _ in ENTRIES} == {
        "ablations", "initialization", "lrn_scaling", "velocity",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["alexnet_rates", "alexnet_pilot", *ABLATIONS, "dropout_convergence", "longer"])
def test_a_rehearsal_is_small(name):
    smoke = study(name, "smoke").baseline
    assert smoke.budget.epochs * smoke.data.train_images <= 2_000
    assert max(smoke.model.kernels) < max(cifar_alexnet.BASELINE.model.kernels)
