"""``reproduce`` plans runs within a budget, and compares their effects with the published ones."""

import math

import pytest

from alexnet_repro.analysis import reproduction
from alexnet_repro.analysis.reproduction import FRESH, beside, goals
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.registry import study
from alexnet_repro.paper import claims
from alexnet_repro.paper.claims import claim
from alexnet_repro.records.store import Store
from alexnet_repro.training.cost import Duration
from alexnet_repro.training.launch import reproduce

from . import homes
from .command import call
from .runs import record


@pytest.fixture
def own(tmp_path):
    return Store(tmp_path / "own", evidence=tmp_path / "none")


@pytest.fixture
def published(tmp_path):
    return Store(tmp_path / "published", evidence=tmp_path / "none")


def save(store, goal, effects, error=0.4):
    """Pairs at the study's first seeds whose test errors differ by ``effects``, in points."""
    for seed, effect in enumerate(effects):
        store.save(record(goal.plan.config(goal.entry.against, seed), metrics={"test_error": error}))
        store.save(record(goal.plan.config(goal.entry.arm, seed), metrics={"test_error": error + effect / 100}))


def one(name="two_gpu_error", **options):
    (goal,) = goals([name], "cifar10", **options)
    return goal


def test_goals_are_the_rules_of_the_scale_with_the_first_claims_first():
    found = goals([], "cifar10")
    names = list(dict.fromkeys(each.claim for each in found))
    assert names[: len(claims.FIRST)] == list(claims.FIRST)
    others = [each.id for each in claims.load() if each.id in names and each.id not in claims.FIRST]
    assert names[len(claims.FIRST) :] == others  # in the paper's order
    for goal in found:
        assert goal.plan.seeds[: len(goal.seeds)] == goal.seeds
        if goal.entry in claim(goal.claim).measured:
            assert len(goal.seeds) == goal.entry.seeds
    # Stage one has the first two, on any seeds; stage two the others.
    lrn = [(each.entry.arm, each.entry.against, each.seeds[0]) for each in found if each.claim == "lrn"]
    assert lrn == [
        ("no_lrn", "baseline", 0),
        ("no_lrn", "strong_lrn", 0),
        ("lrn_scale", "baseline", 0),
        ("no_lrn", "lrn_scale", 0),
    ]
    long = goals(["lrn"], "cifar10-long")
    assert {(each.entry.arm, each.entry.against) for each in long} >= {("no_lrn", "baseline")}
    assert {each.plan.baseline.budget.epochs for each in long} == {96}


def test_fresh_seeds_are_no_study_s():
    goal = one(fresh=True, most=4)
    assert goal.seeds == (FRESH, FRESH + 1, FRESH + 2, FRESH + 3)
    assert (goal.published.name, goal.published.seeds) == ("two_gpu_error", study("two_gpu_error").seeds)
    assert not {c.key for s in goal.seeds for c in goal.pair(s)} & {c.key for _, c in study("two_gpu_error").runs()}


@pytest.mark.parametrize(
    ("names", "scale", "most", "said"),
    [
        (["lnr"], "cifar10", None, "'lnr'"),
        (["architecture"], "cifar10", None, "claim 'architecture' has no comparison to train at the scale cifar10"),
        (["lrn"], "cifar10", 2, "--seeds 2: an interval needs 3 pairs or more"),
        ([], "huge", None, "'huge'"),
    ],
)
def test_what_cannot_be_reproduced_is_one_line(names, scale, most, said):
    with pytest.raises(UserError) as error:
        goals(names, scale, most=most)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28_800), ("90m", 5_400), ("1h30m", 5_400), ("2.5m", 150), ("1s", 1)]
)
def test_a_budget_is_read(text, seconds):
    assert reproduce.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "-1h", "1 h", "8h!", "0h", "1d", "١h"])
def test_a_bad_budget_is_one_line(text):
    with pytest.raises(UserError, match="write a time such as 8h"):
        reproduce.seconds_of(text)


@pytest.mark.parametrize(
    ("yours", "theirs", "said"),
    [
        ((2.0, 2.2, 1.8), (1.9, 2.1, 2.3, 2.0), "agrees: "),
        ((2.0, 2.2, 1.8), (4.0, 4.1, 4.2, 3.9), "differs: −2.05 ("),
        ((2.0, 2.2, 1.8), (2.0, 2.2, 1.8, 2.9), "the same numbers"),
        ((2.0, 2.2), (2.0, 2.2, 1.8), "2 of 3 pairs that an interval needs"),
        ((2.0, 2.2, 1.8), (), "nothing published to compare with"),
    ],
)
def test_agreement(own, published, yours, theirs, said):
    goal = one(most=3)
    save(own, goal, yours)
    save(published, goal, theirs)
    found = beside(goal, own, published)
    assert found.agreement.startswith(said)
    if len(yours) == 3:
        assert found.yours.effect == pytest.approx(2.0)
    assert found.published.pairs == len(theirs)


def test_a_diverged_run_counts_as_it_does_in_a_verdict(own, published):
    goal = one(most=3)
    save(own, goal, (2.0, 2.0, 2.0))
    own.save(record(goal.plan.config(goal.entry.arm, 0), status="diverged", metrics={"test_error": None}))
    assert beside(goal, own, published).yours.effect == pytest.approx((50 + 2 + 2) / 3)  # chance is 90 %


def test_times_beyond_the_budget_are_not_compared(own, published):
    goal = one("relu_speed", most=3)
    for store, plan in ((own, goal.plan), (published, goal.published)):
        for seed in goal.seeds:
            for arm, epochs in (("relu", 10.0), ("tanh", None if store is own and seed == 0 else 30.0)):
                store.save(record(plan.config(arm, seed), metrics={"epochs_to_threshold": epochs}))
    found = beside(goal, own, published)
    assert found.yours.interval[1] == float("inf")
    assert found.agreement.startswith("not comparable")


