"""Runs of AlexNet in CIFAR size: what they record, what they share, and how they resume."""

import io
import os

import pytest
import torch

from alexnet_repro.experiments.cifar_alexnet import ARMS, BASELINE, SMOKE
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.networks.config import AlexNetConfig
from alexnet_repro.training import checkpoint
from alexnet_repro.training.launch import worker
from alexnet_repro.training.provenance import weights_digest
from alexnet_repro.training.trainer import Run, train

from ..runs import load_few_test_images, tiny

# Four steps an epoch, the last uneven.
TINY = BASELINE.changed(
    **SMOKE | {"data.train_images": 200, "data.color_noise": "source", "optimizer.batch_size": 64, "budget.epochs": 3}
)
SOURCE_CROPS = {"data.shared_crops": 32}


@pytest.fixture(autouse=True)
def _few_test_images(monkeypatch):
    load_few_test_images(monkeypatch.setattr)


@pytest.mark.parametrize("changes", [{}, SOURCE_CROPS], ids=["per image", "in groups"])
@pytest.mark.parametrize("steps", [2, 4, 6])
def test_resumes_bit_for_bit(tmp_path, steps, changes):
    config = TINY.changed(**changes, **{"optimizer.drops": (1,), "budget.test_curve": True})
    whole = train(config, DeviceConfig())
    part = Run(config, DeviceConfig())
    for _ in range(steps):
        part.update()
        if part.should_log():
            part.measure()
    path = tmp_path / "run.safetensors"
    checkpoint.save(path, part.tensors(), part.values())
    resumed = train(config, DeviceConfig(), path)
    assert resumed.curve == whole.curve
    assert resumed.metrics == whole.metrics
    assert resumed.provenance.weights == whole.provenance.weights


def test_records_what_the_claims_ask_for(tmp_path):
    config = TINY.changed(**{"budget.test_curve": True})
    path = tmp_path / "weights.safetensors"
    record = train(config, DeviceConfig(), weights_path=path)
    assert set(record.metrics) == {
        "epochs", "train_error", "train_loss", "test_error", "clean_train_error", "gap", "early_train_loss",
        "ten_view_error", "epochs_to_converge", "color_gap", "color_gap_shuffled", "color_gap_p", "knn_features",
        "knn_pixels",
    }  # fmt: skip
    assert record.metrics["gap"] == record.metrics["test_error"] - record.metrics["clean_train_error"]
    assert [m.test_error is None for m in record.curve] == [False] * 3
    assert record.curve[-1].test_error == record.metrics["test_error"]
    run = Run(config, DeviceConfig())
    run.net.load_state_dict(checkpoint.load(path)[0])
    assert weights_digest(run.net) == record.provenance.weights


def test_measures_no_more_than_asked():
    record = train(TINY.changed(**{"budget.ten_views": False}), DeviceConfig())
    assert not {"ten_view_error", "epochs_to_converge"} & set(record.metrics)
    assert "test_error" not in record.curve[0].model_dump(exclude_defaults=True)


def test_a_diverged_run_has_no_numbers_of_its_own():
    record = train(TINY.changed(**{"optimizer.learning_rate": 1e6}), DeviceConfig())
    assert record.status == "diverged"
    assert record.metrics["test_error"] is None


def seen(changes, monkeypatch, steps=5):
    """The inputs of a run's first steps, before its net sees them."""
    run = Run(TINY.changed(**changes), DeviceConfig())
    batches = []
    forward = run.net.forward

    def spy(x, **options):
        batches.append(x.clone())
        return forward(x, **options)

    monkeypatch.setattr(run.net, "forward", spy)
    for _ in range(steps):
        run.update()
    return torch.cat(batches)


# Arms that change neither data nor augmentation.
@pytest.mark.parametrize("arm", ["half", "no_dropout", "no_conv4", "paper_init", "no_weight_decay"])
def test_arms_of_one_seed_see_the_same_images(arm, monkeypatch):
    assert torch.equal(seen({}, monkeypatch), seen(ARMS[arm], monkeypatch))


def test_arms_of_one_seed_draw_the_same_dropout():
    nets = [Run(TINY.changed(**ARMS[arm]), DeviceConfig()) for arm in ("baseline", "no_lrn")]
    masks = [run.masks(slice(0, 5)) for run in nets]
    assert masks[0].keys() == {"fc6", "fc7"}
    assert all(torch.equal(mask, masks[1][layer]) for layer, mask in masks[0].items())
    nets[0].step += 1
    assert not torch.equal(nets[0].masks(slice(0, 5))["fc6"], masks[1]["fc6"])


def test_the_rate_drops_on_its_date():
    run = Run(TINY.changed(**{"optimizer.drops": (1, 2)}), DeviceConfig())
    factors = []
    for _ in range(12):
        run.update()
        factors.append(run.optimizer.param_groups[0]["lr"] / run.config.optimizer.learning_rate)
    assert factors == pytest.approx([1.0] * 4 + [0.1] * 4 + [0.01] * 4)


ONE_EPOCH = {"budget.epochs": 1, "budget.measurements": 1}


@pytest.mark.parametrize(
    "configs",
    [
        [TINY.changed(**ONE_EPOCH)],
        [TINY.changed(**ONE_EPOCH), TINY.changed(**ONE_EPOCH, seed=1)],
        [tiny(**ONE_EPOCH)],
    ],
    ids=["one", "stacked", "cuda-convnet"],
)
def test_a_worker_keeps_the_weights_of_an_alexnet_alone(store, configs):
    worker._work(configs, DeviceConfig(), store, io.StringIO(), worker.Stop(os.getppid()))
    for config in configs:
        assert store.find(config) is not None
        assert store.weights(config.key).is_file() == isinstance(config.model, AlexNetConfig)
