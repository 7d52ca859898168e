"""A small checkout in a temporary folder: the real claims, notebooks and a book of a few lines."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from alexnet_repro.analysis import published

ROOT = Path(__file__).parent.parent
PARAMETERS = (
    'scale: str = "smoke"  # how much\n'
    "count: int = 2  # how many\n"
    "rate: float = 0.5  # how fast\n"
    "loud: bool = False  # how loud"
)

CONFIG = """\
title: Toy
only_build_toc_files: true
execute: {execute_notebooks: "off"}
parse: {myst_enable_extensions: [attrs_inline, colon_fence, deflist, dollarmath]}
"""
PUBLISHED = """\
repository: {{url: {url}, branch: built, path_to_book: book}}
launch_buttons:
  notebook_interface: jupyterlab
  binderhub_url: https://mybinder.org
  colab_url: https://colab.research.google.com
"""
TOC = "format: jb-book\nroot: index\nchapters:\n- file: pages/toy\n- file: _generated/claims\n- file: verdicts\n"
INDEX = "# Toy\n\n```{include} _generated/scorecard.md\n```\n"


def make(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the checkout and make it the package's; its data folder for downloads and its store are empty."""
    for part in ("data", "notebooks", "book"):
        (folder / part).mkdir(parents=True)
    for table in [*(ROOT / "data").glob("*.csv"), *(ROOT / "data").glob("*.toml")]:
        shutil.copy(table, folder / "data")
    shutil.copy(ROOT / "CITATION.cff", folder)
    (folder / "book" / "_config.yml").write_text(CONFIG)
    (folder / "book" / "_toc.yml").write_text(TOC)
    (folder / "book" / "index.md").write_text(INDEX)
    (folder / "book" / "verdicts.md").write_text("# Verdicts\n\nNone.\n")
    monkeypatch.setenv("ALEXNET_REPRO_HOME", str(folder))
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(folder / "downloads"))
    monkeypatch.setenv("ALEXNET_REPRO_STORE", str(folder / "store"))
    published.renew()
    return folder


def write_notebook(folder: Path, *cells: str, name: str = "toy") -> None:
    """A notebook of a title, the parameters and the given code cells."""
    notebook = v4.new_notebook(
        cells=[
            v4.new_markdown_cell(f"# The {name} page"),
            v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            *(v4.new_code_cell(cell) for cell in cells),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
