"""Runs shared by two and four processes beside the same runs on one device; and what happens when one dies."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.cifar_alexnet import BASELINE, SMOKE
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store
from alexnet_repro.training import checkpoint
from alexnet_repro.training.evaluate import error
from alexnet_repro.training.features import color_metrics
from alexnet_repro.training.launch import devices
from alexnet_repro.training.parallel import process_group, trainer
from alexnet_repro.training.parallel.process_group import Group
from alexnet_repro.training.parallel.trainer import ParallelRun
from alexnet_repro.training.provenance import weights_digest
from alexnet_repro.training.trainer import Run

from ..runs import load_few_test_images, tiny
from . import exact, team

# Four steps an epoch; the last batch has 9 images, which 2 and 4 replicas do not share evenly. He's weights in the last
# layer too: with small ones conv1's biases move by so little that rounding alone is 2e-4 of them.
TINY = BASELINE.changed(
    **SMOKE
    | {
        "model.kernels": (8, 16, 24, 24, 16),
        "model.hidden": 32,
        "model.weight_init": "he",
        "data.train_images": 105,
        "data.color_noise": "source",
        "optimizer.batch_size": 32,
        "optimizer.drops": (2,),
        "budget.epochs": 3,
        "budget.measurements": 4,
        "budget.ten_views": False,
    }
)
CUDA_CONVNET = tiny(
    **{
        "model.initialization": "he",
        "data.divisor": 64.0,
        "data.train_images": 105,
        "optimizer.batch_size": 32,
        "budget.epochs": 3,
    }
)
STEPS = 10
ROOT = Path(__file__).parent.parent.parent


OTHERWISE = {
    "bfloat16": TINY.changed(precision="bfloat16"),
    "compiled": CUDA_CONVNET.changed(compiled=True),
}


def advance(run, steps):
    while run.step < steps:
        run.update()
        if run.should_log():
            run.measure()


def found(run):
    tensors = {name: tensor.cpu().clone() for name, tensor in run.tensors().items()}
    return {"tensors": tensors, "curve": [m.model_dump() for m in run.curve]}


def one_device(config, steps=STEPS, device="cpu"):
    run = Run(config, DeviceConfig(device=device))
    advance(run, steps)
    return found(run)


@pytest.fixture(autouse=True)
def _few_test_images(monkeypatch):
    load_few_test_images(monkeypatch.setattr)


def share(rank, how, configs, folder, device="cpu"):
    """What one process of a team finds of these runs."""
    load_few_test_images()
    here = Group(how, device)
    results = {"rows": [(rows.start, rows.stop) for rows in map(here.rows, (slice(96, 105), slice(0, 32)))]}
    for name, config in configs.items():
        run = ParallelRun(config, here.placement, here)
        advance(run, STEPS)
        results[name] = found(run)
    run = ParallelRun(configs["alexnet"], here.placement, here)
    advance(run, 5)
    run.save(folder / "half-way")
    # The others must read it from process 0, wherever that has it.
    again = ParallelRun(configs["alexnet"], here.placement, here)
    again.resume(folder / "half-way" if rank == 0 else folder / "elsewhere")
    advance(again, STEPS)
    results["resumed"] = found(again)
    record = again.record("finished")
    results["record"] = record.model_dump(mode="json")
    again.keep(folder / "weights")
    here.close()
    return results


def otherwise(rank, how, configs):
    """The losses of one epoch of these runs, computed in other ways, summed over its images."""
    load_few_test_images()
    torch.compile = partial(torch.compile, backend="aot_eager")  # all but the code generator, which takes minutes
    here, losses = Group(how, "cpu"), {}
    for name, config in configs.items():
        run = (DoubleParallel if name == "compiled" else ParallelRun)(config, here.placement, here)
        advance(run, run.epoch_steps)
        counts = [m.images - before for m, before in zip(run.curve, [0, *(m.images for m in run.curve)], strict=False)]
        losses[name] = sum(m.train_loss * count for m, count in zip(run.curve, counts, strict=True))
    here.close()
    return losses


class DoubleParallel(exact.InDouble, ParallelRun):
    """A process's part of a run in double precision."""


