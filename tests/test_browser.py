"""The built site in a real headless Chromium: skipped where there is no browser or no built site.

What needs no built site is in test_explore.py.
"""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from alexnet_repro.common import paths

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
WIDTHS = (1280, 360)
PAPER = 700
"""Width of a printed page between its margins, in pixels."""
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PATIENCE = 120_000  # ms: a busy machine is slow, not wrong

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="no built site: run 'make book' first"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH"),
]

MISSING_IMAGES = """async () => {
  const images = [...document.images];
  for (const image of images) image.loading = "eager";
  await Promise.all(images.map(image => image.decode().catch(() => {})));
  return images.filter(image => image.naturalWidth === 0).map(image => image.src);
}"""
# Where a page gives no alternative text, Sphinx writes the file's path.
SILENT_IMAGES = """() => [...document.images].filter(image =>
  !image.closest("header, nav") && (!image.alt.trim() || /\\.(png|svg)$/.test(image.alt))).map(image => image.src)"""
UNFOUND_FIGURES = """() => [...document.querySelectorAll("figure")].filter(figure =>
  !figure.querySelector("figcaption strong")).map(figure => figure.id)"""
# What scrolls on a screen is cut off on paper.
CUT_OFF = """() => [...document.querySelectorAll("article div, article pre, article table")].filter(box =>
  getComputedStyle(box).overflowX !== "visible" && box.clientWidth && box.scrollWidth > box.clientWidth + 1
).map(box => box.textContent.trim().slice(0, 80))"""
MATH_READY = "() => !window.MathJax || (MathJax.startup && MathJax.startup.promise)"  # until then, its settings only
UNRENDERED_MATH = """async () => {
  if (window.MathJax) await MathJax.startup.promise;
  const raw = [...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container"));
  const text = document.querySelector("main, body").cloneNode(true);
  text.querySelectorAll("pre, code, script, style, mjx-container").forEach(e => e.remove());
  const tex = text.textContent.match(/\\\\[([]|\\$\\$|\\\\(frac|begin|sqrt|sum)\\b/g) || [];
  return [...raw.map(e => e.textContent), ...tex];
}"""
AXE = Path(__file__).parent.parent / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = """async () => {
  const options = {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]};
  // Docutils calls the bibliography a list whose entries have a role of their own.
  const {violations} = await axe.run({exclude: [".citation-list"]}, options);
  const bad = violations.filter(each => ["serious", "critical"].includes(each.impact));
  return bad.flatMap(({id, nodes}) => nodes.map(node => `${id}: ${node.target.join(" ")}: ${node.html.slice(0, 150)}`));
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
    page.set_viewport_size({"width": PAPER, "height": 900})
    page.emulate_media(media="print")
    assert page.evaluate(CUT_OFF) == []
    assert complaints == []


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: run 'npm ci' first")
@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_by_day_and_by_night(name: str, page: Page, host: str) -> None:
    found = {}
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.goto(f"{host}/{name}", wait_until="networkidle")
        page.wait_for_function(MATH_READY)
        page.evaluate(UNRENDERED_MATH)
        page.add_script_tag(path=AXE)
        if bad := page.evaluate(SERIOUS):
            found[scheme] = bad
    assert found == {}


def test_images_say_what_they_show_and_captions_what_was_found(page: Page, host: str) -> None:
    silent, unfound = [], []
    for name in PAGES:
        page.goto(f"{host}/{name}", wait_until="domcontentloaded")
        silent += [f"{name}: {source}" for source in page.evaluate(SILENT_IMAGES)]
        unfound += [f"{name}#{figure}" for figure in page.evaluate(UNFOUND_FIGURES)]
    assert silent == []
    assert unfound == []


def test_scorecard_is_sorted_and_filtered_by_keyboard(page: Page, host: str, complaints: list[str]) -> None:
    page.goto(f"{host}/scorecard.html", wait_until="networkidle")
    rows = page.locator(".scorecard tbody tr:visible")
    total = rows.count()
    verdicts = page.get_by_label("Verdict")
    verdicts.focus()
    page.keyboard.type("agrees")
    page.keyboard.press("Enter")
    assert 0 < rows.count() < total
    assert {text.strip() for text in rows.locator(".verdict").all_inner_texts()} == {"agrees"}
    page.get_by_label("Evidence").select_option("derived")
    assert all(text.startswith("derived") for text in rows.locator("td:nth-child(3)").all_inner_texts())
    verdicts.select_option("all")
    page.get_by_label("Evidence").select_option("all")
    assert rows.count() == total
    before = rows.all_inner_texts()
    button = page.locator(".scorecard").get_by_role("button", name="Claim")
    orders = []
    for _ in range(3):
        button.focus()
        page.keyboard.press("Enter")
        orders.append(page.locator(".scorecard th:nth-child(2)").get_attribute("aria-sort"))
        titles = [text for text in rows.locator("td:nth-child(2) a:visible").all_inner_texts() if text]
        ordered = sorted(titles, key=str.casefold, reverse=orders[-1] == "descending")
        assert orders[-1] is None or [text.casefold() for text in titles] == [text.casefold() for text in ordered]
    assert orders == ["ascending", "descending", None]
    assert rows.all_inner_texts() == before
    assert complaints == []


def test_scorecard_sorts_what_asks_for_no_seeds_before_what_has_none_yet(page: Page, host: str) -> None:
    page.goto(f"{host}/scorecard.html", wait_until="networkidle")
    page.locator(".scorecard").get_by_role("button", name="Seeds").click()
    seeds = page.locator(".scorecard tbody td:nth-child(7)").all_inner_texts()
    numbers = [-1 if text.strip() == "–" else int(text.split()[0]) for text in seeds]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 2


EXPLORED = "explore.html#study=lrn&metric=train_error&arms=baseline,no_lrn"
SEED_LINES = ".explore-chart .seeds_marks path"


def choices(page: Page) -> dict[str, object]:
    """What the controls of the explorer say."""
    controls = {name: page.get_by_role("combobox", name=name) for name in ("Study", "Metric", "Seed")}
    chosen: dict[str, object] = {name: control.input_value() for name, control in controls.items()}
    return chosen | {"arms": [box.input_value() for box in page.get_by_role("checkbox", checked=True).all()]}


@pytest.mark.parametrize("width", [360, 1280])
def test_shared_address_restores_a_figure_that_the_keyboard_changes(
    width: int, page: Page, host: str, complaints: list[str]
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{host}/{EXPLORED}", wait_until="networkidle")
    page.wait_for_selector(SEED_LINES)
    lrn = {"Study": "lrn", "Metric": "train_error", "Seed": "", "arms": ["baseline", "no_lrn"]}
    assert choices(page) == lrn
    assert page.locator(SEED_LINES).count() == 40
    assert page.locator(".explore-table tbody tr").count() == 2

    study = page.get_by_role("combobox", name="Study")
    study.focus()
    for _ in range(study.locator("option").count()):
        if study.input_value() != "depth":
            page.keyboard.press("ArrowDown")
    page.get_by_role("combobox", name="Metric").focus()
    page.keyboard.press("ArrowDown")
    page.get_by_label("without conv3").focus()
    page.keyboard.press("Space")
    page.wait_for_function(f"() => document.querySelectorAll('{SEED_LINES}').length === 60")
    assert page.evaluate("document.activeElement.value") == "no_conv3"  # the focus stays where it was
    address = urlsplit(page.url).fragment
    assert address == "study=depth&metric=train_loss&arms=baseline,no_conv4,no_conv5"
    for each in (360, 1280):
        page.set_viewport_size({"width": each, "height": 900})
        drawn = f"() => document.querySelector('.explore-chart svg').clientWidth <= {each}"
        page.wait_for_function(drawn)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= each

    page.goto(f"{host}/index.html")
    page.goto(f"{host}/explore.html#{address}&seed=3", wait_until="networkidle")
    page.wait_for_selector(SEED_LINES)
    depth = {"Study": "depth", "Metric": "train_loss", "Seed": "3", "arms": ["baseline", "no_conv4", "no_conv5"]}
    assert choices(page) == depth
    page.evaluate(f"() => {{ location.hash = '{EXPLORED.partition('#')[2]}'; }}")
    page.wait_for_function(f"() => document.querySelectorAll('{SEED_LINES}').length === 40")
    assert choices(page) == lrn
    assert complaints == []


def test_pointing_at_a_line_tells_its_seed_and_value(page: Page, host: str, complaints: list[str]) -> None:
    page.goto(f"{host}/explore.html#study=lrn&metric=end.test_error&arms=no_lrn", wait_until="networkidle")
    page.locator(".explore-chart .dots_marks path").last.hover()
    assert re.search(
        r"no normalization.*seed\s*\d+.*value\s*\d", page.locator("#vg-tooltip-element").inner_text(), re.S
    )
    page.get_by_role("combobox", name="Metric").select_option("train_error")
    page.wait_for_selector(SEED_LINES)
    page.locator(".explore-chart svg").hover()
    shown = page.locator("#vg-tooltip-element.visible").inner_text()
    assert re.search(r"no normalization.*seed\s*\d+.*epoch\s*\d+.*value\s*\d", shown, re.S)
    assert complaints == []


def test_address_that_names_what_is_not_there_says_so(page: Page, host: str, complaints: list[str]) -> None:
    page.goto(f"{host}/explore.html#study=lrn&arms=baseline,no_lnr&metric=%", wait_until="networkidle")
    page.wait_for_selector(SEED_LINES)
    assert page.locator(".explore-status").inner_text().endswith("not recorded here: arm no_lnr.")
    assert choices(page)["arms"] == ["baseline"]
    page.goto(f"{host}/index.html")
    page.goto(f"{host}/explore.html#study=lnr", wait_until="networkidle")
    page.wait_for_selector(SEED_LINES)
    assert page.locator(".explore-status").inner_text().endswith("not recorded here: study lnr.")
    assert complaints == []


def test_without_scripts_there_is_a_figure_of_runs(browser: Browser, host: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE)
        opened.goto(f"{host}/explore.html")
        assert opened.locator(".explore-static figure img").is_visible()
        assert opened.locator(".explore select").count() == 0


def test_page_gives_its_notebook_and_its_records_away(page: Page, host: str) -> None:
    page.goto(f"{host}/pages/relu_speed.html", wait_until="networkidle")
    links = [link for link in page.evaluate(LINKS) if link.endswith((".ipynb", ".csv"))]
    names = {Path(urlsplit(link).path).name for link in links}
    assert {"relu_speed.ipynb", "runs.csv", "curves.csv"} <= names
    for link in set(links):
        content = page.request.get(link).text()
        if link.endswith(("runs.csv", "curves.csv")):
            assert content.startswith("arm,seed,key")
        elif link.endswith("others.csv"):
            assert content == (paths.data() / "others.csv").read_text()
        else:
            assert any(cell.get("outputs") for cell in json.loads(content)["cells"])


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
            elif anchor.startswith("study="):  # the explorer reads it
                studied = f'"name":"{anchor.removeprefix("study=")}"'
                if studied not in target.read_text(encoding="utf-8"):
                    broken.append(f"{name}: {path} has no {anchor}")
            elif anchor and not re.search(rf'\b(id|name)="{re.escape(anchor)}"', target.read_text(encoding="utf-8")):
                broken.append(f"{name}: {path} has no #{anchor}")
    assert broken == []


def test_math_is_set_by_the_vendored_mathjax(page: Page, host: str) -> None:
    page.goto(f"{host}/verdicts.html", wait_until="networkidle")
    page.wait_for_function(MATH_READY)
    assert page.evaluate("async () => { await MathJax.startup.promise; return MathJax.version }") == "3.2.2"
    assert page.locator("mjx-container").count() > 1


def test_search_finds_a_claim(page: Page, host: str, complaints: list[str]) -> None:
    page.goto(f"{host}/search.html?q=dropout", wait_until="networkidle")
    page.wait_for_selector('#search-results li a[href*="pages/dropout"]')
    assert complaints == []
