"""The page of all runs: its data are the records, its charts fit the vendored Vega, and claim pages lead to it."""

import json
import math
import re
from pathlib import Path

import altair as alt
import nbformat
import pytest
from playwright.sync_api import sync_playwright

from alexnet_repro.common.errors import UserError
from alexnet_repro.common.files import sha256
from alexnet_repro.experiments import registry
from alexnet_repro.paper import claims
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store
from alexnet_repro.report import cards
from alexnet_repro.report.tables import METRICS
from alexnet_repro.site import explore, notebooks, pages

from . import homes
from .runs import record
from .test_browser import CHROMIUM, FLAGS, PATIENCE, SEED_LINES

VEGA = homes.ROOT / "book" / "_vendor" / "vega"
VERSION = re.compile(r'"(\d+\.\d+\.\d+)"')


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The published records alone."""
    return Store(tmp_path_factory.mktemp("none"))


@pytest.fixture(scope="module")
def content(store: Store) -> dict:
    return explore.content(store)


def test_every_published_run_is_there(content: dict, store: Store) -> None:
    assert set(content["runs"]) == set(store.published())
    arms = [arm for study in content["studies"] for arm in study["arms"]]
    assert {key for arm in arms for key in arm["runs"]} == set(content["runs"])
    names = [study["name"] for study in content["studies"]]
    assert names[0] == explore.FIRST
    assert set(names) <= set(registry.STUDIES)
    pilots = [study["pilot"] for study in content["studies"]]
    assert pilots == sorted(pilots)


def test_a_studys_arms_have_its_runs_with_the_shared_baseline(content: dict, store: Store) -> None:
    shown = next(study for study in content["studies"] if study["name"] == "lrn")
    plan = registry.study("lrn")
    expected = {arm: [plan.config(arm, seed).key for seed in plan.seeds] for arm in plan.arms}
    assert {arm["name"]: arm["runs"] for arm in shown["arms"]} == expected
    assert shown["page"] == "pages/lrn.html"


def test_values_are_the_records_in_the_units_of_their_labels(content: dict, store: Store) -> None:
    for key, shown in content["runs"].items():
        recorded = store.published()[key]
        assert shown["seed"] == recorded.config.seed
        assert shown["epoch"] == pytest.approx([point.epoch for point in recorded.curve], abs=1e-4)
        for name, factor in (("train_error", 100), ("train_loss", 1)):
            exact = [factor * getattr(point, name) for point in recorded.curve]
            assert shown["during"][name] == pytest.approx(exact, abs=1e-4)
        assert ("test_error" in shown["during"]) == recorded.config.budget.test_curve
        assert shown["end"]["test_error"] == pytest.approx(100 * recorded.metric("test_error"), abs=1e-4)
        assert shown["end"].get("lowest_epoch", math.nan) == pytest.approx(recorded.lowest_epoch, nan_ok=True, abs=1e-4)
        assert set(shown["end"]) <= set(METRICS)
    labels = {name: metric["label"] for name, metric in content["metrics"].items()}
    assert labels["train_loss"].endswith("(nats)")
    assert labels["end.epochs_to_threshold"] == METRICS["epochs_to_threshold"]


def test_a_diverged_run_has_gaps_and_no_end(tmp_path: Path) -> None:
    curve = [
        Measurement(epoch=0.5, images=1, train_loss=2.0, train_error=0.9),
        Measurement(epoch=1.0, images=2, train_loss=None, train_error=0.9),
    ]
    lost = record(registry.study("lrn").config("no_lrn", 0), "diverged", curve, metrics={"test_error": None})
    Store(tmp_path).save(lost)
    (shown,) = explore.content(Store(tmp_path, tmp_path / "evidence"))["runs"].values()
    assert shown["during"] == {"train_error": [90.0, 90.0], "train_loss": [2.0, None]}
    assert (shown["status"], shown["end"]) == ("diverged", {})


def test_page_stays_small_and_its_data_end_no_script(content: dict) -> None:
    text = explore.html(content)
    assert len(text.encode()) < 1_500_000
    data, *scripts = text.splitlines()
    inside = data.removeprefix('<script type="application/json" id="explore-data">').removesuffix("</script>")
    assert "</" not in inside
    assert json.loads(inside) == json.loads(json.dumps(content))
    assert explore.html({"title": "</script>"}).count("</script>") == 1 + len(scripts)
    for line in scripts:
        source = re.search(r'src="([^"]+)"', line)
        assert source is not None
        assert (homes.ROOT / "book" / "_vendor" / source[1]).is_file()


def test_charts_are_the_same_from_every_build() -> None:
    for chart in (explore.curves_chart, explore.ends_chart):
        assert chart().to_dict() == chart().to_dict()


def test_vendored_files_are_as_npm_has_them() -> None:
    sums = dict(reversed(line.split()) for line in (VEGA / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {path.name for path in VEGA.glob("*.js")} == {f"{name}.min.js" for name in explore.SCRIPTS}
    assert {name: sha256((VEGA / name).read_bytes()) for name in sums} == sums
    assert all((VEGA / f"LICENSE-{name}").is_file() for name in explore.SCRIPTS)


def test_vendored_versions_are_those_that_altair_draws_for() -> None:
    versions = {name: VERSION.findall((VEGA / f"{name}.min.js").read_text()) for name in explore.SCRIPTS}
    assert alt.VEGALITE_VERSION in versions["vega-lite"]
    assert explore.curves_chart().to_dict()["$schema"].endswith(f"/v{alt.VEGALITE_VERSION}.json")
    for name, major in (("vega", alt.VEGA_VERSION), ("vega-embed", alt.VEGAEMBED_VERSION)):
        assert any(version.split(".")[0] == major.split(".")[0] for version in versions[name])


def test_parts_of_the_page_are_the_same_from_every_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = homes.make(tmp_path, monkeypatch) / "book"
    written = []
    for _ in range(2):
        explore.write(book)
        written.append({path.name: path.read_bytes() for path in (book / "_generated").iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"explore.html", "explore.md", "explore.svg"}
    assert "**No runs yet.**" in written[0]["explore.md"].decode()  # this home has no records


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_draws_what_the_address_names(content: dict, tmp_path: Path) -> None:
    script = homes.ROOT / "book" / "_static" / "explore.js"
    frame = f'<!doctype html><div class="explore"></div><script src="{script.as_uri()}"></script>'
    (tmp_path / "explore.html").write_text(frame + explore.html(content), encoding="utf-8")
    (tmp_path / "vega").symlink_to(VEGA)
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / "explore.html").as_uri() + "#study=lrn&metric=train_error&arms=baseline,no_lrn")
        page.wait_for_selector(SEED_LINES)
        assert page.locator(SEED_LINES).count() == 40
        assert page.get_by_role("combobox", name="Study").input_value() == "lrn"
    assert errors == []


def test_links_open_a_study_of_the_claim() -> None:
    link = cards.explore_link("lrn", "lrn_scaling").data
    assert '<a href="../explore.html#study=lrn">Local response normalization</a>; <a ' in link
    assert "#study=lrn_scaling" in link
    with pytest.raises(UserError, match="unknown study 'lnr'"):
        cards.explore_link("lnr")


def test_every_claim_page_with_runs_leads_to_them() -> None:
    every = claims.load()
    for claim_id, page in pages.pages(every).items():
        judged = {entry.study for claim in every if claim.id == claim_id for entry in claim.measured}
        if page.startswith("#") or not judged & set(registry.STUDIES):
            continue
        cells = nbformat.read(notebooks.path(Path(page).stem), as_version=4).cells
        calls = [cell.source for cell in cells if cell.source.startswith("page.explore(")]
        assert set(re.findall(r'"(\w+)"', " ".join(calls))) <= set(registry.STUDIES)
        assert calls, f"{page}, on {claim_id}, has no link to its runs: add page.explore({sorted(judged)[0]!r})"
