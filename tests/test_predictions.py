"""Predicted classes as they are published: read whole or refused, and held against their record."""

import numpy as np
import pytest

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.cifar_alexnet import TINY_BASELINE
from alexnet_repro.experiments.registry import study
from alexnet_repro.records import outputs as ensembles
from alexnet_repro.records import predictions
from alexnet_repro.records.predictions import LABELS, Predictions, due, faults, ranked, read, write
from alexnet_repro.records.store import Store
from alexnet_repro.training.launch.runs import publish
from tests.runs import record

TOP = np.array([[7, 1, 2, 3, 4], [199, 0, 1, 2, 3], [5, 6, 7, 8, 9], [0, 1, 2, 3, 4]], np.uint8)
TRUE = np.array([7, 3, 0, 1], np.uint8)  # right, fifth, not among them, second


def test_kept_and_read(tmp_path):
    write(tmp_path / "one.npz", Predictions(TOP, TRUE))
    found = read(tmp_path / "one.npz")
    assert np.array_equal(found.top, TOP)
    assert np.array_equal(found.labels, TRUE)
    assert found.wrong == (3, 1)
    first = (tmp_path / "one.npz").read_bytes()
    write(tmp_path / "two.npz", Predictions(TOP, TRUE))
    assert (tmp_path / "two.npz").read_bytes() == first
    assert len(list((tmp_path / LABELS).iterdir())) == 1  # once for both


def test_ten_thousand_images_are_small(tmp_path):
    chance = np.random.default_rng(1)
    top = ranked(chance.normal(size=(10_000, 200)))
    write(tmp_path / "one.npz", Predictions(top, top[:, 0]))
    assert (tmp_path / "one.npz").stat().st_size < 60_000


def test_outputs_of_ensembles_are_read_as_classes(tmp_path):
    outputs = np.array([[0.25, 0.5, 0.25], [0.0, 0.5, 0.5]], np.float16)
    ensembles.write(tmp_path / "one.npz", outputs, TRUE[:2])
    found = read(tmp_path / "one.npz")
    assert found.top.tolist() == [[1, 0, 2], [1, 2, 0]]  # of equal ones, the first
    assert found.labels.tolist() == TRUE[:2].tolist()


def test_ranked_agrees_with_argmax():
    outputs = np.random.default_rng(2).integers(0, 9, (500, 40)).astype(np.float32)
    top = ranked(outputs)
    assert top.dtype == np.uint8
    assert top.shape == (500, 5)
    assert np.array_equal(top[:, 0], outputs.argmax(1))
    assert np.array_equal(np.take_along_axis(outputs, top.astype(int), 1), np.sort(outputs, 1)[:, :-6:-1])


@pytest.mark.parametrize("how", ["cut", "array", "labels gone", "labels changed", "labels cut", "exchanged", "a bomb"])
def test_damage_is_said(tmp_path, how):
    path = tmp_path / "one.npz"
    write(path, Predictions(TOP, TRUE))
    (labels,) = (tmp_path / LABELS).iterdir()
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif how == "array":
        with path.open("wb") as file:
            np.save(file, TOP)
    elif how == "labels gone":
        labels.unlink()
    elif how == "labels changed":
        np.save(labels, TRUE[::-1])
    elif how == "labels cut":
        labels.write_bytes(labels.read_bytes()[:-1])
    elif how == "a bomb":
        np.savez_compressed(path, top=np.zeros(ensembles.LARGEST + 1, np.uint8))
    else:
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **(arrays | {"top": TOP[::-1]}))
    with pytest.raises(
        UserError, match="labels/.* missing or damaged" if how.startswith("labels") else "one.npz is damaged"
    ):
        read(path)


def test_no_file_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.npz")


def tiny(seed=0, test_error=0.75, top5=0.25, **changes):
    metrics = {"test_error": test_error, "test_top5_error": top5}
    return record(TINY_BASELINE.changed(seed=seed), metrics=metrics, **changes)


def test_faults_name_what_errs_otherwise(store, monkeypatch):
    monkeypatch.setattr(predictions, "ROUNDED", 0)
    right = tiny()
    path = ensembles.published(store, right.key)
    write(path, Predictions(TOP, TRUE))
    for published, said in (
        ({}, "no published run has this key"),
        ({right.key: tiny(test_error=0.5)}, "err on 1 other images than their record"),
        ({right.key: tiny(top5=0.75)}, "err on 2 other images than their record"),
    ):
        monkeypatch.setattr(store, "published", lambda published=published: published)
        (fault,) = faults(store)
        assert fault.startswith(f"{path}: ")
        assert fault.endswith(said)
    monkeypatch.setattr(store, "published", lambda: {right.key: right})
    assert faults(store) == []
    path.write_bytes(path.read_bytes()[:-30])
    assert "damaged" in faults(store)[0]


def test_due_are_runs_of_known_numbers_that_have_none_and_are_no_members(store):
    has, lost = tiny(0), tiny(1, status="diverged")
    member = record(study(ensembles.MEMBERS).config("baseline", 3))
    missing = [tiny(2), record(study("ablations").config("no_lrn", 3))]
    write(ensembles.published(store, has.key), Predictions(TOP, TRUE))
    assert due([has, lost, member, *missing], store) == missing


def test_publishing_counts_the_runs_whose_weights_are_gone(store):
    plan = study("tiny_imagenet")
    for seed in (0, 1):
        store.save(tiny(seed))
    assert publish(plan, store) == (2, 0, 0, 2)
    store.save(tiny(2))
    later = Store(store.root, store.evidence)
    assert publish(plan, later) == (3, 0, 0, 1)  # of new runs alone
    assert not (store.evidence.parent / ensembles.FOLDER).exists()


def test_what_is_contributed_has_no_predictions(store, tmp_path):
    store.save(tiny())
    assert publish(study("tiny_imagenet"), store, tmp_path / "mine") == (1, 0, 0, 0)
