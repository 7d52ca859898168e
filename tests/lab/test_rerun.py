"""A recorded run, trained again."""

import signal

import pytest
from tqdm.auto import tqdm

from alexnet_repro.config import Placement
from alexnet_repro.lab.training import train
from alexnet_repro.reruns import rerun
from alexnet_repro.store import Store
from alexnet_repro.studies import Study
from tests.runs import tiny


def test_ctrl_c_saves_first_and_the_next_rerun_resumes(tmp_path, monkeypatch):
    config = tiny()
    plan, store = Study("toy", "Toy", config, {"one": {}}, (config.seed,)), Store(tmp_path, tmp_path / "none")
    store.save(train(config, Placement()))

    class Pressed(tqdm):
        def update(self, n=1):
            if n and not pressed:
                pressed.append(n)
                signal.raise_signal(signal.SIGINT)

    pressed: list[int] = []
    monkeypatch.setattr("alexnet_repro.reruns.tqdm", Pressed)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        rerun(plan, "one", config.seed, store, progress=False)
    assert pressed
    assert signal.getsignal(signal.SIGINT) == before
    assert len(list((tmp_path / "reruns").glob("*.safetensors"))) == 1
    assert rerun(plan, "one", config.seed, store, progress=False).exact


def test_trains_the_run_again_and_leaves_the_store(tmp_path):
    config = tiny()
    plan, store = Study("toy", "Toy", config, {"one": {}}, (config.seed,)), Store(tmp_path, tmp_path / "none")
    store.save(train(config, Placement()))
    before = store.path(config.key).read_bytes()
    found = rerun(plan, "one", config.seed, store, progress=False)
    assert found.exact
    assert found.same_place
    assert store.path(config.key).read_bytes() == before
    assert list((tmp_path / "reruns").glob("*.safetensors")) == []

    bent = found.record.model_copy(update={"metrics": found.record.metrics | {"test_error": 0.123}})
    store.save(bent)
    assert not rerun(plan, "one", config.seed, store, progress=False).met
