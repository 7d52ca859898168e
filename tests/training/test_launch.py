"""Many runs at once: all saved, none lost, no process left behind."""

import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from alexnet_repro.common.errors import UserError
from alexnet_repro.common.machine import cores
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.training import checkpoint
from alexnet_repro.training.launch import local
from alexnet_repro.training.trainer import train

from ..runs import record, tiny

ONE_EPOCH = {"budget.epochs": 1, "budget.measurements": 1}


@pytest.fixture
def every_step(monkeypatch):
    """Workers that save a checkpoint after every step, so that little is lost by a kill."""
    placement = DeviceConfig(checkpoint_seconds=0.0)
    monkeypatch.setattr(local, "places", lambda device, workers: [(placement, None)] * (workers or 1))


def checkpoint_of(store, config):
    return store.root / "checkpoints" / f"{config.key}.safetensors"


def steps_saved(store, config):
    path = checkpoint_of(store, config)
    return checkpoint.load(path)[1]["step"] if path.is_file() else 0


def until(true):
    """Wait for something that must happen; five minutes mean that it does not."""
    for _ in range(30_000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_runs_are_saved_past_a_killed_worker_and_an_error(store, every_step, monkeypatch):
    # Two workers and four runs: one is killed in the middle, one has a damaged checkpoint, one is in the store.
    long, damaged, known, last = (tiny(seed=seed, **ONE_EPOCH) for seed in range(4))
    long = long.changed(**{"budget.epochs": 6})
    checkpoint_of(store, damaged).parent.mkdir(parents=True)
    checkpoint_of(store, damaged).write_text("nonsense")
    store.save(record(known))
    workers, killers, died = [], [], {}

    class Watched(local.Worker):
        def __init__(self, *args):
            super().__init__(*args)
            workers.append(self)

        def run(self, configs, events):
            if configs == [long] and not killers:
                killers.append(threading.Thread(target=self.kill_in_the_middle))
                killers[0].start()
            return super().run(configs, events)

        def kill_in_the_middle(self):
            until(lambda: steps_saved(store, long) > 0)
            self.process.kill()
            self.process.wait()
            died.update(checkpoint.load(checkpoint_of(store, long))[1])

    monkeypatch.setattr(local, "Worker", Watched)
    with pytest.raises(UserError, match="no whole checkpoint: delete it, and the run starts afresh") as error:
        local.launch([long, damaged, known, last], store, workers=2, progress=False)
    assert error.value.code == 1
    assert [store.find(config) is not None for config in (long, damaged, known, last)] == [True, False, True, True]
    assert store.find(known) == record(known)  # trained by nobody
    # The killed run went on where it stood, and ended as if nothing had been.
    assert 0 < died["step"] < 18
    assert store.find(long).provenance.started == died["started"]
    torch.set_num_threads(1)
    assert store.find(long).provenance.weights == train(long, DeviceConfig()).provenance.weights
    assert len(workers) == 3
    assert all(worker.process.returncode is not None for worker in workers)
    assert [path.name for path in checkpoint_of(store, long).parent.iterdir()] == [checkpoint_of(store, damaged).name]


LAUNCH = """
import os, signal, sys
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.training.launch import local
from alexnet_repro.records.store import Store
from tests.runs import tiny

# A shell's background jobs ignore Ctrl-C, and their children inherit that: this stands for a job in the foreground.
signal.signal(signal.SIGINT, signal.default_int_handler)
local.places = lambda device, workers: [(DeviceConfig(checkpoint_seconds=0.0), None)] * workers
runs = [tiny(seed=seed, **{"budget.epochs": 200}) for seed in range(3)]
try:
    local.launch(runs, Store(), workers=int(sys.argv[1]), progress=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("end", "workers"), [pytest.param(signal.SIGINT, 2, marks=pytest.mark.slow), (signal.SIGKILL, 1)]
)
def test_an_ended_launch_leaves_no_process_and_what_to_resume(store, end, workers):
    # SIGINT is Ctrl-C; SIGKILL is what nobody can prepare for, here with a stderr that is full.
    configs = [tiny(seed=seed, **{"budget.epochs": 200}) for seed in range(workers)]
    env = {**os.environ, "ALEXNET_REPRO_STORE": str(store.root)}
    with open("/dev/full" if end == signal.SIGKILL else os.devnull, "w") as stderr:
        process = subprocess.Popen([sys.executable, "-c", LAUNCH, str(workers)], stderr=stderr, env=env)
    ends(process, end, store, configs, within=300)
    assert len(list((store.root / "checkpoints").iterdir())) == workers
    assert not (store.root / "errors").exists()


def ends(process, end, store, configs, within):
    """A launch that a signal ends, once all its runs have a checkpoint, leaves the runs free and their checkpoints."""
    try:
        until(lambda: all(steps_saved(store, config) > 0 for config in configs))
        process.send_signal(end)
        code = process.wait(within)
    finally:
        process.kill()
    assert code == (130 if end == signal.SIGINT else -signal.SIGKILL)
    for config in configs:  # a worker holds the lock on its run until it dies
        until(lambda config=config: free(store.root / "locks" / config.key))
        assert steps_saved(store, config) > 0
        assert store.find(config) is None


def free(path):
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_worker_that_cannot_live_is_one_line(store, monkeypatch):
    monkeypatch.setattr(local.sys, "executable", "/bin/false")
    with pytest.raises(UserError, match=rf"the process of run {tiny().key} died 2 times .exit code 1.: run the study"):
        local.launch([tiny()], store, workers=1, progress=False)


def test_a_worker_that_the_system_kills_is_told_to_want_memory(store, monkeypatch, tmp_path):
    script = tmp_path / "killed"
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(local.sys, "executable", str(script))
    with pytest.raises(UserError, match=r"out of memory\? ask for fewer workers"):
        local.launch([tiny()], store, workers=1, progress=False)


def test_a_worker_that_does_not_start_is_one_line(store, monkeypatch):
    monkeypatch.setattr(local.sys, "executable", "/nonexistent")
    with pytest.raises(UserError, match=r"cannot start a process .No such file"):
        local.launch([tiny(), tiny(seed=1)], store, workers=2, progress=False)


def test_what_the_store_has_costs_nothing(store, monkeypatch):
    store.save(record())
    monkeypatch.setattr(local, "Worker", None)
    local.launch([tiny(), tiny()], store, device="nonsense")


@pytest.mark.parametrize(
    ("device", "workers", "said"),
    [
        ("gpu", None, "unknown device 'gpu': choose one of cpu, cuda, mps"),
        ("cuda:0", None, "unknown device 'cuda:0': choose one of cpu, cuda, mps"),
        ("cuda", None, "device 'cuda' is not available: this machine has no CUDA GPU; use 'cpu'"),
        ("mps", None, "device 'mps' is not available: this machine has no Apple GPU; use 'cpu'"),
        ("cpu", 0, "workers=0: ask for at least one"),
        ("cpu", -1, "workers=-1: ask for at least one"),
    ],
)
def test_an_impossible_place_is_one_line(store, monkeypatch, device, workers, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError) as error:
        local.launch([tiny()], store, device=device, workers=workers)
    assert str(error.value) == said
    assert not store.root.exists()


def test_places(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [gpu for _, gpu in local.places("cuda", None)] == [0, 1, 2]
    assert [gpu for _, gpu in local.places("cuda", 2)] == [0, 1]
    assert [gpu for _, gpu in local.places("cuda", 5)] == [0, 1, 2, 0, 1]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert local.places("mps", 2) == [(DeviceConfig(device="mps", threads=1), None)] * 2
    assert len(local.places("mps", None)) == 1
    assert len(local.places("cpu", None)) == cores()
    assert local.places("cpu", 5) == [(DeviceConfig(device="cpu", threads=1), None)] * 5


def test_each_gpu_worker_sees_its_own_gpu(store, monkeypatch):
    seen = []
    monkeypatch.setattr(local.subprocess, "Popen", lambda command, env, **more: seen.append((command, env)))
    local.Worker(DeviceConfig(device="cuda"), store, 2)
    (command, env), = seen  # fmt: skip
    assert env["CUDA_VISIBLE_DEVICES"] == "2"
    assert env["OMP_NUM_THREADS"] == "1"
    assert command[-2:] == [str(store.root), str(store.evidence)]
    assert json.loads(command[3])["device"] == "cuda"


def test_a_display_that_nobody_can_see_stops_nothing(monkeypatch):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

        def flush(self):
            raise OSError(28, "No space left on device")

    for stderr in (Full(), None):
        monkeypatch.setattr(sys, "stderr", stderr)
        bar = local._bar(3, "runs", "{desc}", progress=True)
        assert bar.disable
        bar.close()


def test_a_run_that_is_tested_last_is_still_running(capsys):
    events = queue.Queue()
    for event in [{"step": 9, "of": 9}, {"saved": True}]:
        events.put(("first", event))
        if "step" in event:
            events.put(("second", {"step": 1, "of": 9}))
    events.put(("second", {"error": "it failed", "code": 1}))
    with pytest.raises(UserError, match="it failed"):
        local.follow(events, lambda: True, 2, "two", True)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    shown = [line.rpartition("left, ")[2].strip() for line in lines if "runs done" in line]
    assert "0 of 2 runs done, 2 running" in shown
    assert shown[-1] == "2 of 2 runs done, 0 running"


@pytest.mark.parametrize(("visible", "seen"), [(None, "1"), ("", "1"), ("2, 3", "3"), ("GPU-aa,GPU-bb", "GPU-bb")])
def test_a_worker_gets_one_of_the_gpus_that_its_parent_sees(visible, seen, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.environment(DeviceConfig(device="cuda"), 1)["CUDA_VISIBLE_DEVICES"] == seen


def test_amds_own_choice_of_gpus_comes_first(monkeypatch):
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "4,6")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    found = local.environment(DeviceConfig(device="cuda"), 1)
    assert (found["HIP_VISIBLE_DEVICES"], found["CUDA_VISIBLE_DEVICES"]) == ("6", "0,1")


def test_after_its_time_a_launch_begins_no_run_and_that_is_no_error(store, monkeypatch):
    class Unwanted:
        def __init__(self, *_, **__):
            raise AssertionError("no worker was wanted")

    monkeypatch.setattr(local, "Worker", Unwanted)
    local.launch([tiny()], store, workers=1, progress=False, seconds=0.0)
    assert list(store.records()) == []


def test_runs_whose_workers_are_gone_are_an_error():
    with pytest.raises(UserError, match="1 of 1 runs did not end"):
        local.follow(queue.Queue(), lambda: False, 1, "runs", False)
