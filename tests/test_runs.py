"""The door to a study's records: trains only when asked, publishes only what may be believed."""

import sys
from types import ModuleType

import pytest

from alexnet_repro.analysis.lookup import record_lookup
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import imagenet
from alexnet_repro.experiments.registry import study
from alexnet_repro.experiments.study import from_seed
from alexnet_repro.records.store import Store, read_rows
from alexnet_repro.training.launch import local
from alexnet_repro.training.launch.runs import launch_distributed, load_or_train, publish

from .runs import record


@pytest.fixture
def launched(monkeypatch):
    """The runs that would be trained: a stub records them instead of training."""
    seen = []
    monkeypatch.setattr(local, "launch", lambda configs, store, **_: seen.extend(store.missing(configs)))
    return seen


def test_trains_only_what_is_missing_and_only_when_asked(store, launched):
    plan = study("relu_speed")
    (arm, first), *rest = plan.runs()
    store.save(record(first))
    found = load_or_train(plan, store, train=False)
    assert launched == []
    assert list(found[arm]) == [first.seed]
    assert sum(map(len, found.values())) == 1
    load_or_train(plan, store, train=True)
    assert launched == [config for _, config in rest]


def test_a_whole_study_imports_nothing_that_trains(store, launched):
    plan = study("relu_speed")
    for _, config in plan.runs():
        store.save(record(config))
    found = load_or_train(plan, store, train=True)
    assert launched == []
    assert [sorted(runs) for runs in found.values()] == [list(plan.seeds)] * len(plan.arms)


def test_finder_knows_no_other_study_or_arm(store):
    plan = study("relu_speed")
    config = plan.config("tanh", 0)
    store.save(record(config))
    find = record_lookup(store)
    assert list(find("relu_speed", "tanh")) == [0]
    with pytest.raises(UserError, match=r"unknown arm of relu_speed 'swish': choose one of relu, tanh$"):
        find("relu_speed", "swish")
    with pytest.raises(UserError, match=r"unknown arm of ensemble 'baseline': choose one of five, one$"):
        find("ensemble", "baseline")
    assert find("ensemble", "five") == {}
    with pytest.raises(UserError, match="unknown study 'no_such_study'"):
        find("no_such_study", "tanh")


def test_publishes_clean_runs_and_counts_the_others(store):
    plan = study("relu_speed")
    clean, dirty = record(plan.config("relu", 0)), record(plan.config("tanh", 0), clean=False)
    for each in (clean, dirty):
        store.save(each)
    assert store.published() == {}
    assert publish(plan, store)[:2] == (1, 1)
    assert store.published() == {clean.key: clean}  # the same store, which has read the tables before
    read = Store(store.root.parent / "nothing", store.evidence)
    assert read.find(clean.config) == clean
    assert read.find(dirty.config) is None
    assert read.published_in() == {clean.key: "relu_speed"}


def test_publishing_keeps_what_is_published(store):
    plan = study("relu_speed")
    first, second = record(plan.config("relu", 0)), record(plan.config("relu", 1))
    store.save(first)
    publish(plan, store)
    elsewhere = Store(store.root.parent / "another store", store.evidence)
    elsewhere.save(second)
    assert publish(plan, elsewhere)[:2] == (2, 0)
    again = record(plan.config("relu", 0), wall_seconds=200.0)
    elsewhere.save(again)
    publish(plan, elsewhere)
    assert read_rows(store.evidence / plan.name) == [("relu", again), ("relu", second)]


def test_a_published_run_stays_whatever_the_working_store_holds(store):
    plan = study("relu_speed")
    first, second = record(plan.config("relu", 0)), record(plan.config("relu", 1))
    store.save(first)
    publish(plan, store)
    later = Store(store.root, store.evidence)
    later.save(first.model_copy(update={"provenance": record(clean=False).provenance}))
    later.save(second)
    assert publish(plan, later)[:2] == (2, 1)
    assert [each for _, each in read_rows(store.evidence / "relu_speed")] == [first, second]


def test_runs_of_another_precision_or_of_other_images_join_the_table(store):
    plans = [
        imagenet.study_on("imagenet_ablations", imagenet.Images(1_000, 10, 256, digest * 64)).changed(
            precision=precision
        )
        for digest, precision in (("d", "float32"), ("d", "bfloat16"), ("e", "float32"))
    ]
    for count, plan in enumerate(plans, 1):
        store.save(record(plan.config("no_lrn", 0)))
        assert publish(plan, Store(store.root, store.evidence))[:2] == (count, 0)


