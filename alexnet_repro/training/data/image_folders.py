"""Recognize the layout of an image data set: its classes, and its labelled training, validation and test images."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ...common.errors import UserError
from ...common.files import is_hidden
from . import archives, labels
from .archives import File
from .class_folders import ClassFolders, class_folders, some
from .decode import is_image_name

PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Part -> possible names of its folder."""
ARCHIVE = re.compile(r".*_(train|val|test)(_v\d+)?\.tar")
"""Name of a part's archive: ILSVRC2012_img_train.tar, ILSVRC2010_images_val.tar, ILSVRC2012_img_test_v10102019.tar."""
PACKED = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".zip", ".7z", ".rar")
KAGGLE = ("Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")
"""Folder of train, val and test in Kaggle's copy of ILSVRC."""
BESIDE = {"Annotations", "Data", "ILSVRC", "ImageSets"}
"""Other folders of known layouts, which are not used: bounding boxes, and file lists without labels."""
ILSVRC = "ILSVRC"
LAYOUTS = (
    "train/ and val/ with a folder per class; Tiny ImageNet; ILSVRC's archives, packed or unpacked; ILSVRC as Kaggle "
    "has it; or class folders alone, with --hold-out 0.1"
)


class Source(NamedTuple):
    """An image of ``size`` bytes: a file, or at ``offset`` in an archive. name: class folder and file name."""

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


@dataclass(frozen=True)
class Found:
    """A recognized data set: class names in the order of their labels, images by part, the layout's name, and remarks.

    The images of a part are ordered by a hash of their names: the order does not depend on how they are packed, and
    the first n of them are a random sample.
    """

    classes: tuple[str, ...]
    parts: dict[str, list[Source]]
    layout: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """The parts of a data set. root: its folder. base: folder of train, val and test. folders, archives: by part."""

    root: Path
    base: Path
    folders: dict[str, Path]
    archives: dict[str, Path]

    @property
    def lists(self) -> list[Path]:
        """Folders that may hold label lists, beside the folder of the part."""
        return list(dict.fromkeys([self.base, self.base.parent.parent if self.kaggle else self.base, self.root]))

    @property
    def kaggle(self) -> bool:
        return self.base != self.root


def find(root: Path, hold_out: float | None = None) -> Found:
    """Find the images of a data set in the folder ``root``, in one of these layouts.

    train: a folder of class folders, a folder of class archives (n01440764.tar), or one archive of class archives.
    val and test: a folder of class folders, or images in one folder or archive with a label list (see labels.py) in it
    or beside it, or a mixture of both. If there is no val, or only class folders, the share ``hold_out`` of each class
    is set apart for validation. Raises UserError that names what is missing, contradictory, or of no known layout.
    """
    share = _share(hold_out)
    if not root.is_dir():
        raise UserError(f"no folder {root}: name the one that holds the images")
    try:
        return _find(root, share)
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or root} ({error.strerror}): mend that and run this again", 1
        ) from error


def _find(root: Path, share: Fraction | None) -> Found:
    place = _place(root)
    by_class, layout, remarks = _train(place)
    classes = tuple(sorted(by_class))
    if len(classes) < 2:
        raise UserError(
            f"found {len(classes)} class{'es' * (len(classes) != 1)} of training images in {root}, "
            f"which has {_seen(root)}: {_hint(root)}"
        )
    garbled = [name for name in classes if not name.isprintable()]
    if garbled:
        raise UserError(f"class {garbled[0]!r} has a name that cannot be printed: rename its folder")
    files = {"train": [(name, file) for name in classes for file in by_class[name]]}
    flat = False
    for part in ("val", "test"):
        files[part], how, said = _labelled(place, part, classes)
        flat = flat or bool(how)
        remarks += [f"{part}: labels from {how}"] if how else []
        remarks += said
    label = {name: number for number, name in enumerate(classes)}
    for part, found in files.items():
        strange = sorted({name for name, _ in found} - set(label))
        if strange:
            raise UserError(
                f"class {strange[0]!r} of {part} has no training images in {root}: add them, or take it out"
            )
    parts = {part: _in_order(part, found, label) for part, found in files.items() if found}
    if "val" in parts and share is not None:
        raise UserError(f"{root} has validation images: leave --hold-out out, or move them away")
    if share is not None:
        empty = place.folders.get("val", place.archives.get("val"))
        if empty is not None:
            raise UserError(f"{empty} holds no images: fill it, or take it away to use --hold-out")
        parts |= _held_out(parts["train"], share)
        remarks.append(f"no val: {len(parts['val']):,} images are set apart for it, {float(share):g} of each class")
    elif set(parts) == {"train"}:
        raise UserError(
            f"no labelled validation or test images in {root}, which has {_seen(root)}: add val/, or ask for a tenth "
            "of the training images to be set apart with --hold-out 0.1"
        )
    if layout == ILSVRC:
        layout += ", unpacked" if flat else ", sorted"
    return Found(classes, {part: parts[part] for part in PARTS if part in parts}, layout, tuple(remarks))


