"""The contents of the printed book, and the pages that it gives."""

import shutil
from pathlib import Path

import pytest

from alexnet_repro.common.errors import UserError
from alexnet_repro.site import pdf

CHAPTER = """<div class="toctree-wrapper"><span id="document-pages/{name}"></span><section id="{name}">
<span id="x"></span><h2>The <em>{name}</em> &amp; more<a class="headerlink" href="#{name}">#</a></h2>
<h3>A part of it<a class="headerlink" href="#part">#</a></h3></section></div>"""
NAMES = ("one", "two_of_them", "three")
PAGE = f"<body>{pdf.ARTICLE}{''.join(CHAPTER.format(name=name) for name in NAMES)}</article></body>"
PRINTED = b"""%PDF-1.4
3 0 obj
<</Type /Page /Parent 9 0 R>>
9 0 obj
<</Type /Pages
/Count 2
/Kids [3 0 R 4 0 R]
/Parent 11 0 R>>
10 0 obj
<</Type /Pages /Count 1 /Kids [5 0 R] /Parent 11 0 R>>
11 0 obj
<</Type /Pages
/Kids [10 0 R 9 0 R]>>
12 0 obj
<</Type /Catalog
/Dests 8 0 R
/Pages 11 0 R>>
8 0 obj
<</document-pages#2Fone [5 0 R /XYZ 36 800 0]
/document-pages#2Ftwo_of_them [4 0 R /XYZ 36 800 0]
/part [3 0 R /XYZ 36 800 0]
/document-lost [77 0 R /XYZ 36 800 0]>>
"""


def test_contents_have_the_title_and_the_page_of_every_chapter() -> None:
    text = pdf.contents(PAGE, {"document-pages/one": 5})
    assert '<li><a href="#document-pages/one">The one &amp; more</a> <span>5</span></li>' in text
    assert '<li><a href="#document-pages/three">The three &amp; more</a> <span></span></li>' in text
    assert text.count("<li>") == len(NAMES)


def test_pages_are_counted_along_the_tree_of_pages() -> None:
    assert pdf.chapter_pages(PRINTED) == {"document-pages/one": 1, "document-pages/two_of_them": 3}
    assert pdf.chapter_pages(b"no PDF") == {}


def test_a_browser_that_hangs_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\nexec sleep 60\n")
    browser.chmod(0o755)
    monkeypatch.setattr(pdf, "PATIENCE", 0.2)
    with pytest.raises(UserError, match="did not print the book within"):
        pdf._print(str(browser), tmp_path / "index.html", tmp_path / "book.pdf", str(tmp_path / "profile"))


@pytest.mark.slow
def test_chromium_writes_what_is_read(tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, pdf.BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium on the PATH")
    style = "<style>.toctree-wrapper > span { display: block; break-before: page }</style>"
    html, printed = tmp_path / "index.html", tmp_path / "book.pdf"
    html.write_text(style + PAGE.replace(pdf.ARTICLE, pdf.ARTICLE + pdf.contents(PAGE, {})), encoding="utf-8")
    pdf._print(browser, html, printed, str(tmp_path / "profile"))
    assert pdf.chapter_pages(printed.read_bytes()) == {f"document-pages/{name}": n for n, name in enumerate(NAMES, 2)}
