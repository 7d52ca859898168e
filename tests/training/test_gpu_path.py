"""What a run does on a GPU, done on a CPU: a tensor on the wrong device fails here. pretend_gpu says what is left."""

import time

import pytest
import torch

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import imagenet
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.networks.config import CIFAR_ALEXNET
from alexnet_repro.training import cost, provenance
from alexnet_repro.training.data import augment, prepare
from alexnet_repro.training.data.images import Images
from alexnet_repro.training.models import lrn
from alexnet_repro.training.parallel.vmap_seeds import Member, Stack
from alexnet_repro.training.trainer import Run, Stopped, repeats_with_other_rounding, train

from ..pictures import tree
from ..runs import load_few_test_images
from . import team
from .pretend_gpu import WITHOUT_GPU, PretendTensor, by_formula, pretend_gpu
from .test_parallel import CUDA_CONVNET, TINY, advance, found, one_device, same, share

pytestmark = WITHOUT_GPU

ALEXNET = TINY.changed(**{"budget.ten_views": True, "budget.test_curve": True})
NETS = {"alexnet": ALEXNET, "cuda-convnet": CUDA_CONVNET}
GPU, APPLE = (DeviceConfig(device=kind) for kind in ("cuda", "mps"))


@pytest.fixture(autouse=True)
def _gpu_formula_and_few_test_images(monkeypatch):
    monkeypatch.setattr(lrn, "_passes", by_formula)  # or the last bits would differ
    load_few_test_images(monkeypatch.setattr)


def halfway(config, placement, path):
    """Train, stop in the second epoch with a checkpoint, and resume from that: the record."""
    asked = iter([False] * 6 + [True])
    with pytest.raises(Stopped):
        train(config, placement, path, stop=lambda: next(asked))
    return train(config, placement, path)


@pytest.mark.parametrize("net", NETS)
def test_a_run_stops_resumes_and_is_evaluated_as_on_the_cpu(net, tmp_path):
    expected = halfway(NETS[net], DeviceConfig(), tmp_path / "cpu")
    with pretend_gpu():
        record = halfway(NETS[net], GPU, tmp_path / "gpu")
    assert record.provenance.device == "pretended GPU"
    assert (record.metrics, record.curve) == (expected.metrics, expected.curve)
    assert record.provenance.weights == expected.provenance.weights


def test_a_run_in_bfloat16_stays_on_the_gpu():
    # autocast chooses no other type here, so that the numbers are those of single precision.
    expected = one_device(ALEXNET, 5)
    with pretend_gpu():
        run = Run(ALEXNET.changed(precision="bfloat16"), GPU)
        advance(run, 5)
        same(found(run), expected)


@pytest.mark.parametrize("net", NETS)
def test_a_run_needs_no_float64_on_apples_gpus(net, tmp_path):
    """What is counted on the way has the same numbers; the loss is summed in single precision there."""
    expected = halfway(NETS[net], DeviceConfig(), tmp_path / "cpu")
    with pretend_gpu(kind="mps"):
        record = halfway(NETS[net], APPLE, tmp_path / "mps")
    assert record.provenance.device.startswith("Apple GPU")
    assert record.provenance.weights == expected.provenance.weights
    counted = {name: value for name, value in expected.metrics.items() if "loss" not in name}
    assert {name: record.metrics[name] for name in counted} == counted
    assert [m.train_error for m in record.curve] == [m.train_error for m in expected.curve]
    losses, exact = ([m.train_loss for m in each.curve] for each in (record, expected))
    assert losses == pytest.approx(exact, rel=32 * torch.finfo(torch.float32).eps)


def test_a_run_is_measured_and_repeated_on_apples_gpus():
    with pretend_gpu(kind="mps"):
        assert cost.duration(CUDA_CONVNET, APPLE, 0.1).watts is None
        assert len(repeats_with_other_rounding(CUDA_CONVNET, APPLE, 1)) == 1


def test_a_gpus_power_is_asked_for_while_the_run_trains_on():
    with pretend_gpu(), pytest.MonkeyPatch.context() as patch:
        run = Run(CUDA_CONVNET, GPU)

        def answer(device, question):
            while run.step < 2:
                time.sleep(0.001)
            return "321.5"

        patch.setattr(provenance, "query_nvidia_smi", answer)
        patch.setattr(torch.cuda, "synchronize", lambda device: None)
        assert cost._watts_in_training(run) == 321.5
        patch.setattr(provenance, "query_nvidia_smi", lambda device, question: None)
        assert cost._watts_in_training(run) is None
    assert run.step >= 2


