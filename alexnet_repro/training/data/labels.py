"""Read label lists for images that are not in class folders: ILSVRC's, Kaggle's, Tiny ImageNet's, Caffe's, any CSV."""

import codecs
import csv
import io
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...common.errors import UserError
from ...common.files import is_hidden, regular_file
from . import archives, matlab

MOST = 2**28
"""Bytes of a list at most; that of ILSVRC's 50,000 validation images has 5 million."""
NAMES = {
    "val": ("val", "valid", "validation"),
    "test": (),  # Caffe's test.txt has 0 for every image, ImageSets' the number of its row: neither labels anything
}
"""Part -> first part of the name of a "file label" list, followed by one of ``ENDINGS``: val.txt, val_labels.csv."""
ENDINGS = ("", "_annotations", "_labels", "_list", "_map", "_solution")
TRUTH = {
    "val": ("_validation_ground_truth.txt", "_validation_synset_labels.txt"),
    "test": ("_test_ground_truth.txt",),
}
"""Part -> end of the name of ILSVRC's label file: one label per line, in the order of the image numbers."""
SYNSETS = ("meta.mat", "meta_clsloc.mat", "map_clsloc.txt")
"""The development kit's tables from ILSVRC's class numbers to WordNet ids."""
ORDERS = ("synsets.txt", "synset_words.txt")
"""Caffe's lists of WordNet ids, in the order of its class numbers."""
FILE_HEADS = {"imageid", "image_id", "image", "filename", "file_name", "file", "name", "path", "id", "img"}
LABEL_HEADS = {
    "predictionstring",
    "label",
    "labels",
    "class",
    "class_id",
    "classid",
    "category",
    "target",
    "wnid",
    "synset",
}
BOXES = "predictionstring"
"""Kaggle's label column: "class x1 y1 x2 y2" for every bounding box."""
WANTED = (
    "Tiny ImageNet's val_annotations.txt, Kaggle's LOC_val_solution.csv, a val.txt with 'file label' in every row, or "
    "ILSVRC's development kit (packed, or *_validation_ground_truth.txt and meta.mat)"
)
"""The label lists that are understood, for error messages."""


LATIN = "read as Latin-1, for it is not UTF-8"
DIGITS = 9
"""Digits of a class number at most."""
Rows = dict[str | int, tuple[str, int]]


@dataclass(frozen=True)
class Labels:
    """A label list. source: its file. rows: file name or image number -> (class, row). note: how it was read."""

    source: str
    rows: Rows
    note: str = ""

    def of(self, name: str, classes: Collection[str]) -> str | None:
        """The class of an image file; None if the list lacks it. Raises UserError if that is not in ``classes``."""
        stem = name.rpartition(".")[0]
        found = next((self.rows[key] for key in (name, stem, number(name)) if key in self.rows), None)
        if found is None:
            return None
        if found[0] not in classes:
            raise fault(self, found[1], f"class {found[0]!r} has no training images: add them, or mend the label")
        return found[0]


def fault(of: "Labels | _Text", row: int, what: str) -> UserError:
    """The UserError for a faulty row of a label list."""
    return UserError(
        f"{of.source}, row {row}: {what}{' (not in UTF-8: save it as that)' if of.note == LATIN else ''}", 1
    )


def number(name: str) -> int:
    """The number in an ILSVRC file name: 17 for ILSVRC2012_val_00000017.JPEG; 0 for other names."""
    match = re.search(r"_([0-9]{8})\.\w+$", name)
    return int(match[1]) if match else 0


def is_list(name: str, part: str) -> bool:
    """Whether a file is, by its name, a "file label" list for a part ("val" or "test")."""
    stem, dot, suffix = name.lower().rpartition(".")
    return (
        bool(dot)
        and suffix in ("txt", "csv", "tsv")
        and stem.removeprefix("loc_") in {start + ending for start in NAMES[part] for ending in ENDINGS}
    )


def find(part: str, places: Sequence[Path], classes: Sequence[str]) -> list[Labels]:
    """All label lists for a part in these folders, and in development kits in them.

    Labels that are numbers are translated to class names, by the development kit or by the order of the classes. Raises
    UserError that names file, row and remedy if a list cannot be read, and if two kits contradict each other; OSError.
    """
    tables = [path for place in places for path in _files(place) if is_list(path.name, part)]
    orders = [path for place in places for path in _files(place) if path.name in ORDERS]
    found = [_table(_text(str(path), _read(path)), classes, orders) for path in tables]
    return found + _ground_truth(part, places)


def _files(folder: Path) -> list[Path]:
    """The visible files in a folder."""
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if not is_hidden(entry.name) and not entry.is_dir())


