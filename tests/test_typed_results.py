"""No notebook or page types a result: numbers with decimals or units are the paper's, the rules' or arithmetic."""

import re
from collections.abc import Iterator
from math import log
from pathlib import Path

import nbformat
import pytest

from .homes import ROOT

NUMBER = re.compile(r"(?<![\w.,−-])(\d[\d,]*\.\d+|\d[\d,]*(?=\s?(?:%|points?\b|×(?!\s?10))))")
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
RULES = ("claims.toml", "rules_stage_2.toml")
CLAIMS = {number for name in RULES for number in NUMBER.findall((ROOT / "data" / name).read_text(encoding="utf-8"))}
OTHERS = {
    "0.59": "2 to the power −0.75",
    "99": "the level of a rerun's intervals",
    "0.03": "a rate that a pilot tried",
    "0.9": "the paper's momentum",
    "0.0001": "the first standard deviation in cuda-convnet's layer file",
    "2.3": "ln 10",
    "3": "the side of a kernel",
    "7": "the side of a kernel on Tiny ImageNet",
    "224": "the side of the paper's images",
    "32": "the side of an image",
    "64": "the side of an image of Tiny ImageNet",
    "1.35": "gigabytes of Tiny ImageNet: 110,000 images of 64 x 64 x 3 bytes",
    "3.6": "gigabytes that a process takes at most for one image: a limit of training/data/decode.py",
    "4096": "units of fc6 and fc7",
    "1": "no difference, as a ratio",
    "3.11": "a version",
    "22.05": "a version",
    "0.1": "section 6, validation against test error",
    "90": "confidence, in percent, of the interval of two one-sided tests",
}
PAGES = sorted([*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book").glob("*.md")])


def texts(path: Path) -> Iterator[str]:
    """What a page says in its own words: code, and what is computed, left out."""
    if path.suffix == ".md":
        yield path.read_text(encoding="utf-8")
        return
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            yield cell.source
        yield from (str(text) for part in cell.metadata.get("mystnb", {}).values() for text in part.values())


def unknown(text: str) -> set[str]:
    return set(NUMBER.findall(CODE.sub("", text))) - CLAIMS - OTHERS.keys()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_result_is_typed(path: Path) -> None:
    assert set().union(*map(unknown, texts(path))) == set()


@pytest.mark.parametrize("text", ["It errs on 39.9 % of them.", "a gain of 17 points", "7.5× as fast", "3.44 points"])
def test_a_typed_result_is_found(text: str) -> None:
    assert len(unknown(text)) == 1


def test_numbers_of_arithmetic_are_right() -> None:
    assert f"{2**-0.75:.2f}" in OTHERS
    assert f"{log(10):.1f}" in OTHERS


WITHDRAWN = re.compile(r"errs about half|about half as often|relative gain from\s+half", re.IGNORECASE)


def test_the_withdrawn_reason_for_half_the_points_stands_in_the_rules_alone() -> None:
    files = [*PAGES, ROOT / "README.md", *sorted((ROOT / "alexnet_repro").rglob("*.py"))]
    assert [path.name for path in files if WITHDRAWN.search(path.read_text(encoding="utf-8"))] == []
    assert WITHDRAWN.search((ROOT / "data" / "claims.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_words_of_the_field(path: Path) -> None:
    old = re.compile(r"\b(the whole net\b(?!work)|errs on|size that the rule names|reflections and colour)")
    assert [match[0] for text in texts(path) for match in old.finditer(text)] == []
