"""The built site in a real headless Chromium: skipped where there is no browser or no built site."""

import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

SITE = Path(__file__).parent.parent / "book" / "_build" / "html"
FOUND = [path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")]
PAGES = sorted(name for name in FOUND if not name.startswith("_static/"))  # there lie the theme's templates
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (1280, 390)
PATIENCE = 120_000  # ms: a busy machine is slow, not wrong

pytestmark = [
    pytest.mark.skipif(not PAGES, reason="no built site: run 'make book' first"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH"),
]

MISSING_IMAGES = """async () => {
  const images = [...document.images];
  for (const image of images) image.loading = "eager";
  await Promise.all(images.map(image => image.decode().catch(() => {})));
  return images.filter(image => image.naturalWidth === 0).map(image => image.src);
}"""
MATH_READY = "() => !window.MathJax || (MathJax.startup && MathJax.startup.promise)"  # until then, its settings only
UNRENDERED_MATH = """async () => {
  if (window.MathJax) await MathJax.startup.promise;
  const raw = [...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container"));
  const text = document.querySelector("main, body").cloneNode(true);
  text.querySelectorAll("pre, code, script, style, mjx-container").forEach(e => e.remove());
  const tex = text.textContent.match(/\\\\[([]|\\$\\$|\\\\(frac|begin|sqrt|sum)\\b/g) || [];
  return [...raw.map(e => e.textContent), ...tex];
}"""
LINKS = "() => [...document.querySelectorAll('a[href]')].map(a => a.href)"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE)


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, host: str, complaints: list[str]) -> Iterator[Page]:
    """A page that writes every request off the host, failed request and console error into ``complaints``."""
    with browser.new_context() as context:
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE)

        def pass_or_stop(route: Route) -> None:
            if urlsplit(route.request.url).scheme in ("data", "blob") or route.request.url.startswith(f"{host}/"):
                route.continue_()
            else:
                complaints.append(f"request off the host: {route.request.url}")
                route.abort()

        opened.route("**/*", pass_or_stop)
        opened.on("response", lambda r: complaints.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        opened.on("requestfailed", lambda r: complaints.append(f"failed: {r.url}"))
        opened.on("console", lambda m: complaints.append(f"console: {m.text}") if m.type == "error" else None)
        opened.on("pageerror", lambda error: complaints.append(f"script: {error}"))
        yield opened


@pytest.mark.parametrize("name", PAGES)
def test_page_reads_offline_on_any_screen(name: str, page: Page, host: str, complaints: list[str]) -> None:
    page.goto(f"{host}/{name}", wait_until="networkidle")
    page.wait_for_function(MATH_READY)
    assert page.evaluate(UNRENDERED_MATH) == []
    assert page.evaluate(MISSING_IMAGES) == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        content = page.evaluate("() => document.documentElement.scrollWidth")
        assert content <= width, f"{name} is {content} px wide on a screen of {width} px"
    assert complaints == []


def test_internal_links_and_anchors_lead_somewhere(page: Page, host: str) -> None:
    broken = []
    for name in PAGES:
        page.goto(f"{host}/{name}", wait_until="domcontentloaded")
        for link in set(page.evaluate(LINKS)):
            if not link.startswith(f"{host}/"):
                continue
            path, anchor = unquote(urlsplit(link).path).lstrip("/") or "index.html", unquote(urlsplit(link).fragment)
            target = SITE / path
            if not target.is_file():
                broken.append(f"{name}: {path} is missing")
            elif anchor and not re.search(rf'\b(id|name)="{re.escape(anchor)}"', target.read_text(encoding="utf-8")):
                broken.append(f"{name}: {path} has no #{anchor}")
    assert broken == []


def test_math_is_set_by_the_vendored_mathjax(page: Page, host: str) -> None:
    page.goto(f"{host}/verdicts.html", wait_until="networkidle")
    page.wait_for_function(MATH_READY)
    assert page.evaluate("async () => { await MathJax.startup.promise; return MathJax.version }") == "3.2.2"
    assert page.locator("mjx-container").count() > 1


def test_search_finds_a_claim(page: Page, host: str) -> None:
    page.goto(f"{host}/search.html?q=dropout", wait_until="networkidle")
    page.wait_for_selector("#search-results li")
