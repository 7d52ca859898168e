"""The tables that pages offer: copies of all of data/, and of nothing that is gone."""

from pathlib import Path, PurePosixPath

import pytest

from alexnet_repro.common import paths
from alexnet_repro.report import downloads


@pytest.fixture
def home(home: Path) -> Path:
    for study, key in (("one", "a"), ("two", "b")):
        folder = home / "data" / "evidence" / study
        folder.mkdir(parents=True)
        (folder / "runs.csv").write_text(f"arm,seed,key\nx,0,{key}\n")
        (folder / "curves.csv").write_text("arm,seed,key,epoch\n")
    return home


def test_copies_follow_the_data(home: Path) -> None:
    book = home / "book"
    downloads.write(book)
    copies = book / downloads.FOLDER
    assert (copies / "author_log.csv").read_bytes() == (paths.data() / "author_log.csv").read_bytes()
    (paths.data() / "evidence" / "one" / "runs.csv").write_text("changed\n")
    (paths.data() / "evidence" / "two" / "runs.csv").unlink()
    downloads.write(book)
    assert (copies / "evidence" / "one" / "runs.csv").read_text() == "changed\n"
    assert not (copies / "evidence" / "two" / "runs.csv").exists()


def test_the_published_weights_are_offered_too(home: Path) -> None:
    weights = home / "data" / "weights" / "k.safetensors"
    weights.parent.mkdir(exist_ok=True)
    weights.write_bytes(b"w")
    downloads.write(home / "book")
    copy = home / "book" / downloads.FOLDER / "weights" / "k.safetensors"
    assert copy.read_bytes() == b"w"
    weights.unlink()
    downloads.write(home / "book")
    assert not copy.exists()


def test_hidden_folders_are_no_records(home: Path) -> None:
    hidden = home / "data" / "evidence" / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "runs.csv").write_text("no table")
    (home / "data" / "._gpus.csv").write_text("no table")
    downloads.write(home / "book")
    assert not list((home / "book" / downloads.FOLDER).rglob(".*"))


def test_link_leads_from_a_page_to_the_copy(home: Path) -> None:
    downloads.write(home / "book")
    text = downloads.link(PurePosixPath("evidence/one/runs.csv"))
    target = text.split("](")[1].rstrip(")")
    assert (home / "book" / "pages" / target).resolve().is_file()
    assert text.startswith("[`data/evidence/one/runs.csv`]")
