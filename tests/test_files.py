"""What may be read to its end, and what is nobody's content."""

import os
import socket
from pathlib import Path

import pytest

from alexnet_repro.common.errors import UserError
from alexnet_repro.common.files import is_hidden, lock, regular_file


def _socket(path):
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(path))


ODD = {
    "a folder": Path.mkdir,
    "a FIFO": os.mkfifo,
    "a socket": _socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "symbolic link": lambda path: path.symlink_to(path),
}


def test_a_file_a_link_to_one_and_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    names = ["file", "link", "dangling", "nowhere", "file/below"]
    assert [regular_file(tmp_path / name) for name in names] == [True, True, False, False, False]


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_refused_and_never_opened(tmp_path, kind):
    path = tmp_path / "odd"
    ODD[kind](path)
    with pytest.raises(UserError, match=kind) as caught:
        regular_file(path)
    assert str(path) in str(caught.value)
    assert caught.value.code == 1
    with pytest.raises(UserError, match=kind), lock(path):
        pass


def test_hidden():
    names = [".ipynb_checkpoints", "._x.JPEG", ".DS_Store", "__MACOSX", "n01440764", "x.JPEG", "macosx"]
    assert [is_hidden(name) for name in names] == [True] * 4 + [False] * 3
