"""Tiny ImageNet from archives of three classes: what is read, in which order, and what is refused, by name."""

import errno
import io
import os
import stat
import tarfile
import urllib.error
import zipfile
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.config import DIGESTS
from alexnet_repro.training.data import cifar10, tiny_imagenet
from alexnet_repro.training.data.load import load
from alexnet_repro.training.data.tiny_imagenet import FILE, SPEC, Spec

from ..command import call
from ..damage import failing, flipped
from ..files import tar, write

WNIDS = ("n02", "n01", "n03")  # as the file has them; labels go by the sorted names
SIDE = 8


def jpeg(seed, mode="RGB", side=SIDE):
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(file, "JPEG")
    return file.getvalue()


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def tree():
    """Name -> content of three classes, eleven training images each and two for validation."""
    files = {"wnids.txt": "\n".join(WNIDS).encode(), "words.txt": b"n01\tfish\nn03\tbird, fowl\nn02\tcat\nn99\tdog\n"}
    for number, wnid in enumerate(WNIDS):
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b"boxes"
        for i in range(11):
            mode = "L" if i == 3 else "RGB"
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(100 * number + i, mode)
    lines = []
    for i in range(6):
        files[f"val/images/val_{i}.JPEG"] = jpeg(1_000 + i)
        lines.append(f"val_{i}.JPEG\t{WNIDS[i % 3]}\t0\t0\t7\t7\n")
    files["val/val_annotations.txt"] = "".join(lines).encode()
    files["test/images/test_0.JPEG"] = b"no labels, so never read"
    return files


def digest_of(files):
    images = sorted(name for name in files if name.startswith(("train", "val")) and name.endswith(".JPEG"))
    lines = [f"{name} {sha256(files[name]).hexdigest()}\n" for name in images]
    lines += [
        " ".join(line.split("\t")[:2]) + "\n"
        for line in sorted(files["val/val_annotations.txt"].decode().split("\n")[:-1])
    ]
    return sha256("".join(lines).encode()).hexdigest()


FILES = tree()
THREE = Spec(classes=3, train=11, val=2, side=SIDE, digest=digest_of(FILES))


@pytest.fixture(autouse=True)
def _data(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "data"))


def as_zip(path, files, prefix="tiny-imagenet-200/"):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return path


def as_tar(path, files, prefix="tiny-imagenet-200/", mode="w:xz"):
    path.write_bytes(tar({prefix + name: content for name, content in files.items()}, mode))
    return path


FORMS = {
    "folder": lambda place, files: write(place / "given", files),
    "folder of the folder": lambda place, files: write(place / "given" / "tiny-imagenet-200", files).parent,
    "zip": lambda place, files: as_zip(place / "given.zip", files),
    "zip of the bare folder": lambda place, files: as_zip(place / "given.zip", files, ""),
    "tar": lambda place, files: as_tar(place / "given", files, "./tiny-imagenet-200/", "w"),
    "tar.gz": lambda place, files: as_tar(place / "given", files, mode="w:gz"),
    "tar.xz": lambda place, files: as_tar(place / "given", files),
}


def get(source):
    return tiny_imagenet.get(source, False, THREE)


def stored():
    folder = paths.downloads()
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") if folder.exists() else []


def refused(source, said, code=1):
    with pytest.raises(UserError, match=said) as error:
        get(source)
    assert str(source) in str(error.value)
    assert error.value.code == code
    assert stored() == []


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images_in_turns(form, tmp_path):
    found = get(FORMS[form](tmp_path, dict(reversed(FILES.items()))))
    assert stored() == ["tiny-imagenet.json", FILE]
    assert found.train_labels.tolist() == [0, 1, 2] * 11
    assert found.test_labels.tolist() == [1, 0, 2] * 2
    train = [FILES[f"train/{wnid}/images/{wnid}_{i}.JPEG"] for i in range(11) for wnid in sorted(WNIDS)]
    val = [FILES[f"val/images/val_{i}.JPEG"] for i in range(6)]
    assert np.array_equal(found.train_images, [pixels(each) for each in train])
    assert np.array_equal(found.test_images, [pixels(each) for each in val])
    described = tiny_imagenet.describe()
    assert (described.wnids, described.words) == (("n01", "n02", "n03"), ("fish", "cat", "bird, fowl"))
    assert found.digest == described.stored == sha256(np.load(paths.downloads() / FILE).tobytes()).hexdigest()


def test_images_lie_ready_for_training(tmp_path):
    found = get(FORMS["tar"](tmp_path, FILES))
    assert found.train_images.transpose(0, 2, 3, 1).flags.c_contiguous
    assert tiny_imagenet.load(THREE) is found  # mapped, and its digest compared, once


