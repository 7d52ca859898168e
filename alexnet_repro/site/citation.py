"""The box "Cite this" of the book: CITATION.cff as BibTeX. References of the text are in book/references.bib."""

from pathlib import Path

import yaml

from ..common import paths
from ..common.files import write_atomic


def write(book: Path) -> None:
    """Write the box to _generated/cite.md, which a page includes."""
    write_atomic(book / "_generated" / "cite.md", box())


def box() -> str:
    """A MyST box with the BibTeX entries of this replication and of the paper."""
    cff = yaml.safe_load((paths.repository() / "CITATION.cff").read_text(encoding="utf-8"))
    paper = cff["references"][0]
    ours = {
        "title": f"{{{cff['title']}}}",
        "author": f"{{{_people(cff['authors'])}}}",
        "version": f"{{{cff['version']}}}",
        **({"url": f"{{{cff['repository-code']}}}"} if "repository-code" in cff else {}),
    }
    theirs = {
        "title": f"{{{paper['title']}}}",
        "author": f"{{{_people(paper['authors'])}}}",
        "booktitle": f"{{{paper['collection-title']}}}",
        "pages": f"{{{paper['start']}--{paper['end']}}}",
        "year": f"{{{paper['year']}}}",
    }
    entries = [
        _entry("misc", "alexnet_claim_by_claim", ours),
        _entry("inproceedings", "krizhevsky2012imagenet", theirs),
    ]
    return "\n".join([":::{admonition} Cite this", ":class: tip", "", "```bibtex", *entries, "```", ":::", ""])


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    return "\n".join([f"@{kind}{{{key},", *(f"  {name} = {value}," for name, value in fields.items()), "}"])


def _people(authors: list[dict[str, str]]) -> str:
    return " and ".join(
        each["name"] if "name" in each else f"{each['family-names']}, {each['given-names']}" for each in authors
    )
