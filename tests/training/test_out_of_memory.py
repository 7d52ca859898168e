"""A full-size run for which a GPU has too little memory: the error names the batch that fits."""

import weakref

import pytest
import torch

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import imagenet
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.networks.config import CIFAR_ALEXNET
from alexnet_repro.training import out_of_memory
from alexnet_repro.training.cost import measure
from alexnet_repro.training.models.alexnet import AlexNet
from alexnet_repro.training.trainer import Run, train

from .pretend_gpu import WITHOUT_GPU, pretend_gpu

pytestmark = WITHOUT_GPU

GPU = DeviceConfig(device="cuda")
NET = CIFAR_ALEXNET.change(kernels=(8, 8, 8, 8, 8), hidden=16, classes=3).model_dump()


@pytest.fixture
def config():
    """A run of batches of 32, on images that are nowhere."""
    images = imagenet.Images(train=100, classes=3, size=256, digest="0" * 64)
    return imagenet.baseline(images).changed(model=NET, **{"optimizer.batch_size": 32, "data.crop": 24})


@pytest.fixture
def most(monkeypatch):
    """Sets how many images the GPU has memory for."""

    def put(images):
        forward = AlexNet.forward

        def limited(net, inputs, *given, **options):
            if len(inputs) > images:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")
            return forward(net, inputs, *given, **options)

        monkeypatch.setattr(AlexNet, "forward", limited)

    return put


@pytest.fixture
def failed(monkeypatch):
    """Makes a run fail at its first step; returns references to the runs that did, which must not keep them."""
    runs = []

    def start(run, config, placement):
        runs.append(weakref.ref(run))
        run.net = run.trained = AlexNet(CIFAR_ALEXNET, 0)
        run.config, run.placement, run.curve, run.step, run.seconds, run.graph = config, placement, [], 0, 0.0, None

    def update(run):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")

    monkeypatch.setattr(Run, "__init__", start)
    monkeypatch.setattr(Run, "update", update)
    monkeypatch.setattr(Run, "status", lambda run: None)
    return runs


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (
            9,
            "a batch of 32 images does not fit, one of 8 does; train fewer runs at once (--workers), share every batch "
            "among 4 GPUs (--devices 4 --parallel data), or take a study whose name ends in _128, on squares of 128 "
            "pixels",
        ),
        (0, "not even one image fits; train fewer runs at once (--workers), or end what else uses this GPU"),
        (32, "a step alone fits; train fewer runs at once (--workers), or end what else uses this GPU"),
    ],
)
def test_the_batch_that_fits_is_named_with_what_to_change(images, said, config, most, failed):
    most(images)
    with pretend_gpu(), pytest.raises(UserError) as error:
        train(config, GPU)
    assert str(error.value) == f"too little memory on cuda for run {config.key}: {said}"


def test_small_squares_are_no_remedy_for_small_squares(config, most):
    most(16)
    config = config.changed(**{"data.whole": 128})
    with pretend_gpu():
        said = out_of_memory.remedy(config, GPU)
    assert said.startswith("a batch of 32 images does not fit, one of 16 does; train fewer")
    assert said.endswith(", or share every batch among 2 GPUs (--devices 2 --parallel data)")


@pytest.mark.parametrize("way", [train, measure])
def test_the_run_s_own_memory_is_free_by_then(way, config, failed, monkeypatch):
    left = []

    def look(config, device, batch):
        left.extend(run() for run in failed)

    monkeypatch.setattr(out_of_memory, "_step", look)
    monkeypatch.setattr("alexnet_repro.training.cost.OnDiskData", object)
    monkeypatch.setattr(Run, "data", None, raising=False)
    with pretend_gpu(), pytest.raises(UserError, match="a step alone fits"):
        way(config, GPU)
    assert left == [None]


def test_another_error_of_a_trial_stays_what_it_is(config, monkeypatch):
    def broken(config, device, batch):
        raise RuntimeError("an illegal instruction")

    monkeypatch.setattr(out_of_memory, "_step", broken)
    with pretend_gpu(), pytest.raises(RuntimeError, match="illegal instruction"):
        out_of_memory.remedy(config, GPU)


@pytest.mark.parametrize(
    ("error", "yes"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("cannot pin 'cuda' memory: only dense CPU tensors can be pinned"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error, yes):
    assert out_of_memory.says_memory(error) is yes
