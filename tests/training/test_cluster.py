"""Runs on a Dask cluster: the same records, whatever becomes of its workers; nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from distributed import LocalCluster

from alexnet_repro import __main__
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.records.store import Store
from alexnet_repro.training import checkpoint
from alexnet_repro.training.launch import cluster
from alexnet_repro.training.trainer import train

from ..runs import numbers, tiny
from .test_launch import checkpoint_of, ends, free, steps_saved, until

RUNS = [tiny(seed=seed, **{"budget.epochs": epochs}) for seed, epochs in ((0, 8), (1, 1))]


def workers(count, processes=True):
    """A cluster of so many workers, in processes of their own or in this one."""
    return LocalCluster(
        n_workers=count, threads_per_worker=1, processes=processes, protocol="tcp://", dashboard_address=":0",
        silence_logs=50,
    )  # fmt: skip


@pytest.fixture(scope="module")
def local():
    with workers(2) as made:
        yield made


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A busy machine's scheduler is slow to answer, and there."""
    monkeypatch.setattr(cluster, "CONNECT", 60.0)


@pytest.fixture
def every_step(monkeypatch):
    """A checkpoint after every step, so that there is one when a worker is killed."""
    monkeypatch.setattr(cluster, "DeviceConfig", lambda device: DeviceConfig(device=device, checkpoint_seconds=0.0))


def training(run):
    """The process that trains a run, and the Dask worker above it: who holds the lock, by what the system says."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            held = any(os.readlink(link).endswith(f"/locks/{run.key}") for link in (entry / "fd").iterdir())
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if held:
            return int(entry.name), parent
    raise AssertionError("nobody trains it")


@pytest.mark.slow
@pytest.mark.parametrize("death", ["worker", "machine"])
def test_a_run_whose_worker_is_killed_goes_on_elsewhere(store, every_step, death):
    run, died = RUNS[0], {}

    def kill():
        until(lambda: steps_saved(store, run) > 2)
        process, worker = training(run)
        assert worker != os.getpid()
        for pid in (process, worker) if death == "machine" else (worker,):
            os.kill(pid, signal.SIGKILL)
        died.update(checkpoint.load(checkpoint_of(store, run))[1])

    killer = threading.Thread(target=kill)
    with workers(2) as made:  # its own: the one that was killed may stay away
        killer.start()
        cluster.launch(RUNS, store, made.scheduler_address, progress=False)
        killer.join()
    assert 0 < died["step"] < 24
    assert store.find(run).provenance.started == died["started"]  # resumed, not begun anew
    for config in RUNS:
        assert numbers(store.find(config)) == numbers(train(config, DeviceConfig()))
    assert not list((store.root / "checkpoints").iterdir())


def test_workers_with_a_store_of_their_own_send_the_record(store, tmp_path, monkeypatch):
    run, own = RUNS[1], Store(tmp_path / "own", tmp_path / "none")
    monkeypatch.setattr(cluster, "_store", lambda root: own)  # as if the worker's machine did not see the launcher's
    with workers(1, processes=False) as made:
        cluster.launch([run], store, made.scheduler_address, progress=False)
    assert store.find(run) == own.find(run)
    assert numbers(store.find(run)) == numbers(train(run, DeviceConfig()))


def test_an_error_of_a_run_ends_no_other(store):
    damaged, sound = RUNS[0], RUNS[1]
    checkpoint_of(store, damaged).parent.mkdir(parents=True)
    checkpoint_of(store, damaged).write_text("nonsense")
    refused = pytest.raises(UserError, match="no whole checkpoint: delete it")
    with workers(1, processes=False) as made, refused as error:
        cluster.launch([damaged, sound], store, made.scheduler_address, progress=False)
    assert error.value.code == 1
    assert store.find(sound) is not None


def test_a_process_that_dies_twice_is_one_line(store, monkeypatch):
    monkeypatch.setattr(cluster.Worker, "run", lambda self, config, tell: self.process.kill())
    refused = pytest.raises(UserError, match=r"failed on the cluster .RuntimeError: its process died")
    with workers(1, processes=False) as made, refused:
        cluster.launch([RUNS[1]], store, made.scheduler_address, progress=False)


def test_a_worker_of_another_version_is_named(store):
    found = cluster._work(RUNS[1].model_dump(mode="json"), "0" * 16, DeviceConfig().model_dump_json(), "", "")
    assert "install one version of alexnet-repro everywhere" in found["error"]


LAUNCH = """
import signal, sys
from pathlib import Path
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.training.launch import cluster
from alexnet_repro.records.store import Store
from tests.runs import tiny
signal.signal(signal.SIGINT, signal.default_int_handler)
cluster.DeviceConfig = lambda device: DeviceConfig(device=device, checkpoint_seconds=0.0)
runs = [tiny(seed=seed, **{"budget.epochs": 400}) for seed in range(3)]
try:
    cluster.launch(runs, Store(Path(sys.argv[2])), sys.argv[1], progress=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_launch_frees_the_cluster(local, store, end):
    runs = [tiny(seed=seed, **{"budget.epochs": 400}) for seed in range(2)]
    command = [sys.executable, "-c", LAUNCH, local.scheduler_address, str(store.root)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    ends(process, end, store, runs, within=60)
    # The same cluster takes the next launch.
    if end == signal.SIGINT:
        cluster.launch([RUNS[1]], store, local.scheduler_address, progress=False)
        assert store.find(RUNS[1]) is not None


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_one_line(store):
    run = tiny(seed=5, **{"budget.epochs": 400})
    with workers(1) as made:

        def close():
            until(lambda: (store.root / "locks" / run.key).exists())
            made.close()

        closer = threading.Thread(target=close)
        closer.start()
        with pytest.raises(UserError, match=r"run the study again to resume"):
            cluster.launch([run], store, made.scheduler_address, progress=False)
        closer.join()
    until(lambda: free(store.root / "locks" / run.key))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:1", "Timed out trying to connect to tcp://127.0.0.1:1"),
        ("carrier-pigeon://loft", "carrier-pigeon"),
        ("tcp://no.such.host.invalid:8786", "no.such.host"),
        ("", "''"),
    ],
)
def test_no_scheduler_is_one_line(store, monkeypatch, address, said):
    monkeypatch.setattr(cluster, "CONNECT", 1.0)
    with pytest.raises(UserError, match=r"no Dask scheduler answers at .*: start one with 'dask scheduler'") as error:
        cluster.launch(RUNS, store, address, progress=False)
    assert said in str(error.value)
    assert error.value.code == 1
    assert not store.root.exists()


def test_a_server_of_another_kind_is_one_line(store, monkeypatch):
    # It takes the connection and never says a word.
    monkeypatch.setattr(cluster, "CONNECT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(UserError, match="no Dask scheduler answers"):
        cluster.launch(RUNS, store, f"tcp://127.0.0.1:{server.getsockname()[1]}", progress=False)


def test_what_the_store_has_needs_no_scheduler(store):
    cluster.launch([], store, "nowhere")
    with pytest.raises(UserError, match="unknown device 'tpu'"):
        cluster.launch(RUNS, store, "nowhere", device="tpu")


@pytest.mark.parametrize("more", [["--workers", "2"], ["--devices", "2"]])
def test_the_command_takes_one_way_of_many(monkeypatch, capsys, more):
    words = ["alexnet-repro", "run", "relu_speed", "--scale", "smoke", "--scheduler", "tcp://127.0.0.1:1"]
    monkeypatch.setattr(sys, "argv", [*words, *more])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: --scheduler with --workers, --stack or --devices")