@pytest.mark.parametrize("how", ["data", "columns"])
def test_other_precisions_and_compilation_work_on_two(tmp_path, how):
    configs = OTHERWISE if how == "data" else {"bfloat16": OTHERWISE["bfloat16"]}
    alone = {"bfloat16": exact.around(configs["bfloat16"], 4)}
    low, high = alone["bfloat16"]
    assert high - low < 0.2 * low  # or it would hold nothing
    if "compiled" in configs:
        loss = sum(exact.losses(exact.Double(CUDA_CONVNET, DeviceConfig()), 4))
        alone["compiled"] = (loss * (1 - exact.SEEN), loss * (1 + exact.SEEN))
    for losses in team.run(2, tmp_path, otherwise, how, configs):
        for name, (low, high) in alone.items():
            assert low <= losses[name] <= high


def test_columns_are_not_compiled():
    with pytest.raises(UserError, match="--compile with a column per device: leave it out"):
        process_group.check_parallel([TINY.changed(compiled=True)], "columns", 2, "cpu")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return folder, team.run(2, folder, share, "data", {"alexnet": TINY, "cuda-convnet": CUDA_CONVNET}, folder)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    folder = tmp_path_factory.mktemp("four")
    return folder, team.run(4, folder, share, "columns", {"alexnet": TINY}, folder)


