"""The build of the book, on a book of a few lines: only what changed, nothing where something fails."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from alexnet_repro.analysis import rules, verdicts
from alexnet_repro.analysis.lookup import concluded
from alexnet_repro.analysis.verdicts import effect_text
from alexnet_repro.common.errors import UserError
from alexnet_repro.common.files import sha256, write_atomic
from alexnet_repro.paper import claims
from alexnet_repro.records.store import Store
from alexnet_repro.report.captions import level
from alexnet_repro.report.format import papers, with_commands
from alexnet_repro.site import build, notebooks, pages
from alexnet_repro.training.data import cifar10

from . import homes
from .runs import record


@pytest.fixture
def home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small book; all of CIFAR-10 cannot be had."""

    def unreachable() -> None:
        raise UserError("could not get CIFAR-10; tried nothing", 1)

    monkeypatch.setattr(cifar10, "cifar10", unreachable)
    homes.write_notebook(home, "print('hello from', scale)")
    return home


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the notebooks that a build executes: their copies stand in for the executed ones."""
    names: list[str] = []

    def copy(name: str, output: Path) -> None:
        names.append(name)
        output.write_bytes(notebooks.path(name).read_bytes())

    monkeypatch.setattr(notebooks, "execute", copy)
    return names


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each run of Jupyter Book, which is not run: an empty page stands in for its site."""
    runs: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        runs.append(command[-1])
        html = Path(command[-1]) / "_build" / "html"
        html.mkdir(parents=True)
        (html / "index.html").write_text("")
        return subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(build.subprocess, "run", run)
    return runs


