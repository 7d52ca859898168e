"""The page "Explore the runs": an interactive figure of all recorded runs, by study, arm and metric.

Altair specifies the charts here, without data; ``book/_static/explore.js`` adds the rows that a reader chooses, and
Vega (``book/_vendor/vega/``) draws them in the browser. Figures of notebooks are in report/figures.py.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt

from ..common.files import write_atomic
from ..experiments.cifar_alexnet import arm_label
from ..experiments.registry import STUDIES, scales, study
from ..experiments.study import SCALES, Study
from ..paper import claims
from ..records.lookup import RunsByArm, records
from ..records.record import RunRecord
from ..records.store import Store
from ..report import figures, format
from ..report.page import Page
from ..report.tables import METRICS, PERCENT
from . import pages

FIRST = "relu_speed"
"""The study that the page opens with: the paper's Fig. 1."""

CURVES: Mapping[str, str] = {
    "train_error": "training error, as trained (%)",
    "train_loss": "training loss, as trained (nats)",
    "test_error": "test error (%)",
}
"""Field of ``Measurement`` -> its name on the page."""

SCRIPTS = ("vega", "vega-lite", "vega-embed")
CAPTION = (
    "Training error against epochs, a line per seed: what this page shows without its script, and on paper. "
    "In a browser with scripts, study, arms and metric can be chosen."
)
ALT = "Line plot of training error in percent against epochs, a thin line per seed: solid for ReLU, dashed for tanh."


def write(book: Path) -> None:
    """Write the parts of the page: the static figure, and the data and charts for the script."""
    page, generated = Page("cifar10", train=False, device="cpu", workers=0), book / "_generated"
    write_atomic(generated / "explore.svg", figures.svg(page.curves(FIRST)))
    finding = page.curves_found(FIRST).data
    write_atomic(generated / "explore.md", format.figure("explore", ALT, f"**{finding}** {CAPTION}"))
    write_atomic(generated / "explore.html", html(content(page.store)))


def html(values: Mapping[str, Any]) -> str:
    """The data and charts as JSON in a script element, and the elements that load Vega."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    scripts = [f'<script defer src="vega/{name}.min.js"></script>' for name in SCRIPTS]
    return "\n".join([f'<script type="application/json" id="explore-data">{text}</script>', *scripts, ""])


def content(store: Store) -> dict[str, Any]:
    """The data that the script reads: studies (keys of their runs by arm), runs by key, metrics, charts, colours.

    Errors are in percent, losses in nats. Studies without runs are left out; pilots come last.
    """
    runs: dict[str, dict[str, Any]] = {}
    listed: list[dict[str, Any]] = []
    links = _pages()
    for scale in (each for each in SCALES if each != "smoke"):
        for plan in (study(name, scale) for name in STUDIES if scale in scales(name)):
            found = {arm: by_seed for arm, by_seed in records(plan, store).items() if by_seed}
            if found:
                listed.append(_study(plan, scale, found, links.get(plan.name, "")))
                runs |= {record.key: _run(record) for by_seed in found.values() for record in by_seed.values()}
    listed.sort(key=lambda each: (each["pilot"], each["name"] != FIRST))
    metrics = {name: {"label": label, "during": True} for name, label in CURVES.items()}
    metrics |= {f"end.{name}": {"label": label, "during": False} for name, label in METRICS.items()}
    return {
        "studies": listed,
        "runs": runs,
        "metrics": metrics,
        "charts": {"during": curves_chart().to_dict(), "end": ends_chart().to_dict()},
        "colors": list(figures.PALETTE.as_hex()),
    }


def _pages() -> dict[str, str]:
    """Study -> the page of a claim that it tests, relative to the book's folder."""
    every = claims.load()
    links = {name: link.replace(".ipynb", ".html") for name, link in pages.pages(every).items() if "#" not in link}
    return {entry.study: links[claim.id] for claim in every for entry in claim.measured if claim.id in links}


def _study(plan: Study, scale: str, found: RunsByArm, page: str) -> dict[str, Any]:
    arms = [
        {"name": arm, "label": arm_label(arm), "runs": [record.key for record in by_seed.values()]}
        for arm, by_seed in found.items()
    ]
    return {"name": plan.name, "scale": scale, "title": plan.title, "pilot": plan.pilot, "page": page, "arms": arms}


def _run(record: RunRecord) -> dict[str, Any]:
    """One run, rounded to four decimals; a missing value is null, and a curve or metric without values is left out."""
    curves = {
        name: [_rounded(getattr(point, name), 1 if name == "train_loss" else 100) for point in record.curve]
        for name in CURVES
    }
    metrics = {**record.metrics, "lowest_epoch": record.lowest_epoch}
    ends = {name: _rounded(metrics.get(name), 100 if name in PERCENT else 1) for name in METRICS}
    return {
        "seed": record.config.seed,
        "status": record.status,
        "epoch": [_rounded(point.epoch) for point in record.curve],
        "during": {name: values for name, values in curves.items() if any(value is not None for value in values)},
        "end": {name: value for name, value in ends.items() if value is not None},
    }


def _rounded(value: float | None, factor: float = 1) -> float | None:
    return None if value is None or not math.isfinite(value) else round(factor * value, 4)


# The rows that the script fills in: arm, label, color, dashed, order, seed, value; during training, epoch, too.
ROWS = "rows"
SEED = alt.Tooltip("seed:Q")
VALUE = alt.Tooltip("value:Q", format=".5~g")
ARM = alt.Tooltip("label:N", title="arm")
COLOR = alt.Color("color:N", scale=None)
DASH = alt.StrokeDash("dashed:N", scale=alt.Scale(domain=[False, True], range=[[1, 0], [6, 3]]), legend=None)
TITLE = alt.TitleParams(text=alt.expr("metric"), anchor="start", fontSize=13, fontWeight="normal")


