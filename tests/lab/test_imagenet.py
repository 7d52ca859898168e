"""Preparation: exact, the same for any number of processes, resumed after a kill, and honest about every file."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alexnet_repro import prepared
from alexnet_repro.errors import UserError
from alexnet_repro.lab import imagenet, shards
from alexnet_repro.lab.pictures import square
from alexnet_repro.lab.shards import Shards

from ..pictures import BAD, GOOD, tree

SIZE = 32


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tree(tmp_path_factory.mktemp("source"))


@pytest.fixture(autouse=True)
def _small_shards(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(shards, "IMAGES", 7)


def prepare(source, workers=1):
    said = []
    manifest = imagenet.prepare(source, SIZE, workers, progress=False, say=said.append)
    return manifest, said


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


def test_every_file_is_in_a_shard_or_in_the_report(source):
    manifest, said = prepare(source)
    folder = prepared.folder(SIZE)
    with (folder / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    left_out = {row["file"].removeprefix("bee/") for row in rows if row["what"] == "left out"}
    assert left_out == BAD
    assert all(row["why"] for row in rows)
    assert manifest.left_out == len(BAD)
    assert {name: part.images for name, part in manifest.parts.items()} == {"train": 36 + len(GOOD), "val": 12}
    assert any("GB" in line for line in said)
    assert imagenet.verify(folder, progress=False) == manifest


def test_pixels_labels_and_sums(source):
    manifest, _ = prepare(source)
    folder = prepared.folder(SIZE)
    part = Shards(folder, manifest, "train")
    pixels = np.empty((len(part), SIZE, SIZE, 3), np.uint8)
    part.read(range(len(part)), pixels)
    mapped = [np.load(folder / shard.file, mmap_mode="r") for shard in manifest.parts["train"].shards]
    assert np.array_equal(np.concatenate(mapped), pixels)
    expected = {}
    for path in (source / "train").glob("*/*"):
        if path.name not in BAD and not path.name.startswith("."):
            content = path.read_bytes()
            expected[square(content, path.name, SIZE)[0].tobytes()] = manifest.classes.index(path.parent.name)
    assert [expected[image.tobytes()] for image in pixels] == part.labels.tolist()
    assert np.array_equal(np.load(folder / manifest.pixel_sums), pixels.astype(np.int64).sum(0))
    colors = pixels.reshape(-1, 3).astype(np.int64)
    assert manifest.color_sums == tuple(colors.sum(0).tolist())
    assert manifest.color_products == tuple(map(tuple, (colors.T @ colors).tolist()))


def test_any_number_of_processes(source, tmp_path, monkeypatch):
    manifest, _ = prepare(source)
    one = files(prepared.folder(SIZE))
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "again"))
    again, _ = prepare(source, workers=2)
    assert files(prepared.folder(SIZE)) == one
    assert again.digest == manifest.digest


def test_an_interrupted_one_goes_on(source, tmp_path, monkeypatch):
    manifest, _ = prepare(source)
    whole = files(prepared.folder(SIZE))
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "again"))
    again = prepared.folder(SIZE)
    write, count = shards.write, 0

    def dies(*arguments):
        nonlocal count
        count += 1
        if count > 3:
            raise KeyboardInterrupt
        return write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(imagenet, "write_all", lambda tasks, size, *_: [dies(t.path, t.sources, size) for t in tasks])
        with pytest.raises(KeyboardInterrupt):
            prepare(source)
    assert not (again / "manifest.json").exists()
    old = {path.name: path.stat().st_mtime_ns for path in again.glob("*-0*.npy") if ".sums" not in path.name}
    assert len(old) == 3
    (again / ".train-00003.npy.abc.part").write_bytes(b"half")
    resumed, said = prepare(source)
    assert any("resuming: 3 of" in line for line in said)
    assert resumed.digest == manifest.digest
    assert files(again) == whole
    assert all((again / name).stat().st_mtime_ns == time for name, time in old.items())
    assert "already prepared" in prepare(source)[1][-1]


SCRIPT = """
import sys
from pathlib import Path
from alexnet_repro.lab import imagenet, shards
shards.IMAGES = 7
imagenet.prepare(Path(sys.argv[1]), 32, 2, progress=False)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_any_point(source, tmp_path, how):
    data = tmp_path / "killed"
    folder = data / "imagenet-32"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(source)],
        env={**os.environ, "ALEXNET_REPRO_DATA": str(data)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    until = time.monotonic() + 60
    while not list(folder.glob("*-0*.json")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(how)
    process.wait(30)
    before = dict(os.environ)
    os.environ["ALEXNET_REPRO_DATA"] = str(data)
    try:
        resumed, _ = prepare(source)
    finally:
        os.environ.update(before)
    assert resumed.digest == prepare(source)[0].digest
    assert not list(folder.glob(".*part"))
    assert not list(folder.glob("*.sums.npy"))


def test_other_images_are_not_mixed_in(source, tmp_path):
    prepare(source)
    other = tree(tmp_path / "other", train=3)
    with pytest.raises(UserError, match="other images"):
        prepare(other)


def test_a_full_disk_is_seen_before_it_is_full(source, monkeypatch):
    monkeypatch.setattr(imagenet.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="--size 128"):
        prepare(source)


@pytest.mark.parametrize("file", ["train-00001.npy", "train-labels.npy", "train-pixel-sums.npy"])
def test_a_changed_byte_is_found(source, file):
    prepare(source)
    path = prepared.folder(SIZE) / file
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=file):
        imagenet.verify(prepared.folder(SIZE), progress=False)


def test_a_lost_or_short_shard_is_found_when_training_starts(source):
    manifest, _ = prepare(source)
    path = prepared.folder(SIZE) / "val-00000.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="val-00000"):
        Shards(prepared.folder(SIZE), manifest, "val")
    path.unlink()
    with pytest.raises(UserError, match="val-00000"):
        Shards(prepared.folder(SIZE), manifest, "val")


def test_found_by_digest(source):
    manifest, _ = prepare(source)
    assert prepared.find(manifest.digest) == (prepared.folder(SIZE), manifest)
    with pytest.raises(UserError, match="data imagenet"):
        prepared.find("0" * 64)


def test_nothing_but_bad_files(tmp_path):
    for part in ("train", "val"):
        for name in "ab":
            folder = tmp_path / "bad" / part / name
            folder.mkdir(parents=True)
            (folder / "1.jpg").write_bytes(b"text")
    with pytest.raises(UserError, match=r"none of the 1 files of class 'a' is an image \(a/1.jpg: not an image\)"):
        prepare(tmp_path / "bad")


def test_workers_below_one(source):
    with pytest.raises(UserError, match="workers=0"):
        prepare(source, workers=0)
