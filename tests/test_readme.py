"""What the README says was found is what the records say."""

import html
import re
from pathlib import Path

import pytest

from alexnet_repro.analysis.conclusions import Conclusion
from alexnet_repro.analysis.lookup import concluded as the_concluded
from alexnet_repro.paper import claims
from alexnet_repro.records.store import Store
from alexnet_repro.report import scales
from alexnet_repro.site import readme

ROOT = Path(__file__).parent.parent
STALE = "the records have changed: run 'make readme' and commit README.md and .github/claims.svg"


@pytest.fixture(scope="module")
def concluded(tmp_path_factory: pytest.TempPathFactory) -> list[Conclusion]:
    return the_concluded(Store(tmp_path_factory.mktemp("empty")))  # what is published, not what a machine has


def test_lines_are_those_of_the_records(concluded: list[Conclusion]) -> None:
    block = readme.BLOCK.search((ROOT / "README.md").read_text())
    assert block, "README.md has lost the place of its findings"
    lines = readme.findings(concluded)
    assert lines.count("\n* ") == len(claims.FIRST) - 1
    assert lines in block[0], STALE


def test_evidence_is_counted_by_its_kind(concluded: list[Conclusion]) -> None:
    lines = readme.findings(concluded)
    assert "| comparisons of a printed number with the author's log that agree | 19 of 22 |" in lines
    assert "| comparisons with numbers that others published that agree | 6 of 8 |" in lines
    assert "| points in which the 2012 source does what the paper says | 9 of 19 |" in lines
    untested = sum(len(claim.untested) for claim in claims.load())
    assert f"| parts of claims that cannot be tested here | {untested} |" in lines


def test_picture_is_that_of_the_records(concluded: list[Conclusion]) -> None:
    text = (ROOT / readme.PICTURE).read_text()
    said = re.search(r"<dc:description>(.*?)</dc:description>", text, re.DOTALL)
    assert said
    assert html.unescape(said[1]) == readme.described(scales.shown(concluded)), STALE
    assert "Every middle layer counts: the paper 2.00 (" in said[1]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 120
