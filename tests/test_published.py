"""Every published file is read and compared; what is off is named with what mends it."""

import os
import shutil
import subprocess

import pytest

from alexnet_repro.analysis import contributed, published
from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.records.store import SUMS, Store, write_table
from alexnet_repro.site import build

from . import homes
from .command import call
from .damage import flipped
from .test_contributions import run

FILES = [path for path in published._digests() if path != "claims.toml"]


@pytest.fixture
def home(home):
    """A checkout with all published files but runs, predictions and weights."""
    left = shutil.ignore_patterns(*published.APART, ".*")
    shutil.copytree(homes.ROOT / "data", home / "data", ignore=left, dirs_exist_ok=True)
    return home


def test_what_is_published_here_is_sound_and_has_its_digests(tmp_path):
    assert published.faults(Store(tmp_path)) == []


def test_sha256sum_reads_the_sums():
    done = subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=paths.data(), capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize("name", ["claims.toml", *FILES])
def test_a_flipped_bit_of_any_published_file_is_named(home, name):
    path = home / "data" / name
    content = path.read_bytes()
    path.write_bytes(flipped(content, len(content) // 2))
    found = published.faults(Store())
    assert any(
        fault.startswith(f"{path} does not have its SHA-256: restore it with 'git checkout -- ") for fault in found
    )
    assert any("or, where that was on purpose, run 'alexnet-repro sums'" in fault for fault in found)


def test_every_published_table_and_text_has_a_reader(home):
    plain = {path.name for path in (home / "data").iterdir() if path.suffix in (".csv", ".toml")}
    assert plain == set(published.READERS)
    for name in [*published.READERS, "benchmarks/book.json", "benchmarks/parallel-cpu.json"]:
        path = home / "data" / name
        whole = path.read_bytes()
        path.write_bytes(b"\xff")
        if name == "claims.toml":  # whatever reads claims says so first
            with pytest.raises(UserError, match=f"{path}"):
                published.READERS[name]()
        else:
            assert any(str(path) in fault and "SHA-256" not in fault for fault in published.faults(Store())), name
        path.write_bytes(whole)
    assert published.faults(Store()) == []


def test_files_that_come_and_go_are_named(home):
    (home / "data" / "more.csv").write_text("x\n")
    (home / "data" / "gpus.csv").unlink()
    (home / "data" / ".gpus.csv.swp").write_text("x\n")  # hidden: nobody's content
    (home / "data" / "NOTES.md").write_text("x\n")
    gone, more = published.faults(Store())
    assert gone.startswith(f"{home / 'data' / 'gpus.csv'} is gone: restore it with 'git checkout -- ")
    assert more.startswith(f"{home / 'data' / 'more.csv'} is not in ")
    assert published.renew() == ["gpus.csv", "more.csv"]
    assert published.faults(Store()) == []


@pytest.mark.parametrize("content", [None, b"\xff", b"claims.toml\n", b"0" * 64 + b" claims.toml\n"])
def test_sums_that_are_none(home, content):
    path = home / "data" / SUMS
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    (fault,) = published.faults(Store())
    assert str(path) in fault
    assert "git checkout" in fault
    assert "claims.toml" in published.renew()
    assert published.faults(Store()) == []


def test_the_command_says_whose_digests_are_new(home, monkeypatch, capsys):
    assert call(monkeypatch, capsys, "sums") == (0, "data/SHA256SUMS is up to date\n", "")
    claims = home / "data" / "claims.toml"
    claims.write_text(claims.read_text() + "\n# a remark\n")
    code, out, err = call(monkeypatch, capsys, "verify")
    assert (code, err.count("\n")) == (1, 1)
    assert "claims.toml does not have its SHA-256" in out
    assert call(monkeypatch, capsys, "sums")[1] == "data/SHA256SUMS has new digests of claims.toml\n"
    assert call(monkeypatch, capsys, "verify")[0] == 0


def by_hand(**source):
    """A contributed table that no command has seen, as a pull request can bring it."""
    store = Store()
    write_table(contributed.root(store) / "jane" / "relu_speed", [("relu", run(seed=100, **source))])


@pytest.mark.parametrize("command", ["book", "verify"])
def test_the_book_refuses_what_verify_refuses_before_it_runs_anything(home, monkeypatch, capsys, command):
    homes.write_notebook(home, "print(1)")
    for name in ("_execute_pages", "_get_data", "_render"):
        monkeypatch.setattr(build, name, lambda *_: pytest.fail("it went on"))
    by_hand(device="<script>alert(1)</script>")
    code, out, err = call(monkeypatch, capsys, command)
    assert code == 1
    assert err.count("\n") == 1
    assert "contributed/jane/relu_speed: arm 'relu', seed 100, run" in out + err
    assert "its device '<script>alert(1)</script>' is no plain name (runs.csv, row 2, column" in out + err


def test_sound_runs_of_others_do_not_stop_it(home):
    by_hand()
    published.check(Store())


def test_the_first_of_many_faults_is_told(home):
    by_hand(device="<b>", python="=1")
    with pytest.raises(UserError, match=r"is no plain name .* \(and 1 more: 'alexnet-repro verify' lists them\)"):
        published.check(Store())


def test_a_fifo_in_the_data_is_named(home):
    os.mkfifo(home / "data" / "fifo.csv")
    (fault,) = published.faults(Store())
    assert "fifo.csv is a FIFO, and a file belongs there" in fault
