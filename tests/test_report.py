"""What a page says: numbers of records, and plain words where there are none yet."""

import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from alexnet_repro.analysis import meta
from alexnet_repro.analysis.lookup import concluded, record_lookup
from alexnet_repro.analysis.rules import SETTINGS
from alexnet_repro.analysis.verdicts import scorecard
from alexnet_repro.common import paths
from alexnet_repro.experiments import step_timing
from alexnet_repro.experiments.registry import STUDIES, study
from alexnet_repro.paper.claims import load
from alexnet_repro.records.lookup import select_learning_rates
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store
from alexnet_repro.report import cards, figures
from alexnet_repro.training.launch.runs import load_or_train, publish

from .runs import record

RATES = {"relu 0.00316": 5.0, "tanh 0.01": 12.0}


def crossing(config, epochs):
    """A record that reached the threshold after ``epochs``; None for one that never did."""
    point = Measurement(epoch=1.0, images=50_000, train_loss=1.0, train_error=0.3)
    return record(config, curve=[point], metrics={"epochs_to_threshold": epochs, "train_error": 0.3, "test_error": 0.3})


def test_search_picks_the_first_to_cross_then_the_lowest_error(store):
    plan = study("relu_rates")
    for arm, config in plan.runs():
        run = crossing(config, RATES.get(arm))
        store.save(run)
    assert select_learning_rates(plan, store) == {"relu": 0.00316, "tanh": 0.01}
    text = cards.search_card(plan, store).data
    assert "Picked: 0.00316 for ReLU, 0.01 for tanh" in text
    assert "Neither is at an edge" in text


def test_search_without_a_crossing_falls_back_to_the_error(store):
    plan = study("relu_rates")
    for arm, config in plan.runs():
        run = crossing(config, None)
        low = arm in ("relu 0.0316", "tanh 0.001")
        store.save(run.model_copy(update={"metrics": {**run.metrics, "train_error": 0.26 if low else 0.4}}))
    assert select_learning_rates(plan, store) == {"relu": 0.0316, "tanh": 0.001}
    assert "At an edge of the grid: ReLU" in cards.search_card(plan, store).data


def test_a_search_that_is_not_whole_picks_nothing(store):
    plan = study("relu_rates")
    assert "No pick yet" in cards.search_card(plan, store).data


def test_published_searches_picked_what_the_studies_use():
    store = Store()
    whole = 0
    for search, use in (("relu_rates", "relu_speed"), ("relu_rates_modern", "relu_speed_modern")):
        plan = study(search)
        if all(config.key in store.published() for _, config in plan.runs()):
            used = {arm: study(use).config(arm, 0).optimizer.learning_rate for arm in ("relu", "tanh")}
            assert select_learning_rates(plan, store) == used
            whole += 1
    assert whole, "no search has been published whole"


def card(claim, store):
    return cards.verdicts_card([each for each in scorecard(record_lookup(store)) if each.claim == claim]).data


def test_verdicts_card_follows_the_records(store):
    plan = study("relu_speed")
    assert "not run" in card("relu_speed", store)
    for arm, config in plan.runs():
        noise = 1 + 0.01 * config.seed * (-1) ** config.seed
        store.save(crossing(config, 5.0 if arm == "relu" else 30.0 * noise))
    text = card("relu_speed", store)
    assert "**reproduced**" in text
    assert "| 5 |" in text
    verdict = cards.verdict_of("relu_speed", store)
    assert verdict.effect == pytest.approx(6.0, rel=0.05)
    found = load_or_train(plan, store, train=False)
    assert cards.ratios(found, "tanh", "relu", "epochs_to_threshold")[0] == 6.0
    censored = replace(verdict, interval=(5.0, math.inf))
    (axes,) = (figure := figures.ratios({"a": [6.0, 7.0]}, "x", censored)).axes
    assert [note.arrow_patch is not None for note in axes.texts if note.get_text() == ""] == [True]
    for figure in (
        figures.training_curves(found, {"relu": "ReLU", "tanh": "tanh"}, 25),
        figures.ratios({"a": [6.0, float("nan")]}, "x", verdict, smoke=True),
        figures.ratios({"a": []}, "x", replace(verdict, effect=None, interval=None)),
        figures.rate_search(found, {"relu": "ReLU", "tanh": "tanh"}, 25),
    ):
        assert figure.axes


def test_study_summary_counts_runs_and_hours(store):
    plan = study("relu_speed")
    assert "none of 10 runs" in cards.study_summary(plan, store).data
    store.save(crossing(plan.config("relu", 0), 5.0))
    publish(plan, store)
    text = cards.study_summary(plan, store).data
    assert "1 of 10 planned runs" in text
    assert "50,000 training images" in text


def test_smoke_records_are_called_a_rehearsal(store):
    plan = study("relu_speed", "smoke")
    store.save(crossing(plan.config("relu", 0), 5.0))
    text = cards.study_summary(plan, store).data
    assert "no evidence" in text
    assert "runs.csv" not in text


