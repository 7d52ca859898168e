"""What recipe 1 computes, pinned: a change that moves any of this needs a new recipe and new runs."""

import hashlib

import numpy as np
import pytest

from alexnet_repro.common.rng import stream
from alexnet_repro.experiments.config import NUMERICS_VERSION, DeviceConfig
from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT
from alexnet_repro.training.provenance import weights_digest
from alexnet_repro.training.trainer import Run

from . import exact

STEPS = 6

# 75 images leave an uneven last batch; together the two move every field of the optimizer.
BASE = {"data.dataset": "sample", "data.train_images": 75, "optimizer.batch_size": 32}
TANH = BASE | {"model.nonlinearity": "tanh", "optimizer.learning_rate": 0.00316, "optimizer.weight_decay": 0.004}
HE = BASE | {
    "model.initialization": "he",
    "data.divisor": 64.0,
    "optimizer.learning_rate": 0.01,
    "optimizer.batch_size": 20,
    "optimizer.momentum": 0.8,
    "optimizer.bias_rate_factor": 1.0,
}


def digest(values, dtype):
    return hashlib.sha256(np.ascontiguousarray(values, dtype=dtype).tobytes()).hexdigest()


ORDER_15 = "5cdbcc215ea4fd47035bc02c3b316a8c3b5aed8f5f411588537299a3674a9be9"
INIT_TANH = "990adac222ec6d71fceee355654d587458dab3b73c17e9cabab4d2fd0f75121b"
INIT_HE = "49cdbfcc1aec2d139275d4a15ef5ca1cb4b636103c4aaeb224caea4950fb5cee"
TANH_LOSSES = [  # in double precision, summed over the batch, step by step
    73.68732162146, 73.65799800222, 25.33996725821, 73.47662007048, 73.44595524673, 25.24662732139,
]  # fmt: skip
TANH_NORMS = [
    0.0296570306242, 0.0001537575791038, 1.600231230858, 0.0008912594575372,
    2.258874013215, 0.003988262206845, 1.004825711637, 0.01208728472351,
]  # fmt: skip
HE_LOSSES = [63.79136301249, 53.07966783654, 54.09417865627, 35.19905076585, 43.8534403057, 43.66779723772]
HE_NORMS = [
    8.156869364351, 0.01932646265085, 8.003444066447, 0.01711490564851,
    11.29293824235, 0.0144693974164, 4.438887123379, 0.006075292438002,
]  # fmt: skip
PINNED = [(TANH, TANH_LOSSES, TANH_NORMS, 128), (HE, HE_LOSSES, HE_NORMS, 97)]


def test_recipe():
    assert NUMERICS_VERSION == 1


def test_order():
    first = stream(0, "order", 0).permutation(50_000)
    assert first[:5].tolist() == [1898, 9584, 33937, 7285, 7042]
    assert digest(first, "<i8") == "2853da84b3ebba402fab230ae092ffbf2f75a88ae16830a50fe7d4e4ee24f184"
    assert digest(stream(1000, "order", 15).permutation(50_000), "<i8") == ORDER_15


def test_streams_differ_by_seed_name_and_number():
    draws = [stream(*key).random() for key in [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", 1, 0)]]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize(("changes", "pinned"), [(TANH, INIT_TANH), (HE, INIT_HE)], ids=["cuda-convnet", "he"])
def test_initial_weights(changes, pinned):
    # Drawn by numpy in double and rounded once: the same bits on every machine.
    run = Run(CUDA_CONVNET_19PCT.changed(**changes), DeviceConfig())
    assert weights_digest(run.net) == pinned


def test_mean_image():
    run = Run(CUDA_CONVNET_19PCT.changed(**TANH | {"data.train_images": 300}), DeviceConfig())
    assert digest(run.train.mean.numpy(), "<f4") == "3166fe5c389fdf0ad9aeeae27f993c415b3be8af3caf1299a9307768394a82c7"


@pytest.mark.parametrize(("changes", "losses", "norms", "wrong"), PINNED, ids=["tanh", "he"])
def test_six_steps_in_double_precision(changes, losses, norms, wrong):
    run = exact.Double(CUDA_CONVNET_19PCT.changed(**changes), DeviceConfig())
    assert exact.losses(run, STEPS) == pytest.approx(losses, rel=exact.SEEN)
    assert [p.detach().norm().item() for p in run.net.parameters()] == pytest.approx(norms, rel=exact.SEEN)
    assert run.wrong.item() == wrong


@pytest.mark.parametrize(("changes", "losses", "norms", "wrong"), PINNED, ids=["tanh", "he"])
def test_single_precision_differs_by_its_rounding(changes, losses, norms, wrong):
    config = CUDA_CONVNET_19PCT.changed(**changes)
    found = exact.losses(Run(config, DeviceConfig()), STEPS)
    tolerance = exact.single_tolerance(config, losses, STEPS)
    assert all(abs(ours - theirs) <= t for ours, theirs, t in zip(found, losses, tolerance, strict=True))
    assert max(tolerance) < 0.1 * min(losses)  # or it would hold nothing
