"""A rerun against its record; those that train are in tests/training/test_rerun.py."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from alexnet_repro import __main__
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.lookup import records
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store
from alexnet_repro.training.launch import rerun as reruns
from alexnet_repro.training.launch.rerun import FEWEST, LEVEL, REPEATS, compare, judged_metrics, rerun
from tests.command import call
from tests.homes import ROOT
from tests.runs import record, tiny

HERE = {"instructions": "AVX512", "processor": "AuthenticAMD family 26 model 2 stepping 1", "onednn": True}
CURVE = tuple(
    Measurement(epoch=epoch, images=int(300 * epoch), train_loss=loss, train_error=0.9)
    for epoch, loss in ((0.5, 2.4), (1.0, 2.2), (2.0, 1.9))
)
METRICS = {"test_error": 0.40, "train_error": 0.30, "train_loss": 1.9}
RECORD = record(curve=CURVE, metrics=METRICS, **HERE)
OTHERS = [
    record(
        tiny(seed=seed),
        curve=(CURVE[1].model_copy(update={"train_loss": 2.3 + 0.1 * shift}),),
        metrics=METRICS | {"test_error": 0.40 + 0.01 * shift, "train_error": 0.30 + 0.01 * shift},
    )
    for seed, shift in enumerate((-1, 0, 1), start=1)
]
REPEATED = (2.3001, 2.3, 2.2999)
BITS = {"weights": "f" * 64}


def fresh(metrics=None, first=2.2, status="finished", **provenance):
    """The record with other metrics, another loss at the end of the first epoch, or other provenance."""
    curve = tuple(p.model_copy(update={"train_loss": first}) if p.epoch == 1 else p for p in RECORD.curve)
    made = record(curve=curve, metrics=METRICS | (metrics or {}), status=status, **HERE | BITS | provenance)
    return made.model_copy(update={"metrics": METRICS | (metrics or {})})


def held(run, of=RECORD, others=OTHERS, repeated=REPEATED):
    return compare(of, run, others, lambda: repeated)


def never():
    raise AssertionError("no repeat can decide this")


def old(of=RECORD):
    """The record as it was before provenance said what computes."""
    return of.model_copy(
        update={
            "provenance": of.provenance.model_copy(update={"instructions": None, "processor": None, "onednn": None})
        }
    )


def test_the_very_run_is_bit_exact():
    found = compare(RECORD, RECORD, OTHERS, never)
    assert (found.outcome, found.same_place, found.met) == ("bit-exact", True, True)


def test_an_older_record_may_lack_a_metric():
    more = fresh({"knn_pixels": 0.2}, weights=RECORD.provenance.weights)
    assert compare(RECORD, more, OTHERS, never).outcome == "bit-exact"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (fresh(), "the digests of the final weights differ, and no number before"),
        (fresh(first=2.2000001), "after 1 epochs train_loss is 2.2000001, the record has 2.2"),
        (fresh({"test_error": 0.4001}), "test_error is 0.4001, the record has 0.4"),
        (fresh(status="stopped"), "it is stopped, the record finished"),
    ],
)
def test_in_the_records_place_other_bits_are_not_met(run, said):
    found = compare(RECORD, run, OTHERS, never)
    assert (found.outcome, found.same_place, found.met) == ("not met", True, False)
    assert found.why == f"the last bits differ, and here they should not: {said}"


@pytest.mark.parametrize("gpu", [{"capability": "9.0", "driver": "575.1"}, {"device": "Apple GPU (arm64, macOS 15)"}])
def test_on_a_gpu_the_same_place_has_other_bits_and_is_judged_as_elsewhere(gpu):
    its = RECORD.model_copy(update={"provenance": RECORD.provenance.model_copy(update=gpu)})
    found = held(fresh(**gpu), its)
    assert (found.outcome, found.same_place) == ("equal within rounding over the first epoch", True)
    assert compare(its, its, OTHERS, never).outcome == "bit-exact"
    assert held(fresh({"test_error": 0.9}, **gpu), its).outcome == "not met"


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"device": "another"}, "elsewhere (device another, recorded NA)"),
        ({"torch": "2.15"}, "elsewhere (torch 2.15, recorded 2.9)"),
        ({"instructions": "DEFAULT"}, "elsewhere (instructions DEFAULT, recorded AVX512)"),
        ({"processor": "x"}, "elsewhere (processor x, recorded AuthenticAMD family 26 model 2 stepping 1)"),
        ({"onednn": False}, "elsewhere (onednn False, recorded True)"),
    ],
)
def test_elsewhere_bits_are_not_asked(changed, where):
    found = held(fresh(**changed))
    assert (found.same_place, found.where) == (False, where)
    assert found.outcome == "equal within rounding over the first epoch"


def test_an_old_record_cannot_prove_that_it_is_from_here():
    assert held(fresh(weights=RECORD.provenance.weights), old()).outcome == "bit-exact"
    found = held(fresh(), old())
    assert (found.outcome, found.same_place) == ("equal within rounding over the first epoch", None)
    assert "whose instructions the record does not say" in found.where
    assert held(fresh(torch="2.15"), old()).where == "elsewhere (torch 2.15, recorded 2.9)"


def test_the_first_epoch_is_held_against_what_rounding_makes_of_it():
    low, high = stats.t.interval(LEVEL, 3, loc=2.3, scale=np.std([2.3, *REPEATED], ddof=1) * np.sqrt(1 + 1 / 4))
    assert REPEATS == 3
    inside, outside = (2.2 + 2 * (edge - 2.3) for edge in (0.99 * (high - 2.3) + 2.3, 1.01 * (high - 2.3) + 2.3))
    # The record's mean over the epoch is 2.3, of halves of 2.4 and 2.2; the fresh run stays, the record moves.
    for loss, outcome in ((inside, "equal within rounding over the first epoch"), (outside, "like another seed")):
        moved = RECORD.model_copy(update={"curve": fresh(first=loss).curve})
        found = held(fresh(device="another"), moved)
        assert found.outcome == outcome
        assert f"{low:.5g} to {high:.5g}" in found.why
        assert found.met


def test_where_rounding_is_as_large_as_a_seed_the_first_epoch_tells_nothing():
    found = held(fresh(device="another"), repeated=(1.9, 2.3, 2.7))
    assert found.outcome == "like another seed"
    assert "rounding makes as much of a difference as another seed" in found.why


def test_the_end_is_held_against_other_seeds():
    # Two metrics: each interval at 99.5 %, with two degrees of freedom.
    half = stats.t.ppf(1 - 0.005 / 2, 2) * 0.01 * np.sqrt(1 + 1 / 3)
    for name, centre in (("test_error", 0.40), ("train_error", 0.30)):
        assert held(fresh({name: centre + 0.99 * half}, device="another")).met
        found = held(fresh({name: centre + 1.01 * half}, device="another"))
        assert found.outcome == "not met"
        assert found.why.startswith(f"{name} is {centre + 1.01 * half:.4g}, outside {centre - half:.4g} to ")
    assert held(fresh({"train_loss": 9.0}, device="another")).met  # not judged: few are
    assert not held(fresh({"test_error": None}, device="another")).met


def test_too_few_other_seeds_judge_nothing():
    far = fresh(first=2.3, device="another")
    found = held(far, others=OTHERS[: FEWEST - 1], repeated=[loss + 0.05 for loss in REPEATED])
    assert (found.outcome, found.met) == ("cannot be judged", False)
    assert "2 other seeds have a test_error, of which an interval needs 3" in found.why
    near = held(fresh(device="another"), others=OTHERS[: FEWEST - 1])
    assert near.outcome == "equal within rounding over the first epoch"


def test_another_end_is_not_met():
    diverged = {"test_error": None, "train_error": None}
    found = held(fresh(diverged, status="diverged", device="another"))
    assert (found.outcome, found.why) == ("not met", "it is diverged, the record and the other seeds are finished")
    also = [*OTHERS, record(tiny(seed=9), curve=CURVE[:2], metrics=diverged, status="diverged")]
    assert held(fresh(diverged, status="diverged", device="another"), others=also).met
    assert held(fresh(device="another"), others=also).met


def test_the_time_to_a_threshold_stands_for_the_training_error():
    timed = record(metrics=METRICS | {"epochs_to_threshold": 8.0})
    assert judged_metrics(timed) == ["test_error", "epochs_to_threshold"]
    assert judged_metrics(record(metrics=METRICS | {"clean_train_error": 0.2})) == ["test_error", "clean_train_error"]
    assert judged_metrics(RECORD) == ["test_error", "train_error"]


def elsewhere(run):
    return run.model_copy(update={"provenance": run.provenance.model_copy(update={"device": "another"})})


def test_of_other_seeds_the_ends_are_alike_and_the_starts_are_not():
    """Runs of the baseline as each other's reruns elsewhere, where rounding moves the first loss by 0.002."""
    runs = records(study("ablations"), Store())["baseline"]
    seen = {"like another seed": 0, "equal within rounding over the first epoch": 0, "not met": 0}
    for there, here in permutations(runs, 2):
        others = [run for seed, run in runs.items() if seed not in (there, here)]
        first = runs[here].curve[0].train_loss
        repeated = [first - 0.002, first, first + 0.002]
        seen[compare(runs[there], elsewhere(runs[here]), others, lambda around=repeated: around).outcome] += 1
    assert sum(seen.values()) == 20 * 19
    assert seen["not met"] <= 20  # of 20 ends, one is outside of 99 %
    assert seen["equal within rounding over the first epoch"] < 380 / 4