def test_what_others_measured_names_claims_that_exist():
    assert len(cards.others("relu_speed")) == 1
    table = cards.others("lrn")
    assert "claim" not in table
    assert set(meta.others()["claim"]) <= {claim.id for claim in load()}


def test_a_table_in_the_books_style():
    table = pd.DataFrame({"name": ["a|b", ""], "size": [1, 2]})
    lines = cards.to_markdown(table, right=["size"], wide=True).data.splitlines()
    assert [lines[0], *lines[2:]] == ["| name | size |", "| a\\|b | 1 |", "| | 2 |"]
    assert re.fullmatch(r"\|-+\|-+:\|", lines[1])
    many = pd.DataFrame({name: [1] for name in "abcde"})
    assert cards.to_markdown(many, wide=True).data.splitlines()[:2] == [":::{div} wide-table", "| a | b | c | d | e |"]
    assert cards.to_markdown(many).data.startswith("| a")


def test_numbers_as_the_paper_prints_them():
    audited = cards.numbers_table(["ten_crop"], "audited")
    assert audited["paper"].tolist() == ["39.0 %", "18.3 %", "37.5 %", "17.0 %"]
    derived = cards.numbers_table(["architecture"], "derived").set_index("number")
    assert derived.loc["parameters", "paper"] == "60,000,000 parameters"
    assert "disagrees" in derived.loc["Fig. 2, conv1", "verdict"]
    assert derived.loc["largest conv layer", "paper"] == "at most 1 % of all parameters"
    assert cards.numbers_table(["challenge_2012"], "published")["paper"].tolist()[:4] == [
        "15.3 %", "26.2 %", "16.4 %", "7 nets",
    ]  # fmt: skip


def test_how_far_the_source_agrees_is_counted():
    rows = tomllib.loads((paths.data() / "unsaid.toml").read_text())["row"]
    spoken = [row for row in rows if row["says"] != "silent" and "learning rate of" not in row["item"]]
    differ = [row["item"] for row in spoken if row["says"] == "differs"]
    text = cards.agreement("source").data
    assert text == f"{len(spoken) - len(differ)} of {len(spoken)} points agree. Not: {', '.join(differ)}."


def test_what_cannot_be_tested_says_why():
    lines = cards.unjudged("previous_best", "challenge_2012").data.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("* What others had reached before, Fisher vectors; Fall 2009: The numbers of the two")
    text = cards.verdicts_card(cards.claim_verdicts("kernel_variety")).data
    assert "**not testable here**" in text
    assert "it takes the net at full size" in text


def test_an_observed_comparison_is_said_to_have_no_rule():
    assert "Observed, gap: without a rule" in cards.claim_card("lrn_generalization").data
    assert "without a rule" not in cards.claim_card("lrn").data


def test_reached_counts_the_runs_that_never_did(store):
    plan = study("relu_speed")
    labels = {"relu": "ReLU", "tanh": "tanh"}
    assert not cards.epochs_to_threshold_summary(load_or_train(plan, store, train=False), labels, 25)
    for seed, epochs in enumerate((4.0, 5.0, 6.5)):
        store.save(crossing(plan.config("relu", seed), epochs))
        store.save(crossing(plan.config("tanh", seed), None))
    relu, tanh = cards.epochs_to_threshold_summary(load_or_train(plan, store, train=False), labels, 25)
    assert relu == "ReLU: 3 of 3 runs reached 25 %; median 5.0 epochs (lowest 4.0, highest 6.5)."
    assert "Tanh: none of 3 runs" in tanh


def test_a_halved_size_leads_to_what_the_halving_does():
    assert "(#size)" in cards.claim_card("lrn").data
    assert "(#size)" not in cards.claim_card("relu_speed").data


def test_the_scorecard_names_no_command_that_does_not_exist(store):
    verdicts = [each for each in scorecard(record_lookup(store)) if each.evidence == "measured"]
    studies = {(entry.id, measured.label): measured.study for entry in load() for measured in entry.measured}
    assert verdicts
    for each in verdicts:
        name = studies[each.claim, each.label]
        command = step_timing.COMMAND if name in step_timing.STUDIES else f"alexnet-repro run {name}"
        assert f"'{command}'" in each.note
        assert (name in STUDIES) != (name in step_timing.STUDIES)
    assert (Path(__file__).parent.parent / step_timing.COMMAND.split()[1]).is_file()


def test_a_conclusion_stands_with_every_scale(tmp_path):
    (lrn,) = [each for each in concluded(Store(tmp_path)) if each.claim == "lrn"]
    card = cards.conclusion_card(lrn).data
    assert card.startswith(f"**Conclusion: {lrn.conclusion}.** {lrn.reading}")
    table = [line for line in card.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(lrn.comparisons)
    assert all(any(SETTINGS[each.scale].title in line for line in table) for each in lrn.comparisons)
    seen = next(each for each in lrn.comparisons if each.in_advance)
    assert any(f"**{seen.verdict}**; seen in advance" in line and "4.40 points" in line for line in table)
