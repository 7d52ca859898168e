"""Preparation: exact, the same for any number of processes, resumed after a kill, and honest about every file."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import manifest as prepared
from alexnet_repro.training.data import prepare as imagenet
from alexnet_repro.training.data import shards
from alexnet_repro.training.data.decode import square
from alexnet_repro.training.data.image_folders import Found, Source
from alexnet_repro.training.data.shards import Shards, Written

from ..damage import flipped
from ..files import write
from ..pictures import BAD, GOOD, jpeg, png, scene, tree

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
        patch.setattr(imagenet, "write_shards", lambda tasks, size, *_: [dies(t.path, t.sources, size) for t in tasks])
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
from alexnet_repro.training.data import prepare, shards
shards.IMAGES = 7
prepare.prepare(Path(sys.argv[1]), 32, 2, progress=False)
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
        prepare(source)  # on a busy machine, a worker of the killed process may have begun a file after the last sweep
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
    path.write_bytes(flipped(path.read_bytes(), -5))
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
    other = prepared.folder(SIZE).parent / "another-program" / prepared.FILE
    other.parent.mkdir()
    other.write_text("{}")
    assert prepared.find(manifest.digest) == (prepared.folder(SIZE), manifest)
    with pytest.raises(UserError, match="data imagenet"):
        prepared.find("0" * 64)


def test_nothing_but_bad_files(tmp_path):
    write(tmp_path / "bad", {f"{part}/{name}/1.jpg": b"text" for part in ("train", "val") for name in "ab"})
    with pytest.raises(UserError, match=r"none of the 1 files of class 'a' is an image \(a/1.jpg: not an image\)"):
        prepare(tmp_path / "bad")


def _classes(root, **changes):
    """Two classes in train and val, and what ``changes`` makes of some files."""
    names = ("train/a/1", "train/a/2", "train/b/1", "val/a/3", "val/b/3")
    image = {name: jpeg(scene(len(f"{name}.JPEG"))) for name in names}
    return write(root, {f"{name}.JPEG": changes.get(name.replace("/", "_"), image[name]) for name in names})


def test_a_class_of_no_readable_image_is_refused(tmp_path):
    cut = jpeg(scene(1))[:-400]
    with pytest.raises(UserError, match=r"of class 'b' no training image can be read.*report\.csv") as caught:
        prepare(_classes(tmp_path / "source", train_b_1=cut))
    assert caught.value.code == 1
    assert not (prepared.folder(SIZE) / "manifest.json").exists()
    with (prepared.folder(SIZE) / "report.csv").open() as file:
        assert [(row["part"], row["file"], row["what"]) for row in csv.DictReader(file)] == [
            ("train", "b/1.JPEG", "left out")
        ]


def test_a_class_of_no_image_is_refused_before_any_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "write_shards", None)
    with pytest.raises(UserError, match=r"none of the 1 files of class 'b' is an image \(b/1\.JPEG: not an image\)"):
        prepare(_classes(tmp_path / "source", train_b_1=b"<annotation/>"))


def test_what_was_found_and_what_came_of_it_is_said(tmp_path):
    cut = jpeg(scene(1))[:-400]
    source = _classes(tmp_path / "source", train_a_2=cut, val_a_3=b"text")
    (source / "val" / "c").mkdir()
    _, said = prepare(source)
    assert said[1:5] == [
        "layout: one folder per class; 2 classes: a, b",
        "train: 3 images of all 2 classes, from 1 (b) to 2 (a) of each",
        "val: 2 images of all 2 classes, 1 of each",
        "val: left out, as they are empty: c",
    ]
    assert said[-3:-1] == [
        "train: 2 images of all 2 classes, 1 of each; left out: 1 image file is truncated",
        "val: 1 images of 1 of 2 classes, 1 of each; left out: 1 not an image",
    ]
    again = prepare(source)[1]
    assert again[-3:-1] == said[-3:-1]
    assert "already prepared" in again[-1]


def test_names_that_no_terminal_shows_are_spelled_out(tmp_path):
    source = _classes(tmp_path / "source")
    (source / "train" / "a" / os.fsdecode(b"\xff\x1b[2J")).symlink_to(tmp_path / "nowhere")
    assert any("links that lead nowhere: \\udcff\\x1b[2J" in line for line in prepare(source)[1])


@pytest.mark.parametrize("inside", [".", "train", "elsewhere/deep"])
def test_prepared_images_lie_outside_of_the_source(tmp_path, monkeypatch, inside):
    source = _classes(tmp_path / "source")
    (tmp_path / "link").symlink_to(source)
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(source / inside))
    for named in (source, tmp_path / "link"):
        with pytest.raises(UserError, match="set ALEXNET_REPRO_DATA to a folder outside"):
            prepare(named)
    assert not list(source.rglob("imagenet-*"))
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path))
    assert prepare(source)[0].parts["train"].images == 3


@given(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"[]", b"{}", b"null", b'{"sources": 1}', b"[" * 100_000]))
)
@settings(max_examples=40)
def test_a_damaged_plan_is_one_line(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("plan")
    (folder / "plan.json").write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged|other images") as caught:
        imagenet._same_plan(folder, Found(("a", "b"), {"train": []}, "", ()), SIZE)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_damaged_plan_stops_a_preparation(source, content):
    prepare(source)
    path = prepared.folder(SIZE) / "plan.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"plan\.json is damaged .*: delete") as caught:
        prepare(source)
    assert caught.value.code == 1


@pytest.mark.parametrize(
    "file", ["plan.json", "manifest.json", "lock", "report.csv", "train-labels.npy", "val-00000.npy"]
)
def test_what_is_no_file_in_a_prepared_folder_is_refused(tmp_path, file):
    source = _classes(tmp_path / "source")
    manifest = prepare(source)[0]
    path = prepared.folder(SIZE) / file
    path.unlink()
    os.mkfifo(path)
    said = f"{file} is a FIFO" if file != "val-00000.npy" else f"{file} has the wrong size.*delete that folder"
    with pytest.raises(UserError, match=said):
        prepare(source)
    if file.endswith("npy"):
        with pytest.raises(UserError, match=file):
            imagenet.verify(prepared.folder(SIZE), progress=False)
        with pytest.raises(UserError, match=said):
            Shards(prepared.folder(SIZE), manifest, file.partition("-")[0])


NOTE = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=3), st.just(10**400)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)


@given(field=st.sampled_from(Written._fields), value=NOTE)
@example(field="labels", value=[0, -1])
@settings(max_examples=25)
def test_a_damaged_note_of_a_shard_has_it_written_anew(tmp_path_factory, field, value):
    path = tmp_path_factory.mktemp("shard") / "train-00000.npy"
    image = path.parent / "a.png"
    image.write_bytes(png(scene(1)))
    written = shards.write(path, [Source("a/a.png", 0, str(image), 0, image.stat().st_size)], 16)
    assert shards.whole(path) == written
    note = path.with_suffix(".json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {field: value}))
    found = shards.whole(path)
    assert found is None or [type(each) for each in found] == [type(each) for each in written]


@given(st.binary(max_size=60), st.integers(0, 3_000), st.integers(0, 3_000))
@settings(max_examples=60)
def test_a_damaged_manifest_is_one_line(tmp_path_factory, content, start, length):
    folder = tmp_path_factory.mktemp("manifest")
    spoiled = MANIFEST.encode()
    start %= len(spoiled)
    (folder / "manifest.json").write_bytes(spoiled[:start] + content + spoiled[start + length :])
    try:
        manifest = prepared.read(folder)
    except UserError as error:
        said = error
    else:
        said = UserError(manifest.digest, 1)
    assert said.code == 1


MANIFEST = json.dumps(
    {
        "format": 1,
        "size": 32,
        "classes": ["a", "b"],
        "parts": {
            part: {
                "shards": [{"file": "x.npy", "images": 2, "sha256": "0" * 64}],
                "labels": "y.npy",
                "labels_sha256": "0" * 64,
            }
            for part in ("train", "val")
        },
        "pixel_sums": "sums.npy",
        "pixel_sums_sha256": "0" * 64,
        "color_sums": [1, 2, 3],
        "color_products": [[1, 2, 3]] * 3,
        "left_out": 0,
        "made_by": "hand",
    }
)


@pytest.mark.parametrize("number", [10**30, 2**63, -1])
@pytest.mark.parametrize("field", ["size", "left_out", "color_sums", "images"])
def test_numbers_of_a_manifest_are_bounded(tmp_path, field, number):
    values = json.loads(MANIFEST)
    if field == "images":
        values["parts"]["train"]["shards"][0]["images"] = number
    else:
        values[field] = [number, 0, 0] if field == "color_sums" else number
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="is damaged"):
        prepared.read(tmp_path)


def test_labels_of_no_class_are_found_when_training_starts(tmp_path):
    manifest = prepare(_classes(tmp_path / "source"))[0]
    for labels in ([0, 7, 0], [0, -1, 0]):
        np.save(prepared.folder(SIZE) / "train-labels.npy", np.array(labels, np.int32))
        with pytest.raises(UserError, match="labels of no class"):
            Shards(prepared.folder(SIZE), manifest, "train")
    np.save(prepared.folder(SIZE) / "train-labels.npy", np.array([0, 1], np.int32))
    with pytest.raises(UserError, match="wrong size"):
        Shards(prepared.folder(SIZE), manifest, "train")


def test_a_file_larger_than_any_image_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "BYTES", 5_000)
    source = _classes(tmp_path / "source")
    (source / "train" / "a" / "large.JPEG").write_bytes(bytes(6_000))
    _, said = prepare(source)
    assert any("left out: 1 more than bytes" in line for line in said)


def test_workers_below_one(source):
    with pytest.raises(UserError, match="workers=0"):
        prepare(source, workers=0)
