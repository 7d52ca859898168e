"""Folders as people have them, through the command: what comes out, or one line and an exit code, never a traceback."""

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_repro.experiments import manifest as prepared

from ..command import call
from ..files import write
from ..pictures import jpeg, png, scene


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Calls ``data imagenet --from`` a folder of these files; gives the exit code, stdout and stderr."""
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "data"))
    root = tmp_path / "source"

    def prepare(capsys, files, *options):
        write(root, files)
        return call(
            monkeypatch, capsys, "data", "imagenet", "--from", str(root), "--size", "128", "--workers", "1", *options
        )

    prepare.root = root
    return prepare


def picture(name):
    return jpeg(scene(sum(name.encode())))


def part(name):
    manifest = prepared.read(prepared.folder(128))
    labels = np.load(prepared.folder(128) / manifest.parts[name].labels)
    return sorted(manifest.classes[label] for label in labels)


TINY = {
    **{f"train/{name}/images/{name}_{i}.JPEG": picture(name) for name in ("n01443537", "n01629819") for i in range(3)},
    **{f"train/{name}/{name}_boxes.txt": b"x\t0\t0\t1\t1\n" for name in ("n01443537", "n01629819")},
    **{f"val/images/val_{i}.JPEG": picture(str(i)) for i in range(4)},
    "val/val_annotations.txt": b"".join(
        b"val_%d.JPEG\t%s\t0\t0\t1\t1\n" % (i, [b"n01443537", b"n01629819"][i % 2]) for i in range(4)
    ),
    "test/images/test_0.JPEG": picture("test"),
    "wnids.txt": b"n01443537\nn01629819\n",
}
PLAIN = {f"{part}/{name}/{part}_{i}.png": png(scene(i)) for part in ("train", "val") for name in "ab" for i in range(2)}
FLAT = {f"train/{name}/{i}.png": png(scene(i)) for name in "ab" for i in range(2)}
FLAT |= {"val/ILSVRC2012_val_00000001.png": png(scene(9))}


def test_tiny_imagenet(data, capsys):
    code, out, err = data(capsys, TINY)
    assert (code, err) == (0, "")
    for line in (
        "layout: Tiny ImageNet; 2 classes: n01443537, n01629819",
        "test: left out, as they have no labels: 1 images",
        "train: 6 images of all 2 classes, 3 of each; none left out",
        "val: 4 images of all 2 classes, 2 of each; none left out",
    ):
        assert out.count(line) == 1
    assert part("val") == ["n01443537"] * 2 + ["n01629819"] * 2


def test_an_image_in_a_hidden_folder(data, capsys):
    code, out, _ = data(capsys, PLAIN | {"train/a/.ipynb_checkpoints/i000.png": png(scene(7))})
    assert code == 0
    assert "train: 4 images of all 2 classes, 2 of each" in out


KAGGLE = {
    **{f"Data/CLS-LOC/train/{name}/{i}.JPEG": picture(name) for name in ("n01", "n02") for i in range(2)},
    **{f"Data/CLS-LOC/val/ILSVRC2012_val_{i:08d}.JPEG": picture(str(i)) for i in (1, 2)},
    "Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG": picture("test"),
    "Annotations/CLS-LOC/train/n01/0.xml": b"<annotation/>",
    "ImageSets/CLS-LOC/val.txt": b"ILSVRC2012_val_00000001 1\nILSVRC2012_val_00000002 2\n",
    "LOC_val_solution.csv": b"ImageId,PredictionString\n"
    b"ILSVRC2012_val_00000001,n02 1 2 3 4 \nILSVRC2012_val_00000002,n02 1 2 3 4 ",
}


def test_kaggles_root(data, capsys):
    code, out, _ = data(capsys, KAGGLE)
    assert code == 0
    assert "layout: ILSVRC as Kaggle has it; 2 classes: n01, n02" in out
    assert part("val") == ["n02", "n02"]


def test_a_tenth_is_set_apart_when_asked(data, capsys):
    files = {f"{name}/{i}.png": png(scene(i)) for name in "ab" for i in range(10)}
    code, _, err = data(capsys, files)
    assert code == 2
    assert "--hold-out 0.1" in err
    code, out, _ = data(capsys, {}, "--hold-out", "0.1")
    assert code == 0
    assert "no val: 2 images are set apart for it, 0.1 of each class" in out
    assert (part("train"), part("val")) == (["a"] * 9 + ["b"] * 9, ["a", "b"])


def kit(meta):
    return FLAT | {"kit/meta.mat": meta, "kit/x_validation_ground_truth.txt": b"1\n"}


def solution(content):
    return FLAT | {"LOC_val_solution.csv": content}


ONE_LINE = {
    "not UTF-8": (
        solution(b"ImageId,PredictionString\nILSVRC2012_val_00000001,\xff\xfe a 1 2 3 4\n"),
        1,
        ["LOC_val_solution.csv, row 2", "save it as that"],
    ),
    "other columns": (solution(b"a,b,c\n1,2,3\n"), 1, ["LOC_val_solution.csv, row 1", "name two of them"]),
    "meta.mat of junk": (kit(b"junk" * 99), 1, ["kit/meta.mat", "fetch ILSVRC's development kit again"]),
    "meta.mat is a page": (kit(b"<html>"), 1, ["kit/meta.mat", "it is a web page"]),
    "no labels": (FLAT, 2, ["1 of 1 val images", "val_annotations.txt", "LOC_val_solution.csv"]),
    "half sorted": (PLAIN | {"val/x.png": b"", "val/y.png": b""}, 2, ["2 of 2 val images", "beside 4 in class"]),
    "no image in a class": (PLAIN | {"train/c/a.txt": b"text"}, 1, ["none of the 1 files of class 'c' is an image"]),
    "nothing known": (
        {"Data/x/1.JPEG": b"", "ImageSets/x/1.txt": b""},
        2,
        ["it has Data/, ImageSets/", "Tiny ImageNet"],
    ),
}


@pytest.mark.parametrize("case", ONE_LINE)
def test_one_line(data, capsys, case):
    files, code, said = ONE_LINE[case]
    found, _, err = data(capsys, files)
    assert found == code
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in said)
    assert not (prepared.folder(128) / "manifest.json").exists()


@pytest.mark.parametrize(
    ("mark", "encoding"), [("\ufeff", "utf-8"), ("", "utf-8"), ("", "latin-1"), ("\ufeff", "utf-16")]
)
def test_labels_by_a_spreadsheet(data, capsys, mark, encoding):
    listed = f"{mark}ImageId;PredictionString\r\nILSVRC2012_val_00000001;\xe9t\xe9 1 2 3 4\r\n"
    files = {name.replace("/b/", "/\xe9t\xe9/"): content for name, content in FLAT.items()}
    code, out, _ = data(capsys, files | {"LOC_val_solution.csv": listed.encode(encoding)})
    assert code == 0
    assert part("val") == ["\xe9t\xe9"]
    assert ("read as Latin-1" in out) == (encoding == "latin-1")


@pytest.mark.parametrize("name", ["ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz", "val/x.png", "val.txt"])
def test_a_fifo_is_refused(data, capsys, name):
    data.root.mkdir()
    (data.root / "val").mkdir()
    os.mkfifo(data.root / name)
    code, _, err = data(capsys, FLAT)
    assert code == 1
    assert f"{name} is a FIFO" in err


def test_a_damaged_plan(data, capsys):
    assert data(capsys, PLAIN)[0] == 0
    (prepared.folder(128) / "plan.json").write_text('{"sources": ')
    code, _, err = data(capsys, PLAIN)
    assert code == 1
    assert "plan.json is damaged" in err
    assert err.count("\n") == 1


def test_the_source_is_no_place_for_what_is_prepared(data, capsys, monkeypatch):
    data.root.mkdir()
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(data.root))
    for _ in range(2):
        code, _, err = data(capsys, PLAIN)
        assert code == 2
        assert "set ALEXNET_REPRO_DATA to a folder outside" in err
    assert sorted(path.name for path in data.root.iterdir()) == ["train", "val"]


def test_a_16_bit_pgm(data, capsys):
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    content = b"P5 64 64 65535\n" + values.astype(">u2").tobytes()
    assert data(capsys, PLAIN | {"train/a/deep.pgm": content})[0] == 0
    pixels = np.load(prepared.folder(128) / "train-00000.npy")
    greys = [image for image in pixels if (image == image[..., :1]).all()]
    assert len(greys) == 1
    assert (greys[0] == 255).mean() < 0.02
    assert greys[0].mean() == pytest.approx(127, abs=3)


@pytest.mark.parametrize("share", ["0.1", "1", "nan"])
def test_images_are_not_set_apart_where_there_is_val(data, capsys, share):
    code, _, err = data(capsys, PLAIN, "--hold-out", share)
    assert code == 2
    assert "--hold-out" in err


@pytest.mark.parametrize("words", [["data", "cifar10", "--hold-out", "0.1"], ["data", "imagenet", "--hold-out", "0.1"]])
def test_images_to_set_apart_need_a_folder(monkeypatch, capsys, words):
    code, _, err = call(monkeypatch, capsys, *words)
    assert code == 2
    assert "--hold-out" in err


@given(
    dropped=st.sets(st.sampled_from(sorted(KAGGLE)), max_size=3),
    spoiled=st.dictionaries(st.sampled_from(sorted(KAGGLE)), st.binary(max_size=30), max_size=2),
    added=st.dictionaries(
        st.sampled_from(["val.txt", "x.tar", "Data/CLS-LOC/train/n03.tar", "meta.mat"]), st.binary(max_size=30)
    ),
    share=st.sampled_from(["0.1", "0.9", "2", "nan", "x", None]),
)
@settings(max_examples=30)
def test_no_folder_gives_a_traceback(tmp_path_factory, capsys, dropped, spoiled, added, share):
    scratch = tmp_path_factory.mktemp("any")
    write(scratch / "source", {name: KAGGLE[name] for name in KAGGLE if name not in dropped} | spoiled | added)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXNET_REPRO_DATA", str(scratch / "data"))
        options = [] if share is None else ["--hold-out", share]
        words = ["data", "imagenet", "--from", str(scratch / "source"), "--size", "128", "--workers", "1", *options]
        code, _, err = call(patch, capsys, *words)
        assert code in (0, 1, 2)
        assert err.count("\n") == (code != 0)
        if code == 0:
            assert json.loads((prepared.folder(128) / "manifest.json").read_text())["classes"][:1] == ["n01"]