def same(ours, expected):
    """The numbers of one device. Sums over a batch, and over the columns, are added up in another order: of single
    precision's rounding (6e-8 a sum) ten updates leave some 1e-6 of the largest weight, and a wrong example, mask, rate
    or weighting leaves more than 1e-3.
    """
    assert ours["tensors"].keys() == expected["tensors"].keys()
    for name, tensor in expected["tensors"].items():
        largest = max(tensor.abs().max().item(), 1e-6)
        torch.testing.assert_close(ours["tensors"][name], tensor, rtol=0, atol=1e-4 * largest, msg=name)
    for a, b in zip(ours["curve"], expected["curve"], strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
        assert (a["epoch"], a["images"]) == (b["epoch"], b["images"])
        assert a["train_error"] == b["train_error"]


@pytest.mark.parametrize(
    ("size", "net", "config"),
    [("two", "alexnet", TINY), ("two", "cuda-convnet", CUDA_CONVNET), ("four", "alexnet", TINY)],
)
def test_batches_and_columns_over_several_processes_are_those_of_one_device(request, size, net, config):
    expected = one_device(config)
    for results in request.getfixturevalue(size)[1]:
        same(results[net], expected)


def test_rows_are_shared_in_order(two, four):
    assert [r["rows"] for r in two[1]] == [[(96, 100), (0, 16)], [(100, 105), (16, 32)]]
    # Columns are neighbours: they have the same rows.
    assert [r["rows"][0] for r in four[1]] == [(96, 100)] * 2 + [(100, 105)] * 2


@pytest.mark.parametrize("size", ["two", "four"])
def test_a_shared_run_resumes_from_process_0(request, size):
    for results in request.getfixturevalue(size)[1]:
        same(results["resumed"], results["alexnet"])


@pytest.mark.parametrize("size", ["two", "four"])
def test_one_device_continues_what_several_began(request, size):
    folder, results = request.getfixturevalue(size)
    run = Run(TINY, DeviceConfig())
    run.resume(folder / "half-way")
    assert run.step == 5
    advance(run, STEPS)
    same(found(run), results[0]["alexnet"])


@pytest.mark.parametrize(
    ("size", "says"), [("two", "columns on 1, batches over 2"), ("four", "columns on 2, batches over 2")]
)
def test_the_record_holds_the_whole_net_and_what_computed_it(request, size, says):
    folder, results = request.getfixturevalue(size)
    record = results[0]["record"]
    assert record["provenance"]["device"].endswith(says)
    run = Run(TINY, DeviceConfig())
    run.net.load_state_dict(checkpoint.load(folder / "weights")[0])
    assert record["provenance"]["weights"] == weights_digest(run.net)
    # One of a hundred images may be a near tie.
    assert record["metrics"]["test_error"] == pytest.approx(error(run.net, run.test, 24), abs=0.011)
    assert record["key"] == TINY.key
    # What is told of the weights is told of the whole net, however many hold it.
    curve = [Measurement(**point) for point in record["curve"]]
    assert set(run.data.metrics(run.net, curve)) <= set(record["metrics"])
    assert record["metrics"]["color_gap"] == pytest.approx(color_metrics(run.net, TINY.seed)["color_gap"])


def mourn(rank, how, folder, fate, checkpoint_seconds=0.0, device="cpu"):
    """Process 1 meets its fate in the middle of a run, a signal or a sleep; the others are to say so and end."""
    load_few_test_images()
    process_group.LOST, process_group.STUCK = 5.0, 20.0
    process_group.DeviceConfig = lambda **changes: DeviceConfig(**changes, checkpoint_seconds=checkpoint_seconds)
    here = Group(how, device)
    update = Run.update

    def fatal(run):
        if run.step == 3 and rank == 1:
            (folder / "met").touch()
            if fate is None:
                time.sleep(team.LIMIT)
            else:
                os.kill(os.getpid(), fate)
        update(run)

    Run.update = fatal
    trainer.train_runs([TINY], Store(folder / "store", folder / "none"), here, progress=False)


def end(size, folder, *arguments, watched):
    """How the ``watched`` processes of a team of mourners end: exit codes, and their errors."""
    members, _store = team.start(size, folder, mourn, *arguments)
    left = [members[rank] for rank in watched]
    limit = time.monotonic() + 240.0
    while any(p.is_alive() for p in left) and time.monotonic() < limit:
        time.sleep(0.05)
    codes = [p.exitcode for p in left]
    for process in members:
        process.kill()
        process.join()
    assert (folder / "met").exists()
    said = [line for rank in range(size) for line in (folder / f"{rank}.txt").read_text().splitlines()]
    return codes, [line for line in said if line.startswith("error:")]


def resumed(folder):
    """The run that the mourners left, gone on with by one device."""
    run = Run(TINY, DeviceConfig())
    run.resume(folder / "store" / "checkpoints" / f"{TINY.key}.safetensors")
    return run


@pytest.mark.parametrize(
    ("size", "how", "fate", "said"),
    [
        (2, "columns", signal.SIGKILL, "process 1 of 2"),
        pytest.param(4, "columns", signal.SIGSTOP, "process 1 of 4", marks=pytest.mark.slow),
        pytest.param(2, "data", None, "an exchange has not ended, though all 2 processes live", marks=pytest.mark.slow),
    ],
)
def test_a_dead_or_stuck_process_ends_the_run_with_one_line_and_a_checkpoint(tmp_path, size, how, fate, said):
    watched = [rank for rank in range(size) if rank != 1 or fate is None]
    codes, errors = end(size, tmp_path, how, tmp_path, fate, watched=watched)
    assert codes == [1] * len(watched), errors
    assert len(errors) == 1, errors
    assert said in errors[0]
    assert "run the same command again to resume from step 3" in errors[0]
    run = resumed(tmp_path)
    advance(run, STEPS)
    same(found(run), one_device(TINY))


def trained(rank, folder):
    """Process 1 sees a disk of its own, on which something lies that process 0 does not see."""
    load_few_test_images()
    store = Store(folder / f"store-{rank}", folder / "none")
    if rank == 1:
        store.checkpoint(TINY.key).parent.mkdir(parents=True)
        store.checkpoint(TINY.key).write_text("stale")
    trainer.train_runs([TINY], store, Group("data", "cpu"), progress=False)
    return [record.key for record in store.records()]


def test_a_checkpoint_that_process_0_does_not_see_is_none(tmp_path):
    assert team.run(2, tmp_path, trained, tmp_path) == [[TINY.key], []]


def test_a_signal_to_one_process_stops_all_with_a_checkpoint_of_that_step(tmp_path):
    codes, errors = end(2, tmp_path, "data", tmp_path, signal.SIGTERM, 3600.0, watched=[0, 1])
    assert (codes, errors) == ([128 + signal.SIGTERM] * 2, [])
    assert resumed(tmp_path).step == 4


@pytest.mark.parametrize(
    ("configs", "how", "size", "device", "said"),
    [
        ([TINY], "rows", 2, "cpu", "'rows': choose one of columns, data"),
        ([TINY], "columns", 3, "cpu", "3 devices for two columns"),
        ([TINY.changed(**{"model.columns": "half"})], "columns", 2, "cpu", "columns='half' has no two columns"),
        ([CUDA_CONVNET], "columns", 2, "cpu", "'cuda-convnet' has no two columns"),
        ([TINY], "data", 2, "tpu", "'tpu': choose one of cpu, cuda, mps"),
        ([TINY], "data", 2, "mps", "a machine has one Apple GPU; leave out --devices"),
    ],
)
def test_what_can_not_be_shared_is_named_before_anything_starts(configs, how, size, device, said):
    with pytest.raises(UserError, match=said):
        process_group.check_parallel(configs, how, size, device)


HALF = TINY.changed(**{"model.columns": "half"})


def test_arms_without_columns_are_left_out():
    assert process_group.check_parallel([HALF, TINY], "columns", 2, "cpu") == [TINY]
    assert process_group.check_parallel([HALF, TINY], "data", 2, "cpu") == [HALF, TINY]


@pytest.mark.slow
def test_arms_without_columns_are_left_for_another_command(tmp_path):
    words = ("tests.training.tiny_command", "run", "tiny_pair", "--devices", "2", "--parallel")
    store = Store(tmp_path / "store", tmp_path / "none")
    for how, said, missing in (
        ("columns", "all 1 runs with two columns are in the store; half has no two: train it with --parallel data", 1),
        ("data", "all 2 runs are in the store", 0),
    ):
        out, err = command(tmp_path, *words, how).communicate(timeout=team.LIMIT)
        assert out == f"tiny_pair: {said}\n", err
        assert len(store.missing([HALF, TINY])) == missing
    assert store.find(TINY).provenance.device.endswith("columns on 2, batches over 1")
    assert store.find(HALF).provenance.device.endswith("columns on 1, batches over 2")


@pytest.mark.parametrize(
    ("ends", "raised", "said"),
    [
        ("exit 0", None, None),
        ("exit $((3 * RANK))", SystemExit, "3"),
        ('test "$RANK" = 0 || kill -9 $$', UserError, "processes 1 .SIGKILL. of 2 died: run the same command again"),
        ("exit 143", KeyboardInterrupt, None),  # of SIGTERM
    ],
)
def test_a_command_starts_a_process_for_each_device_and_says_how_they_end(tmp_path, monkeypatch, ends, raised, said):
    noted = 'echo "$RANK of $WORLD_SIZE, $LOCAL_RANK of $LOCAL_WORLD_SIZE at $MASTER_ADDR: $*" >"$0/$RANK"\n'
    monkeypatch.setattr(devices, "COMMAND", ["sh", "-c", noted + ends, str(tmp_path)])
    with pytest.raises(raised, match=said) if raised else nullcontext():
        devices.start(["run", "tiny"], 2)
    for rank in range(2):
        assert (tmp_path / f"{rank}").read_text() == f"{rank} of 2, {rank} of 2 at 127.0.0.1: run tiny\n"


def command(tmp_path, *words, **environment):
    """The command with the study "tiny", in a process of its own."""
    environment = {"ALEXNET_REPRO_STORE": str(tmp_path / "store"), "GLOO_SOCKET_IFNAME": "lo", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_one_command_trains_on_two_devices_and_another_goes_on_after_a_death(tmp_path):
    words = ("tests.training.tiny_command", "run", "tiny", "--devices", "2", "--parallel", "columns")
    started = command(tmp_path, *words, TINY_PAUSE="0.3")
    saved = tmp_path / "store" / "checkpoints" / f"{TINY.key}.safetensors"
    end = time.monotonic() + team.LIMIT
    while not saved.exists() and started.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert saved.exists(), started.communicate()
    os.kill(children(started.pid)[1], signal.SIGKILL)
    out, err = started.communicate(timeout=team.LIMIT)
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert (started.returncode, len(errors)) == (1, 1), err
    assert "to resume from step" in errors[0]

    # On one device, from where the two were.
    continued = command(tmp_path, "tests.training.tiny_command", "run", "tiny", "--workers", "1")
    out, err = continued.communicate(timeout=team.LIMIT)
    assert continued.returncode == 0, err
    assert "all 1 runs are in the store" in out
    record = Store(tmp_path / "store", tmp_path / "none").find(TINY)
    assert [m.train_error for m in record.curve] == [m["train_error"] for m in one_device(TINY, 12)["curve"]]


@pytest.mark.slow
def test_two_nodes_meet_by_torchruns_rendezvous(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nodes = [
        command(
            tmp_path, "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d",
            "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "tiny", "--local-addr", f"127.0.0.{node + 1}",
            "-m", "tests.training.tiny_command", "run", "tiny", "--parallel", "data",
        )
        for node in range(2)
    ]  # fmt: skip
    outputs = [node.communicate(timeout=team.LIMIT) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert sum("all 1 runs are in the store" in out for out, _ in outputs) == 1
    record = Store(tmp_path / "store", tmp_path / "none").find(TINY)
    assert record.provenance.device.endswith("columns on 1, batches over 2")
    assert [m.train_error for m in record.curve] == [m["train_error"] for m in one_device(TINY, 12)["curve"]]
