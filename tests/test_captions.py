"""Captions begin with what the records say."""

import dataclasses

import pytest

from alexnet_repro.analysis.lookup import record_lookup
from alexnet_repro.analysis.verdicts import Verdict, scorecard
from alexnet_repro.experiments.registry import study
from alexnet_repro.networks.config import PAPER
from alexnet_repro.records.record import Measurement, RunRecord
from alexnet_repro.records.store import Store
from alexnet_repro.report import author_log, captions, drawings, features
from alexnet_repro.report.format import CAPTION

from .runs import record, tiny


@pytest.fixture(scope="module")
def not_run(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    folder = tmp_path_factory.mktemp("empty")
    verdicts = scorecard(record_lookup(Store(folder, folder / "evidence")))
    return next(each for each in verdicts if each.claim == "relu_speed")


def test_a_caption_is_marked_as_one() -> None:
    assert captions.caption("Found.")._repr_markdown_() == ("Found.", {CAPTION: True})


def test_effects_have_their_verdict(not_run: Verdict) -> None:
    found = {
        "one": dataclasses.replace(not_run, verdict="reproduced", effect=2.0, unit="points", seeds=3, declared=20),
        "two": not_run,
        "begun": dataclasses.replace(not_run, seeds=2, declared=20),
        "three": dataclasses.replace(not_run, verdict="reproduced", effect=1.5, unit="×", seeds=5, declared=5),
    }
    assert (
        captions.effects(found).data
        == "In stage one: one: 2 points, reproduced, provisional; two: not run; begun: not run (2 of 20 so far); "
        "three: 1.50×, reproduced."
    )


def test_curves_end_at_their_mean() -> None:
    runs = {
        "a": {
            seed: record(tiny(seed=seed), curve=[Measurement(epoch=2.0, images=600, train_loss=1.5, train_error=error)])
            for seed, error in enumerate((0.2, 0.4))
        },
        "b": {},
    }
    assert (
        captions.curves(runs, {"a": "A", "b": "B"}).data
        == "The training error ends, on average, at 30 % for A (2 runs)."
    )
    assert captions.curves({"b": {}}, {"b": "B"}).data == "No runs yet."


def test_the_first_drop_is_the_mean_change_of_the_next_epoch() -> None:
    config = tiny(**{"optimizer.drops": (2, 3), "budget.epochs": 4})

    def run(seed: int, *errors: float) -> RunRecord:
        points = [
            Measurement(epoch=epoch, images=300 * epoch, train_loss=1.0, train_error=error)
            for epoch, error in enumerate(errors, 1)
        ]
        return record(config.changed(seed=seed), curve=points)

    found = {"one": [run(0, 0.5, 0.4, 0.42, 0.1), run(1, 0.5, 0.4, 0.36)], "other": [run(0, 0.5, 0.4, 0.3)], "none": []}
    assert captions.first_drop(found).data == (
        "In the epoch after the first drop the training error rises "
        "in 1 of 2 runs with one (mean change −1 points), in 0 of 1 run with other (mean change −10 points)."
    )
    assert captions.first_drop({"one": [run(0, 0.5, 0.4)]}).data == "No run drops its rate."


def test_a_ratio_stands_beside_the_papers(not_run: Verdict) -> None:
    assert captions.ratio(not_run, "{}").data == "No number yet: not run."
    judged = dataclasses.replace(not_run, verdict="reproduced", effect=7.5, interval=(7.0, 8.0), paper_value=6.0)
    assert (
        captions.ratio(judged, "b takes {} as long").data
        == "B takes 7.50× (7 to 8) as long; the paper: 6×: reproduced."
    )


def test_a_search_without_trials_picks_nothing(tmp_path) -> None:
    plan = study("relu_rates")
    store = Store(tmp_path, tmp_path / "evidence")
    assert captions.search(plan, {}, store, 25).data == "0 of 0 trials reached 25 %. Rates picked: none yet."


def test_ensembles_go_from_one_to_all() -> None:
    text = captions.ensembles({1: [0.4, 0.42], 2: [0.38, 0.36]}).data
    assert text == "The test error goes from 41 % with 1 network to 37 % with the average of 2, over 2 groups."
    assert captions.ensembles({1: []}).data == "No whole group yet."


def test_drawings_say_what_their_config_has() -> None:
    assert drawings.network_found().data == (
        "The columns meet in conv3, fc6, fc7, fc8, and keep to themselves in conv2, conv4, conv5."
    )
    assert "keep" in drawings.network_found(PAPER.change(columns="single")).data
    assert drawings.border_found().data == "Window 55 ends at pixel 227, 3 pixels beyond the image of 224."
    assert "96 % of the parameters" in drawings.shares_found().data
    assert drawings.memory_found(1).data.startswith("4 of 4 fit into 3 GiB.")
    assert drawings.memory_found(1000).data.startswith("0 of 4 fit into 3 GiB.")
    assert "are sent for conv3" in drawings.traffic_found(PAPER, 128).data


def test_the_log_says_which_effects_stand_clear() -> None:
    assert "Clear of that: half net, no links, no normalization; within it" in author_log.figure_found().data


def test_without_weights_pictures_find_nothing() -> None:
    for found in (features.kernels_found, features.guesses_found, features.neighbours_found):
        assert found(None).data == features.NOTHING
