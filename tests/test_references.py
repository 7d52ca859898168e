"""The bibliography has every source that is cited, and no other; CITATION.cff names the same paper and version."""

import json
import re
import tomllib

import pandas as pd
import yaml
from pybtex.database import parse_file

from alexnet_repro.common import paths
from alexnet_repro.site import citation

from . import homes

CITED = re.compile(r"\{cite\}`([^`]+)`")
BIBLIOGRAPHY = parse_file(str(homes.ROOT / "book" / "references.bib")).entries


def texts() -> list[str]:
    """Everything that can end on a page: hand-written pages, cells, data and the package's own sentences."""
    files = [*(homes.ROOT / "book").glob("*.md"), *paths.data().glob("*.toml")]
    files += (homes.ROOT / "alexnet_repro").rglob("*.py")
    notebooks = [json.loads(path.read_text(encoding="utf-8")) for path in (homes.ROOT / "notebooks").glob("*.ipynb")]
    cells = ["".join(cell["source"]) for notebook in notebooks for cell in notebook["cells"]]
    return [*(path.read_text(encoding="utf-8") for path in files), *cells]


def test_the_bibliography_is_what_is_cited() -> None:
    cited = {key.strip() for text in texts() for keys in CITED.findall(text) for key in keys.split(",")}
    of_tables = set(pd.read_csv(paths.data() / "others.csv")["source"])
    assert (cited - {"{key}"}) | of_tables == set(BIBLIOGRAPHY)


def test_pages_that_numbers_were_copied_from_are_in_the_bibliography() -> None:
    addresses = {entry.fields.get("url") for entry in BIBLIOGRAPHY.values()}
    assert set(pd.read_csv(paths.data() / "published_results.csv")["source"]) <= addresses


def test_every_source_has_what_a_reader_needs_to_find_it() -> None:
    for key, entry in BIBLIOGRAPHY.items():
        assert entry.persons["author"], key
        assert {"title", "year"} <= set(entry.fields), key
        assert {"booktitle", "journal", "institution", "url"} & set(entry.fields), key


def test_cite_this_book_agrees_with_the_package_and_the_bibliography() -> None:
    cff = yaml.safe_load((homes.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((homes.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cff["version"] == project["version"]
    theirs, ours = cff["references"][0], BIBLIOGRAPHY["krizhevsky2012imagenet"]
    plain = {name: re.sub(r"[{}]", "", value) for name, value in ours.fields.items()}
    assert plain["title"] == theirs["title"]
    assert plain["pages"] == f"{theirs['start']}--{theirs['end']}"
    assert plain["year"] == str(theirs["year"])
    names = [f"{each['family-names']}, {each['given-names']}" for each in theirs["authors"]]
    assert [str(person) for person in ours.persons["author"]] == names
    box = citation.box()
    for shown in (cff["title"], cff["version"], theirs["title"], " and ".join(names), plain["year"]):
        assert shown in box
