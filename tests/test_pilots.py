"""The grounds for the pilots' choices, as the page of the small net words them, hold in the published records."""

import pytest

from alexnet_repro.experiments.cifar_alexnet import BASELINE, MORE_RATES, RATE_ARMS, RATES, SCALED
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.lookup import records
from alexnet_repro.records.store import Store


def found(name):
    """Arm -> the record of its one pilot seed."""
    plan = study(name)
    return {
        arm: by_seed[seed] for arm, by_seed in records(plan, Store()).items() for seed in plan.seeds if seed in by_seed
    }


def test_the_chosen_rate_and_scale_were_the_best_of_the_search():
    errors = {arm: run.metric("test_error") for arm, run in found("alexnet_rates").items()}
    best = min(errors, key=errors.__getitem__)
    assert best == f"/{BASELINE.data.divisor:g} {BASELINE.optimizer.learning_rate:g}"


def test_he_in_the_last_layer_too_learned_worse_without_dropout():
    runs = found("alexnet_pilot")
    for metric in ("test_error", "clean_train_error"):
        assert runs["he, no_dropout"].metric(metric) > runs["he"].metric(metric) + 0.1


def test_dropout_was_far_behind_at_a_third_of_the_rate_alone():
    behind = {
        rate: runs[f"he-hidden /8 {rate}"].metric("test_error")
        - runs[f"he-hidden /8 {rate}, no dropout"].metric("test_error")
        for runs in [found("alexnet_init")]
        for rate in ("0.003", "0.01")
    }
    assert behind["0.003"] > 0.05 > 2 * behind["0.01"]


def test_without_crops_the_net_overfits():
    runs = found("alexnet_pilot")
    assert runs["he, no_crops"].metric("gap") > 5 * max(runs[arm].metric("gap") for arm in ("he", "baseline"))


def test_the_convergence_pilot_ended_before_it_converged_but_knew_its_images():
    runs = found("alexnet_convergence")
    assert all(run.lowest_epoch > 0.9 * run.config.budget.epochs for run in runs.values())
    assert all(run.metric("train_error") < 0.005 for arm, run in runs.items() if arm.startswith("no_crops"))


PICKED = {
    (scale, arm): (home, arm)
    for scale, home in (("cifar10-long", "cifar10_long"), ("tiny-imagenet", "tiny_imagenet"))
    for arm in RATE_ARMS
    if arm in SCALED[scale].arms
}
PICKED["cifar10-long", "tanh"] = ("relu_speed_alexnet", "tanh")


@pytest.mark.parametrize(("scale", "arm"), PICKED)
def test_the_arms_have_the_rates_that_their_pilots_picked(scale, arm):
    name, of = PICKED[scale, arm]
    runs = found({"cifar10-long": "cifar10_long_rates", "tiny-imagenet": "tiny_imagenet_rates"}[scale])
    rates = sorted((*RATES[scale], *MORE_RATES[scale].get(arm, ())))
    picked = min(rates, key=lambda rate: runs[f"{arm} {rate:g}"].metric("test_error"))
    assert rates[0] < picked < rates[-1]  # at an end of the grid, another rate would have to be tried
    assert study(name).config(of, 0).optimizer.learning_rate == picked


@pytest.mark.parametrize("arm", ["baseline", "bias_zero"])
def test_the_runs_on_early_learning_have_the_rate_that_their_pilots_picked(arm):
    runs = found("bias_early_rates")
    rates = sorted({run.config.optimizer.learning_rate for run in runs.values()})
    picked = min(rates, key=lambda rate: runs[f"{arm} {rate:g}"].metric("early_train_loss"))
    assert rates[0] < picked < rates[-1]
    assert study("bias_early").config(arm, 0).optimizer.learning_rate == picked
