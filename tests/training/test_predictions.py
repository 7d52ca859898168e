"""Predictions from kept weights."""

import pytest

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.experiments.registry import study
from alexnet_repro.experiments.study import Study
from alexnet_repro.records import outputs as ensembles
from alexnet_repro.records import predictions
from alexnet_repro.records.store import Store
from alexnet_repro.training.launch.runs import publish
from alexnet_repro.training.predict import make, mean_of, network, publish_predicted_classes
from alexnet_repro.training.trainer import train
from tests import homes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    store = Store(root, root / "none")
    config = study(ensembles.MEMBERS, "smoke").baseline.changed(
        **{"data.train_images": 300, "budget.epochs": 1, "budget.ten_views": False}
    )
    store.save(train(config, DeviceConfig(), weights_path=store.weights(config.key)))
    return store, config


def test_they_err_as_their_record_says(trained):
    store, config = trained
    assert make(config, store)
    outputs, labels = ensembles.predictions(config, store)
    assert outputs.shape == (1000, 10)
    assert outputs.astype(float).sum(1) == pytest.approx(1, abs=0.01)
    assert ensembles.error([outputs], labels) == pytest.approx(store.find(config).metric("test_error"), abs=0.005)


def test_published_classes_err_as_their_record_says_to_the_image(trained, tmp_path, monkeypatch):
    kept, config = trained
    store, record = Store(kept.root, tmp_path / "data" / "evidence"), kept.find(config)
    publish_predicted_classes(record, store)
    found = predictions.read(ensembles.published(store, config.key))
    assert found.top.shape == (1000, 5)
    assert found.off(record) == 0
    assert found.wrong[1] < found.wrong[0]
    wrong = record.model_copy(update={"metrics": record.metrics | {"test_error": 0.1}})
    with pytest.raises(UserError, match="other images than their record"):
        publish_predicted_classes(wrong, store)


def test_a_new_run_is_published_with_what_it_predicts(trained, tmp_path, monkeypatch):
    kept, config = trained
    store, record = Store(kept.root, tmp_path / "data" / "evidence"), kept.find(config)
    plan = Study("rehearsal", "A rehearsal", config, {"only": {}}, (0,))
    monkeypatch.setattr(Study, "scale", "cifar10")  # what is at smoke scale is never published
    clean = record.model_copy(update={"provenance": record.provenance.model_copy(update={"clean": True})})
    monkeypatch.setattr(store, "find", lambda _: clean)
    assert publish(plan, store) == (1, 0, 1, 0)
    later = Store(kept.root, store.evidence)
    monkeypatch.setattr(later, "find", lambda _: clean)
    assert predictions.faults(later) == []
    assert publish(plan, later) == (1, 0, 0, 0)


def test_weights_of_another_run_are_refused(trained, tmp_path):
    store, config = trained
    path = store.weights(config.key)
    assert mean_of(path) is None
    assert not network(path, config).training
    with pytest.raises(UserError, match="another run"):
        network(path, config.changed(seed=1))
    assert not make(config.changed(seed=1), store)


def test_damaged_weights_have_the_remedy_of_their_place(trained, tmp_path, monkeypatch):
    kept, config = trained
    home = homes.make(tmp_path, monkeypatch)
    published = ensembles.published_weights(Store(), config.key)
    whole = kept.weights(config.key).read_bytes()
    for path, said in ((published, f"restore it with 'git checkout -- {published}'"), (home / "kept", "delete it")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole)
        with pytest.raises(UserError, match=f"{path} belongs to another run than .*: {said}$"):
            network(path, config.changed(seed=1))
        path.write_bytes(whole[:-1])
        for read in (lambda path: network(path, config), mean_of):
            with pytest.raises(UserError, match=f"{path} is no whole checkpoint: {said}$"):
                read(path)


def test_weights_that_err_otherwise_are_refused(trained, tmp_path):
    store, config = trained
    record = store.find(config)
    other = Store(tmp_path, tmp_path / "none")
    other.save(record.model_copy(update={"metrics": record.metrics | {"test_error": 0.1}}))
    target = other.weights(config.key)
    target.parent.mkdir()
    target.write_bytes(store.weights(config.key).read_bytes())
    with pytest.raises(UserError, match="other images"):
        make(config, other)