def _share(hold_out: float | None) -> Fraction | None:
    if hold_out is None:
        return None
    if not 0 < hold_out < 1:
        raise UserError(f"--hold-out {hold_out:g}: name a share of the training images between 0 and 1, such as 0.1")
    return Fraction(str(hold_out))


def _in_order(part: str, found: list[tuple[str, File]], label: dict[str, int]) -> list[Source]:
    sources = sorted((Source(f"{name}/{file.name}", label[name], *file[1:]) for name, file in found), key=_rank)
    for one, other in pairwise(sources):
        if one.name == other.name:
            raise UserError(f"{part} has the image {one.name} twice, in {one.path} and {other.path}: take one away", 1)
    return sources


def _rank(source: Source) -> tuple[bytes, str]:
    return hashlib.sha256(source.name.encode(errors="surrogateescape")).digest(), source.name


def _held_out(sources: list[Source], share: Fraction) -> dict[str, list[Source]]:
    """Move a share of each class from train to val, evenly spaced: every tenth image for 0.1."""
    seen: Counter[int] = Counter()
    parts: dict[str, list[Source]] = {"train": [], "val": []}
    for source in sources:
        before, seen[source.label] = seen[source.label], seen[source.label] + 1
        parts["val" if int(seen[source.label] * share) > int(before * share) else "train"].append(source)
    if not parts["val"]:
        raise UserError(f"no class of {len(sources)} images has enough to set {float(share):g} apart: ask for more")
    return parts


def _place(root: Path) -> _Place:
    """The parts of the data set in ``root``. Raises UserError if a part has two folders or two archives."""
    here = _parts(root, root)
    for inside in KAGGLE:
        if (root / inside).is_dir():
            if here.folders or here.archives:
                other = next(iter([*here.folders.values(), *here.archives.values()]))
                raise UserError(f"{root / inside} and {other} both hold images: name the folder of one of them")
            return _parts(root, root / inside)
    return here


def _parts(root: Path, base: Path) -> _Place:
    folders: dict[str, Path] = {}
    found: dict[str, Path] = {}
    for part, names in PARTS.items():
        here = [path for path in _folders(base) if path.name.lower() in names]
        if len(here) > 1:
            raise UserError(f"{here[0]} and {here[1]} both look like {part}: keep one")
        folders |= {part: here[0]} if here else {}
        packed = [path for folder in [base, *here] for path in _part_archives(folder, part)]
        if len(packed) > 1:
            raise UserError(f"{packed[0]} and {packed[1]} both look like {part}: keep one")
        found |= {part: packed[0]} if packed else {}
    return _Place(root, base, folders, found)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name) and path.is_dir())


def _part_archives(folder: Path, part: str) -> list[Path]:
    return [
        path
        for path in sorted(folder.glob("*.tar"))
        if (match := ARCHIVE.fullmatch(path.name)) and match[1] == part and not is_hidden(path.name)
    ]


def _seen(root: Path) -> str:
    names = sorted(f"{path.name}{'/' * path.is_dir()}" for path in root.iterdir() if not is_hidden(path.name))
    return some(names) or "nothing"


def _inner(root: Path) -> Path | None:
    """A subfolder of ``root`` that looks like a data set."""
    return next((path for path in _folders(root) if any((path / name).is_dir() for name in ("train", KAGGLE[0]))), None)


