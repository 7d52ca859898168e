"""How many runs share a GPU is what processes that train at the same time tell."""

import sys

import pytest
import torch

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import imagenet
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.store import Store
from alexnet_repro.training.cost import Duration
from alexnet_repro.training.launch import local, reproduce, runs, sharing
from alexnet_repro.training.launch.sharing import Sharing, most_useful, steps_per_second

from ..runs import record, tiny
from .pretend_gpu import pretend_gpu, pretending

CPU = (DeviceConfig(), None)


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({1: 100.0, 2: 180.0, 4: 230.0}, 4),
        ({1: 100.0, 2: 180.0, 4: 185.0}, 2),  # so little is noise, and costs memory
        ({1: 100.0, 2: 90.0, 4: 80.0}, 1),
        ({1: 100.0, 2: 101.0, 4: 140.0}, 4),
        ({1: 100.0}, 1),
        ({}, 1),
    ],
)
def test_as_many_share_a_gpu_as_gain_by_it(rates, best):
    assert most_useful(rates) == best


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs and 16 cores; what is measured is noted."""
    asked = []

    def measured(config, place, counts):
        asked.append((config, place, counts))
        return {count: 100.0 * count**0.5 for count in counts}

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(sharing, "cores", lambda: 16)
    monkeypatch.setattr(sharing, "steps_per_second", measured)
    return asked


def test_runs_share_a_gpu_as_measured(gpus):
    many = [tiny(seed=seed) for seed in range(20)]
    assert sharing.sharing(many, "cuda") == (16, 8, pytest.approx(8**0.5))
    assert sharing.sharing(many, "cuda", workers=6) == (6, 3, pytest.approx(3**0.5))
    assert [counts for _, _, counts in gpus] == [[1, 2, 4, 8], [1, 3]]
    assert {place for _, place, _ in gpus} == {(DeviceConfig(device="cuda", threads=1), 0)}


def test_no_more_are_tried_than_there_are_runs_and_cores(gpus, monkeypatch):
    sharing.sharing([tiny(seed=seed) for seed in range(5)], "cuda")
    monkeypatch.setattr(sharing, "cores", lambda: 4)
    sharing.sharing([tiny(seed=seed) for seed in range(50)], "cuda")
    assert [counts for _, _, counts in gpus] == [[1, 2], [1, 2]]


def test_the_commonest_network_is_measured(gpus):
    rare, common = tiny(), tiny(**{"model.nonlinearity": "tanh"})
    sharing.sharing([rare, *(common.changed(seed=seed) for seed in range(9))], "cuda")
    assert gpus[0][0].changed(seed=0) == common.changed(seed=0)


def test_nothing_is_measured_where_nothing_is_shared(gpus):
    full = imagenet.baseline(imagenet.Images(train=100, classes=3, size=256, digest="0" * 64))
    for configs, device, workers in (
        ([tiny(seed=seed) for seed in range(20)], "cpu", None),
        ([tiny(seed=seed) for seed in range(20)], "mps", None),
        ([full.changed(seed=seed) for seed in range(20)], "cuda", None),
        ([tiny(), tiny(seed=1)], "cuda", None),
        ([tiny(seed=seed) for seed in range(20)], "cuda", 2),
        ([], "cuda", None),
    ):
        assert sharing.sharing(configs, device, workers) == Sharing(workers)
    assert gpus == []


def script(tmp_path, monkeypatch, text):
    path = tmp_path / "process"
    path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_rates_are_added_up(tmp_path, monkeypatch):
    script(tmp_path, monkeypatch, "echo ready\nwhile read go; do echo 2.5; done\n")
    assert steps_per_second(tiny(), CPU, [1, 2, 4]) == {1: 2.5, 2: 5.0, 4: 10.0}


def test_as_many_as_do_not_fit_are_no_choice(tmp_path, monkeypatch):
    script(tmp_path, monkeypatch, "mkdir one || mkdir two || exit 1\necho ready\nwhile read go; do echo 2.5; done\n")
    assert steps_per_second(tiny(), CPU, [1, 2, 4]) == {1: 2.5, 2: 5.0}


def test_a_process_that_dies_meanwhile_counts_for_nothing(tmp_path, monkeypatch):
    script(tmp_path, monkeypatch, "echo ready\nread go\necho 2.5\n")
    assert steps_per_second(tiny(), CPU, [1, 2, 4]) == {1: 2.5}


@pytest.mark.slow
def test_processes_that_train_say_how_fast(monkeypatch):
    found = steps_per_second(tiny(), CPU, [1, 2])
    assert found.keys() == {1, 2}
    assert min(found.values()) > 0


def test_a_study_is_trained_by_as_many_workers_as_were_measured(tmp_path, monkeypatch, capsys):
    plan, given = study("two_gpu_error", "smoke"), []
    monkeypatch.setattr(sharing, "sharing", lambda configs, device, workers=None: Sharing(4, 4, 2.3))
    monkeypatch.setattr(local, "launch", lambda *_, workers, **options: given.append(workers))
    for workers, stack in ((None, 1), (2, 1), (None, 3)):
        store = Store(tmp_path, tmp_path / "none")
        runs.load_or_train(plan, store, True, "cuda", workers, stack=stack)
    assert given == [4, 2, None]
    assert capsys.readouterr().err == "4 runs share a GPU, and train 2.3 times as many images per second as one\n"


def test_what_is_trained_already_asks_for_no_gpu(tmp_path, monkeypatch):
    plan = study("two_gpu_error", "smoke")
    store = Store(tmp_path, tmp_path / "none")
    for _, config in plan.runs():
        store.save(record(config))
    monkeypatch.setattr(sharing, "sharing", None)
    assert sum(map(len, runs.load_or_train(plan, store, True, "cuda").values())) == len(list(plan.runs()))


def test_a_run_that_shares_a_gpu_takes_longer_and_has_its_share_of_the_power(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "duration", lambda config, placement, seconds: Duration(10.0, 2.0, 400.0))
    durations = reproduce.Durations([], Store(tmp_path, tmp_path), "cuda", Sharing(4, 4, 2.0))
    durations.shares[reproduce._kind(tiny())] = 0.5
    assert durations.of(tiny()) == Duration(10.0, 4.0, 100.0)


@pretending
def test_reproduce_measures_before_it_plans(monkeypatch, capsys, tmp_path):
    from ..command import call

    monkeypatch.setenv("ALEXNET_REPRO_STORE", str(tmp_path))
    order = []
    monkeypatch.setattr(sharing, "sharing", lambda *given: order.append("shared") or Sharing(4, 4, 2.0))
    monkeypatch.setattr(reproduce, "duration", lambda *given: order.append("timed") or Duration(10.0, 2.0, 400.0))
    monkeypatch.setattr(local, "launch", lambda *given, **options: order.append(given[3]))
    with pretend_gpu():
        code, out, _ = call(monkeypatch, capsys, "reproduce", "two_gpu_error", "--device", "cuda", "--budget", "1m")
    assert code == 0
    assert order == ["shared", "timed", "timed", 4]
    assert "4 runs share a GPU, and train 2 times as many images per second as one" in out
    # A run takes 12 s alone, and 24 s among four that train twice as fast as one: a minute of four workers is ten runs.
    assert "10 runs to train, 4 at once: about 60 s" in out


def test_an_impossible_device_is_said_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no CUDA GPU"):
        sharing.sharing([tiny(), tiny(seed=1)], "cuda")
