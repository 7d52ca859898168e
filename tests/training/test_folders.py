"""The same images in every form in which they come give the same classes, labels, order and bytes."""

import io
import os
import shutil
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from alexnet_repro.common.errors import UserError
from alexnet_repro.training.data.image_folders import find

from ..files import tar, write
from ..pictures import CLASSES, jpeg, scene

TRUTH = ["bee", "ant", "cat", "cat", "bee"]


def train_images():
    return {f"{name}/{name}_{i}.JPEG": jpeg(scene(i)) for name in CLASSES for i in range(4)}


def val_images(year=2012, part="val"):
    return {f"ILSVRC{year}_{part}_{i:08d}.JPEG": jpeg(scene(50 + i)) for i in range(1, 6)}


def pack(path, files, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar(files, mode))


@cache
def class_archives():
    images = train_images().items()
    return {
        f"{name}.tar": tar({full.split("/")[1]: content for full, content in images if full.startswith(name)})
        for name in CLASSES
    }


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


@pytest.mark.parametrize(("share", "counts"), [(0.1, (18, 2)), (0.25, (15, 5)), (0.3, (14, 6)), (0.9, (2, 18))])
def test_class_folders_alone_are_split_when_asked(tmp_path, share, counts):
    write(tmp_path, {f"{name}/{i}.JPEG": b"x" for name in CLASSES for i in range(20)})
    with pytest.raises(UserError, match=r"--hold-out 0\.1"):
        find(tmp_path)
    found = find(tmp_path, share)
    for name, wanted in zip(("train", "val"), counts, strict=True):
        assert [sum(each.label == label for each in found.parts[name]) for label in range(3)] == [wanted] * 3
    assert not {each.name for each in found.parts["train"]} & {each.name for each in found.parts["val"]}
    assert found.remarks == (f"no val: {3 * counts[1]} images are set apart for it, {share} of each class",)
    assert found.layout == "one folder per class"
    assert contents(find(tmp_path, share)) == contents(found)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, float("nan"), float("inf")])
def test_a_share_is_between_nothing_and_all(tmp_path, share):
    with pytest.raises(UserError, match="--hold-out"):
        find(tmp_path, share)


def test_images_are_set_apart_only_where_there_is_no_val(tmp_path):
    write(tmp_path, {f"train/{name}/{i}.JPEG": b"x" for name in CLASSES for i in range(20)})
    (tmp_path / "val").mkdir()
    for share in (None, 0.1):
        with pytest.raises(UserError, match="val"):
            find(tmp_path, share)
    (tmp_path / "val").rmdir()
    assert len(find(tmp_path, 0.1).parts["val"]) == 6
    write(tmp_path / "val", {"ant/x.JPEG": b"x"})
    with pytest.raises(UserError, match="leave --hold-out out"):
        find(tmp_path, 0.1)
    assert len(find(tmp_path).parts["train"]) == 60


def test_a_labelled_test_does_for_val(tmp_path):
    write(
        tmp_path, {f"{part}/{name}/{i}.JPEG": b"x" for part in ("train", "test") for name in CLASSES for i in range(9)}
    )
    assert list(find(tmp_path).parts) == ["train", "test"]
    assert {part: len(sources) for part, sources in find(tmp_path, 0.3).parts.items()} == {
        "train": 21,
        "val": 6,
        "test": 27,
    }


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


WNIDS = ("n01443537", "n01629819", "n01641577")