def test_a_gpu_without_bfloat16_is_said_before_the_first_step(monkeypatch):
    with pretend_gpu():
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
        with pytest.raises(UserError, match=r"^pretended GPU has no bfloat16, .*: use a newer GPU or the CPU$"):
            Run(ALEXNET.changed(precision="bfloat16"), GPU)
        Run(ALEXNET.changed(precision="tf32"), GPU)


def test_float64_on_apples_gpus_fails():
    with pretend_gpu(kind="mps"), pytest.raises(TypeError, match="doesn't support float64"):
        torch.zeros(3, device="mps").double()


def test_all_that_a_checkpoint_holds_is_on_the_gpu(tmp_path):
    with pretend_gpu():
        run = Run(ALEXNET, GPU)
        advance(run, 3)
        run.save(tmp_path / "checkpoint")
        run.resume(tmp_path / "checkpoint")
        assert all(type(tensor) is PretendTensor for tensor in run.tensors().values())
        assert all(type(parameter.data) is PretendTensor for parameter in run.net.parameters())


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_images_from_disk_are_read_ahead_and_cut_on_the_gpu(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path))
    manifest = prepare.prepare(tree(tmp_path / "source"), 80, 1, progress=False, say=lambda _: None)
    net = CIFAR_ALEXNET.change(kernels=(8, 8, 8, 8, 8), hidden=16, classes=3, image_size=70).model_dump()
    config = imagenet.baseline(imagenet.Images.of(manifest)).changed(
        model=net, **{"budget.epochs": 2, "budget.measurements": 2, "optimizer.batch_size": 10}
    )
    expected = train(config, DeviceConfig())
    with pretend_gpu(kind=kind):
        record = train(config, DeviceConfig(device=kind))
    assert record.metrics.keys() == expected.metrics.keys()
    assert record.metrics["test_error"] == expected.metrics["test_error"]
    assert record.provenance.weights == expected.provenance.weights
    if kind == "cuda":
        assert (record.metrics, record.curve) == (expected.metrics, expected.curve)


def test_stacked_seeds_train_as_on_the_cpu():
    configs = [ALEXNET.changed(seed=seed) for seed in (3, 5)]
    alone = [one_device(config, 5) for config in configs]
    with pretend_gpu():
        stack = Stack([Member(config, GPU) for config in configs])
        while stack.runs[0].step < 5:
            stack.update()
            for run in stack.runs:
                if run.should_log():
                    run.measure()
        ours = [found(run) for run in stack.runs]
    for run, expected in zip(ours, alone, strict=True):
        same(run, expected)


def test_repeats_with_other_rounding_draw_on_the_gpu():
    with pretend_gpu():
        ours = repeats_with_other_rounding(CUDA_CONVNET, GPU, 1)
    assert ours == repeats_with_other_rounding(CUDA_CONVNET, DeviceConfig(), 1)


def shared(rank, how, folder):
    with pretend_gpu():
        results = share(rank, how, {"alexnet": TINY}, folder, "cuda")
    # Plain tensors: what the other process has claimed, this one could not read.
    return {**results, **{name: _plain(results[name]) for name in ("alexnet", "resumed")}}


def _plain(run):
    return {**run, "tensors": {name: getattr(tensor, "held", tensor) for name, tensor in run["tensors"].items()}}


@pytest.mark.parametrize("how", ["columns", "data"])
def test_two_processes_share_a_run_as_on_the_cpu(how, tmp_path):
    expected = one_device(TINY)
    for results in team.run(2, tmp_path, shared, how, tmp_path):
        same(results["alexnet"], expected)
        same(results["resumed"], expected)
        assert results["record"]["provenance"]["device"].startswith("2 x pretended GPU")


def left_on_the_cpu(name):
    """Plant a fault that the test must detect: the function's result stays on the CPU."""
    if name == "labels":
        made = Images.of.__func__

        def of(cls, *arguments):
            images = made(cls, *arguments)
            images.labels = images.labels.cpu()
            return images

        return Images, "of", classmethod(of)
    drawn = augment.ColorNoise.draw
    return augment.ColorNoise, "draw", lambda noise, *arguments: drawn(noise, *arguments).cpu()


@pytest.mark.parametrize("name", ["labels", "color noise"])
def test_a_tensor_left_on_the_cpu_fails(name, monkeypatch):
    with pretend_gpu():
        monkeypatch.setattr(*left_on_the_cpu(name))
        run = Run(ALEXNET, GPU)
        with pytest.raises(RuntimeError, match="same device, but found cuda:0 and cpu"):
            run.update()
