"""Runs with replayed steps equal eager runs to the last bit; on the CPU, a recorder takes the place of CUDA graphs."""

import gc
import weakref

import pytest
import torch

from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.training import cost, graphs
from alexnet_repro.training.models import lrn
from alexnet_repro.training.parallel.trainer import ParallelRun
from alexnet_repro.training.trainer import Run, Stopped, train

from ..runs import load_few_test_images
from .pretend_gpu import by_formula, pretend_gpu, pretending
from .recorded import Recorder
from .test_parallel import CUDA_CONVNET, TINY, advance, found

# Four steps an epoch, the last of them smaller; the rates drop after two epochs.
RUNS = {
    "alexnet": TINY.changed(**{"budget.test_curve": True}),
    "conv1's rate drops earlier": TINY.changed(**{"optimizer.conv1_drops": (1,)}),
    "rate outside of the velocity": TINY.changed(**{"optimizer.velocity": "gradients"}),
    "no dropout": TINY.changed(**{"model.dropout": 0.0}),
    "bfloat16": TINY.changed(precision="bfloat16"),
    "cuda-convnet": CUDA_CONVNET,
}
CAPTURES = {"alexnet": 2, "conv1's rate drops earlier": 2, "cuda-convnet": 1}
"""One for the rates after the warm-up, which ends with the first epoch, and one for those of the last epoch."""
STEPS = 12


@pytest.fixture(autouse=True)
def _few_test_images(monkeypatch):
    load_few_test_images(monkeypatch.setattr)


@pytest.fixture
def recorder(monkeypatch):
    """The recorder of every run that the test makes."""
    made = Recorder()
    monkeypatch.setattr(graphs, "recorder", lambda device: made)
    return made


def eager(config, steps=STEPS):
    run = Run(config, DeviceConfig())
    run.graph = None
    advance(run, steps)
    return found(run)


def graphed(config, steps=STEPS):
    run = Run(config, DeviceConfig())
    advance(run, steps)
    return found(run)


def equal(ours, theirs):
    assert ours["tensors"].keys() == theirs["tensors"].keys()
    same = [torch.equal(tensor, theirs["tensors"][name]) for name, tensor in ours["tensors"].items()]
    return all(same) and ours["curve"] == theirs["curve"]


@pytest.mark.parametrize("name", RUNS)
def test_replayed_steps_are_eager_ones(name, recorder):
    config = RUNS[name]
    assert equal(graphed(config), eager(config))
    assert recorder.captures == CAPTURES.get(name, 2)


@pytest.mark.parametrize("name", ["alexnet", "cuda-convnet"])
def test_a_run_that_is_stopped_and_resumed_is_the_eager_one(name, recorder, tmp_path, monkeypatch):
    config, path = RUNS[name], tmp_path / "run"
    asked = iter([False] * 6 + [True])
    with pytest.raises(Stopped):
        train(config, DeviceConfig(), path, stop=lambda: next(asked))
    record = train(config, DeviceConfig(), path)
    assert recorder.captures > 1
    monkeypatch.setattr(graphs, "recorder", lambda device: None)
    expected = train(config, DeviceConfig())
    assert (record.metrics, record.curve) == (expected.metrics, expected.curve)
    assert record.provenance.weights == expected.provenance.weights


def test_a_checkpoint_restored_into_a_captured_run_is_what_it_goes_on_from(recorder, tmp_path):
    run = Run(TINY, DeviceConfig())
    advance(run, 6)
    run.save(tmp_path / "checkpoint")
    advance(run, 7)
    run.resume(tmp_path / "checkpoint")
    advance(run, STEPS)
    assert recorder.captures == 2
    assert equal(found(run), eager(TINY))


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("name", ["inputs", "labels", "fc6"])
def test_a_buffer_that_is_not_refreshed_shows(name, monkeypatch):
    refresh = graphs.GraphedStep._refresh

    def forget(step, batch):
        refresh(step, {each: batch[each] for each in batch if each != name or each not in step._buffers})

    monkeypatch.setattr(graphs.GraphedStep, "_refresh", forget)
    assert not equal(graphed(TINY), eager(TINY))


@pytest.mark.usefixtures("recorder")
def test_rates_that_are_not_captured_again_show(monkeypatch):
    call = graphs.GraphedStep.__call__
    monkeypatch.setattr(graphs.GraphedStep, "__call__", lambda step, *words: call(step, *words[:3], 0.0))
    assert equal(graphed(TINY, 8), eager(TINY, 8))
    assert not equal(graphed(TINY), eager(TINY))


@pytest.mark.usefixtures("recorder")
def test_velocities_that_are_made_within_a_graph_show(monkeypatch):
    monkeypatch.setattr(graphs, "WARM_UP", 0)
    assert not equal(graphed(TINY, 3), eager(TINY, 3))


def test_where_no_step_can_be_captured_the_run_is_eager_and_stderr_says_why_once(recorder, monkeypatch, capfd):
    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might ...")

    monkeypatch.setattr(recorder, "capture", refuse)
    assert equal(graphed(TINY), eager(TINY))
    assert capfd.readouterr().err == (
        "a training step can't be a CUDA graph here (operation not permitted when stream is capturing): "
        "training goes on without\n"
    )


def test_a_graph_that_computes_something_else_is_dropped_and_the_run_is_eager(recorder, monkeypatch, capfd):
    captured = recorder.capture

    def forgetful(work):
        captured(work)
        return lambda: None

    monkeypatch.setattr(recorder, "capture", forgetful)
    assert equal(graphed(TINY), eager(TINY))
    said = capfd.readouterr().err
    assert said.startswith("a training step can't be a CUDA graph here (")
    assert said.endswith(" differs from an eager step's): training goes on without\n")
    assert said.count("\n") == 1


def test_only_gpus_have_graphs_and_neither_compiled_nor_shared_runs(recorder, monkeypatch):
    assert Run(TINY, DeviceConfig()).graph is not None
    assert Run(TINY.changed(compiled=True), DeviceConfig()).graph is None
    monkeypatch.undo()
    assert graphs.recorder("cpu") is None
    assert graphs.recorder("mps") is None


@pytest.mark.usefixtures("recorder")
def test_a_captured_run_ends_with_its_last_name_and_gives_its_memory_back_at_once():
    run = Run(TINY, DeviceConfig())
    advance(run, 6)
    left = weakref.ref(run)
    gc.disable()
    try:
        del run
        assert left() is None
    finally:
        gc.enable()


class Alone:
    """A group of one process, without communication."""

    columns = replicas = 1
    replica = 0

    def rows(self, part):
        return part


def test_a_run_shared_by_processes_is_eager(recorder):
    assert ParallelRun(TINY, DeviceConfig(), Alone()).graph is None


@pretending
def test_a_graph_reads_and_writes_on_the_gpu(monkeypatch):
    monkeypatch.setattr(lrn, "_passes", by_formula)  # or the last bits would differ
    expected, recorder = eager(TINY, 6), Recorder()
    with pretend_gpu(recorder):
        run = Run(TINY, DeviceConfig(device="cuda"))
        advance(run, 6)
        ours = found(run)
    assert recorder.captures == 1
    assert equal(ours, expected)


def test_a_cost_counts_no_capture(recorder):
    run = Run(TINY, DeviceConfig())
    done, _ = cost._steps(run, 2, 60.0)
    assert (done, run.step, recorder.captures) == (2, graphs.WARM_UP + 3, 1)
    run.graph = None
    assert run.first_steps == 1
