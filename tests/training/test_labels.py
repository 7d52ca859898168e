"""Lists of labels as people have them: the same labels whatever wrote the list, or one line with file, row, remedy."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.io import savemat

from alexnet_repro.common.errors import UserError
from alexnet_repro.training.data import labels

from ..files import tar, write

CLASSES = ["n01", "n02", "n03"]
FILES = [f"ILSVRC2012_val_{i:08d}" for i in range(1, 5)]
TRUTH = ["n02", "n01", "n03", "n01"]


def solution(mark=",", end="\n"):
    rows = ["ImageId,PredictionString", *(f"{file},{name} 1 2 3 4 " for file, name in zip(FILES, TRUTH, strict=True))]
    return end.join(row.replace(",", mark) for row in rows) + end


def plain(mark=" ", label=lambda name: name):
    return "".join(f"{file}.JPEG{mark}{label(name)}\n" for file, name in zip(FILES, TRUTH, strict=True))


def annotations():
    return "".join(f"{file}.JPEG\t{name}\t0\t0\t62\t62\n" for file, name in zip(FILES, TRUTH, strict=True))


def meta(field="ILSVRC2012_ID", classes=CLASSES, compress=False):
    rows = np.array(
        [(3 - i, name, "words") for i, name in enumerate(classes)], dtype=[(field, "O"), ("WNID", "O"), ("words", "O")]
    )
    file = io.BytesIO()
    savemat(file, {"synsets": rows.reshape(-1, 1)}, do_compression=compress)
    return file.getvalue()


NUMBERS = "".join(f"{3 - CLASSES.index(name)}\n" for name in TRUTH)
"""TRUTH as ILSVRC numbers it in ``meta``."""


def kit(truth=NUMBERS, table=None):
    return {"data/meta.mat": meta() if table is None else table, "data/ILSVRC2012_validation_ground_truth.txt": truth}


QUOTED = "\n".join(f'"{row}"'.replace(",", '","') for row in solution().splitlines())
REVERSED = "label;file\n" + "".join(f"{row.split()[1]};{row.split()[0]}\n" for row in plain().splitlines())


LISTS = {
    "Tiny ImageNet": {"val_annotations.txt": annotations()},
    "Tiny ImageNet, its tabs lost": {"val_annotations.txt": annotations().replace("\t", " ")},
    "Kaggle": {"LOC_val_solution.csv": solution()},
    "Kaggle, by a spreadsheet": {"LOC_val_solution.csv": "\ufeff" + solution(";", "\r\n")},
    "Kaggle, quoted": {"LOC_val_solution.csv": QUOTED},
    "Kaggle, several boxes": {"LOC_val_solution.csv": solution().replace("n01 1 2 3 4 ", "n01 1 2 3 4 n01 5 6 7 8 ")},
    "UTF-16": {"LOC_val_solution.csv": solution("\t").encode("utf-16")},
    "old Mac": {"val.txt": plain().replace("\n", "\r")},
    "names": {"val.txt": plain()},
    "names in folders": {"valid.txt": plain().replace("ILSVRC", "val/ILSVRC")},
    "names by backslash": {"validation_list.txt": plain("\t").replace("ILSVRC", "C:\\val\\ILSVRC")},
    "labels first": {"val_labels.csv": REVERSED},
    "more columns": {"val.csv": "id,width,class\n" + plain(",500,")},
    "a header of one's own": {"val.tsv": "filename\twhat it is\n" + plain("\t")},
    "empty lines": {"val.txt": "\n" + plain().replace("\n", "\n\n")},
    "Caffe": {"val.txt": plain(label=CLASSES.index)},
    "Caffe, another order": {"val.txt": plain(label=CLASSES[::-1].index), "synset_words.txt": "n03 c\nn02 b, d\nn01 a"},
    "kit": kit(),
    "kit, compressed": kit(table=meta(compress=True)),
    "kit in a folder": {f"ILSVRC2012_devkit_t12/{name}": content for name, content in kit().items()},
    "kit of 2017": {"kit/map_clsloc.txt": "n01 3 a\nn02 2 b\nn03 1 c\n", "kit/x_validation_ground_truth.txt": NUMBERS},
    "kit of 2010": kit(table=meta("ILSVRC2010_ID")),
    "names in order": {"imagenet_2012_validation_synset_labels.txt": "\n".join(TRUTH) + "\n\n"},
    "names by a spreadsheet": {"x_validation_ground_truth.txt": "\ufeff" + "\r\n".join(TRUTH)},
    "two lists that agree": {"val.txt": plain(), "LOC_val_solution.csv": solution()} | kit(),
}  # fmt: skip


@pytest.mark.parametrize("case", LISTS)
def test_whatever_wrote_a_list_the_labels_are_the_same(tmp_path, case):
    write(tmp_path, LISTS[case])
    found = labels.find("val", [tmp_path], CLASSES)
    assert found
    for each in found:
        assert [each.of(f"{file}.JPEG", set(CLASSES)) for file in FILES] == TRUTH
        assert each.of("ILSVRC2012_val_00000099.JPEG", set(CLASSES)) is None


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_packed_kit(tmp_path, mode):
    path = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    path.write_bytes(tar({f"ILSVRC2012_devkit_t12/{name}": content for name, content in kit().items()}, mode))
    (found,) = labels.find("val", [tmp_path], CLASSES)
    assert [found.of(f"{file}.JPEG", set(CLASSES)) for file in FILES] == TRUTH
    content = path.read_bytes()
    path.write_bytes(content[: 700 if mode == "w" else len(content) // 2])
    with pytest.raises(UserError, match=r"devkit_t12\.tar\.gz is damaged"):
        labels.find("val", [tmp_path], CLASSES)


def test_a_kit_that_unpacks_to_more_than_any_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(labels.archives, "MOST", 5_000)
    (tmp_path / "devkit.tar.gz").write_bytes(tar({"meta.mat": bytes(100_000)}, "w:gz"))
    with pytest.raises(UserError, match="more than 5,000 bytes"):
        labels.find("val", [tmp_path], CLASSES)


def test_latin_1_is_read_and_said(tmp_path):
    write(tmp_path, {"val.txt": "1.JPEG \xe9t\xe9\n2.JPEG n01\n".encode("latin-1")})
    (found,) = labels.find("val", [tmp_path], ["n01", "\xe9t\xe9"])
    assert found.of("1.JPEG", {"n01", "\xe9t\xe9"}) == "\xe9t\xe9"
    assert "Latin-1" in found.note


def test_numbers_say_what_they_count(tmp_path):
    write(tmp_path, LISTS["Caffe"])
    (found,) = labels.find("val", [tmp_path], CLASSES)
    assert found.note == "its numbers count the classes from 0 in the order of their names"


def test_classes_that_are_numbers_are_names(tmp_path):
    write(tmp_path, {"val.txt": "1.JPEG 1\n2.JPEG 2\n"})
    (found,) = labels.find("val", [tmp_path], ["1", "2", "3"])
    assert [found.of(f"{i}.JPEG", {"1", "2", "3"}) for i in (1, 2)] == ["1", "2"]


def test_caffes_list_of_the_test_images_labels_nothing(tmp_path):
    listed = plain(label=lambda _: 0)
    write(tmp_path, {"test.txt": listed, "LOC_test_solution.csv": solution(), "LOC_sample_submission.csv": solution()})
    assert labels.find("test", [tmp_path], CLASSES) == []


DAMAGED = {
    "not UTF-8": ({"LOC_val_solution.csv": b"ImageId,PredictionString\nx,\xff\xfe a 1 2 3 4"}, r"row 2: .*not in UTF"),
    "other columns": ({"LOC_val_solution.csv": "a,b,c\n1,2,3\n"}, r"csv, row 1: its columns are 'a, b, c': name two"),
    "half a header": ({"val.csv": "id,width,height\nx,1,2\n"}, r"val\.csv, row 1: its columns"),
    "two classes": ({"LOC_val_solution.csv": solution().replace("n01", "n01 1 2 3 4 n02")}, "row 3: .* not one class"),
    "too few cells": ({"val.csv": "a.JPEG,n01\nb.JPEG\n"}, r"val\.csv, row 2: 1 columns and not 2"),
    "no label": ({"val.csv": "a.JPEG,n01\nb.JPEG,\n"}, r"row 2: a file and its label"),
    "no file": ({"val.csv": "a.JPEG,n01\n,n01\n"}, r"row 2: a file and its label"),
    "twice": ({"val.txt": "a.JPEG n01\nb.JPEG n02\na.JPEG n03\n"}, r"row 3: a\.JPEG has another label than in row 1"),
    "files alone": ({"val.txt": "a.JPEG\nb.JPEG\n"}, r"row 1: its columns are 'a\.JPEG'"),
    "open quote": ({"val.csv": 'a.JPEG,n01\n"b.JPEG,n01\nc.JPEG,n01\n'}, r"val\.csv, row 3: .*mend the row"),
    "rows as labels": ({"val.txt": "a.JPEG 1\nb.JPEG 2\nc.JPEG 3\n"}, r"val\.txt, row 3: label 3 of 3 classes from 0"),
    "huge number": ({"val.txt": f"a.JPEG {'9' * 5000}\n"}, r"val\.txt, row 1: label 9"),
    "web page": ({"val.txt": "<!DOCTYPE html><html>"}, r"val\.txt is a web page"),
    "no text": ({"val.txt": bytes(range(256))}, r"val\.txt is no text"),
    "half of UTF-16": ({"val.txt": "a.JPEG n01".encode("utf-16")[:-1]}, r"val\.txt is no text"),
    "a hole": (kit(truth="1\n\n2\n"), r"ground_truth\.txt, row 2: no label"),
    "empty": (kit(truth=""), r"ground_truth\.txt, row 1: no label"),
    "unknown number": (kit(truth="1\n2\n9\n"), r"row 3: class 9, which meta\.mat lacks"),
    "huge class": (kit(truth="9" * 5000), r"row 1: class 9"),
    "truth is a page": (kit(truth="<html>"), r"ground_truth\.txt is a web page"),
    "meta is a page": (kit(table="<!DOCTYPE html>"), r"meta\.mat \(it is a web page\): fetch"),
    "meta of junk": (kit(table=b"junk" * 200), r"cannot read .*meta\.mat \(no MAT-file of version 5\)"),
    "meta cut short": (kit(table=meta()[:-40]), r"cannot read .*meta\.mat \(it is cut short\)"),
    "meta of others": (kit(table=meta("number")), r"meta\.mat \(its synsets have no _ID and WNID\)"),
    "no meta": ({"x_validation_ground_truth.txt": NUMBERS}, r"meta\.mat, which names them, is not in"),
    "map of junk": ({"map_clsloc.txt": "n01 x\n", "x_validation_ground_truth.txt": NUMBERS}, r"map_clsloc\.txt, row 1"),
    "two kits": (kit() | {"devkit/data/meta.mat": meta("ILSVRC2010_ID")}, r"meta\.mat and .*meta\.mat differ"),
    "kit of junk": ({"ILSVRC2012_devkit_t12.tar.gz": b"junk" * 500}, r"t12\.tar\.gz is damaged"),
    "kit is a page": ({"ILSVRC2012_devkit_t12.tar.gz": "<!DOCTYPE html>"}, r"t12\.tar\.gz is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_list_is_one_line_of_file_row_and_remedy(tmp_path, case):
    files, said = DAMAGED[case]
    write(tmp_path, files)
    with pytest.raises(UserError, match=said) as caught:
        labels.find("val", [tmp_path], CLASSES)
    assert caught.value.code == 1
    assert str(tmp_path) in str(caught.value)


def test_a_class_without_training_images_names_its_row(tmp_path):
    write(tmp_path, {"val.txt": "a.JPEG n01\nb.JPEG n99\n"})
    (found,) = labels.find("val", [tmp_path], CLASSES)
    with pytest.raises(UserError, match=r"val\.txt, row 2: class 'n99' has no training images: add them, or mend"):
        found.of("b.JPEG", set(CLASSES))


def test_a_list_larger_than_any_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "MOST", 20)
    write(tmp_path, {"val.txt": plain()})
    with pytest.raises(UserError, match=r"val\.txt has more than 20 bytes"):
        labels.find("val", [tmp_path], CLASSES)


NAMES = ["val.txt", "val.csv", "val_annotations.txt", "LOC_val_solution.csv", "x_validation_ground_truth.txt",
         "meta.mat", "map_clsloc.txt", "synsets.txt", "devkit.tar.gz"]  # fmt: skip
SOUND = [
    solution().encode(),
    plain().encode(),
    plain(label=CLASSES.index).encode(),
    annotations().encode(),
    NUMBERS.encode(),
    meta(),
    b"",
]


@st.composite
def spoiled(draw):
    """A list that somebody's editor, browser or disk has changed."""
    content = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 4))] = draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from([b",", b";", b"\t", b'"', b"\r", b"\n", b"\xef\xbb\xbf", b"<", b"\0"]),
            )
        )
    return bytes(content)


@given(st.dictionaries(st.sampled_from(NAMES), st.one_of(spoiled(), st.binary(max_size=60)), max_size=4))
@example({"val.txt": b"\xff\xfe\x00\xd8"})
@example({"x_validation_ground_truth.txt": "\u0661\n".encode(), "meta.mat": meta()})
def test_any_list_is_right_or_one_line(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("lists")
    write(folder, files)
    try:
        found = labels.find("val", [folder], CLASSES)
        for each in found:
            for file in FILES:
                assert each.of(f"{file}.JPEG", set(CLASSES)) in (None, *CLASSES)
    except UserError as error:
        said = error
    else:
        said = UserError("")
    assert said.code in (1, 2)
    assert Path(folder).is_dir()