def test_fresh_seeds_are_for_others_to_publish(store, tmp_path):
    plan = from_seed(study("relu_speed"), 100)
    store.save(record(plan.config("relu", 100)))
    with pytest.raises(UserError, match=r"first seed 100: .* --to"):
        publish(plan, store)
    assert publish(plan, store, tmp_path / "mine")[:2] == (1, 0)


def test_a_study_may_declare_seeds_from_another_number_up(store):
    plan = study("lrn_fresh")
    assert plan.seeds[0] > 0
    with pytest.raises(UserError, match=r"commit, then 'alexnet-repro run lrn_fresh'$"):
        publish(plan, store)
    store.save(record(plan.config("no_lrn", plan.seeds[0])))
    assert publish(plan, store)[:2] == (1, 0)
    assert from_seed(plan, 5_000).seeds == tuple(range(5_000, 5_010))


def test_the_command_that_is_named_trains_what_was_to_be_published(store, tmp_path):
    for name in ("relu_speed", "lrn"):  # the second shares its runs with another study
        with pytest.raises(UserError, match=r"first seed 100: .* --to"):
            publish(from_seed(study(name), 100), store)
        with pytest.raises(UserError, match=f"commit, then 'alexnet-repro run {name} --first-seed 100'$"):
            publish(from_seed(study(name), 100), store, tmp_path / "mine")
    plan = imagenet.study_on("imagenet", imagenet.Images(1_000, 10, 256, "d" * 64))
    with pytest.raises(UserError, match=r"'alexnet-repro run imagenet --precision bfloat16 --compile'$"):
        publish(plan.changed(precision="bfloat16", compiled=True), store)
    with pytest.raises(UserError, match=r"commit, then 'alexnet-repro run relu_rates'$"):  # a pilot keeps its seeds
        publish(study("relu_rates"), store)


def test_processes_that_train_together_mean_the_same_runs(monkeypatch):
    group, processes, started = ModuleType("process_group"), ModuleType("devices"), []
    group.check_parallel, processes.start = lambda *_: [], lambda words, devices: started.append((words, devices))
    for name, module in (("parallel.process_group", group), ("launch.devices", processes)):
        monkeypatch.setitem(sys.modules, f"alexnet_repro.training.{name}", module)
    launch_distributed(from_seed(study("lrn", "smoke"), 100), 2, "columns", "cpu")
    words = ["run", "lrn", "--device", "cpu", "--parallel", "columns", "--scale", "smoke", "--first-seed", "100"]
    assert started == [(words, 2)]


def test_runs_on_tiny_imagenet_share_one_table(store, tmp_path):
    plan = study("lrn", "tiny-imagenet")
    store.save(record(plan.config("no_lrn", 0)))
    with pytest.raises(
        UserError, match="lrn shares its runs with tiny_imagenet: 'alexnet-repro publish tiny_imagenet'"
    ):
        publish(plan, store)
    assert publish(study("tiny_imagenet"), store)[:2] == (1, 0)
    assert Store(store.root, store.evidence).published_in() == {plan.config("no_lrn", 0).key: "tiny_imagenet"}
    with pytest.raises(UserError, match=r"'alexnet-repro run lrn --scale tiny-imagenet --first-seed 100'$"):
        publish(from_seed(plan, 100), store, tmp_path / "mine")


@pytest.mark.parametrize("scale", ["smoke", "cifar10"])
def test_nothing_to_publish(store, scale):
    plan = study("relu_speed", scale)
    if scale == "smoke":
        store.save(record(plan.config("relu", 0)))
    with pytest.raises(UserError, match="relu_speed"):
        publish(plan, store)
    assert not store.evidence.exists()


def test_runs_that_are_published_are_not_contributed_again(store, tmp_path):
    plan = study("relu_speed")
    store.save(record(plan.config("relu", 0)))
    publish(plan, store)
    store = Store(store.root, store.evidence)
    with pytest.raises(UserError, match=r"all published already.*run relu_speed --first-seed 2000'$"):
        publish(plan, store, tmp_path / "mine")


def test_a_pilot_is_looked_at_whatever_the_scale(store):
    config = study("alexnet_pilot").config("half as wide", 1000)
    store.save(record(config, metrics={"test_error": 0.4}))
    found = record_lookup(store, "smoke")("alexnet_pilot", "half as wide")
    assert [each.key for each in found.values()] == [config.key]