def _read(path: Path) -> bytes:
    if not regular_file(path):
        raise UserError(f"{path} leads nowhere: put the file there, or take the link away", 1)
    with path.open("rb") as file:
        content = file.read(MOST + 1)
    if len(content) > MOST:
        raise UserError(f"{path} has more than {MOST:,} bytes, as no list of labels has: take it away", 1)
    return content


class _Text(NamedTuple):
    """The text of a list with newlines as line ends. note: a remark if it was decoded as Latin-1."""

    source: str
    content: str
    note: str


def _text(source: str, content: bytes) -> _Text:
    """Decode a list: UTF-8, UTF-16 with a byte-order mark, or Latin-1. Raises UserError for HTML and binary data."""
    note, content = "", content.removeprefix(codecs.BOM_UTF8)
    try:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = content.decode("utf-16" if wide else "utf-8")
    except UnicodeDecodeError:
        text, note = content.decode("latin-1"), LATIN
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("<"):
        raise UserError(f"{source} is a web page, not a list of labels: fetch the file itself, then run this again", 1)
    if "\0" in text:
        raise UserError(f"{source} is no text: put the list of labels there, or take it away", 1)
    return _Text(source, text.replace("\r\n", "\n").replace("\r", "\n"), note)


def _table(text: _Text, classes: Sequence[str], orders: Sequence[Path]) -> Labels:
    """Parse a list of a file and a label column, separated by comma, semicolon, tab or space; a header is optional."""
    rows: Rows = {}
    columns: _Columns | None = None
    for row, cells in _rows(text):
        if columns is None:
            columns = _columns(text, row, cells)
            if columns.header:
                continue
        if len(cells) != columns.width:
            raise fault(text, row, f"{len(cells)} columns and not {columns.width}: mend the row")
        name = cells[columns.file].strip().replace("\\", "/").rpartition("/")[2]
        label = cells[columns.label].strip()
        if columns.boxes:
            label = _boxed(text, row, label)
        if not name or not label:
            raise fault(text, row, "a file and its label belong there, and one is missing: mend the row")
        other, earlier = rows.setdefault(name, (label, row))
        if other != label:
            raise fault(text, row, f"{name} has another label than in row {earlier}: mend one of them")
    if any(name.isdecimal() for name in classes) or not all(label.isdecimal() for label, _ in rows.values()):
        return Labels(text.source, rows, text.note)
    return _counted(text, rows, classes, orders)


class _Columns(NamedTuple):
    """The columns of a list: how many, which are file and label, and whether it has a header, and labels with boxes."""

    width: int
    file: int = 0
    label: int = 1
    header: bool = False
    boxes: bool = False


def _columns(text: _Text, row: int, cells: Sequence[str]) -> _Columns:
    heads = [cell.strip().lower() for cell in cells]
    files, labels = ([at for at, head in enumerate(heads) if head in known] for known in (FILE_HEADS, LABEL_HEADS))
    if files and len(cells) == 2:
        labels = [1 - files[0]]
    if files and labels:
        return _Columns(len(cells), files[0], labels[0], True, heads[labels[0]] == BOXES)
    if len(cells) != 2 and not _is_annotation(cells):
        raise fault(text, row, f"its columns are {', '.join(cells)[:80]!r}: name two of them file and label")
    return _Columns(len(cells))


