"""One run: what it measures, when it ends, and that nothing which kills it changes its numbers."""

import itertools
import json
import math
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from alexnet_repro.common.errors import UserError
from alexnet_repro.common.files import lock
from alexnet_repro.common.rng import stream
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.records.store import Store
from alexnet_repro.training import checkpoint, trainer
from alexnet_repro.training.data import cifar10
from alexnet_repro.training.data.images import Images
from alexnet_repro.training.launch import worker as worker_module
from alexnet_repro.training.models.cuda_convnet import CudaConvnet
from alexnet_repro.training.trainer import Run, Stopped, train

from ..runs import QUICK, after, numbers, tiny
from . import team

EVERY_STEP = DeviceConfig(checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def uninterrupted():
    return train(tiny(), DeviceConfig())


@pytest.mark.parametrize("pieces", [[1] * 6, [2, 3], [3], [5]], ids=str)
def test_a_run_in_pieces_gives_the_same_record(tmp_path, uninterrupted, pieces):
    # Three steps an epoch: the pieces end within epochs, between them, and right before the end.
    path = tmp_path / "run"
    for steps in pieces[:5]:
        with pytest.raises(Stopped):
            train(tiny(), DeviceConfig(), path, stop=after(steps))
    assert checkpoint.load(path)[1]["step"] == sum(pieces[:5])
    record = train(tiny(), DeviceConfig(), path)
    assert numbers(record) == numbers(uninterrupted)


class Started:
    """A real process that runs ``main(*arguments)``, with pipes for its stdin and stdout.

    It comes from a server that has imported torch and started no threads: a process whose threads have met a GPU can't
    be forked.
    """

    def __init__(self, folder, main, *arguments):
        folder.mkdir()
        for name in ("in", "out"):
            os.mkfifo(folder / name)
        self.errors_file = folder / "errors"
        self.process = team.context.Process(target=plumbed, args=(folder, main, arguments))
        self.process.start()
        self.into = os.open(folder / "in", os.O_WRONLY)
        self.out = (folder / "out").open()

    def send(self, config):
        os.write(self.into, b"[%s]\n" % config.model_dump_json().encode())

    def end(self):
        os.close(self.into)

    def wait(self):
        """The exit code, negative for a signal."""
        self.process.join()
        return self.process.exitcode

    def errors(self):
        return self.errors_file.read_text()


def plumbed(folder, main, arguments):
    """In the process: stdin and stdout are the pipes of ``folder``, and stderr its file."""
    ends = (folder / "in", os.O_RDONLY), (folder / "out", os.O_WRONLY), (folder / "errors", os.O_WRONLY | os.O_CREAT)
    for number, (path, how) in enumerate(ends):
        end = os.open(path, how)
        os.dup2(end, number)
        os.close(end)
    sys.stdin, sys.stderr = os.fdopen(0, closefd=False), os.fdopen(2, "w", closefd=False)
    main(*arguments)


def killed(path, last, where):
    """Train, and die in the update after step ``last``, or in the next renaming of a file."""
    update = Run.update

    def die(*paths):
        os.kill(os.getpid(), signal.SIGKILL)

    def counted(run):
        if run.step == last:
            if where == "step":
                die()
            os.replace = die
        update(run)

    Run.update = counted
    train(tiny(), EVERY_STEP, path)


def test_a_run_killed_twice_gives_the_same_record(tmp_path, uninterrupted):
    # First within an epoch; then while the checkpoint of step 5 is written, so that the one of step 4 counts.
    path = tmp_path / "run"
    for last, where, saved in [(2, "step", 2), (4, "rename", 4)]:
        process = Started(tmp_path / where, killed, path, last, where)
        assert process.wait() == -signal.SIGKILL
        assert checkpoint.load(path)[1]["step"] == saved
    record = train(tiny(), DeviceConfig(), path)
    assert numbers(record) == numbers(uninterrupted)
    # The time of both lives counts, and the start is that of the first.
    assert record.provenance.wall_seconds > checkpoint.load(path)[1]["seconds"]
    assert record.provenance.started == checkpoint.load(path)[1]["started"]


def work(root, placement, fails):
    """A worker as launch starts it; one that ``fails`` meets what nobody foresaw."""
    if fails:
        worker_module.train = by_chance
    sys.argv = ["worker", placement.model_dump_json(), str(os.getppid()), str(root), str(root / "none")]
    worker_module.main()


def by_chance(*args):
    raise ZeroDivisionError("by chance")


def worker(store, placement, name="worker", fails=False):
    """A process at work on ``store``."""
    return Started(store.root / name, work, store.root, placement, fails)


def test_two_processes_race_for_one_run(tmp_path, uninterrupted):
    store, config = Store(tmp_path, tmp_path / "none"), tiny()
    (store.root / "checkpoints").mkdir(parents=True)
    left = store.root / "checkpoints" / f".{config.key}.safetensors.x.part"
    left.touch()  # of a process that was killed while it wrote
    with lock(store.root / "locks" / config.key):
        both = [worker(store, EVERY_STEP, name) for name in ("one", "two")]
        for process in both:
            process.send(config)
            process.end()
    said = [process.out.read() for process in both]
    assert [process.wait() for process in both] == [0, 0]
    assert sorted('"step"' in out for out in said) == [False, True]  # one trained, one waited
    assert all(f'{{"key": "{config.key}", "saved": true}}' in out for out in said)
    assert [process.errors() for process in both] == ["", ""]
    assert numbers(store.find(config)) == numbers(uninterrupted)
    assert list((store.root / "checkpoints").iterdir()) == []


def test_sigterm_saves_a_checkpoint_first(tmp_path):
    # No checkpoint is due for a minute: the one that is found was made because of the signal.
    store, config = Store(tmp_path, tmp_path / "none"), tiny(**{"budget.epochs": 200})
    process = worker(store, DeviceConfig())
    process.send(config)
    assert '"step"' in process.out.readline()
    os.kill(process.process.pid, signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert process.errors() == ""
    path = store.root / "checkpoints" / f"{config.key}.safetensors"
    assert checkpoint.load(path)[1]["step"] >= 2
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert store.find(config) is None


def test_an_unforeseen_error_is_one_line_and_a_file(tmp_path):
    store = Store(tmp_path, tmp_path / "none")
    process = worker(store, DeviceConfig(), fails=True)
    path = tmp_path / "errors" / f"{tiny().key}.txt"
    for _ in range(2):  # it serves on
        process.send(tiny())
        said = json.loads(process.out.readline())
        assert said["code"] == 1
        assert said["error"] == f"run {tiny().key} failed (ZeroDivisionError: by chance): report it with {path}"
    process.end()
    assert process.wait() == 0
    assert process.errors() == ""
    assert "Traceback" in path.read_text()


def test_after_an_error_on_a_gpu_the_next_run_gets_a_new_process(tmp_path):
    process = worker(Store(tmp_path, tmp_path / "none"), DeviceConfig(device="cuda"), fails=True)
    process.send(tiny())
    assert "failed" in json.loads(process.out.readline())["error"]
    assert process.wait() == 0  # by itself


# What a run measures, recomputed image by image.


def test_measurements_are_those_of_a_plain_loop():
    config = tiny(**QUICK, **{"budget.epochs": 3})
    record = train(config, DeviceConfig())
    data = cifar10.sample()
    images = torch.from_numpy(data.train_images[:300].astype(np.float32))
    images = (images - torch.from_numpy(data.train_images[:300].mean(0, dtype=np.float64).astype(np.float32))) / 64
    labels = torch.from_numpy(data.train_labels[:300].astype(np.int64))
    net = CudaConvnet(config.model, config.seed)
    sgd = torch.optim.SGD(
        [{"params": [p], "lr": 0.01 * (2.0 if p.ndim == 1 else 1.0)} for p in net.parameters()], lr=0.01, momentum=0.9
    )
    wrong, losses, measured = [], [], []
    for epoch in range(3):
        order = stream(config.seed, "order", epoch).permutation(300)
        for start, end in [(0, 128), (128, 256), (256, 300)]:  # the last batch is uneven
            index = torch.from_numpy(order[start:end])
            logits = net(images[index])
            each = cross_entropy(logits, labels[index], reduction="none")
            sgd.zero_grad()
            each.mean().backward()
            sgd.step()
            wrong += (logits.argmax(1) != labels[index]).tolist()
            losses += each.tolist()
            if end > 128:  # two measurements an epoch: after ceil(3/2) and 3 steps
                measured.append(len(wrong))
    assert [m.images for m in record.curve] == measured == [256, 300, 556, 600, 856, 900]
    assert [m.epoch for m in record.curve] == [count / 300 for count in measured]
    starts = [0, *measured[:-1]]
    # Nine steps through other kernels: rounding alone. A near tie of two logits may count differently.
    expected = [np.mean(losses[a:b]) for a, b in zip(starts, measured, strict=True)]
    assert [m.train_loss for m in record.curve] == pytest.approx(expected, rel=1e-4)
    for m, a, b in zip(record.curve, starts, measured, strict=True):
        assert abs(m.train_error * (b - a) - sum(wrong[a:b])) < 1.5
    assert record.status == "finished"
    assert record.metrics["epochs"] == 3.0
    assert record.metrics["train_error"] == pytest.approx(np.mean(wrong[600:]), abs=1.5 / 300)
    test = torch.from_numpy(data.test_images.astype(np.float32))
    test = (test - torch.from_numpy(data.train_images[:300].mean(0, dtype=np.float64).astype(np.float32))) / 64
    with torch.no_grad():
        missed = (net(test).argmax(1).numpy() != data.test_labels).mean()
    assert record.metrics["test_error"] == pytest.approx(missed, abs=3.5 / 1000)


def bookkeeping(images, batch, count):
    """A run on which only what is due is asked."""
    run = object.__new__(Run)
    run.config = tiny(**{"data.train_images": images, "optimizer.batch_size": batch, "budget.measurements": count})
    return run


@pytest.mark.parametrize(("images", "batch"), [(300, 128), (256, 128), (128, 128), (129, 128), (2_000, 64), (7, 1)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 1_000])
def test_measurements_are_due_evenly_and_at_every_epochs_end(images, batch, count):
    run = bookkeeping(images, batch, count)
    steps = math.ceil(images / batch)
    assert run.epoch_steps == steps
    due = []
    for step in range(1, 2 * steps + 1):
        run.step = step
        if run.should_log():
            due.append(step)
    first = [step for step in due if step <= steps]
    assert due == first + [step + steps for step in first]  # every epoch alike
    assert first[-1] == steps
    assert len(first) == min(count, steps)
    gaps = np.diff([0, *first])
    assert gaps.max() - gaps.min() <= 1


# When a run ends.


def test_it_stops_at_the_first_measurement_at_the_threshold():
    free = train(tiny(**QUICK, **{"budget.epochs": 4, "budget.stop_at_train_error": None}), DeviceConfig())
    assert "epochs_to_threshold" not in free.metrics
    # The training error over each latest 300 images, from measurements after 256 and 300 images of every epoch.
    wrong = [
        m.train_error * (m.images - p) for m, p in zip(free.curve, [0, *[m.images for m in free.curve]], strict=False)
    ]
    trailing = [(wrong[i] + wrong[i - 1]) / 300 for i in range(1, len(wrong))]
    ends = [m.images / 300 for m in free.curve[1:]]
    target = next(i for i in range(2, len(trailing)) if trailing[i] < min(trailing[:i]))
    threshold = (trailing[target] + min(trailing[:target])) / 2
    record = train(tiny(**QUICK, **{"budget.epochs": 4, "budget.stop_at_train_error": threshold}), DeviceConfig())
    assert record.status == "stopped"
    assert record.curve == free.curve[: target + 2]
    assert record.metrics["epochs"] == ends[target]
    part = (trailing[target - 1] - threshold) / (trailing[target - 1] - trailing[target])
    crossed = ends[target - 1] + part * (ends[target] - ends[target - 1]) - 0.5  # the middle of the window
    assert record.metrics["epochs_to_threshold"] == pytest.approx(crossed, rel=1e-12)


def test_a_run_that_never_crosses_is_finished_and_censored(uninterrupted):
    assert uninterrupted.status == "finished"
    assert uninterrupted.metrics["epochs_to_threshold"] is None
    assert uninterrupted.metrics["epochs"] == 2.0


@pytest.mark.parametrize("threshold", [0.25, None])
def test_a_loss_that_leaves_the_numbers_is_diverged(threshold):
    config = tiny(**QUICK, **{"budget.epochs": 9, "budget.stop_at_train_error": threshold})
    record = train(config.changed(**{"optimizer.learning_rate": 1e30}), DeviceConfig())
    assert record.status == "diverged"
    assert record.curve[-1].train_loss is None
    assert record.metrics["epochs"] == record.curve[-1].epoch < 9
    assert record.metrics["train_loss"] is None
    assert record.metrics["test_error"] is None
    assert record.metrics.get("epochs_to_threshold") is None


# What else may go wrong.


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    with pytest.raises(Stopped):
        train(tiny(seed=1), DeviceConfig(), tmp_path / "run", stop=after(1))
    with pytest.raises(UserError, match="belongs to another run: delete it"):
        train(tiny(), DeviceConfig(), tmp_path / "run")


def test_a_checkpoint_that_is_no_file_is_refused_before_training(tmp_path):
    for make in (Path.mkdir, os.mkfifo):
        path = tmp_path / make.__name__
        make(path)
        with pytest.raises(UserError, match=f"{path} is a (folder|FIFO), and a file belongs there: move it away"):
            train(tiny(), DeviceConfig(), path)


@pytest.mark.parametrize(
    "wrong",
    [{"step": None}, {"step": "x"}, {"curve": 3}, {"curve": [{}]}, {"curve": [{"epoch": "1"}]}, {"seconds": []}],
)
def test_a_checkpoint_of_other_values_is_refused(tmp_path, wrong):
    run = Run(tiny(), DeviceConfig())
    checkpoint.save(tmp_path / "run", run.tensors(), run.values() | wrong)
    with pytest.raises(UserError, match="is no whole checkpoint: delete it"):
        run.resume(tmp_path / "run")


def test_a_checkpoint_of_other_shapes_is_refused(tmp_path):
    run = Run(tiny(), DeviceConfig())
    tensors = {name: tensor[..., None] for name, tensor in run.tensors().items()}
    checkpoint.save(tmp_path / "run", tensors, run.values())
    with pytest.raises(UserError, match="belongs to another run: delete it"):
        run.resume(tmp_path / "run")


@pytest.mark.parametrize(
    "exhaust", [lambda *args: torch.empty(2**50, dtype=torch.uint8), lambda *args: np.empty(2**50, np.uint8)]
)
def test_too_little_memory_is_one_line(monkeypatch, exhaust):
    monkeypatch.setattr(Images, "of", exhaust)
    with pytest.raises(UserError, match=r"too little memory on cpu for run .*: train fewer runs at once"):
        train(tiny(), DeviceConfig())


def test_an_error_that_is_not_about_memory_stays_what_it_is(monkeypatch):
    def wrong(*args):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Images, "of", wrong)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(tiny(), DeviceConfig())


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_device_that_is_not_there_is_one_line(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"device '{device}' is not available"):
        train(tiny(), DeviceConfig(device=device))


def test_a_gpu_too_many_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="device 'cuda:2' is not available: there are 2 GPUs"):
        train(tiny(), DeviceConfig(device="cuda:2"))


