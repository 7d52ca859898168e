from contextlib import suppress

import numpy as np
import pytest

from alexnet_repro.analysis.ensembles import judged
from alexnet_repro.analysis.ensembles import sizes as the_sizes
from alexnet_repro.analysis.lookup import record_lookup
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.registry import study
from alexnet_repro.records import outputs as ensembles
from alexnet_repro.records import predictions
from alexnet_repro.records.store import Store
from tests import homes
from tests.runs import record

LABELS = np.array([0, 1, 2, 0], np.uint8)


def outputs(*rows):
    return np.array(rows, np.float16)


def test_kept_and_read(tmp_path):
    path = tmp_path / "one.npz"
    kept = outputs([0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 1], [1, 0, 0])
    ensembles.write(path, kept, LABELS)
    first = path.read_bytes()
    found, labels = ensembles.read(path)
    assert np.array_equal(found, kept)
    assert np.array_equal(labels, LABELS)
    ensembles.write(path, kept, LABELS)
    assert path.read_bytes() == first
    for place in range(0, len(first), 97):
        bent = bytearray(first)
        bent[place] ^= 4
        path.write_bytes(bytes(bent))
        with suppress(UserError):  # else it is a bit of the archive that holds nothing of what was kept
            found, labels = ensembles.read(path)
            assert np.array_equal(found, kept)
            assert np.array_equal(labels, LABELS)


def test_damage_has_the_remedy_of_its_place(tmp_path, monkeypatch):
    home = homes.make(tmp_path, monkeypatch)
    monkeypatch.setenv("ALEXNET_REPRO_STORE", str(home / "data" / "store"))  # where it is by default
    store = Store()
    for path, said in (
        (ensembles.published(store, "k"), f"restore it with 'git checkout -- {ensembles.published(store, 'k')}'"),
        (ensembles.working(store, "k"), "delete it"),
    ):
        ensembles.write(path, outputs([1, 0, 0]), LABELS[:1])
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(UserError, match=f"{path} is damaged .*: {said}$"):
            ensembles.read(path)


def test_an_average_can_be_right_where_most_are_wrong():
    sure, wrong = outputs([0.9, 0.1, 0.0]), outputs([0.4, 0.6, 0.0])
    label = np.array([0], np.uint8)
    assert ensembles.error([wrong], label) == 1
    assert ensembles.error([sure, wrong, wrong], label) == 0


@pytest.fixture
def store(tmp_path):
    store, plan = Store(tmp_path, tmp_path / "none"), study(ensembles.MEMBERS)
    chance = np.random.default_rng(1)
    labels = chance.integers(0, 10, 1000).astype(np.uint8)
    for seed in range(11):
        config = plan.config("baseline", seed)
        mine = (np.eye(10)[labels] + chance.gumbel(size=(1000, 10)) * 0.4).astype(np.float16)
        ensembles.write(ensembles.working(store, config.key), mine, labels)
        store.save(record(config, metrics={"test_error": ensembles.error([mine], labels)}))
    return store


def test_groups_of_five_are_judged_when_whole(store):
    found = judged(store)
    assert set(found["one"]) == set(found["five"]) == {0, 1}  # the eleventh seed waits for four more
    members = [study(ensembles.MEMBERS).config("baseline", seed) for seed in range(5, 10)]
    mean = np.mean([store.find(config).metric("test_error") for config in members])
    assert found["one"][1].metric("test_error") == pytest.approx(mean)
    assert found["five"][1].metric("test_error") < mean
    assert record_lookup(store)("ensemble", "five") == found["five"]
    sizes = the_sizes(store)
    assert [len(sizes[n]) for n in range(1, 6)] == [2] * 5
    assert sizes[5][1] == found["five"][1].metric("test_error")
    assert sizes[1][1] == pytest.approx(mean)  # over all five, not the first