@pytest.fixture
def unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A book whose generated parts are a line each: what is not about the records waits for no verdict."""

    def write(book: Path) -> None:
        for name in ("claims", "scorecard"):
            write_atomic(book / "_generated" / f"{name}.md", f"# {name}\n")

    monkeypatch.setattr(build.pages, "write", write)
    for part in (build.effects, build.explore):
        monkeypatch.setattr(part, "write", lambda book: None)


ADDRESS = "https://github.com/someone/somewhere"


def published(home: Path) -> dict[str, str]:
    html = home / "book" / "_build" / "html"
    return {str(path.relative_to(html)): sha256(path.read_bytes()) for path in html.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_two_builds_from_nothing_give_identical_pages(home: Path) -> None:
    homes.write_notebook(home, "print('another')", name="extra")
    toc = home / "book" / "_toc.yml"
    toc.write_text(toc.read_text() + "- file: pages/extra\n")
    build.build()
    first = published(home)
    for built in ("_build", "_generated", "pages"):
        shutil.rmtree(home / "book" / built)
    build.build()
    assert published(home) == first


def test_address_brings_buttons_and_a_cell_that_gets_the_package(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = home / "book" / "_config.yml"
    config.write_text(config.read_text() + homes.PUBLISHED.format(url=ADDRESS))
    index = build.build()
    said = capsys.readouterr().out
    assert "without all of CIFAR-10: could not get CIFAR-10" in said
    assert said.splitlines()[-1] == f"the book: {index}"
    assert "not run" in index.read_text()
    html = index.parent / "pages" / "toy.html"
    text = html.read_text()
    assert "hello from smoke" in text
    assert "https://colab.research.google.com/github/someone/somewhere/blob/built/book/pages/toy.ipynb" in text
    assert "https://mybinder.org/v2/gh/someone/somewhere/built?urlpath=lab/tree/book/pages/toy.ipynb" in text
    assert "git clone" not in text
    assert (home / "book" / "_generated" / "pdf.md").read_text() == build.PDF_PUBLISHED
    assert f"git clone --quiet --depth 1 {ADDRESS} " in (html.parent.parent / "_sources/pages/toy.ipynb").read_text()


def test_without_an_address_there_are_no_such_buttons(home: Path) -> None:
    config = home / "book" / "_config.yml"
    config.write_text(config.read_text() + homes.PUBLISHED.format(url='""'))
    assert {"repository", "launch_buttons"}.isdisjoint(build.configuration(home / "book"))


def test_build_does_only_what_changed(home: Path, executed: list[str], rendered: list[str], unwritten: None) -> None:
    build.build()
    assert (len(executed), len(rendered)) == (1, 1)
    build.build()
    assert (len(executed), len(rendered)) == (1, 1)
    index = home / "book" / "index.md"
    index.write_text(index.read_text() + "\nA new line.\n")
    build.build()
    assert (len(executed), len(rendered)) == (1, 2)
    homes.write_notebook(home, "print('hello again')")
    build.build()
    assert (len(executed), len(rendered)) == (2, 3)


@pytest.mark.parametrize("file", ["data/claims.toml", "data/evidence/toy/runs.csv", "store/runs/0.json"])
def test_new_evidence_runs_the_notebooks_again(
    home: Path,
    executed: list[str],
    rendered: list[str],
    unwritten: None,  # its parts are from the records, which these files are not
    monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:
    monkeypatch.setattr(build.published, "check", lambda store: None)
    build.build()
    changed = home / file
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.write_text((changed.read_text() if changed.exists() else "") + "\n# a remark\n")
    build.build()
    assert executed == ["toy", "toy"]
    assert len(rendered) == (2 if "evidence" in file else 1)  # the pages came out the same; tables go with them


def test_failing_notebook_fails_the_build_and_runs_again(home: Path, rendered: list[str]) -> None:
    homes.write_notebook(home, "1 / 0")
    for _ in range(2):
        with pytest.raises(UserError, match="ZeroDivisionError"):
            build.build()
    assert rendered == []


def test_warning_fails_the_build_and_is_not_forgotten(home: Path, executed: list[str], unwritten: None) -> None:
    (home / "book" / "index.md").write_text("# Toy\n\n[](nowhere.md)\n")
    for _ in range(2):
        with pytest.raises(UserError, match=r"does not build: .*nowhere"):
            build.build()


def test_notebook_outside_the_contents_is_said_before_it_runs(home: Path, executed: list[str]) -> None:
    homes.write_notebook(home, name="extra")
    with pytest.raises(UserError, match=r"pages/extra is not in .*_toc\.yml"):
        build.build()
    assert executed == []


def test_page_of_a_notebook_that_is_gone_goes_too(
    home: Path, executed: list[str], rendered: list[str], unwritten: None
) -> None:
    build.build()
    homes.write_notebook(home, name="other")
    (home / "notebooks" / "toy.ipynb").unlink()
    toc = home / "book" / "_toc.yml"
    toc.write_text(toc.read_text().replace("pages/toy", "pages/other"))
    build.build()
    assert [page.name for page in (home / "book" / "pages").glob("*.ipynb")] == ["other.ipynb"]


def test_scorecard_has_every_claim_and_links_pages(home: Path) -> None:
    homes.write_notebook(home, name="relu_speed")
    every = claims.load()
    links = pages.pages(every)
    verdict_list = verdicts.scorecard(lambda study, arm: {})
    text = pages.table(verdict_list, links)
    for claim in every:
        assert f"[{claim.title}]({links[claim.id]})" in text
    assert links["relu_speed"] == "pages/relu_speed.ipynb"
    assert links["lrn"] == "#claim-lrn"
    details = pages.details(every, verdict_list)
    assert all(f"(claim-{claim.id})=" in details for claim in every)
    assert all(entry.rule in details for claim in every for entry in claim.measured)
    assert all(entry.reason in details for claim in every for entry in claim.untested)
    assert all(rule.why in details for rule in rules.load())
    assert (
        "stage two, primary: `no_conv4 - baseline`, by `test_error`\n: *Threshold:* 1 point on either side. " in details
    )


def test_scorecard_has_every_comparison_of_stage_two(home: Path) -> None:
    every = concluded(Store())
    text = pages.stage_two(every, dict.fromkeys((each.claim for each in every), "page"))
    declared = sum(len(rule.seeds) for rule in rules.load())
    assert len(text.strip().splitlines()) == declared + 2  # a head, a line below it, and a row each
    assert "not run" in text


def test_audits_are_not_counted_beside_measurements(home: Path) -> None:
    some = verdicts.scorecard(lambda study, arm: {})
    measured, observed, audited, derived, untested = pages.counts(some).split(". ")
    assert measured == "Measured by a rule: 28 [not run]{.verdict .not-run}"
    assert observed.startswith("Observed in runs, without a rule: ")
    assert "agrees" in audited
    assert "not run" not in audited + derived + untested
    counted = {kind: sum(each.evidence == kind for each in some) for kind in pages.KINDS}
    assert observed.endswith(f": {counted['observed']}")
    assert untested == f"Not testable here: {counted['untested']}."
    assert sum(map(int, re.findall(r"\d+(?= \[)", audited))) == counted["audited"]


def test_the_papers_values_have_its_decimals() -> None:
    ten = [each for each in verdicts.scorecard(lambda study, arm: {}) if each.claim == "ten_crop"]
    assert papers(ten[1:]) == "39.0 / 18.3 / 37.5 / 17.0 %"
    assert papers(ten[1:2]) == "39.0 %"
    without = next(each for each in verdicts.scorecard(lambda study, arm: {}) if each.claim == "weight_decay")
    assert papers([without]) == "–"


def test_sizes_name_the_verdicts_that_hang_on_the_halving() -> None:
    some = next(each for each in verdicts.scorecard(lambda study, arm: {}) if each.claim == "two_gpu_error")
    assert (some.size, some.paper_value) == (0.85, 1.7)
    weak = replace(some, verdict="reproduced", effect=2.0, interval=(1.0, 3.0))
    strong = replace(weak, interval=(1.7, 2.3))
    text = pages.sizes([weak, strong])
    assert (
        "2 verdicts of stage one use half of the paper's points. With the whole number, 1 of them would change" in text
    )
    assert "would be [direction only]" in text
    assert pages.sizes([strong]).endswith("With the whole number, 0 of them would change.\n")


def test_level_is_the_mean_of_the_baseline() -> None:
    errors = {seed: record(metrics={"test_error": value}) for seed, value in enumerate((0.38, 0.41))}
    assert "has a test error of 39.5 % (mean of 2 seeds)" in level(lambda study, arm: errors)
    errors[1] = record(status="diverged", metrics={"test_error": None})  # counts at chance
    assert "has a test error of 64.0 % (mean of 2 seeds)" in level(lambda study, arm: errors)
    assert "has a test error of no number yet" in level(lambda study, arm: {})


def test_cost_is_the_published_runs(home: Path) -> None:
    assert pages.cost(Store(home / "store", home / "nothing")).startswith("The evidence so far is 0 recorded runs")


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
    assert effect_text(verdict) == text


def test_a_note_keeps_the_dashes_of_its_command() -> None:
    note = "no times; 'python benchmarks/parallel.py --device cuda' settles it (the bootstrap would say 'inconclusive')"
    assert "`python benchmarks/parallel.py --device cuda` settles" in with_commands(note)
    assert "'inconclusive'" in with_commands(note)


def test_book_explains_every_verdict() -> None:
    page = (homes.ROOT / "book" / "verdicts.md").read_text()
    assert [name for name in get_args(verdicts.Name) if f"| {name} |" not in page] == []


def test_every_notebook_has_its_place_in_the_book() -> None:
    build._check_contents(homes.ROOT / "book")
    assert set(notebooks.names()) >= {"relu_speed"}