def _hint(root: Path) -> str:
    inner = _inner(root)
    return f"name {inner} instead?" if inner else f"what would do is {LAYOUTS}"


def _train(place: _Place) -> tuple[dict[str, list[File]], str, list[str]]:
    """Training images by class; the name of the layout; remarks."""
    folder, archive = place.folders.get("train"), place.archives.get("train")
    if folder is None and archive is None:
        return _alone(place)
    here, tars = (class_folders(folder), _class_archives(folder)) if folder else (ClassFolders(), {})
    loose = [file.name for file in here.loose if is_image_name(file.name) or _is_packed(file.name)]
    loose = [name for name in loose if not name.endswith(".tar")]
    if loose:
        raise UserError(
            f"{len(loose)} files lie in {folder} beside the class folders, {loose[0]} first: images belong into "
            "the folder of their class, archives other than .tar unpacked"
        )
    by_class = dict(here.classes)
    for where, packed in ((folder, tars), (archive, archives.list_class_archives(archive) if archive else {})):
        for name, files in packed.items():
            if name in by_class and not _holds(by_class[name], files):
                raise UserError(
                    f"class {name} has {len(by_class[name]):,} files of its own, and packed in {where} other "
                    f"{len(files):,}: finish unpacking it, or delete one of the two"
                )
            by_class.setdefault(name, files)
    by_class = {name: files for name, files in by_class.items() if files}
    return by_class, _layout(place, here, tars, by_class), [*here.remarks("train"), *_beside(place)]


def _is_packed(name: str) -> bool:
    """Whether a file is an archive of a kind that is not read."""
    return name.lower().endswith(PACKED) and not ARCHIVE.fullmatch(name)


def _holds(files: list[File], others: list[File]) -> bool:
    """Whether ``files`` include all of ``others``, by name and size."""
    return {(file.name, file.size) for file in others} <= {(file.name, file.size) for file in files}


def _layout(place: _Place, here: ClassFolders, tars: Mapping[str, object], classes: Iterable[str]) -> str:
    if place.kaggle:
        return "ILSVRC as Kaggle has it"
    if here.classes and here.tiny == set(here.classes):
        return "Tiny ImageNet"
    if not here.classes:
        return (
            "ILSVRC's archives, of which the training images are unpacked to class archives"
            if tars
            else "ILSVRC's archives, packed"
        )
    if set(classes) > set(here.classes):
        return "ILSVRC, of which the training archive is unpacked half way: both halves are taken"
    return ILSVRC if all(re.fullmatch(r"n\d{8}", name) for name in classes) else "one folder per class"


def _alone(place: _Place) -> tuple[dict[str, list[File]], str, list[str]]:
    """Training images from class folders in the root itself, without train/."""
    known = {path.name for path in place.folders.values()}
    if _inner(place.base) is not None:
        raise UserError(f"{place.base} has no train/, and has {_seen(place.base)}: {_hint(place.base)}")
    here = class_folders(place.base, lambda path: path.name not in known and "devkit" not in path.name)
    deep = [name for name, files in here.classes.items() if name not in here.tiny and all("/" in f.name for f in files)]
    packed = [file.name for file in here.loose if _is_packed(file.name) and "devkit" not in file.name]
    if deep or packed or place.kaggle:
        what = (
            f"{deep[0]}/ has no files of its own" if deep else f"{packed[0]} is packed" if packed else "no train/ in it"
        )
        raise UserError(f"{place.base} fits no known layout ({what}): it has {_seen(place.base)}; {_hint(place.base)}")
    for file in here.loose:
        if is_image_name(file.name):
            here.note("left out, as they lie in no class folder", file.name)
    return here.classes, "one folder per class", here.remarks("train")


def _beside(place: _Place) -> list[str]:
    known = {path.name for path in place.folders.values()} | BESIDE
    names = [path.name for path in _folders(place.root) if path.name not in known and "kit" not in path.name]
    return [f"not looked into: {some(names)}"] if names else []


