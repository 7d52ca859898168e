"""Print the whole book as one PDF: Jupyter Book renders it as a single page, headless Chromium prints that."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..common import paths
from ..common.errors import UserError
from ..common.files import lock
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


def write() -> Path:
    """Build the book and print it; returns the path of the PDF. Raises UserError if Chromium is missing or fails."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UserError("no Chromium to print with: install one (on Debian: apt-get install chromium)", 1)
    build.build()
    book = paths.repository() / "book"
    pdf = book / "_build" / build.PDF
    with lock(book / "_build" / ".lock"), tempfile.TemporaryDirectory() as profile:
        build.jupyter_book(book, "--builder", "singlehtml")
        page = book / "_build" / "singlehtml" / "index.html"
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has none
        pdf.unlink(missing_ok=True)
        done = subprocess.run(
            [browser, *FLAGS, *sandbox, f"--user-data-dir={profile}", f"--print-to-pdf={pdf}", page.as_uri()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
    if done.returncode != 0 or not pdf.is_file():
        said = done.stdout.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UserError(f"{browser} did not print the book: {said[0]}", 1)
    shutil.copy(pdf, book / "_build" / "html")  # where the published site links it
    print(f"the book as PDF: {pdf}")
    return pdf