def tiny(root, val="flat"):
    """Tiny ImageNet's own layout; its validation images flat, sorted, or sorted half way."""
    for name in WNIDS:
        write(root, {f"train/{name}/images/{name}_{i}.JPEG": f"{name} {i}".encode() for i in range(3)})
        write(root, {f"train/{name}/{name}_boxes.txt": f"{name}_0.JPEG\t0\t0\t62\t62\n".encode()})
    rows = [f"val_{i}.JPEG\t{WNIDS[i % 3]}\t0\t32\t44\t62\n" for i in range(6)]
    write(root, {"val/val_annotations.txt": "".join(rows).encode(), "wnids.txt": "\n".join(WNIDS).encode()})
    for i in range(6):
        place = "images" if val == "flat" or (val == "half" and i > 3) else f"{WNIDS[i % 3]}/images" * (val != "plain")
        write(root, {f"val/{place}/val_{i}.JPEG": f"val {i}".encode()})
    write(root, {"test/images/test_0.JPEG": b"nobody knows", "test/images/test_1.JPEG": b"nor this"})


def everything(found):
    return {
        part: {(each.name, found.classes[each.label], each.read()) for each in sources}
        for part, sources in found.parts.items()
    }


@pytest.mark.parametrize("val", ["flat", "sorted", "half"])
def test_tiny_imagenet(tmp_path, val):
    tiny(tmp_path, val)
    found = find(tmp_path)
    assert found.layout == "Tiny ImageNet"
    assert everything(found) == {
        "train": {(f"{name}/{name}_{i}.JPEG", name, f"{name} {i}".encode()) for name in WNIDS for i in range(3)},
        "val": {(f"{WNIDS[i % 3]}/val_{i}.JPEG", WNIDS[i % 3], f"val {i}".encode()) for i in range(6)},
    }
    said = "\n".join(found.remarks)
    assert said.count("test: left out, as they have no labels: 2 images") == 1
    assert ("val_annotations.txt" in said) == (val != "sorted")


def from_kaggle(root, inside="."):
    base = root / inside / "Data" / "CLS-LOC"
    for name in WNIDS:
        write(base / "train", {f"{name}/{name}_{i}.JPEG": f"{name} {i}".encode() for i in range(3)})
        write(root / inside / "Annotations" / "CLS-LOC", {f"train/{name}/{name}_0.xml": b"<annotation/>"})
    rows = ["ImageId,PredictionString"]
    for i in range(1, 7):
        write(base, {f"val/ILSVRC2012_val_{i:08d}.JPEG": f"val {i}".encode()})
        boxes = f"{WNIDS[i % 3]} 1 2 3 4 " * (1 + i % 2)
        rows.append(f"ILSVRC2012_val_{i:08d},{boxes}")
        write(base, {f"test/ILSVRC2012_test_{i:08d}.JPEG": b"nobody knows"})
    write(
        root,
        {"LOC_val_solution.csv": "\n".join(rows).encode(), "LOC_sample_submission.csv": b"ImageId,PredictionString\n"},
    )
    listed = "".join(f"ILSVRC2012_val_{i:08d} {i}\n" for i in range(1, 7))
    write(root / inside / "ImageSets" / "CLS-LOC", {"val.txt": listed.encode(), "test.txt": listed.encode()})


@pytest.mark.parametrize("inside", [".", "ILSVRC"])
def test_ilsvrc_from_kaggle(tmp_path, inside):
    from_kaggle(tmp_path, inside)
    found = find(tmp_path)
    assert found.layout == "ILSVRC as Kaggle has it"
    assert found.classes == WNIDS
    assert everything(found)["val"] == {
        (f"{WNIDS[i % 3]}/ILSVRC2012_val_{i:08d}.JPEG", WNIDS[i % 3], f"val {i}".encode()) for i in range(1, 7)
    }
    assert len(found.parts["train"]) == 9
    said = "\n".join(found.remarks)
    assert "LOC_val_solution.csv" in said
    assert "test: left out, as they have no labels: 6 images" in said
    assert "not looked into" not in said


def test_kaggles_root_without_its_list(tmp_path):
    from_kaggle(tmp_path)
    (tmp_path / "LOC_val_solution.csv").unlink()
    with pytest.raises(UserError, match=r"6 of 6 val images .* LOC_val_solution\.csv"):
        find(tmp_path)


