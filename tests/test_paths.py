"""Folders that the environment names: used, made later, or refused in one line."""

import pytest

from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError

from .command import call

NAMED = {
    "ALEXNET_REPRO_STORE": paths.store,
    "ALEXNET_REPRO_DATA": paths.downloads,
    "ALEXNET_REPRO_HOME": paths.repository,
}


def test_a_folder_that_is_there_or_is_to_be(monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "there").mkdir()
    for name in ("there", "link", "new/newer"):
        monkeypatch.setenv("ALEXNET_REPRO_STORE", str(tmp_path / name))
        assert paths.store() == (tmp_path / name).resolve()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{here}/loop", "(a link to itself|not to be read)"),
        ("{here}/a", "(a link to itself|not to be read)"),
        ("{here}/loop/below", "(a link to itself|not to be read)"),
        ("{here}/file", "no folder"),
        ("~nobody-of-this-name/x", "the folder of no user"),
        ("x" * 5_000, "not to be read"),
    ],
    ids=["loop", "longer loop", "below a loop", "file", "no such user", "a name that no disk takes"],
)
@pytest.mark.parametrize("variable", NAMED)
def test_what_is_no_folder_is_refused(monkeypatch, tmp_path, variable, value, why):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "file").touch()
    value = value.format(here=tmp_path)
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=f"{variable}={value} is {why}.*: name a folder"):
        NAMED[variable]()


@pytest.mark.parametrize("words", [("plan", "relu_speed"), ("verify",), ("doctor",), ("verdict",)])
def test_commands_say_so_in_one_line(monkeypatch, capsys, tmp_path, words):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("ALEXNET_REPRO_STORE", str(tmp_path / "loop"))
    code, _, err = call(monkeypatch, capsys, *words)
    assert code == 2
    assert err == f"error: ALEXNET_REPRO_STORE={tmp_path / 'loop'} is a link to itself: name a folder\n"
