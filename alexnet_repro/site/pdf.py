"""Print the whole book as one PDF: Jupyter Book renders it as a single page, headless Chromium prints that.

It is printed twice: Chromium cannot number the contents' pages, so the first print tells where a chapter begins.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..common import paths
from ..common.errors import UserError
from ..common.files import lock, write_atomic
from . import build

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",  # MathJax's fonts
    "--virtual-time-budget=60000",  # ms on the page's own clock: the formulas are set by then
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)
PATIENCE = 600
"""Timeout of the browser, in seconds."""

ARTICLE = '<article class="bd-article">'
"""Where the contents are inserted."""
CHAPTER = re.compile(r'<span id="(document-[^"]+)"></span>.*?<h\d>(.*?)<a class="headerlink"', re.DOTALL)
# Objects of a PDF, as Chromium writes them: named destinations, the catalog, nodes of the tree of pages.
DESTINATION = re.compile(rb"/(document-[^\s\[]+) \[(\d+) 0 R")
CATALOG = re.compile(rb"/Type /Catalog\b[^>]*?/Pages (\d+) 0 R", re.DOTALL)
NODE = re.compile(rb"\n(\d+) 0 obj\s*<<\s*/Type /Pages\b[^>]*?/Kids \[([^\]]*)\]", re.DOTALL)


def write() -> Path:
    """Build the book and print it; returns the path of the PDF. Raises UserError if Chromium is missing or fails."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UserError("no Chromium to print with: install one (on Debian: apt-get install chromium)", 1)
    build.build()
    book = paths.repository() / "book"
    pdf = book / "_build" / build.PDF
    pdf.unlink(missing_ok=True)
    with lock(book / "_build" / ".lock"), tempfile.TemporaryDirectory() as profile:
        build.jupyter_book(book, "--builder", "singlehtml")
        page = book / "_build" / "singlehtml" / "index.html"
        text = page.read_text(encoding="utf-8")
        for _ in range(2):
            pages = chapter_pages(pdf.read_bytes()) if pdf.is_file() else {}
            write_atomic(page, text.replace(ARTICLE, ARTICLE + contents(text, pages), 1))
            _print(browser, page, pdf, profile)
    shutil.copy(pdf, book / "_build" / "html")  # where the published site links it
    print(f"the book as PDF: {pdf}")
    return pdf


def _print(browser: str, page: Path, pdf: Path, profile: str) -> None:
    """Print an HTML file into ``pdf``. Raises UserError if the browser fails."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has none
    pdf.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [browser, *FLAGS, *sandbox, f"--user-data-dir={profile}", f"--print-to-pdf={pdf}", page.as_uri()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{browser} did not print the book within {PATIENCE:g} seconds", 1) from None
    if done.returncode != 0 or not pdf.is_file():
        said = done.stdout.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UserError(f"{browser} did not print the book: {said[0]}", 1)


def contents(html: str, pages: Mapping[str, int]) -> str:
    """The table of contents in HTML: each chapter's title and page; pages: id of a chapter -> its page."""
    rows = [
        f'<li><a href="#{name}">{re.sub("<[^>]*>", "", title).strip()}</a> <span>{pages.get(name, "")}</span></li>'
        for name, title in CHAPTER.findall(html)
    ]
    return "\n".join(['<nav class="pdf-contents"><p>Contents</p><ol>', *rows, "</ol></nav>"])


def chapter_pages(pdf: bytes) -> dict[str, int]:
    """Id of each chapter to which the PDF has a link -> its page, from 1."""
    catalog, nodes = CATALOG.search(pdf), {int(node): kids for node, kids in NODE.findall(pdf)}
    order: list[int] = []

    def walk(number: int) -> None:
        if number not in nodes:
            order.append(number)
            return
        for kid in re.findall(rb"(\d+) 0 R", nodes[number]):
            walk(int(kid))

    if catalog:
        walk(int(catalog[1]))
    places = {page: place for place, page in enumerate(order, 1)}
    found = {_name(name): places.get(int(page)) for name, page in DESTINATION.findall(pdf)}
    return {name: place for name, place in found.items() if place is not None}


def _name(raw: bytes) -> str:
    """A name of a PDF, in which #2F stands for a slash."""
    return re.sub(rb"#([0-9A-Fa-f]{2})", lambda code: bytes.fromhex(code[1].decode()), raw).decode("utf-8", "replace")
