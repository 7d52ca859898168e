"""A recorded run, trained again."""

import signal

import pytest
from tqdm.auto import tqdm

from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.experiments.study import Study
from alexnet_repro.records.store import Store
from alexnet_repro.training.launch.rerun import rerun
from alexnet_repro.training.trainer import repeats_with_other_rounding, train
from tests.runs import QUICK, record, tiny


def toy(config, folder):
    """A study of one run, and a store."""
    return Study("toy", "Toy", config, {"one": {}}, (config.seed,)), Store(folder, folder / "none")


def test_ctrl_c_saves_first_and_the_next_rerun_resumes(tmp_path, monkeypatch):
    config = tiny()
    plan, store = toy(config, tmp_path)
    store.save(train(config, DeviceConfig()))

    class Pressed(tqdm):
        def update(self, n=1):
            if n and not pressed:
                pressed.append(n)
                signal.raise_signal(signal.SIGINT)

    pressed: list[int] = []
    monkeypatch.setattr("alexnet_repro.training.launch.rerun.tqdm", Pressed)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        rerun(plan, "one", config.seed, store, progress=False)
    assert pressed
    assert signal.getsignal(signal.SIGINT) == before
    assert len(list((tmp_path / "reruns").glob("*.safetensors"))) == 1
    assert rerun(plan, "one", config.seed, store, progress=False).outcome == "bit-exact"


def test_trains_the_run_again_and_leaves_the_store(tmp_path):
    config = tiny()
    plan, store = toy(config, tmp_path)
    store.save(train(config, DeviceConfig()))
    before = store.path(config.key).read_bytes()
    found = rerun(plan, "one", config.seed, store, progress=False)
    assert (found.outcome, found.same_place) == ("bit-exact", True)
    assert store.path(config.key).read_bytes() == before
    assert list((tmp_path / "reruns").glob("*.safetensors")) == []

    bent = found.record.model_copy(update={"metrics": found.record.metrics | {"test_error": 0.123}})
    store.save(bent)
    assert rerun(plan, "one", config.seed, store, progress=False).outcome == "not met"


def test_elsewhere_the_first_epoch_is_rounded_otherwise(tmp_path):
    config = tiny(**QUICK)
    plan, store = toy(config, tmp_path)
    made = train(config, DeviceConfig())
    store.save(
        made.model_copy(update={"provenance": made.provenance.model_copy(update={"weights": "0" * 64, "device": "x"})})
    )
    found = rerun(plan, "one", config.seed, store, progress=False)
    assert found.outcome == "equal within rounding over the first epoch"
    off = made.curve[0].model_copy(update={"train_loss": made.curve[0].train_loss * 1.001})
    store.save(made.model_copy(update={"curve": (off, *made.curve[1:]), "provenance": found.record.provenance}))
    assert rerun(plan, "one", config.seed, store, progress=False).outcome == "cannot be judged"


def test_repeats_differ_from_the_run_and_from_each_other_by_rounding_alone():
    config = tiny(**QUICK, **{"optimizer.batch_size": 32})
    plain = train(config, DeviceConfig()).curve[:2]
    curves = [plain, *repeats_with_other_rounding(config, DeviceConfig(), 2)]
    assert [[m.epoch for m in curve] for curve in curves] == [[160 / 300, 1.0]] * 3
    losses = {tuple(m.train_loss for m in curve) for curve in curves}
    assert len(losses) == 3
    # A neighbour is at most 1.2e-7 away; ten steps make much less than a hundred thousand times as much of it.
    assert max(losses)[1] - min(losses)[1] < 0.01 * plain[1].train_loss


def test_it_is_held_against_the_other_seeds_alone(tmp_path, monkeypatch):
    config, seen = tiny(), []
    plan, store = Study("toy", "Toy", config, {"one": {}}, (0, 1, 2)), Store(tmp_path, tmp_path / "none")
    for seed in plan.seeds:
        store.save(record(config.changed(seed=seed)))
    monkeypatch.setattr("alexnet_repro.training.trainer.train", lambda *_: record(config))
    monkeypatch.setattr(
        "alexnet_repro.training.launch.rerun.compare",
        lambda known, fresh, others, repeat: seen.extend(each.config.seed for each in others),
    )
    rerun(plan, "one", 1, store, progress=False)
    assert seen == [0, 2]