def _class_archives(folder: Path) -> dict[str, list[File]]:
    paths = [path for path in sorted(folder.glob("*.tar")) if not is_hidden(path.name)]
    return {path.stem: archives.packed(path) for path in paths if not ARCHIVE.fullmatch(path.name)}


def _labelled(place: _Place, part: str, classes: tuple[str, ...]) -> tuple[list[tuple[str, File]], str, list[str]]:
    """(class, file) of each image of a part; the source of the labels, "" for class folders; remarks.

    Empty for a part without images, and for test without labels. Raises UserError for other images without label.
    """
    folder, archive = place.folders.get(part), place.archives.get(part)
    here = class_folders(folder) if folder else ClassFolders()
    for name in ("images", *PARTS[part]):
        if name in here.classes and name not in classes:
            files = here.classes.pop(name)
            here.loose += [file._replace(name=file.name.rpartition("/")[2]) for file in files]
    in_folders = [(name, file) for name, files in here.classes.items() for file in files]
    packed = [file.name for file in here.loose if _is_packed(file.name)]
    if packed:
        raise UserError(f"{folder} holds {packed[0]}, whose images would be left out: unpack it, or move it away")
    flat = [file for file in here.loose if not (labels.is_list(file.name, part) or ARCHIVE.fullmatch(file.name))]
    if archive is not None:
        whole, there = (
            archives.packed(archive),
            [file._replace(name=Path(file.name).name) for _, file in in_folders] + flat,
        )
        if not there:
            flat = whole
        elif not _holds(there, whole):
            raise UserError(
                f"{folder} has {len(there):,} images of {part}, and {archive} has {len(whole):,}, not all the same: "
                "finish unpacking it, or delete one of the two"
            )
    found, how = _by_list(place, part, classes, in_folders, flat, here) if flat else (in_folders, "")
    if folder is not None and not found and not here.odd:
        here.note("left out, as it is empty", folder.name)
    return found, how, here.remarks(part)


def _by_list(
    place: _Place,
    part: str,
    classes: tuple[str, ...],
    in_folders: list[tuple[str, File]],
    flat: list[File],
    here: ClassFolders,
) -> tuple[list[tuple[str, File]], str]:
    """``_labelled`` for a part with images outside of class folders, by all label lists together."""
    places = [folder for folder in (place.folders.get(part),) if folder] + place.lists
    lists, known = labels.find(part, places, classes), set(classes)
    found = list(in_folders)
    without = []
    for file in flat:
        name = _agreed(lists, file, known)
        if name is not None:
            found.append((name, file))
        elif is_image_name(file.name):
            without.append(file.name)
        else:
            here.note("left out, as no image by name or label", file.name)
    if part == "test" and not lists and not in_folders and without:
        here.note("left out, as they have no labels", f"{len(without):,} images")
        return [], ""
    if without:
        listed = f"in {' or '.join(each.source for each in lists)}" if lists else "in any list"
        beside = f", beside {len(in_folders):,} in class folders," if in_folders else ""
        raise UserError(
            f"{len(without):,} of {len(flat):,} {part} images that lie in no class folder{beside} have no label "
            f"{listed}, {without[0]} first: mend it, or put a list into {places[-1]}; {labels.WANTED} would do"
        )
    for name, file in in_folders:
        _agreed(lists, file._replace(name=Path(file.name).name), known, name)
    if len(found) == len(in_folders):
        return found, ""
    for each in lists:
        if len(each.rows) > len(found):
            here.note("labels without an image", f"{len(each.rows) - len(found):,} in {each.source}")
    return found, " and ".join(f"{each.source}{f' ({each.note})' * bool(each.note)}" for each in lists)


def _agreed(lists: list[labels.Labels], file: File, classes: set[str], folder: str | None = None) -> str | None:
    """The class of a file by all lists, and by its class folder if it has one. Raises UserError if they differ."""
    said = {each.source: name for each in lists if (name := each.of(file.name, classes)) is not None}
    said |= {Path(file.path).parent.as_posix(): folder} if folder is not None else {}
    if len(set(said.values())) > 1:
        words = ", ".join(f"{name!r} by {source}" for source, name in said.items())
        raise UserError(f"{file.name} is of class {words}: mend that, or take one of them away", 1)
    return next(iter(said.values()), None)