def _rows(text: _Text) -> Iterator[tuple[int, list[str]]]:
    """(row number, cells) of the rows that are not empty."""
    first = next((line for line in io.StringIO(text.content) if line.strip()), "")
    mark = next((mark for mark in "\t;," if mark in first), None)
    if mark is None:
        for row, line in enumerate(io.StringIO(text.content), start=1):
            if line.strip():
                cells = line.split()
                yield row, cells if _is_annotation(cells) else line.rsplit(None, 1)
        return
    reader = csv.reader(io.StringIO(text.content, newline=""), delimiter=mark, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise fault(text, reader.line_num, f"{error}: mend the row") from error


def _is_annotation(cells: Sequence[str]) -> bool:
    """Whether this is a row of val_annotations.txt: file, class, and the four numbers of a box."""
    return len(cells) == 6 and all(cell.strip().isdecimal() for cell in cells[2:])


def _boxed(text: _Text, row: int, label: str) -> str:
    """The class in Kaggle's label with bounding boxes."""
    words = label.split()
    names = set(words[::5])
    if len(names) != 1 or (len(words) != 1 and len(words) % 5):
        raise fault(text, row, f"{label[:60]!r} is not one class with its boxes: fetch the file again")
    return names.pop()


def _counted(text: _Text, rows: Rows, classes: Sequence[str], orders: Sequence[Path]) -> Labels:
    """Translate class numbers that start at 0 into names: by Caffe's list of classes, or else by the sorted names."""
    order = [words[0] for _, words in _words(_text(str(orders[0]), _read(orders[0])))] if orders else sorted(classes)
    where = f"the order of {orders[0] if orders else 'their names'}"
    named: Rows = {}
    for name, (label, row) in rows.items():
        if len(label) > DIGITS or int(label) >= len(order):
            raise fault(text, row, f"label {label[:20]} of {len(order)} classes from 0: write their names instead")
        named[name] = order[int(label)], row
    return Labels(text.source, named, f"{text.note}; its numbers count the classes from 0 in {where}".lstrip("; "))


def _words(text: _Text) -> Iterator[tuple[int, list[str]]]:
    """(row number, words) of the rows that are not empty."""
    return ((row, line.split()) for row, line in enumerate(text.content.split("\n"), start=1) if line.strip())


def _ground_truth(part: str, places: Sequence[Path]) -> list[Labels]:
    kit = _kit(places, TRUTH[part])
    labels = []
    for source, content in (kit[name] for name in kit if name.endswith(TRUTH[part])):
        text = _text(source, content)
        lines = [line.strip() for line in text.content.rstrip().split("\n")]
        if "" in lines:
            raise fault(text, lines.index("") + 1, "no label: fetch ILSVRC's development kit again")
        if all(line.isdecimal() for line in lines):
            names = _synsets(part, kit, places)
            strange = [row for row, line in enumerate(lines, 1) if len(line) > DIGITS or int(line) not in names]
            if strange:
                what = f"class {lines[strange[0] - 1][:20]}, which meta.mat lacks: use one year's files"
                raise fault(text, strange[0], what)
            lines = [names[int(line)] for line in lines]
        labels.append(Labels(source, {row: (line, row) for row, line in enumerate(lines, start=1)}, text.note))
    return labels


def _synsets(part: str, kit: dict[str, tuple[str, bytes]], places: Sequence[Path]) -> dict[int, str]:
    """ILSVRC's class number -> WordNet id."""
    name = next((name for name in SYNSETS if name in kit), None)
    if name is None:
        raise UserError(
            f"the labels of {part} are numbers, and meta.mat, which names them, is not in {places[-1]}: add it", 1
        )
    source, content = kit[name]
    if name.endswith(".txt"):
        return _mapped(_text(source, content))
    try:
        return _wnids(content)
    except ValueError as error:
        why = "it is a web page" if content.lstrip().startswith(b"<") else str(error)
        raise UserError(f"cannot read {source} ({why}): fetch ILSVRC's development kit again", 1) from error


def _wnids(meta: bytes) -> dict[int, str]:
    names: dict[int, str] = {}
    for row in matlab.table(meta, "synsets"):
        number, name = next((value for field, value in row.items() if field.endswith("_ID")), None), row.get("WNID")
        if not isinstance(number, float) or not number.is_integer() or not isinstance(name, str):
            raise ValueError("its synsets have no _ID and WNID")
        if names.setdefault(int(number), name) != name:
            raise ValueError(f"two classes of number {number:.0f}")
    return names


def _mapped(text: _Text) -> dict[int, str]:
    names = {}
    for row, words in _words(text):
        if len(words) < 2 or not words[1].isdecimal() or len(words[1]) > DIGITS:
            raise fault(text, row, "a class and its number belong there: fetch ILSVRC's development kit again")
        names[int(words[1])] = words[0]
    return names


def _kit(places: Sequence[Path], endings: tuple[str, ...]) -> dict[str, tuple[str, bytes]]:
    """The tables and label files of development kits, packed or unpacked: name -> (path, content).

    Raises UserError if two files of one name differ.
    """

    def wanted(name: str) -> bool:
        return name in SYNSETS or name.endswith(endings)

    found: dict[str, tuple[str, bytes]] = {}

    def add(name: str, source: str, content: bytes) -> None:
        other, same = found.setdefault(name, (source, content))
        if same != content:
            raise UserError(f"{other} and {source} differ: keep the one of the images' year", 1)

    for path in (path for place in places for path in _unpacked(place) if wanted(path.name)):
        add(path.name, str(path), _read(path))
    for place in places:
        for path in _files(place):
            if re.search(r"devkit.*\.(tar|tgz)", path.name):
                for name, content in archives.contents(path, wanted).items():
                    add(name, f"{path} ({name})", content)
    return found


def _unpacked(place: Path) -> Iterator[Path]:
    """The files in a folder, in its subfolders, and in folders named data in those."""
    yield from _files(place)
    for inner in sorted(place.iterdir()):
        if inner.is_dir() and not is_hidden(inner.name):
            yield from _files(inner)
            if (inner / "data").is_dir():
                yield from _files(inner / "data")