def curves_chart() -> alt.LayerChart:
    """Curves: a line per seed; mean ± standard deviation at the epochs for which every run of an arm has a value."""
    chart = alt.Chart(alt.NamedData(ROWS))
    epochs = alt.X("epoch:Q", title="epochs")
    value = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    hovered = alt.selection_point(
        name="hovered", on="pointerover", clear="pointerout", nearest=True, fields=["arm", "seed"], empty=False
    )
    seeds = (
        chart.mark_line()
        .encode(
            epochs,
            value,
            COLOR,
            DASH,
            detail=["arm:N", "seed:N"],
            opacity=_emphasis(hovered, 1, 0.45, 0.12),
            strokeWidth=_emphasis(hovered, 2.5, 1, 1),
        )
        .properties(name="seeds")
    )
    over_seeds = (
        chart.transform_joinaggregate(runs="distinct(seed)", groupby=["arm"])
        .transform_aggregate(
            mean="mean(value)",
            sd="stdev(value)",
            n="count()",
            runs="max(runs)",
            groupby=["arm", "color", "dashed", "epoch"],
        )
        .transform_filter("datum.n > 1 && datum.n === datum.runs")
        .transform_calculate(low="datum.mean - datum.sd", high="datum.mean + datum.sd")
    )
    faint = alt.when("picked === null").then(alt.value(0.18)).otherwise(alt.value(0.06))
    band = over_seeds.mark_area().encode(epochs, alt.Y("low:Q"), alt.Y2("high:Q"), COLOR, detail="arm:N", opacity=faint)
    mean = over_seeds.mark_line(strokeWidth=3).encode(
        epochs,
        alt.Y("mean:Q"),
        COLOR,
        DASH,
        detail="arm:N",
        opacity=alt.when("picked === null").then(alt.value(1)).otherwise(alt.value(0.3)),
    )
    # Vega-Lite finds the nearest point through a mark whose datum is the point's mark, and from there reads no text.
    row = "(datum.datum || datum)"
    told = {"arm": f"{row}.label", "seed": f"{row}.seed", "epoch": f"format({row}.epoch, '.4~g')"}
    told["value"] = f"format({row}.value, '.5~g')"
    tip = alt.expr("{" + ", ".join(f"'{name}': {text}" for name, text in told.items()) + "}")
    points = (
        chart.mark_circle(size=40)
        .encode(epochs, value, COLOR, opacity=_emphasis(hovered, 1, 0, 0), tooltip=alt.value(tip))
        .add_params(hovered)
        .properties(name="points")
    )
    layers = [band.properties(name="band"), seeds, mean.properties(name="mean"), points]
    return _styled(alt.LayerChart(layer=layers, height=340))


def ends_chart() -> alt.LayerChart:
    """Metrics at the end: a row per arm, a dot per seed, and below the dots mean ± standard deviation.

    The script sets the height, by the number of arms.
    """
    chart = alt.Chart(alt.NamedData(ROWS))
    arms = alt.Y(
        "label:N",
        title=None,
        sort=alt.EncodingSortField("order", op="min"),
        axis=alt.Axis(labelExpr="split(datum.label, ', ')", labelLimit=150, ticks=False, domain=False),
    )
    value = alt.X("value:Q", title=None, scale=alt.Scale(zero=False))
    dots = chart.mark_circle(size=70, yOffset=-6).encode(
        value, arms, COLOR, opacity=_emphasis(None, 1, 0.55, 0.12), tooltip=[ARM, SEED, VALUE]
    )
    over_seeds = (
        chart.transform_aggregate(
            mean="mean(value)", sd="stdev(value)", n="count()", order="min(order)", groupby=["arm", "label"]
        )
        .transform_filter("datum.n > 1")
        .transform_calculate(low="datum.mean - datum.sd", high="datum.mean + datum.sd")
    )
    tip = [ARM, alt.Tooltip("mean:Q", format=".5~g"), alt.Tooltip("sd:Q", title="standard deviation", format=".3~g")]
    bar = over_seeds.mark_rule(strokeWidth=2, yOffset=7).encode(
        alt.X("low:Q", title=None), alt.X2("high:Q"), arms, tooltip=tip
    )
    mean = over_seeds.mark_point(shape="diamond", size=70, filled=True, color="black", opacity=1, yOffset=7).encode(
        alt.X("mean:Q", title=None), arms, tooltip=tip
    )
    layers = [dots.properties(name="dots"), bar.properties(name="bar"), mean.properties(name="mean")]
    return _styled(alt.LayerChart(layer=layers))


def _emphasis(hovered: alt.Parameter | None, strong: float, plain: float, faint: float) -> Any:
    """A value by emphasis: ``strong`` for the picked or hovered seed, ``faint`` for the others while one is picked."""
    picked = alt.when("picked !== null && datum.seed === picked").then(alt.value(strong))
    if hovered is not None:
        picked = picked.when(hovered).then(alt.value(strong))
    return picked.when("picked !== null").then(alt.value(faint)).otherwise(alt.value(plain))


def _styled(chart: alt.LayerChart) -> alt.LayerChart:
    """Add the book's style, and the parameters that the script sets: the picked seed and the metric's name."""
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    return (
        chart.properties(width="container", title=TITLE, background="white", padding=8, autosize=fit)
        .add_params(alt.param(name="picked", value=None), alt.param(name="metric", value=""))
        .configure(aria=False)  # the script describes the whole figure
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#e5e5e5")
    )