@pytest.mark.parametrize("member", [0, 1])
def test_a_diverged_member_errs_by_chance(store, member):
    plan = study(ensembles.MEMBERS)
    before, configs = judged(store), [plan.config("baseline", seed) for seed in range(5)]
    lost = record(configs[member], status="diverged", metrics={"test_error": None})
    _, labels = ensembles.predictions(lost.config, store)
    nothing = np.full((1000, 10), np.nan, np.float16)
    ensembles.write(ensembles.working(store, lost.key), nothing, labels)
    kept = [store.find(config).metric("test_error") for config in configs if config != lost.config]
    store.save(lost)
    found = judged(store)
    assert found["one"][0].metric("test_error") == pytest.approx((sum(kept) + 0.9) / 5)
    assert found["five"][0].metric("test_error") == (labels != 0).mean()  # as numpy finds the largest of NaNs
    assert {each[0].status for each in found.values()} == {"finished"}
    assert (found["one"][1], found["five"][1]) == (before["one"][1], before["five"][1])
    assert ensembles.off(nothing, labels, lost) == round(1000 * abs((labels != 0).mean() - 0.9))


def test_published_predictions_are_verified(store, monkeypatch, tmp_path):
    monkeypatch.setattr(store, "evidence", tmp_path / "data" / "evidence")
    config = study(ensembles.MEMBERS).config("baseline", 0)
    path = ensembles.published(store, config.key)
    path.parent.mkdir(parents=True)
    path.write_bytes(ensembles.working(store, config.key).read_bytes())
    assert "no published run" in predictions.faults(store)[0]
    right = store.find(config)
    monkeypatch.setattr(store, "published", lambda: {config.key: right})
    assert predictions.faults(store) == []
    wrong = right.model_copy(update={"metrics": {"test_error": right.metric("test_error") + 0.02}})
    monkeypatch.setattr(store, "published", lambda: {config.key: wrong})
    assert "20 other images" in predictions.faults(store)[0]
    path.write_bytes(path.read_bytes()[:-40])
    assert "damaged" in predictions.faults(store)[0]
    path.unlink()
    assert predictions.faults(store) == []
    (fault,) = ensembles.faults(store)
    assert fault.startswith(f"{path} is missing, the predictions of a published run: restore it with 'git checkout -- ")
    assert fault.endswith("or make it with 'alexnet-repro publish ensemble'")


def test_predictions_of_any_published_run_are_verified(store, monkeypatch, tmp_path):
    """Not only those of the ensembles' members: whoever has the predictions needs no other derivation of the errors."""
    monkeypatch.setattr(store, "evidence", tmp_path / "data" / "evidence")
    chance = np.random.default_rng(2)
    labels = chance.integers(0, 10, 1000).astype(np.uint8)
    made = {}
    for seed in (0, 1):
        config = study("relu_speed").config("relu", seed)
        outputs = chance.random((1000, 10)).astype(np.float16)
        five = np.argsort(-outputs.astype(float), axis=1, kind="stable")[:, :5]
        errors = {
            "test_error": ensembles.error([outputs], labels),
            "test_top5_error": (five != labels[:, None]).all(1).mean(),
        }
        made[config.key] = record(config, metrics=errors)
        ensembles.write(ensembles.published(store, config.key), outputs, labels)
    monkeypatch.setattr(store, "published", lambda: made)
    assert predictions.faults(store) == []
    key = max(made)
    for metric in ("test_error", "test_top5_error"):
        wrong = made[key].metrics | {metric: made[key].metrics[metric] + 0.009}
        changed = made | {key: made[key].model_copy(update={"metrics": wrong})}
        monkeypatch.setattr(store, "published", lambda changed=changed: changed)
        (fault,) = predictions.faults(store)
        assert fault.startswith(f"{ensembles.published(store, key)}: these predictions err on 9 other images")
    monkeypatch.setattr(store, "published", lambda: made)
    ensembles.write(ensembles.published(store, key), chance.random((999, 10)).astype(np.float16), labels[:999])
    (fault,) = predictions.faults(store)
    assert "its images are not those of" in fault
