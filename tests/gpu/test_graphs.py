"""Replayed steps beside eager ones on the GPU that is here. tests/training/test_graphs.py has all that needs none."""

import pytest
import torch

from alexnet_repro.experiments.cifar_alexnet import ARMS
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.training import graphs
from alexnet_repro.training.parallel.vmap_seeds import Member, Stack
from alexnet_repro.training.trainer import Run

from ..runs import load_few_test_images
from ..training.test_parallel import CUDA_CONVNET, TINY, advance, found

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

# With cuDNN told to be deterministic, and pooling windows that do not overlap (where they do, the backward pass adds up
# in any order), two eager runs are equal to the last bit: so must a graph's be. cuBLAS has a workspace of the same size
# on every stream, and so chooses the same algorithm.
APART = TINY.changed(**ARMS["pool_2_2"])


@pytest.fixture(autouse=True)
def _few_test_images_and_deterministic_convolutions(monkeypatch):
    load_few_test_images(monkeypatch.setattr)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


def on_gpu(config, graphed, steps=12):
    run = Run(config, DeviceConfig(device="cuda"))
    if not graphed:
        run.graph = None
    advance(run, steps)
    assert not graphed or run.graph._replay is not None
    return found(run)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_replayed_steps_are_eager_ones(precision):
    try:
        config = APART.changed(precision=precision)
        graph, one, two = on_gpu(config, True), on_gpu(config, False), on_gpu(config, False)
    finally:
        Run(TINY, DeviceConfig())  # without TF32
    for name, tensor in one["tensors"].items():
        assert torch.equal(tensor, two["tensors"][name]), f"{name}: eager runs differ from each other on this GPU"
        assert torch.equal(tensor, graph["tensors"][name]), name
    assert graph["curve"] == one["curve"]


@pytest.mark.parametrize("config", [TINY, CUDA_CONVNET], ids=["alexnet", "cuda-convnet"])
def test_with_overlapping_windows_they_differ_no_more_than_eager_runs(config):
    # Six steps, three of them replayed: atomic additions of the pooling's backward pass differ in their order.
    graph, one = (on_gpu(config, graphed, 7) for graphed in (True, False))
    torch.testing.assert_close(graph["tensors"]["loss"], one["tensors"]["loss"], rtol=1e-4, atol=0)


def test_a_captured_run_goes_on_from_a_checkpoint(tmp_path):
    run = Run(APART, DeviceConfig(device="cuda"))
    advance(run, 6)
    run.save(tmp_path / "checkpoint")
    advance(run, 8)
    run.resume(tmp_path / "checkpoint")
    advance(run, 12)
    expected = on_gpu(APART, False)
    assert all(torch.equal(tensor, expected["tensors"][name]) for name, tensor in found(run)["tensors"].items())


def test_stacked_seeds_train_as_each_alone():
    configs = [TINY.changed(seed=seed) for seed in (0, 1)]
    stack = Stack([Member(each, DeviceConfig(device="cuda")) for each in configs])
    for _ in range(3):
        stack.update()
    for config, member in zip(configs, stack.runs, strict=True):
        alone = Run(config, DeviceConfig(device="cuda"))
        for _ in range(3):
            alone.update()
        torch.testing.assert_close(member.loss, alone.loss, rtol=1e-4, atol=0)  # sums in another order


def test_a_run_that_has_ended_leaves_no_memory_behind():
    def left():
        run = Run(TINY, DeviceConfig(device="cuda"))
        advance(run, 8)
        del run
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    first = left()
    assert left() <= first


def test_a_capture_that_fails_leaves_the_stream_as_it_was():
    x = torch.ones(8, device="cuda")
    with pytest.raises(RuntimeError):
        graphs.CudaRecorder("cuda").capture(lambda: x.sum().item())
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert x.sum().item() == 8
    graphs.CudaRecorder("cuda").capture(lambda: x.add_(1))()
    assert x.sum().item() == 16


def test_reading_threads_may_reserve_pinned_memory_during_a_capture():
    from concurrent.futures import ThreadPoolExecutor

    x = torch.zeros(8, device="cuda")
    recorder = graphs.CudaRecorder("cuda")
    with ThreadPoolExecutor(1) as threads:

        def work():
            x.add_(1)
            threads.submit(torch.empty, 2**20, pin_memory=True).result()

        replay = recorder.capture(work)
    replay()
    assert x.tolist() == [1.0] * 8
