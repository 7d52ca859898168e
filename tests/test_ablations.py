"""Each arm changes what it names and nothing else, and the studies are those of data/claims.toml."""

import json

import pytest

from alexnet_repro import ablations
from alexnet_repro.ablations import ABLATIONS, ARMS, BASELINE
from alexnet_repro.claims import load
from alexnet_repro.studies import STUDIES, study

PLAIN = json.loads(BASELINE.model_dump_json())
NAMED = {  # arm -> dotted fields and their values
    "half": {"model.columns": "half"},
    "unlinked": {"model.columns": "unlinked"},
    "no_lrn": {"model.cross_map_norm": None},
    "pool_2_2": {"model.pool": [2, 2]},
    "no_crops": {"data.random_crops": False, "data.reflect": False},
    "no_color": {"data.color_noise": "none"},
    "color_source": {"data.color_noise": "source"},
    "no_dropout": {"model.dropout": 0.0},
    "no_weight_decay": {"optimizer.weight_decay": 0.0},
    "bias_zero": {"model.bias_init": "zero"},
    "no_conv3": {"model.removed": ["conv3"]},
    "no_conv4": {"model.removed": ["conv4"]},
    "no_conv5": {"model.removed": ["conv5"]},
    "paper_init": {"model.weight_init": "paper"},
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


@pytest.mark.parametrize("name", ABLATIONS)
def test_all_studies_share_their_runs(name):
    every = {config.key for _, config in study("ablations").runs()}
    assert {config.key for _, config in study(name).runs()} <= every


def test_the_baseline_is_the_paper_but_for_what_the_pilot_picked():
    data, optimizer = BASELINE.data, BASELINE.optimizer
    assert (optimizer.momentum, optimizer.weight_decay, optimizer.batch_size) == (0.9, 0.0005, 128)
    assert optimizer.bias_rate_factor == 1
    assert data.random_crops
    assert data.reflect
    assert data.color_noise == "paper"
    assert (data.crop, data.shared_crops) == (BASELINE.model.image_size, 1)


def test_overlap_is_not_confounded_with_size():
    from alexnet_repro.architecture import layers

    sides = [
        [layer.outputs for layer in layers(study("ablations").config(arm, 0).model) if layer.kind == "pooling"]
        for arm in ("baseline", "pool_2_2")
    ]
    assert sides[0] == sides[1]


def test_convergence_has_one_rate_and_a_test_curve():
    plan = study("dropout_convergence")
    assert plan.baseline.optimizer.drops == ()
    assert plan.baseline.budget.test_curve
    changed = dict(differences(PLAIN, json.loads(plan.baseline.model_dump_json())))
    assert set(changed) <= {"optimizer.drops", "budget.epochs", "budget.test_curve", "budget.ten_views"}
    assert plan.arms == {"baseline": {}, "no_dropout": ARMS["no_dropout"]}


@pytest.mark.parametrize(("name", "entry"), ENTRIES, ids=[f"{name} {entry.label}".strip() for name, entry in ENTRIES])
def test_a_claim_finds_its_arms_and_its_seeds(name, entry):
    plan = study(name)
    arms = {entry.arm} | ({entry.against} if isinstance(entry.against, str) else set())
    assert arms <= set(plan.arms)
    assert len(plan.seeds) == entry.seeds


def test_every_ablation_study_has_its_claim():
    assert set(ABLATIONS) - {name for name, _ in ENTRIES} == {"ablations", "initialization"}


@pytest.mark.parametrize("name", ["alexnet_rates", "alexnet_pilot", *ABLATIONS, "dropout_convergence"])
def test_a_rehearsal_is_small(name):
    smoke = study(name, "smoke").baseline
    assert smoke.budget.epochs * smoke.data.train_images <= 6_000
    assert max(smoke.model.kernels) < max(ablations.BASELINE.model.kernels)
