"""Build the book: execute the notebooks that changed, write the generated parts, run Jupyter Book.

The generated parts are in the other modules of this folder, execution in notebooks.py.
"""

import importlib.metadata
import json
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import yaml

from ..analysis import published
from ..common import paths
from ..common.errors import UserError
from ..common.files import lock, sha256, write_atomic
from ..common.machine import cores
from ..records.store import Store
from ..report import downloads, effects
from . import citation, explore, notebooks, pages

TOOLS = ("jupyter-book", "sphinx-book-theme", "myst-nb")
BUILDER = "from jupyter_book.cli.main import main; main()"
GET = """\
# Where the package is missing, as in Colab, get it and its records.
import importlib.util

if importlib.util.find_spec("alexnet_repro") is None:
    !git clone --quiet --depth 1 {url} alexnet
    %pip install --quiet --no-deps -e alexnet
    %cd alexnet
"""
PDF = "alexnet.pdf"
PDF_PUBLISHED = f'<a href="{PDF}">The whole book as one PDF</a>, as `make pdf` prints it.\n'
PDF_HERE = "`make pdf` prints the whole book as one PDF; the published site offers it here.\n"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
COMPLAINT = re.compile(r"(WARNING|ERROR|CRITICAL)\b")


def build() -> Path:
    """Build what has changed, print the path of index.html and return it.

    CIFAR-10 is downloaded if possible; without it, a message says so and the build goes on. Raises UserError for a
    notebook that fails or is missing in _toc.yml, for a warning of Jupyter Book, and, before anything runs, for
    evidence that ``alexnet-repro verify`` refuses.
    """
    book = paths.repository() / "book"
    with lock(book / "_build" / ".lock", waiting=lambda: print("another build is at work: waiting for it")):
        _check_contents(book)
        published.check(Store())
        _get_data()
        _execute_pages(book / "pages")
        pages.write(book)
        effects.write(book)
        explore.write(book)
        downloads.write(book)
        citation.write(book)
        write_atomic(book / "_generated" / "pdf.md", PDF_PUBLISHED if address(configuration(book)) else PDF_HERE)
        index = _render(book)
    print(f"the book: {index}")
    return index


def _get_data() -> None:
    # Imported here, since it imports torch.
    from ..training.data import cifar10

    try:
        cifar10.cifar10()
    except UserError as error:
        print(f"building from the published evidence and the bundled sample, without all of CIFAR-10: {error}")