def test_an_arm_of_another_error_is_not_met():
    """A run without crops is no run of the baseline."""
    arms = records(study("ablations"), Store())
    wrong = elsewhere(arms["no_crops"][0].model_copy(update={"config": arms["baseline"][0].config}))
    others = [run for seed, run in arms["baseline"].items() if seed]
    assert compare(arms["baseline"][0], wrong, others, never).outcome == "not met"


@pytest.mark.parametrize(("run", "code"), [(fresh(device="another"), 0), (fresh({"test_error": 0.9}), 1)])
def test_the_command_names_the_outcome_and_the_number(monkeypatch, capsys, run, code):
    found = held(run)
    monkeypatch.setattr(__main__, "rerun", lambda *_, **__: found)
    ended, out, err = call(monkeypatch, capsys, "rerun", "relu_speed", "--arm", "relu", "--seed", "0")
    assert ended == code
    said = f"the record of relu_speed, arm 'relu', seed 0: {found.outcome}, {found.where}: {found.why}\n"
    assert (f"error: {said}" if code else said) == (err if code else out.splitlines(keepends=True)[-1])


def test_the_page_states_the_rules():
    page = " ".join((ROOT / "book" / "rerun.md").read_text(encoding="utf-8").split())
    for outcome in (*reruns.MET, "not met", "cannot be judged"):
        assert f"**{outcome}**" in page
    assert (LEVEL, REPEATS, FEWEST) == (0.99, 3, 3)  # in words there
    assert "99 % prediction interval" in page
    assert "three repeats" in page
    assert "at least three other seeds" in page


@pytest.mark.parametrize(
    ("arm", "seed", "device", "said"),
    [
        ("gelu", 0, "cpu", "'gelu'"),
        ("relu", 7, "cpu", "no seed 7"),
        ("relu", -1, "cpu", "has no seed -1: it has 5, from 0 up"),
        ("relu", 0, "gpu", "unknown device 'gpu': choose one of cpu, cuda, mps"),  # before the record is sought
        ("relu", 0, "cpu", "no record to meet"),
    ],
)
def test_what_cannot_be_rerun(tmp_path, arm, seed, device, said):
    with pytest.raises(UserError, match=said):
        rerun(study("relu_speed"), arm, seed, Store(tmp_path, tmp_path), device)


def test_the_command_that_makes_a_record_names_its_scale(tmp_path):
    with pytest.raises(UserError, match="'alexnet-repro run lrn --scale tiny-imagenet' makes one"):
        rerun(study("lrn", "tiny-imagenet"), "no_lrn", 0, Store(tmp_path, tmp_path))
