"""What the README says was found is what the records say."""

import re
from pathlib import Path

import pytest

from alexnet_repro import claims, figures, readme
from alexnet_repro.runs import finder
from alexnet_repro.store import Store
from alexnet_repro.verdicts import Verdict, scorecard

ROOT = Path(__file__).parent.parent
STALE = "the records have changed: run 'make readme' and commit README.md and .github/scorecard.svg"


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    return scorecard(finder(Store(tmp_path_factory.mktemp("empty"))))  # what is published, not what a machine has


def test_six_lines_are_those_of_the_records(verdicts: list[Verdict]) -> None:
    block = readme.BLOCK.search((ROOT / "README.md").read_text())
    assert block, "README.md has lost the place of its findings"
    lines = readme.findings(verdicts)
    assert lines.count("\n") == 6
    assert lines in block[0], STALE


def test_audits_are_counted_by_what_they_stand_beside(verdicts: list[Verdict]) -> None:
    lines = readme.findings(verdicts)
    assert "19 of 22 comparisons find the paper's number in the author's log" in lines
    assert "6 of 8 agree with what others published; in 9 of 18 points the source of 2012 does what the paper" in lines
    untested = sum(len(claim.untested) for claim in claims.load())
    assert f"{untested} parts of claims that cannot be tested here" in lines


def test_picture_is_that_of_the_records(verdicts: list[Verdict]) -> None:
    text = (ROOT / readme.PICTURE).read_text()
    said = re.search(r"<dc:description>(.*?)</dc:description>", text, re.DOTALL)
    assert said
    assert said[1] == readme.summary(verdicts), STALE


def test_picture_shows_every_claim_and_verdict(verdicts: list[Verdict]) -> None:
    figure = readme.picture(verdicts)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert all(any(each.title in text for text in texts) for each in verdicts)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {each.verdict.split(": ")[-1] for each in verdicts}
    figures.close(figure)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 110
