"""A rerun against its record; the one that trains is in tests/lab/test_rerun.py."""

from itertools import combinations

import pytest

from alexnet_repro.errors import UserError
from alexnet_repro.reruns import EARLY, FACTOR, NATS, POINTS, compare, rerun
from alexnet_repro.store import Store
from alexnet_repro.studies import records, study
from tests.homes import ROOT
from tests.runs import record

RECORD = record(metrics={"test_error": 0.4, "epochs_to_threshold": 8.0, "train_loss": 1.0})


def fresh(metrics=None, **provenance):
    return RECORD.model_copy(
        update={
            "metrics": RECORD.metrics | (metrics or {}),
            "provenance": RECORD.provenance.model_copy(update=provenance),
        }
    )


def test_the_very_run_is_met():
    found = compare(RECORD, fresh())
    assert (found.exact, found.same_place, found.off, found.met) == (True, True, (), True)


def test_an_older_record_may_lack_a_metric():
    assert compare(RECORD, fresh({"knn_pixels": 0.2})).exact


def test_other_bits_in_the_same_place_are_not_met():
    found = compare(RECORD, fresh(weights="f" * 64))
    assert (found.exact, found.same_place, found.off) == (False, True, ())
    assert not found.met


def test_a_seed_that_is_none_is_named(tmp_path):
    with pytest.raises(UserError, match="has no seed -1: it has 5, from 0 up"):
        rerun(study("relu_speed"), "relu", -1, Store(tmp_path))


@pytest.mark.parametrize(
    ("metrics", "met"),
    [
        ({"test_error": 0.4299}, True),
        ({"test_error": 0.4301}, False),
        ({"test_error": None}, False),
        ({"epochs_to_threshold": 9.9}, True),
        ({"epochs_to_threshold": 10.1}, False),
        ({"train_loss": 9.0}, True),
    ],
)
def test_elsewhere_within_the_tolerance(metrics, met):
    found = compare(RECORD, fresh(metrics, device="another", weights="f" * 64))
    assert found.met is met
    assert bool(found.off) is not met


@pytest.mark.parametrize(("loss", "met"), [(1.029, True), (1.031, False), (None, False)])
def test_elsewhere_the_first_losses_are_met(loss, met):
    points = (RECORD.curve[0].model_copy(update={"train_loss": 1.0}),)
    there = RECORD.model_copy(update={"curve": points})
    here = fresh(device="another", weights="f" * 64)
    here = here.model_copy(update={"curve": (points[0].model_copy(update={"train_loss": loss}),)})
    found = compare(there, here)
    assert found.met is met
    assert ("the record has 1" in " ".join(found.off)) is not met


def test_the_page_states_the_tolerance():
    page = " ".join((ROOT / "book" / "rerun.md").read_text(encoding="utf-8").split())
    assert (EARLY, POINTS) == (3, 0.03)  # in words there
    assert f"the first three losses lie within {NATS:g} nats" in page
    assert f"within three points, and times in epochs within a factor of {FACTOR:g}" in page


def test_of_other_seeds_most_are_no_rerun():
    """Runs of the baseline as each other's reruns on another machine: chance alone lets some pass."""
    runs = records(study("ablations"), Store())["baseline"]
    pairs = [
        (first, second.model_copy(update={"provenance": second.provenance.model_copy(update={"device": "another"})}))
        for first, second in combinations(runs.values(), 2)
    ]
    assert len(pairs) == 190
    assert sum(compare(*pair).met for pair in pairs) < len(pairs) / 4


def test_another_end_is_off():
    other = fresh(device="another", weights="f" * 64).model_copy(update={"status": "diverged"})
    assert not compare(RECORD, other).met


def test_a_device_is_checked_before_the_record_is_sought(tmp_path):
    with pytest.raises(UserError, match="unknown device 'gpu': choose one of cpu, cuda"):
        rerun(study("relu_speed"), "relu", 0, Store(tmp_path, tmp_path), "gpu")


@pytest.mark.parametrize(
    ("arm", "seed", "said"),
    [("gelu", 0, "'gelu'"), ("relu", 7, "no seed 7"), ("relu", 0, "no record to meet")],
)
def test_what_cannot_be_rerun(tmp_path, arm, seed, said):
    with pytest.raises(UserError, match=said):
        rerun(study("relu_speed"), arm, seed, Store(tmp_path, tmp_path))