LAYOUTS = {
    "ILSVRC's archives, packed": as_distributed,
    "ILSVRC's archives, of which the training images are unpacked to class archives": half_unpacked,
    "one folder per class": flat_names,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_named(tmp_path, layout):
    LAYOUTS[layout](tmp_path)
    assert find(tmp_path).layout == layout


def test_ilsvrc_sorted_and_unpacked(tmp_path):
    write(tmp_path, {f"{part}/{name}/{part}_{name}.JPEG": b"x" for part in ("train", "val") for name in WNIDS})
    assert find(tmp_path).layout == "ILSVRC, sorted"
    shutil.rmtree(tmp_path / "val")
    write(
        tmp_path,
        {"val/ILSVRC2012_val_00000001.JPEG": b"x", "val.txt": f"ILSVRC2012_val_00000001.JPEG {WNIDS[0]}".encode()},
    )
    assert find(tmp_path).layout == "ILSVRC, unpacked"


def test_an_archive_of_test_images_that_its_year_names(tmp_path):
    as_distributed(tmp_path)
    assert "test: left out, as they have no labels: 1 images" in "\n".join(find(tmp_path).remarks)


def test_hidden_files_and_folders_are_nobodys(tmp_path, plain):
    def names(root):
        return {part: [each.name for each in sources] for part, sources in find(root).parts.items()}

    wanted = names(plain)
    for hidden in (
        "train/.ipynb_checkpoints",
        "val/.git",
        "train/ant/.ipynb_checkpoints",
        "val/__MACOSX",
        "train/bee/@eaDir",
    ):
        write(plain, {f"{hidden}/x.JPEG": b"x", f"{hidden}/deep/x.JPEG": b"x"})
    write(
        plain, {"train/ant/._ant_0.JPEG": b"x", "val/._x.JPEG": b"x", "__MACOSX/train/ant/._x.JPEG": b"x", ".y": b"x"}
    )
    write(plain, {"._ILSVRC2012_img_train.tar": b"x", "._LOC_val_solution.csv": b"x", "train/._n01440764.tar": b"x"})
    assert names(plain) == wanted
    remarks = find(plain).remarks
    assert "train: left out, as hidden folders: .ipynb_checkpoints, ant/.ipynb_checkpoints, bee/@eaDir" in remarks
    assert "val: left out, as hidden folders: .git, __MACOSX" in remarks


def test_hidden_members_of_archives_are_nobodys(tmp_path):
    packed = {f"__MACOSX/{name}": b"x" for name in val_images()} | {f"./.x/{i}.JPEG": b"x" for i in range(2)}
    pack(tmp_path / "one" / "ILSVRC2012_img_val.tar", val_images())
    pack(tmp_path / "two" / "ILSVRC2012_img_val.tar", {f"./{name}": c for name, c in val_images().items()} | packed)
    for name in ("one", "two"):
        half_unpacked(tmp_path / name)
        shutil.rmtree(tmp_path / name / "val")
    assert contents(find(tmp_path / "one")) == contents(find(tmp_path / "two"))


def test_sorting_that_was_interrupted(tmp_path, plain):
    for form in (flat_names, kaggle):
        root = tmp_path / form.__name__
        form(root)
        for (name, _), label in list(zip(val_images().items(), TRUTH, strict=True))[:3]:
            (root / "val" / label).mkdir(exist_ok=True)
            (root / "val" / name).rename(root / "val" / label / name)
        assert contents(find(root)) == contents(find(plain))


@pytest.mark.parametrize("part", ["val", "test"])
def test_interrupted_sorting_without_a_list(tmp_path, part):
    write(tmp_path, {f"train/{name}/1.JPEG": b"x" for name in CLASSES} | {"val/ant/1.JPEG": b"x"})
    write(tmp_path / part, {"bee/9.JPEG": b"x", "2.JPEG": b"x", "3.JPEG": b"x"})
    with pytest.raises(
        UserError, match=rf"2 of 2 {part} images .* beside {2 if part == 'val' else 1} in class folders"
    ):
        find(tmp_path)


def test_a_sorted_image_that_the_list_contradicts(tmp_path):
    flat_names(tmp_path)
    name = next(iter(val_images()))
    (tmp_path / "val" / "cat").mkdir()
    (tmp_path / "val" / name).rename(tmp_path / "val" / "cat" / name)
    with pytest.raises(UserError, match=rf"{name} is of class 'bee' by .*, 'cat' by"):
        find(tmp_path)


def test_an_image_both_flat_and_sorted(tmp_path):
    flat_names(tmp_path)
    name = next(iter(val_images()))
    (tmp_path / "val" / "bee").mkdir()
    shutil.copy(tmp_path / "val" / name, tmp_path / "val" / "bee" / name)
    with pytest.raises(UserError, match=f"bee/{name} twice"):
        find(tmp_path)


def test_flat_images_without_labels(tmp_path):
    write(tmp_path, {f"train/{name}/1.JPEG": b"x" for name in CLASSES} | {"val/val_1.JPEG": b"x", "val/readme": b"x"})
    for share in (None, 0.1):
        with pytest.raises(UserError, match=r"val_1\.JPEG first.*val_annotations\.txt.*meta\.mat"):
            find(tmp_path, share)


def test_images_without_a_suffix_are_taken_by_a_list(tmp_path):
    write(
        tmp_path, {f"train/{name}/1.JPEG": b"x" for name in CLASSES} | {"val/1": b"1", "val/2": b"2", "val/notes": b""}
    )
    write(tmp_path, {"val.txt": b"1 ant\n2 bee\n"})
    found = find(tmp_path)
    assert {each.name for each in found.parts["val"]} == {"ant/1", "bee/2"}
    assert "val: left out, as no image by name or label: notes" in found.remarks


def test_training_images_unpacked_half_way(tmp_path, plain):
    tars = class_archives()
    write(plain / "train", {"cat.tar": tars["cat.tar"]})
    whole = contents(find(plain))
    shutil.rmtree(plain / "train" / "cat")
    found = find(plain)
    assert contents(found) == whole
    assert "half way" in found.layout
    shutil.rmtree(plain / "train" / "bee")
    (plain / "train" / "bee").mkdir()
    with pytest.raises(UserError, match="'bee' of val"):
        find(plain)
    write(plain / "train", {"bee.tar": tars["bee.tar"]})
    assert contents(find(plain)) == whole
    write(plain / "train", {"ant.tar": tars["ant.tar"]})
    assert contents(find(plain)) == whole
    (plain / "train" / "ant" / "ant_0.JPEG").unlink()
    with pytest.raises(UserError, match=r"class ant has 3 files .* other 4"):
        find(plain)


def test_the_archive_is_still_where_it_was_unpacked(tmp_path, plain):
    whole = contents(find(plain))
    pack(plain / "train" / "ILSVRC2012_img_train.tar", class_archives())
    pack(plain / "val" / "ILSVRC2012_img_val.tar", val_images())
    assert contents(find(plain)) == whole
    shutil.rmtree(plain / "train" / "cat")
    assert contents(find(plain)) == whole
    (plain / "val" / "bee" / next(iter(val_images()))).unlink()
    with pytest.raises(UserError, match=r"has 4 images of val, and .*img_val.tar has 5"):
        find(plain)


def _beside_classes(root):
    write(root, {f"{name}/1.JPEG": b"x" for name in CLASSES})


def _train_and_val(root):
    write(root, {f"{part}/{name}/1.JPEG": b"x" for part in ("train", "val") for name in CLASSES})


def _nothing(root):
    pass


def _two(make, *more):
    def both(root):
        make(root)
        for name in more:
            write(root, {name: b"x"})

    return both


REFUSED = {
    "Data/DET": (_two(_nothing, "Annotations/DET/a.xml", "Data/DET/a.JPEG", "Data/DET/b.JPEG"), "Annotations/ has no"),
    "the folder above": (lambda root: _train_and_val(root / "imagenet"), r"name .*/imagenet instead\?"),
    "two of them": (lambda root: [_train_and_val(root / name) for name in "xy"], "has no train/, and has x/, y/"),
    "classes of classes": (lambda root: [_beside_classes(root / "train" / name) for name in "xy"], "move them up"),
    "zipped": (lambda root: write(root, {"tiny-imagenet-200.zip": b"PK"}), r"has tiny-imagenet-200\.zip"),
    "zipped class": (_two(_train_and_val, "train/dog.zip"), r"dog\.zip first"),
    "gzipped class": (_two(_train_and_val, "train/dog.tar.gz"), r"dog\.tar\.gz first"),
    "zipped val": (_two(_train_and_val, "val/rest.ZIP"), r"rest\.ZIP"),
    "packed class alone": (_two(_beside_classes, "dog.tar"), r"dog\.tar is packed"),
    "flat training images": (_two(_train_and_val, "train/1.JPEG", "train/2.JPEG"), r"2 files .* 1\.JPEG first"),
    "two vals": (_two(_train_and_val, "valid/ant/1.JPEG"), "both look like val"),
    "two archives": (_two(_train_and_val, "ILSVRC2010_img_val.tar", "ILSVRC2012_img_val.tar"), "both look like val"),
    "two roots": (_two(_train_and_val, "Data/CLS-LOC/train/ant/1.JPEG"), "both hold images"),
    "an empty folder": (lambda root: (root / "train").mkdir(), "has train/"),
    "a folder of documents": (_two(_beside_classes, "docs/deep/readme.txt"), "docs/ has no files of its own"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("share", [None, 0.5])
def test_what_fits_no_layout_is_refused(tmp_path, case, share):
    make, said = REFUSED[case]
    make(tmp_path)
    with pytest.raises(UserError, match=said):
        find(tmp_path, share)


@pytest.mark.parametrize("name", ["Train", "TRAIN"])
def test_parts_are_known_in_any_case(tmp_path, name):
    write(tmp_path, {f"{part}/{label}/1.JPEG": b"x" for part in (name, "Val") for label in CLASSES})
    assert {part: len(sources) for part, sources in find(tmp_path).parts.items()} == {"train": 3, "val": 3}


def test_what_is_left_out_is_said(tmp_path):
    _train_and_val(tmp_path)
    write(tmp_path, {"train/ant/small/2.JPEG": b"x", "extra/1.JPEG": b"x"})
    (tmp_path / "train" / "dog").mkdir()
    (tmp_path / "train" / "ant" / "gone.JPEG").symlink_to(tmp_path / "nowhere")
    assert set(find(tmp_path).remarks) == {
        "train: left out, as they are empty: dog",
        "train: left out, as links that lead nowhere: gone.JPEG",
        "train: taken with the class whose folder they lie in: ant/small",
        "not looked into: extra",
    }


@pytest.mark.parametrize(
    "place",
    ["train/ant/x.JPEG", "train/x.JPEG", "train/dog.tar", "val/x.JPEG", "val/val_annotations.txt", "val.txt",
     "LOC_val_solution.csv", "ILSVRC2012_img_val.tar", "ILSVRC2012_img_train.tar", "ILSVRC2012_devkit_t12.tar.gz",
     "ILSVRC2012_validation_ground_truth.txt", "kit/data/meta.mat", "synsets.txt"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
def test_what_is_no_file_is_refused_wherever_a_file_is_read(tmp_path, place, kind):
    _train_and_val(tmp_path)
    if "val" in place or place[0] in "Iks":
        write(tmp_path, {"val/ILSVRC2012_val_00000001.JPEG": b"x", "list/ILSVRC_validation_ground_truth.txt": b"1\n"})
        write(tmp_path, {"validation.txt": b"x 0\n"})
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as there:
            here = os.getcwd()
            os.chdir(path.parent)  # the names of sockets are short
            there.bind(path.name)
            os.chdir(here)
    with pytest.raises(UserError, match=f"{path.name} is a {kind}") as caught:
        find(tmp_path)
    assert caught.value.code == 1


def test_links_that_go_round(tmp_path):
    _train_and_val(tmp_path)
    (tmp_path / "train" / "ant" / "again").symlink_to(tmp_path / "train" / "ant")
    (tmp_path / "train" / "bee" / "more").symlink_to(tmp_path / "train" / "bee")
    assert len(find(tmp_path).parts["train"]) == 3
    (tmp_path / "train" / "cat" / "up").symlink_to(tmp_path / "train")
    with pytest.raises(UserError, match="a link to a folder that it lies in"):
        find(tmp_path)


NAME = st.sampled_from(
    ["train", "val", "test", "images", "Data", "CLS-LOC", "ILSVRC", "Annotations", "n01443537", "n01629819", "ant",
     "bee", ".hidden", "__MACOSX", "data", "kit", "x\ny", "\udcff"]
)  # fmt: skip
FILE = st.sampled_from(
    ["1.JPEG", "2.JPEG", "ILSVRC2012_val_00000001.JPEG", "val.txt", "val_annotations.txt", "LOC_val_solution.csv",
     "a.tar", "n01443537.tar", "a.zip", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "x_img_test_v1.tar",
     "meta.mat", "x_validation_ground_truth.txt", "ILSVRC2012_devkit_t12.tar.gz", "ant_boxes.txt", "synsets.txt"]
)  # fmt: skip
CONTENT = st.one_of(
    st.sampled_from([b"", b"1\n", b"ant\nbee\n", b"1.JPEG ant\n", b"1.JPEG\tant\t0\t0\t1\t1\n", b"1.JPEG 0\n2.JPEG 1"]),
    st.sampled_from(["tar", "tars", "link", "loop", "up", "fifo", "folder"]),
    st.binary(max_size=40),
)  # fmt: skip


def plant(root, path, content):
    with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == "tar":
            pack(path, {"1.JPEG": b"x", "ILSVRC2012_val_00000001.JPEG": b"y"})
        elif content == "tars":
            pack(path, class_archives())
        elif content == "fifo":
            os.mkfifo(path)
        elif content == "folder":
            path.mkdir()
        elif isinstance(content, str):
            path.symlink_to({"link": root / "train", "loop": path, "up": path.parent}[content])
        elif not os.path.lexists(path):
            path.write_bytes(content)


def outcome(root, share):
    """What ``find`` gives or raises as it should; a traceback is neither."""
    try:
        return find(root, share)
    except UserError as error:
        return error


@settings(max_examples=60)
@given(
    files=st.lists(st.tuples(st.lists(NAME, max_size=4), FILE, CONTENT), max_size=12),
    base=st.booleans(),
    share=st.sampled_from([None, 0.5]),
)
def test_any_folder_is_right_or_one_line(files, base, share):
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        if base:
            _train_and_val(root)
        for folders, name, content in files:
            plant(root, root.joinpath(*folders, name), content)
        before = {path for path in root.rglob("*")}
        found = outcome(root, share)
        if isinstance(found, UserError):
            assert found.code in (1, 2)
            assert "\n" not in str(found)
        else:
            assert len(found.classes) >= 2
            assert set(found.parts) > {"train"}
            assert {each.label for each in found.parts["train"]} == set(range(len(found.classes)))
            for sources in found.parts.values():
                assert len({each.name for each in sources}) == len(sources)
                for each in sources:
                    assert len(each.read()) == each.size
                    assert each.name.startswith(f"{found.classes[each.label]}/")
                    assert not any(part.startswith(".") for part in each.name.split("/"))
        assert {path for path in root.rglob("*")} == before