def changed(**changes):
    """The files with some changed, by their path with _ for /, or gone where None."""
    files = FILES | {name: content for name, content in changes.items() if content is not None}
    return {name: content for name, content in files.items() if changes.get(name, b"") is not None}


IMAGE = "train/n03/images/n03_4.JPEG"
ANNOTATIONS = "val/val_annotations.txt"
CUT = FILES[IMAGE][: len(FILES[IMAGE]) // 2]
LABELS = FILES[ANNOTATIONS]
NOT_IT = "its files are not those of Tiny ImageNet: their digest is "
WRONG = {
    "an image cut off": ({IMAGE: CUT}, NOT_IT),
    "another image": ({IMAGE: jpeg(77)}, NOT_IT),
    "an image less": ({IMAGE: None}, f"{IMAGE} is missing"),
    "a class less": (
        {name: None for name in FILES if name.startswith("train/n03")},
        "n03_0.JPEG is missing, one of 11",
    ),
    "classes less": ({"wnids.txt": b"n01\nn02"}, NOT_IT),
    "a class twice": ({"wnids.txt": b"n01\nn02\nn03\nn02\n"}, NOT_IT),
    "no classes": ({"wnids.txt": None}, "wnids.txt is missing"),
    "no words": ({"words.txt": None}, "words.txt is missing"),
    "no labels": ({ANNOTATIONS: None}, f"{ANNOTATIONS} is missing"),
    "an unknown label": ({ANNOTATIONS: LABELS.replace(b"n03", b"n07", 1)}, NOT_IT),
    "an empty label": ({ANNOTATIONS: LABELS + b"\n"}, "it is damaged, cut off, or no zip, tar or folder"),
    "another label": ({ANNOTATIONS: LABELS + b"val_0.JPEG\tn01\n"}, NOT_IT),
    "a label less": ({ANNOTATIONS: LABELS[: LABELS.rfind(b"val_5")]}, NOT_IT),
    "a label's image less": ({"val/images/val_5.JPEG": None}, "val/images/val_5.JPEG is missing"),
    "labels of bytes": ({ANNOTATIONS: b"\xff\xfe"}, "it is damaged, cut off, or no zip, tar or folder"),
    "a large file": ({"words.txt": bytes(tiny_imagenet.LARGEST + 1)}, "words.txt has 4,194,305 bytes, more than any"),
}


@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_is_named(form, wrong, tmp_path):
    changes, said = WRONG[wrong]
    refused(FORMS[form](tmp_path, changed(**changes)), said)


@pytest.mark.parametrize("name", ["../escaped.JPEG", "/escaped.JPEG", "tiny-imagenet-200/train/../../../escaped.JPEG"])
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_path_that_leaves_the_archive_is_refused(form, name, tmp_path):
    make = {"zip": as_zip, "tar": as_tar}[form]
    refused(
        make(tmp_path / "given", {f"tiny-imagenet-200/{n}": c for n, c in FILES.items()} | {name: b""}, ""),
        "leaves the archive",
    )
    assert not list(tmp_path.glob("**/escaped*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_special_file_in_a_tar_is_refused(kind, tmp_path):
    source = as_tar(tmp_path / "given.tar", FILES, mode="w")
    entry = tarfile.TarInfo("tiny-imagenet-200/train/odd")
    entry.type, entry.linkname = kind, "/etc/passwd"
    with tarfile.open(source, "a") as archive:
        archive.addfile(entry)
    refused(source, "train/odd is a link or another special file")


def test_a_link_in_a_zip_is_refused(tmp_path):
    source = as_zip(tmp_path / "given.zip", FILES)
    entry = zipfile.ZipInfo("tiny-imagenet-200/train/odd")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    refused(source, "train/odd is a link or another special file")


def test_a_pipe_in_a_folder_is_refused(tmp_path):
    source = write(tmp_path / "given", changed(**{IMAGE: None}))
    os.mkfifo(source / IMAGE)
    refused(source, f"{IMAGE} is a link or another special file")


def test_a_pipe_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is neither a file nor a folder", code=2)


def test_no_archive_is_said(tmp_path):
    refused(tmp_path / "nowhere.zip", r"cannot read .*\(No such file or directory\): name the zip", code=2)


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tar.xz"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.8])
def test_an_archive_cut_off_is_said(form, share, tmp_path):
    source = FORMS[form](tmp_path, FILES)
    whole = source.read_bytes()
    source.write_bytes(whole[: int(share * len(whole))])
    refused(source, "it is damaged, cut off, or no zip|is missing")


def test_a_flipped_bit_in_a_zip_is_said(tmp_path):
    source = as_zip(tmp_path / "given.zip", FILES)
    whole = source.read_bytes()
    source.write_bytes(flipped(whole, whole.find(FILES[IMAGE]) + 200))
    refused(source, "it is damaged, cut off, .*CRC")


def test_an_image_twice_is_said(tmp_path):
    source = as_tar(tmp_path / "given.tar", FILES, mode="w")
    entry = tarfile.TarInfo(f"tiny-imagenet-200/{IMAGE}")
    with tarfile.open(source, "a") as archive:
        archive.addfile(entry)
    refused(source, f"{IMAGE} stands in it twice")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    source = FORMS["zip"](tmp_path, FILES)
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", failing(errno.ENOSPC))
        with pytest.raises(UserError, match="the disk is full"):
            get(source)
    assert stored() == []


@pytest.mark.parametrize("how", ["flipped", "half", "empty", "no description", "other description", "other files"])
def test_damage_in_the_data_folder_is_said_and_mended(how, tmp_path):
    source = FORMS["zip"](tmp_path, FILES)
    whole = np.array(get(source).train_images)
    path = paths.downloads() / FILE
    content, beside = path.read_bytes(), path.with_suffix(".json")
    if how == "no description":
        beside.write_text("{}")
    elif how == "other description":
        beside.write_text(beside.read_text().replace(tiny_imagenet.describe().stored, "0" * 64))
    elif how == "other files":
        beside.write_text(beside.read_text().replace(THREE.digest, "0" * 64))
    else:
        os.replace(path, tmp_path / "old")
        path.write_bytes({"flipped": flipped(content, -1), "half": content[:900], "empty": b""}[how])
    tiny_imagenet._load.cache_clear()  # as in a new process
    with pytest.raises(
        UserError, match=r"tiny-imagenet.npy is damaged \(.*run 'alexnet-repro data tiny-imagenet' again"
    ):
        tiny_imagenet.load(THREE)
    assert np.array_equal(get(source).train_images, whole)


def test_without_a_network_one_line_says_what_to_do(monkeypatch, capsys):
    def down(*args, **kwargs):
        raise urllib.error.URLError(OSError("Name or service not known"))

    monkeypatch.setattr(tiny_imagenet.urllib.request, "urlopen", down)
    code, out, err = call(monkeypatch, capsys, "data", "tiny-imagenet")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert f"cannot fetch {tiny_imagenet.URL} (Name or service not known): download it" in err
    assert "alexnet-repro data tiny-imagenet --from tiny-imagenet-200.zip" in err
    assert stored() == []


class Answer(io.BytesIO):
    headers = {"Content-Length": "1"}  # noqa: RUF012


def test_what_is_fetched_is_stored_once(tmp_path, monkeypatch):
    content = FORMS["zip"](tmp_path, FILES).read_bytes()
    monkeypatch.setattr(tiny_imagenet.urllib.request, "urlopen", lambda *a, **k: Answer(content))
    (paths.downloads() / f"{tiny_imagenet.SCRATCH}old").mkdir(parents=True)
    assert not tiny_imagenet.SCRATCH.startswith(cifar10.SCRATCH)  # either deletes what begins with its own
    found = get(None)
    assert found.train_labels.tolist() == [0, 1, 2] * 11
    assert stored() == ["tiny-imagenet.json", FILE]
    monkeypatch.setattr(tiny_imagenet.urllib.request, "urlopen", None)
    assert get(None) is found


def test_a_fetched_file_cut_off_leaves_nothing(tmp_path, monkeypatch):
    content = FORMS["zip"](tmp_path, FILES).read_bytes()[:2_000]
    monkeypatch.setattr(tiny_imagenet.urllib.request, "urlopen", lambda *a, **k: Answer(content))
    with pytest.raises(UserError, match=r"tiny-imagenet-200.zip: it is damaged, cut off"):
        get(None)
    assert stored() == []


def test_absence_says_how_to_get_it():
    with pytest.raises(UserError, match=r"Tiny ImageNet is not at .*: run 'alexnet-repro data tiny-imagenet'"):
        load("tiny-imagenet")


def test_the_real_set_is_as_pinned(monkeypatch):
    monkeypatch.undo()  # the data folder of whoever runs the tests
    if not (paths.downloads() / FILE).is_file():
        pytest.skip("Tiny ImageNet is not here")
    found = tiny_imagenet.load()
    assert tiny_imagenet.describe().files == SPEC.digest
    assert len(found.digest) == len(DIGESTS["tiny-imagenet"]) == 64
    assert np.bincount(found.train_labels[:10_000]).tolist() == [50] * 200
    assert np.bincount(found.test_labels).tolist() == [50] * 200