def test_the_wall_clock_may_jump(monkeypatch):
    # Durations come from the monotonic clock; the wall clock dates the start, and nothing else.
    times = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr("time.time", lambda: float(next(times)))
    record = train(tiny(**{"budget.epochs": 1}), DeviceConfig())
    assert record.provenance.wall_seconds > 0
    assert record.provenance.images_per_second == pytest.approx(300 / record.provenance.wall_seconds, rel=0.01)


def test_the_commit_is_that_of_the_start(monkeypatch):
    # The checkout may move on while a run is under way.
    commits = iter([("a" * 40, True), ("b" * 40, True)])
    monkeypatch.setattr(trainer.provenance, "commit", lambda: next(commits))
    assert train(tiny(**{"budget.epochs": 1}), DeviceConfig()).provenance.commit == "a" * 40


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_a_run_in_parts_is_of_the_first_ones_commit_and_clean_where_all_are(tmp_path, monkeypatch, first, second):
    commits = iter([("a" * 40, first), ("b" * 40, second), ("c" * 40, True)])
    monkeypatch.setattr(trainer.provenance, "commit", lambda: next(commits))
    for _ in range(2):
        with pytest.raises(Stopped):
            train(tiny(), DeviceConfig(), tmp_path / "run", stop=after(1))
    source = train(tiny(), DeviceConfig(), tmp_path / "run").provenance
    assert (source.commit, source.clean) == ("a" * 40, first and second)


def test_a_checkpoint_is_written_every_so_many_seconds(tmp_path, monkeypatch):
    clock, saved = itertools.count(), []  # a second passes with every look at it
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    monkeypatch.setattr(Run, "save", lambda run, path: saved.append(run.step))
    train(tiny(**{"budget.epochs": 4}), DeviceConfig(checkpoint_seconds=6.0), tmp_path / "run")
    assert saved == [3, 6, 9]