def _execute_pages(folder: Path) -> None:
    """Execute the notebooks whose inputs changed, in parallel; delete pages whose notebook is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / ".digests.json"
    known = _read_state(state)
    url = address(configuration(folder.parent))
    common = [*_common_inputs(), url]
    wanted = {name: _digest([notebooks.path(name)], common) for name in notebooks.names()}
    for page in folder.glob("*.ipynb"):
        if page.stem not in wanted:
            page.unlink()
    stale = [name for name in wanted if known.get(name) != wanted[name] or not (folder / f"{name}.ipynb").is_file()]
    done = {name: digest for name, digest in wanted.items() if name not in stale}
    failures = []
    for name, seconds, failure in _execute_all(stale, folder):
        if failure:
            failures.append(failure)
            continue
        if url:
            _make_portable(folder / f"{name}.ipynb", url)
        print(f"executed notebook {name} in {seconds:.0f} s")
        done[name] = wanted[name]
        write_atomic(state, json.dumps(done, indent=1, sort_keys=True))
    if failures:
        more = f" (and {len(failures) - 1} more notebooks failed)" if len(failures) > 1 else ""
        raise UserError(failures[0] + more, 1)
    write_atomic(state, json.dumps(done, indent=1, sort_keys=True))


def _execute_all(names: list[str], folder: Path) -> Iterator[tuple[str, float, str]]:
    outputs = [folder / f"{name}.ipynb" for name in names]
    if len(names) < 2:
        yield from map(_execute_page, names, outputs)
        return
    # Processes, since papermill changes the working folder; spawned, since threads of ours may be running.
    workers = min(len(names), cores())
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_execute_page, names, outputs)


def _execute_page(name: str, page: Path) -> tuple[str, float, str]:
    """Returns (name, seconds, the error message or "")."""
    start = time.monotonic()
    try:
        notebooks.execute(name, page)
    except UserError as error:
        return name, time.monotonic() - start, str(error)
    return name, time.monotonic() - start, ""


def _make_portable(page: Path, url: str) -> None:
    """Insert a hidden cell that installs the package where it is missing, as in Colab."""
    notebook = nbformat.read(page, as_version=4)
    cell = nbformat.v4.new_code_cell(GET.format(url=url), id="get", metadata={"tags": ["remove-cell"]})
    notebook.cells.insert(1, cell)  # below the title, which names the page
    write_atomic(page, nbformat.writes(notebook) + "\n")


def _render(book: Path) -> Path:
    """Run Jupyter Book if any of its inputs changed; returns the path of index.html. Raises UserError if it fails."""
    build = book / "_build"
    index, state = build / "html" / "index.html", build / "inputs.sha256"
    sources = [path for path in _files(book) if build not in path.parents and not path.name.startswith(".")]
    versions = [f"{tool} {importlib.metadata.version(tool)}" for tool in TOOLS]
    inputs = _digest(sources, versions)
    if index.is_file() and state.is_file() and state.read_text(encoding="utf-8") == inputs:
        return index
    state.unlink(missing_ok=True)
    # From scratch: pages left by an older build would otherwise stay on the site.
    for leftover in ("html", ".doctrees"):
        shutil.rmtree(build / leftover, ignore_errors=True)
    jupyter_book(book, "-W", "--keep-going", "-n")
    if not index.is_file():
        raise UserError(f"the book's build left no {index}: remove {build} and build it again", 1)
    write_atomic(state, inputs)
    return index


def jupyter_book(book: Path, *options: str) -> None:
    """Run Jupyter Book on a folder. Raises UserError with its first warning or error if it fails."""
    config = book / "_build" / "_config.yml"
    write_atomic(config, yaml.safe_dump(configuration(book)))
    done = subprocess.run(
        [sys.executable, "-c", BUILDER, "build", *options, "--config", str(config), str(book)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONHASHSEED": "0"},  # the same pages from every build
    )
    if done.returncode != 0:
        log = book / "_build" / "book.log"
        output = COLOUR.sub("", done.stdout)
        write_atomic(log, output)
        complaints = [line.strip() for line in output.splitlines() if COMPLAINT.search(line)]
        said = complaints or output.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UserError(f"the book does not build: {said[0]} ({len(said)} complaints, all in {log})", 1)


def configuration(book: Path) -> dict[str, Any]:
    """The contents of _config.yml; without a repository address, the buttons that need it are left out."""
    config: dict[str, Any] = yaml.safe_load((book / "_config.yml").read_text(encoding="utf-8"))
    if not address(config):
        config.pop("repository", None)
        config.pop("launch_buttons", None)
    return config


def address(config: Mapping[str, Any]) -> str:
    """The URL of the repository, "" if it is not published."""
    return str(config.get("repository", {}).get("url", ""))


def _check_contents(book: Path) -> None:
    """Raises UserError for a notebook that _toc.yml, which is written by hand, does not list."""
    listed = (book / "_toc.yml").read_text(encoding="utf-8")
    for name in notebooks.names():
        if not re.search(rf"\bpages/{re.escape(name)}\b", listed):
            raise UserError(f"pages/{name} is not in {book / '_toc.yml'}: add it in the paper's order", 1)


def _common_inputs() -> list[str]:
    """Digests of what every page depends on: Python's version, the package, data/, the working store."""
    data, downloads, store = paths.data(), paths.downloads(), paths.store()
    package = Path(__file__).parents[1]
    files = [path for path in _files(package) if path.suffix == ".py"]
    files += [
        path for path in _files(data) if not {downloads, store, data / "downloads", data / "store"} & set(path.parents)
    ]
    files += sorted((store / "runs").glob("*.json"))
    return [platform.python_version(), f"CIFAR-10: {any(downloads.glob('*.npy'))}", _digest(files, [])]


def _digest(files: Iterable[Path], texts: Iterable[str]) -> str:
    parts = [f"{path} {sha256(path.read_bytes())}" for path in files]
    return sha256("\n".join([*parts, *texts]).encode("utf-8", "surrogateescape"))  # a path may hold any byte


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _read_state(state: Path) -> dict[str, str]:
    try:
        known = json.loads(state.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