class Alike(reproduce.Durations):
    """Every run takes ten seconds."""

    def __init__(self):
        pass

    def of(self, config):
        return Duration(8.0, 2.0, 360.0)


def planned(own, budget, names=("two_gpu_error", "pca_color"), **options):
    shares, runs = reproduce.allot(goals(list(names), "cifar10", **options), own, Alike(), budget)
    return [each.pairs for each in shares], shares, runs


def test_a_plan_without_a_budget_is_whole(own):
    pairs, shares, runs = planned(own, math.inf)
    assert pairs == [20, 20, 20]
    # The baseline's runs are counted once, with the first comparison; pca_color's first arm with the second.
    assert [each.runs for each in shares] == [40, 20, 20]
    assert len(runs) == len({c.key for c in runs}) == 80
    assert sum(each.seconds for each in shares) == 800
    assert shares[0].kilowatt_hours == pytest.approx(400 * 360 / 3.6e6)


def test_a_budget_gives_each_three_pairs_before_one_gets_more(own):
    pairs, shares, runs = planned(own, 130.0)
    assert pairs == [3, 3, 3]
    assert sum(each.seconds for each in shares) == 120 <= 130
    assert [c.seed for c in runs[:6]] == [0, 0, 1, 1, 2, 2]
    assert planned(own, 160.0)[0] == [5, 3, 3]
    assert planned(own, 180.0)[0] == [5, 5, 3]
    save(own, goals(["pca_color"], "cifar10")[0], (1.0,) * 5)
    assert planned(own, 1.0)[0] == [0, 5, 0]  # what does not fit is left out, and what does is in


def test_runs_that_are_there_cost_nothing(own):
    goal = one(most=5)
    save(own, goal, (1.0,) * 5)
    pairs, shares, runs = planned(own, 0.5, names=["two_gpu_error"], most=5)
    assert (pairs, runs, shares[0].seconds) == ([5], [], 0)
    assert planned(own, math.inf, names=["two_gpu_error"])[1][0].runs == 30


def test_the_least_that_can_be_asked_for(own):
    many = goals(["two_gpu_error", "pca_color"], "cifar10")
    assert reproduce.least(many, own, Alike()) == 60.0
    goal = goals(["pca_color"], "cifar10")[0]
    own.save(record(goal.plan.config(goal.entry.arm, 0), metrics={"test_error": 0.4}))
    assert reproduce.least(many, own, Alike()) == 50.0


def test_half_the_interval_that_pairs_would_give(own, published):
    goal = one()
    save(published, goal, (1.0, 2.0, 3.0))
    side = reproduction.side(goal, published, own=False)
    # sd 1: t(0.975, 2) = 4.303, over the root of 3; t(0.975, 19) = 2.093, over that of 20.
    assert side.half_width(3) == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert side.half_width(20) == pytest.approx(2.0930 / 20**0.5, rel=1e-4)


@pytest.mark.parametrize(("seconds", "said"), [(6, "6 s"), (720, "12 min"), (12_600, "3.5 h")])
def test_a_time_is_said_in_its_unit(seconds, said):
    assert reproduce.spoken(seconds) == said


def test_the_command_goes_on_from_what_is_there(tmp_path, monkeypatch, capsys):
    homes.make(tmp_path / "home", monkeypatch)
    monkeypatch.setenv("COLUMNS", "200")  # a narrow terminal folds the cells
    store, _ = reproduce.stores("cpu")
    (goal,) = goals(["two_gpu_error"], "cifar10", most=3)
    save(store, goal, (1.0, 2.0, 3.3))
    code, out, err = call(monkeypatch, capsys, "reproduce", "two_gpu_error", "--seeds", "3", "--budget", "1m")
    assert (code, err) == (0, "")
    assert "0 runs to train" in out
    assert "2.10 points (−0.76 to 4.96)" in out
    assert "nothing published to compare with" in out
    assert f"ALEXNET_REPRO_STORE={store.root} make book" in out
    assert "--fresh-seeds" in out


@pytest.mark.parametrize(
    ("scale", "fresh", "said", "unsaid"),
    [
        ("cifar10", False, "make book", "alexnet-repro publish"),
        # The book has the seeds of studies alone.
        ("cifar10", True, f"publish STUDY --first-seed {FRESH} --to", "make book"),
        ("cifar10-long", True, f"publish STUDY --scale cifar10-long --first-seed {FRESH} --to", "make book"),
        ("tiny-imagenet", False, "make book", "alexnet-repro publish"),
        ("smoke", True, "rehearsal", "alexnet-repro publish"),
        ("smoke", False, "rehearsal", "make book"),
    ],
)
def test_what_to_type_next_is_what_works(own, scale, fresh, said, unsaid):
    text = reproduce.next_steps(own, goals(["lrn"], scale, fresh), fresh)
    assert said in text
    assert unsaid not in text


@pytest.mark.slow
def test_three_pairs_of_two_claims_are_trained_and_kept_apart_from_the_published(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("ALEXNET_REPRO_STORE", str(tmp_path))
    words = ["reproduce", "two_gpu_error", "column_links", "--scale", "smoke", "--fresh-seeds", "--workers", "2"]
    code, out, _ = call(monkeypatch, capfd, *words)
    assert code == 0
    assert "9 runs to train, 2 at once" in out
    assert len(list((tmp_path / "reproduced" / "cpu" / "runs").glob("*.json"))) == 9
    assert "This was a rehearsal" in out
    code, out, _ = call(monkeypatch, capfd, *words, "--budget", "1s")
    assert code == 0
    assert "0 runs to train" in out
