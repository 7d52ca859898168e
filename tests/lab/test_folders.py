"""The same images in every form in which they come give the same classes, labels, order and bytes."""

import io
import shutil
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from alexnet_repro.errors import UserError
from alexnet_repro.lab.folders import find

from ..pictures import CLASSES, jpeg, scene

TRUTH = ["bee", "ant", "cat", "cat", "bee"]


def train_images():
    return {f"{name}/{name}_{i}.JPEG": jpeg(scene(i)) for name in CLASSES for i in range(4)}


def val_images(year=2012, part="val"):
    return {f"ILSVRC{year}_{part}_{i:08d}.JPEG": jpeg(scene(50 + i)) for i in range(1, 6)}


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def pack(path, files, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def class_archives():
    archives = {}
    for name in CLASSES:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for full, content in train_images().items():
                if full.startswith(name):
                    member = tarfile.TarInfo(full.split("/")[1])
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        archives[f"{name}.tar"] = file.getvalue()
    return archives


def kit(year=2012, part="validation"):
    """The development kit: the labels as numbers in another order than that of the names."""
    number = {"cat": 1, "ant": 2, "bee": 3}
    rows = np.array(
        [(n, name, name.title()) for name, n in number.items()],
        dtype=[(f"ILSVRC{year}_ID", "O"), ("WNID", "O"), ("words", "O")],
    )
    meta = io.BytesIO()
    savemat(meta, {"synsets": rows.reshape(-1, 1)})
    lines = "".join(f"{number[name]}\n" for name in TRUTH)
    return {"data/meta.mat": meta.getvalue(), f"data/ILSVRC{year}_{part}_ground_truth.txt": lines.encode()}


def contents(found):
    return {
        part: [(each.name, found.classes[each.label], each.read()) for each in sources]
        for part, sources in found.parts.items()
    }


@pytest.fixture
def plain(tmp_path):
    """Class folders in train and val: what every other form must equal."""
    root = tmp_path / "plain"
    write(root / "train", train_images())
    for (name, content), label in zip(val_images().items(), TRUTH, strict=True):
        write(root / "val", {f"{label}/{name}": content})
    return root


def as_distributed(root):
    pack(root / "ILSVRC2012_img_train.tar", class_archives())
    pack(root / "ILSVRC2012_img_train_t3.tar", {})
    pack(root / "ILSVRC2012_img_val.tar", val_images())
    pack(root / "ILSVRC2012_img_test_v10102019.tar", {"test/ILSVRC2012_test_00000001.JPEG": b""})
    pack(root / "ILSVRC2012_devkit_t12.tar.gz", {f"ILSVRC2012_devkit_t12/{n}": c for n, c in kit().items()}, "w:gz")


def half_unpacked(root):
    write(root / "train", class_archives())
    write(root / "val", val_images())
    write(root / "ILSVRC2012_devkit_t12", kit())


def flat_names(root):
    write(root / "train", train_images())
    write(root / "val", val_images())
    write(root, {"imagenet_2012_validation_ground_truth.txt": "\n".join(TRUTH).encode()})


def kaggle(root):
    write(root / "train", train_images())
    write(root / "val", val_images())
    rows = [f"{name.removesuffix('.JPEG')},{label} 1 2 3 4 " for name, label in zip(val_images(), TRUTH, strict=True)]
    write(root, {"LOC_val_solution.csv": "\n".join(["ImageId,PredictionString", *rows]).encode()})


@pytest.mark.parametrize("form", [as_distributed, half_unpacked, flat_names, kaggle])
def test_every_form_is_one(tmp_path, plain, form):
    root = tmp_path / "other"
    root.mkdir()
    form(root)
    assert contents(find(root)) == contents(find(plain))


def test_2010_has_a_test_set(tmp_path):
    pack(tmp_path / "ILSVRC2010_images_train.tar", class_archives())
    pack(tmp_path / "ILSVRC2010_images_val.tar", {f"val/{n}": c for n, c in val_images(2010).items()})
    pack(tmp_path / "ILSVRC2010_images_test.tar", {f"test/{n}": c for n, c in val_images(2010, "test").items()})
    write(tmp_path / "devkit-1.0", kit(2010) | kit(2010, "test"))
    found = find(tmp_path)
    assert {part: len(sources) for part, sources in found.parts.items()} == {"train": 12, "val": 5, "test": 5}


def test_class_folders_alone_are_split(tmp_path):
    write(tmp_path, {f"{name}/{i}.JPEG": b"x" for name in CLASSES for i in range(20)})
    found = find(tmp_path)
    for name, wanted in (("train", 18), ("val", 2)):
        assert [sum(each.label == label for each in found.parts[name]) for label in range(3)] == [wanted] * 3
    assert "set apart" in found.remarks[0]
    assert contents(find(tmp_path)) == contents(found)


def test_any_first_part_is_a_sample_of_all_classes(tmp_path):
    write(tmp_path / "train", {f"{name}/{i}.JPEG": b"x" for name in CLASSES for i in range(100)})
    write(tmp_path / "test", {f"{name}/{i}.JPEG": b"x" for name in CLASSES for i in range(5)})
    first = find(tmp_path).parts["train"][:60]
    assert all(10 <= sum(each.label == label for each in first) <= 30 for label in range(3))


def test_hidden_files_and_links(tmp_path):
    write(tmp_path, {"train/a/1.jpg": b"x", "train/a/._1.jpg": b"x", "train/b/deep/2.jpg": b"x", "val/a/1.jpg": b"x"})
    (tmp_path / "train" / "a" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "train" / "c").symlink_to(tmp_path / "train" / "b")
    found = find(tmp_path)
    assert found.classes == ("a", "b", "c")
    assert {each.name for each in found.parts["train"]} == {"a/1.jpg", "b/deep/2.jpg", "c/deep/2.jpg"}


def _no_labels(root):
    half_unpacked(root)
    shutil.rmtree(root / "ILSVRC2012_devkit_t12")


def _no_meta(root):
    half_unpacked(root)
    (root / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").unlink()


def _strange_class(root):
    write(root, {"train/a/1.jpg": b"x", "train/b/1.jpg": b"x", "val/z/1.jpg": b"x"})


def _too_few_labels(root):
    flat_names(root)
    write(root, {"imagenet_2012_validation_ground_truth.txt": b"ant\nbee\n"})


def _cut_archive(root):
    as_distributed(root)
    whole = (root / "ILSVRC2012_img_train.tar").read_bytes()
    (root / "ILSVRC2012_img_train.tar").write_bytes(b"junk" * 200 + whole[800:])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: None, "folder per class"),
        (_no_labels, "development kit"),
        (_no_meta, "meta.mat"),
        (_strange_class, "'z'"),
        (_too_few_labels, "no label"),
        (_cut_archive, "damaged"),
    ],
)
def test_what_is_missing_is_named(tmp_path, make, said):
    make(tmp_path)
    with pytest.raises(UserError, match=said):
        find(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        find(tmp_path / "nowhere")
