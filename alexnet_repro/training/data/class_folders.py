"""The folders of one class each in a folder of images, and the files below them."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...common.errors import UserError
from ...common.files import is_hidden, regular_file
from .archives import File


@dataclass
class ClassFolders:
    """The content of a folder of class folders.

    classes: class -> its files. tiny: the classes whose files lie in images/, as in Tiny ImageNet. loose: files beside
    the class folders. odd: remark -> names of the files or folders that it is about.
    """

    classes: dict[str, list[File]] = field(default_factory=dict)
    tiny: set[str] = field(default_factory=set)
    loose: list[File] = field(default_factory=list)
    odd: dict[str, list[str]] = field(default_factory=dict)

    def note(self, what: str, name: str) -> None:
        self.odd.setdefault(what, []).append(name)

    def hide(self, entry: os.DirEntry[str], inside: str) -> None:
        """Note a hidden folder. Hidden files are not mentioned: operating systems create them everywhere."""
        if entry.is_dir(follow_symlinks=False):
            self.note("left out, as hidden folders", inside + entry.name)

    def remarks(self, part: str) -> list[str]:
        return [f"{part}: {what}: {some(names)}" for what, names in self.odd.items()]

    def add(self, name: str, files: list[File], path: str) -> None:
        """Add the files below ``path`` as a class. Raises UserError if its subfolders may be the classes."""
        tops = {file.name.rpartition("/")[0].partition("/")[0] for file in files}
        if not files:
            self.note("left out, as they are empty", name)
            return
        if "images" in tops and all(
            file.name.startswith("images/") or file.name == f"{name}_boxes.txt" for file in files
        ):
            self.tiny.add(name)
            files = [
                file._replace(name=file.name.removeprefix("images/"))
                for file in files
                if file.name.startswith("images/")
            ]
        elif "" not in tops and len(tops) > 1:
            raise UserError(
                f"{path} has no images of its own, only in the folders {some(sorted(tops))}: if those are the "
                "classes, move them up; if it is one, move their images up"
            )
        elif "" in tops:
            for inner in sorted(tops - {""}):
                self.note("taken with the class whose folder they lie in", f"{name}/{inner}")
        self.classes[name] = files


def some(names: list[str]) -> str:
    """The first six names, and how many more there are."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6:,} more" if len(names) > 6 else "")


def class_folders(folder: Path, chosen: Callable[[Path], bool] = lambda path: True) -> ClassFolders:
    """The visible files of every chosen folder in ``folder``, at any depth; empty folders are left out.

    Raises UserError if a folder has several subfolders and no file of its own: those may be the classes.
    """
    found = ClassFolders()
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if is_hidden(entry.name):
                found.hide(entry, "")
                continue
            if not entry.is_dir():
                found.loose += _file(entry, "", found)
                continue
            if not chosen(Path(entry.path)):
                continue
            found.add(entry.name, list(_walk(Path(entry.path), found)), entry.path)
    return found


def _walk(top: Path, found: ClassFolders) -> Iterator[File]:
    """The visible files below ``top``, with paths relative to it. A folder linked several times is visited once.

    Raises UserError for a symbolic link to a folder that contains the link, and for pipes, sockets and devices.
    """
    around = {_identity(path) for way in (top.absolute(), top.resolve()) for path in way.parents}
    seen: set[tuple[int, int]] = set()
    ahead = [(top, "")]
    while ahead:
        here, inside = ahead.pop()
        identity = _identity(here)
        if identity in around:
            raise UserError(f"{here} is a link to a folder that it lies in: take it away")
        if identity in seen:
            continue
        seen.add(identity)
        with os.scandir(here) as entries:
            below = sorted(entries, key=lambda each: each.name)
        for entry in below:
            if is_hidden(entry.name):
                found.hide(entry, f"{top.name}/{inside}")
            elif entry.is_dir():
                ahead.append((Path(entry.path), f"{inside}{entry.name}/"))
            else:
                yield from _file(entry, inside, found)


def _identity(path: Path) -> tuple[int, int]:
    info = path.stat()
    return info.st_dev, info.st_ino


def _file(entry: os.DirEntry[str], inside: str, found: ClassFolders) -> Iterator[File]:
    try:
        info = entry.stat()
    except FileNotFoundError:
        found.note("left out, as links that lead nowhere", f"{inside}{entry.name}")
        return
    if not stat.S_ISREG(info.st_mode):
        regular_file(Path(entry.path))
    yield File(f"{inside}{entry.name}", entry.path, 0, info.st_size)
