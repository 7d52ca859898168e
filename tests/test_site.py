"""The build of the book, on a book of a few lines: only what changed, nothing where something fails."""

import json
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from alexnet_repro import claims, notebooks, scorecard, site, verdicts
from alexnet_repro.errors import UserError
from alexnet_repro.files import sha256
from alexnet_repro.lab import datasets

from . import homes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def unreachable() -> None:
        raise UserError("could not get CIFAR-10; tried nothing", 1)

    monkeypatch.setattr(datasets, "cifar10", unreachable)
    home = homes.make(tmp_path / "home", monkeypatch)
    homes.write_notebook(home, "print('hello from', scale)")
    return home


def published(home: Path) -> dict[str, str]:
    html = home / "book" / "_build" / "html"
    return {str(path.relative_to(html)): sha256(path.read_bytes()) for path in html.rglob("*") if path.is_file()}


def test_builds_without_the_download_and_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = site.build()
    said = capsys.readouterr().out
    assert "without all of CIFAR-10: could not get CIFAR-10" in said
    assert said.splitlines()[-1] == f"the book: {index}"
    assert "not run" in index.read_text()
    assert "hello from smoke" in (index.parent / "pages" / "toy.html").read_text()


def test_second_build_does_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build()
    capsys.readouterr()
    before = published(home)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("Jupyter Book ran again"))
    monkeypatch.setattr(site, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("a notebook ran again"))
    site.build()
    assert "executed" not in capsys.readouterr().out
    assert published(home) == before


def test_what_changed_is_built_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.build()
    index = home / "book" / "index.md"
    index.write_text(index.read_text() + "\nA new line.\n")
    capsys.readouterr()
    html = site.build()
    assert "executed" not in capsys.readouterr().out
    assert "A new line." in html.read_text()
    homes.write_notebook(home, "print('hello again')")
    site.build()
    assert "executed notebook toy" in capsys.readouterr().out
    assert "hello again" in (html.parent / "pages" / "toy.html").read_text()


def test_a_change_of_claims_runs_the_notebooks_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.build()
    file = home / "data" / "claims.toml"
    file.write_text(file.read_text() + "\n# a remark\n")
    site.build()
    assert "executed notebook toy" in capsys.readouterr().out


def test_two_builds_give_identical_pages(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.build()
    first = published(home)
    for built in ("_build/inputs.sha256", "pages/.digests.json"):
        (home / "book" / built).unlink()
    site.build()
    assert published(home) == first


def test_failing_notebook_fails_the_build(home: Path) -> None:
    homes.write_notebook(home, "1 / 0")
    with pytest.raises(UserError, match="ZeroDivisionError"):
        site.build()
    assert not (home / "book" / "_build" / "html").exists()
    assert json.loads((home / "book" / "pages" / ".digests.json").read_text() or "{}") == {}


def test_warning_fails_the_build_and_is_said(home: Path) -> None:
    (home / "book" / "index.md").write_text("# Toy\n\n[](nowhere.md)\n")
    with pytest.raises(UserError, match=r"does not build: .*nowhere"):
        site.build()
    with pytest.raises(UserError, match=r"does not build: .*nowhere"):  # and is not forgotten
        site.build()


def test_notebook_outside_the_contents_is_said_before_it_runs(home: Path) -> None:
    homes.write_notebook(home, "1 / 0", name="extra")
    with pytest.raises(UserError, match=r"pages/extra is not in .*_toc\.yml"):
        site.build()


def test_page_of_a_notebook_that_is_gone_goes_too(home: Path) -> None:
    toc = home / "book" / "_toc.yml"
    with_extra = toc.read_text() + "- file: pages/extra\n"
    homes.write_notebook(home, name="extra")
    toc.write_text(with_extra)
    site.build()
    (home / "notebooks" / "extra.ipynb").unlink()
    toc.write_text(with_extra.replace("- file: pages/extra\n", ""))
    html = site.build().parent
    assert not (home / "book" / "pages" / "extra.ipynb").exists()
    assert not (html / "pages" / "extra.html").exists()


def test_scorecard_has_every_claim_and_links_pages(home: Path) -> None:
    homes.write_notebook(home, name="relu_speed")
    every = claims.load()
    links = scorecard.pages(every)
    verdict_list = verdicts.scorecard(lambda study, arm: {})
    text = scorecard.table(verdict_list, links)
    for claim in every:
        assert f"[{claim.title}]({links[claim.id]})" in text
    assert links["relu_speed"] == "pages/relu_speed.ipynb"
    assert links["lrn"] == "#claim-lrn"
    details = scorecard.details(every, verdict_list)
    assert all(f"(claim-{claim.id})=" in details for claim in every)
    assert all(entry.rule in details for claim in every for entry in claim.measured)


@pytest.mark.parametrize(
    ("effect", "interval", "unit", "text"),
    [
        (1.5234, (1.4, 1.66), "×", "1.52× (1.40 to 1.66)"),
        (-0.25, (-0.5, 0.0), "points", "−0.25 points (−0.50 to 0)"),
        (9.0, (6.1, float("inf")), "×", "9× (above 6.10)"),
        (0.5, (0.0, 0.8), "×", "0.50× (0 to 0.80)"),
        (60_965_224.0, None, "parameters", "60,965,224 parameters"),
        (None, None, "points", "–"),
    ],
)
def test_found_is_printed_with_interval_and_unit(
    effect: float | None, interval: tuple[float, float] | None, unit: str, text: str
) -> None:
    verdict = verdicts.Verdict("c", "3", "t", "", "p", "measured", "not run", effect, interval, unit, 0, "")
    assert scorecard.found(verdict) == text


def test_book_explains_every_verdict() -> None:
    page = (homes.ROOT / "book" / "verdicts.md").read_text()
    assert [name for name in get_args(verdicts.Name) if f"| {name} |" not in page] == []


def test_every_notebook_has_its_place_in_the_book() -> None:
    site._check_contents(homes.ROOT / "book")
    assert set(notebooks.names()) >= {"relu_speed"}
