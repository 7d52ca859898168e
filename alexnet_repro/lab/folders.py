"""What a folder of images holds: classes, and labelled images for training, validation and test, packed or not."""

import csv
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from ..errors import UserError

PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Part -> the names of its folder."""
TARS = {"train": ("_train", "_images_train"), "val": ("_val", "_images_val"), "test": ("_test", "_images_test")}
"""Part -> how the name of its archive ends, before .tar: ILSVRC2012_img_train.tar, ILSVRC2010_images_train.tar."""
TRUTH = {"val": "validation", "test": "test"}
"""Part -> its name in the file of its labels: ILSVRC2012_validation_ground_truth.txt."""
HELD_OUT = 10
"""Where nothing is set apart, one in so many images of each class is, for validation."""


class Source(NamedTuple):
    """An image: a file of its own, or ``size`` bytes at ``offset`` of an archive. ``name`` starts with its class."""

    name: str
    label: int
    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes of the file. Raises OSError."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class _File(NamedTuple):
    name: str
    path: str
    offset: int
    size: int


@dataclass(frozen=True)
class Found:
    """Class names in the order of their labels, sources by part, and what there is to say of them.

    The sources of a part stand in the order of a hash of their names, the same wherever they come from and however
    they are packed, so that any first part of them is a fair sample.
    """

    classes: tuple[str, ...]
    parts: dict[str, list[Source]]
    remarks: tuple[str, ...]


def find(root: Path) -> Found:
    """What ``root`` holds, in one of these forms.

    train: a folder of class folders, or of class archives (n01440764.tar), or one archive of class archives.
    val and test: a folder of class folders; or images in a folder or archive, with ILSVRC's file of labels and
    meta.mat, or the packed development kit, beside it, or Kaggle's LOC_val_solution.csv. Or class folders alone.
    Raises UserError that names what is missing.
    """
    if not root.is_dir():
        raise UserError(f"no folder {root}: name the one that holds the images")
    try:
        by_class = _train(root)
        classes = tuple(sorted(by_class))
        if len(classes) < 2:
            raise UserError(
                f"found {len(classes)} classes of training images in {root}: it needs train/ with a folder per class, "
                "or ILSVRC's training archive, or class folders alone"
            )
        garbled = [name for name in classes if not name.isprintable()]
        if garbled:
            raise UserError(f"class {garbled[0]!r} has a name that cannot be printed: rename its folder")
        files = {"train": [(name, file) for name in classes for file in by_class[name]]}
        remarks = []
        for part in ("val", "test"):
            files[part], said = _labelled(root, part)
            remarks += said
    except tarfile.TarError as error:
        raise UserError(f"an archive in {root} is damaged ({error}): fetch it again, unpacked of any .gz") from error
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or root} ({error.strerror}): mend that and run this again"
        ) from error
    label = {name: number for number, name in enumerate(classes)}
    for part, found in files.items():
        strange = sorted({name for name, _ in found} - set(label))
        if strange:
            raise UserError(
                f"class {strange[0]!r} of {part} has no training images in {root}: add them, or take it out"
            )
    parts = {part: _in_order(found, label) for part, found in files.items() if found}
    if set(parts) == {"train"}:
        parts |= _held_out(parts["train"])
        remarks.append(f"no labelled val or test: every {HELD_OUT}th image of a class is set apart for validation")
    return Found(classes, parts, tuple(remarks))


def _in_order(found: list[tuple[str, _File]], label: dict[str, int]) -> list[Source]:
    sources = [Source(f"{name}/{file.name}", label[name], *file[1:]) for name, file in found]
    return sorted(sources, key=_rank)


def _rank(source: Source) -> tuple[bytes, str]:
    return hashlib.sha256(source.name.encode(errors="surrogateescape")).digest(), source.name


def _held_out(sources: list[Source]) -> dict[str, list[Source]]:
    seen: dict[int, int] = {}
    parts: dict[str, list[Source]] = {"train": [], "val": []}
    for source in sources:
        seen[source.label] = seen.get(source.label, 0) + 1
        parts["val" if seen[source.label] % HELD_OUT == 0 else "train"].append(source)
    if not parts["val"]:
        raise UserError(f"{len(sources)} images are too few to set any apart: give {HELD_OUT} a class, or a val folder")
    return parts


def _train(root: Path) -> dict[str, list[_File]]:
    folder = _folder(root, "train")
    if folder is not None:
        return _class_folders(folder) or dict(_class_archives(folder))
    archive = _archive(root, "train")
    if archive is not None:
        return dict(_packed_classes(archive))
    set_apart = {name for names in PARTS.values() for name in names}
    return {name: files for name, files in _class_folders(root).items() if name.lower() not in set_apart}


def _labelled(root: Path, part: str) -> tuple[list[tuple[str, _File]], list[str]]:
    """(class, file) of a part, and remarks: empty where the part has no images, or no labels."""
    folder, archive = _folder(root, part), _archive(root, part)
    if folder is not None and (by_class := _class_folders(folder)):
        return [(name, file) for name, files in by_class.items() for file in files], []
    files = [file for file in _flat(folder) if _number(file.name)] if folder is not None else []
    files = files or (_packed(archive) if archive is not None else [])
    if not files:
        return [], []
    truth = _truth(root, part)
    if not truth:
        if part == "test":
            return [], ["the test images have no labels: left out"]
        raise UserError(
            f"{len(files)} validation images without labels in {root}: put ILSVRC's development kit there "
            "(the archive, or meta.mat and *_validation_ground_truth.txt)"
        )
    unknown = [file.name for file in files if _number(file.name) not in truth]
    if unknown:
        raise UserError(f"{unknown[0]} has no label among the {len(truth)} of {part}: take it out, or mend the labels")
    return [(truth[_number(file.name)], file) for file in files], []


def _folder(root: Path, part: str) -> Path | None:
    return next((root / name for name in PARTS[part] if (root / name).is_dir()), None)


def _archive(root: Path, part: str) -> Path | None:
    return next((path for path in sorted(root.glob("*.tar")) if path.stem.endswith(TARS[part])), None)


def _class_folders(folder: Path) -> dict[str, list[_File]]:
    """Every visible file of every folder in ``folder``, however deep; folders without one are left out."""
    found = {}
    for place in sorted(folder.iterdir()):
        if place.is_dir() and not place.name.startswith("."):
            files = [file for here, _, _ in os.walk(place, followlinks=True) for file in _flat(Path(here), place)]
            if files:
                found[place.name] = files
    return found


def _flat(folder: Path, above: Path | None = None) -> list[_File]:
    above = above or folder
    with os.scandir(folder) as entries:
        return [
            _File(Path(entry.path).relative_to(above).as_posix(), entry.path, 0, entry.stat().st_size)
            for entry in entries
            if entry.is_file() and not entry.name.startswith(".")
        ]


def _class_archives(folder: Path) -> Iterator[tuple[str, list[_File]]]:
    for path in sorted(folder.glob("*.tar")):
        yield path.stem, _packed(path)


def _packed(path: Path) -> list[_File]:
    with path.open("rb") as file:
        return list(_members(file, path, 0))


def _packed_classes(path: Path) -> Iterator[tuple[str, list[_File]]]:
    """The classes of an archive of archives: nothing is unpacked, the files stay where they are."""
    with tarfile.open(path, "r:") as outer:
        for member in outer:
            inner = outer.extractfile(member) if member.name.endswith(".tar") else None
            if inner is not None:
                yield Path(member.name).stem, list(_members(inner, path, member.offset_data))


def _members(file: IO[bytes], path: Path, start: int) -> Iterator[_File]:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            name = Path(member.name).name
            if member.isreg() and not name.startswith("."):
                yield _File(name, str(path), start + member.offset_data, member.size)


def _number(name: str) -> int:
    """Which of its part an ILSVRC image is: 17 for ILSVRC2012_val_00000017.JPEG, and 0 for another name."""
    match = re.search(r"_(\d{8})\.\w+$", name)
    return int(match[1]) if match else 0


def _truth(root: Path, part: str) -> dict[int, str]:
    """Number of an image -> its class, from what lies in ``root``; empty where nothing does."""
    solution = root / f"LOC_{part}_solution.csv"
    if solution.is_file():
        rows = csv.DictReader(io.StringIO(solution.read_text()))
        return {_number(f"{row['ImageId']}.JPEG"): row["PredictionString"].split()[0] for row in rows}
    kit = _kit(root, f"_{TRUTH[part]}_ground_truth.txt")
    lines = next((content.decode().split() for name, content in kit.items() if name.endswith(".txt")), [])
    if all(line.isdigit() for line in lines) and lines:
        meta = kit.get("meta.mat")
        if meta is None:
            raise UserError(
                f"the labels of {part} are numbers, and meta.mat, which names them, is not in {root}: add it"
            )
        names = _synsets(meta)
        try:
            return {number: names[int(line)] for number, line in enumerate(lines, start=1)}
        except KeyError as error:
            raise UserError(
                f"the labels of {part} name class {error}, which meta.mat lacks: use one year's files"
            ) from error
    return dict(enumerate(lines, start=1))


def _kit(root: Path, ending: str) -> dict[str, bytes]:
    """meta.mat and the file of labels, by name, from the folder, a folder in it, or the packed development kit."""
    found: dict[str, bytes] = {}
    for pattern in ("*", "*/*", "*/data/*"):
        for path in root.glob(pattern):
            if (path.name == "meta.mat" or path.name.endswith(ending)) and path.is_file():
                found.setdefault(path.name, path.read_bytes())
    for path in [] if len(found) == 2 else sorted(root.glob("*devkit*.tar*")):
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                inside = archive.extractfile(member) if name == "meta.mat" or name.endswith(ending) else None
                if inside is not None:
                    found.setdefault(name, inside.read())
    return found


def _synsets(meta: bytes) -> dict[int, str]:
    """ILSVRC's number of a class -> its name (WordNet id), from the development kit's meta.mat."""
    from scipy.io import loadmat

    rows = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
    number = next(field for field in rows.dtype.names if field.endswith("_ID"))
    return {int(row[number]): str(row["WNID"]) for row in rows}
