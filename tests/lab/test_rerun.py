"""A recorded run, trained again."""

from alexnet_repro.config import Placement
from alexnet_repro.lab.training import train
from alexnet_repro.reruns import rerun
from alexnet_repro.store import Store
from alexnet_repro.studies import Study
from tests.runs import tiny


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
