"""Matplotlib figures of records and verdicts, and the style of all figures of the book.

What a figure shows is computed in records/ and analysis/; its caption is in captions.py.
"""

import math
from collections.abc import Mapping, Sequence
from io import StringIO
from textwrap import wrap
from typing import Literal, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis.verdicts import Verdict
from ..records.record import RunRecord, curve_rows

PALETTE = sns.color_palette("colorblind")
CLEAR = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
"""Background box of text that would otherwise be crossed by lines."""
FONT = 10.5
"""Font size, in points: scaled down with the figure to a phone's 360 pixels, it is still 9 pixels high."""
MARGIN = 19
"""Characters per line of a label in the left margin."""
LINES = ("-", "--", ":", "-.")
"""The first arm is solid and the second dashed, as in the paper's Fig. 1."""


def curves_table(found: Mapping[str, Mapping[int, RunRecord]]) -> pd.DataFrame:
    """Training curves of arm -> seed -> record as a data frame, a row per measurement; train_error in percent."""
    rows = [row for arm, runs in found.items() for record in runs.values() for row in curve_rows(arm, record)]
    table = pd.DataFrame(rows, columns=None if rows else ["arm", "seed", "epoch", "train_error"])
    return table.assign(train_error=table["train_error"].astype(float) * 100)


def canvas(width: float = 5.6, height: float = 3.8, columns: int = 1, smoke: bool = False) -> tuple[Figure, list[Axes]]:
    """An empty figure in the book's style, with its axes side by side; smoke: "smoke run" is printed across it."""
    sns.set_theme(
        style="whitegrid", context="notebook", palette="colorblind", rc={"figure.facecolor": "white", "figure.dpi": 200}
    )
    figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False)
    if smoke:
        figure.text(
            0.5, 0.5, "smoke run", fontsize=46, color="0.5", alpha=0.35, ha="center", va="center", rotation=20, zorder=9
        )
    return figure, list(axes[0])


def svg(figure: Figure, description: str | None = None) -> str:
    """Close the figure and return it as SVG text, the same from every run; description: goes into the metadata."""
    text = StringIO()
    with plt.rc_context({"svg.hashsalt": "alexnet-repro"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Description": description})
    plt.close(figure)
    return text.getvalue()


def training_curves(
    found: Mapping[str, Mapping[int, RunRecord]],
    labels: Mapping[str, str],
    threshold: float | None,
    smoke: bool = False,
) -> Figure:
    """Training error (%) against epochs, a line per seed, as in Fig. 1; threshold: a level (%) to mark."""
    figure, (axes,) = canvas(smoke=smoke)
    table = curves_table(found)
    for (arm, label), color, line in zip(labels.items(), PALETTE, LINES, strict=False):
        for number, (_, run) in enumerate(table[table["arm"] == arm].groupby("seed")):
            axes.plot(
                run["epoch"], run["train_error"], line, color=color, linewidth=1.1, alpha=0.8,
                label=label if number == 0 else None,
            )  # fmt: skip
    if table.empty:
        axes.text(0.5, 0.5, "no runs yet", transform=axes.transAxes, ha="center", color="0.35")
    else:
        axes.legend(frameon=True)
    if threshold is not None:
        axes.axhline(threshold, color="0.35", linewidth=1, linestyle=":")
        axes.annotate(
            f"{threshold:g} %", (1, threshold), xycoords=("axes fraction", "data"), xytext=(-4, 4),
            textcoords="offset points", ha="right", color="0.35", bbox=CLEAR,
        )  # fmt: skip
    axes.set(xlabel="epochs", ylabel="training error (%)", ylim=(0, None), xlim=(0, None))
    return figure


class Panel(NamedTuple):
    """One panel of ``effects_by_epoch``: the arms compared, the setting, and the unit of the axis.

    train, test: from ``exploratory.by_epoch``; either may be empty. final: (epoch, mean, low, high) of the effect on
    the final network's test error, if that is in the same unit.
    """

    label: str
    setting: str
    unit: Literal["points", "nats"]
    train: pd.DataFrame
    test: pd.DataFrame
    final: tuple[float, float, float, float] | None = None


AXIS = {"points": "points of error", "nats": "nats of loss"}


def effects_by_epoch(panels: Sequence[Panel], smoke: bool = False) -> Figure:
    """Paired differences of training curves, a panel each: mean over the seeds with its 95 % interval as a band."""
    figure, (empty,) = canvas(height=0.8 + 1.55 * max(len(panels), 1), smoke=smoke)
    if not panels:
        empty.text(0.5, 0.5, "no runs yet", transform=empty.transAxes, ha="center", color="0.35")
        return figure
    empty.remove()
    same = len({panel.setting for panel in panels}) == 1
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        _curves_of(axes, panel)
        words = wrap(panel.label, MARGIN) + ([] if same else wrap(panel.setting, MARGIN))
        axes.set_ylabel(
            "\n".join([*words, f"({AXIS[panel.unit]})"]), rotation=0, ha="right", va="center", labelpad=8, fontsize=FONT
        )
        axes.tick_params(labelsize=FONT)
    rows[-1].set_xlabel("epochs", fontsize=FONT)
    named = [each.get_legend_handles_labels() for each in rows]
    marks = {label: handle for handles, labels in named for handle, label in zip(handles, labels, strict=True)}
    figure.legend(
        marks.values(), marks, loc="outside upper center", ncols=2, frameon=False, fontsize=FONT, handlelength=1.6,
        columnspacing=1.2,
    )  # fmt: skip
    return figure


def _curves_of(axes: Axes, panel: Panel) -> None:
    """Draw a panel: curves with bands, the effect on the final network at their right end, and a line at 0."""
    for table, name, style, color in (
        (panel.train, "training, by epoch", "-", PALETTE[0]),
        (panel.test, "test, by epoch", "--", PALETTE[3]),
    ):
        if len(table):
            axes.plot(table["epoch"], table["mean"], style, color=color, linewidth=1.6, label=name)
            axes.fill_between(
                table["epoch"], table["low"], table["high"], color=color, alpha=0.22, linewidth=0, label="95 % interval"
            )
    if panel.final is not None:
        epoch, mean, low, high = panel.final
        axes.errorbar(
            epoch * 1.03, mean, [[mean - low], [high - mean]], fmt="D", color="black", markersize=5, linewidth=1.8,
            label="test, final network",
        )  # fmt: skip
    axes.axhline(0, color="0.2", linewidth=1, zorder=1)
    axes.margins(y=0.12)
    axes.set_xlim(left=0)


def paired_effects(table: pd.DataFrame, verdicts: Mapping[str, Verdict], smoke: bool = False) -> Figure:
    """The effect at every seed as dots, and the mean with its interval below them; a panel per unit.

    table: columns comparison, seed, effect. verdicts: comparison -> verdict, with the paper's value (drawn as a
    triangle) and the threshold (a dotted bar). Positive, or above 1, agrees with the paper.
    """
    units = list(dict.fromkeys(verdict.unit for verdict in verdicts.values()))
    rows = {unit: [name for name, verdict in verdicts.items() if verdict.unit == unit] for unit in units}
    height = [1.0 + 0.75 * len(rows[unit]) for unit in units]
    figure, (empty,) = canvas(height=sum(height), smoke=smoke)
    empty.remove()
    panels = figure.subplots(len(units), 1, squeeze=False, gridspec_kw={"height_ratios": height})[:, 0]
    for axes, unit in zip(panels, units, strict=True):
        for row, name in enumerate(rows[unit]):
            verdict = verdicts[name]
            dots = table.loc[table["comparison"] == name, "effect"].to_numpy(dtype=float)
            dots = dots[np.isfinite(dots)]
            axes.plot(dots, np.full(len(dots), row - 0.12), "o", color=PALETTE[0], alpha=0.6, markersize=6)
            _interval(axes, verdict, row + 0.18)
            if verdict.effect is None and not len(dots):
                axes.annotate(
                    "no runs yet", (0.5, row), xycoords=("axes fraction", "data"), ha="center", color="0.35", bbox=CLEAR
                )
            axes.text(
                0.01, row - 0.42, name, transform=axes.get_yaxis_transform(), fontsize=10, in_layout=False, zorder=5,
                bbox=CLEAR,
            )  # fmt: skip
            if verdict.size is not None:
                axes.plot([verdict.size] * 2, [row - 0.3, row + 0.35], color="0.35", linewidth=1.2, linestyle=":")
            if verdict.paper_value is not None:
                axes.plot([verdict.paper_value], [row + 0.34], "^", color=PALETTE[3], markersize=8)
        axes.axvline(1.0 if unit == "×" else 0.0, color="0.2", linewidth=1)
        axes.set_yticks([])
        axes.set_ylim(len(rows[unit]) - 0.5, -0.8)
        axes.set(
            xlabel="ratio (×); above 1 is the paper's side"
            if unit == "×"
            else f"effect in {unit}; positive is the paper's side"
        )
    return figure


def _interval(axes: Axes, verdict: Verdict, y: float) -> None:
    """Draw the mean and its interval; an infinite end is an arrow to the edge of the axes."""
    if verdict.effect is None or verdict.interval is None:
        return
    ends = [end if math.isfinite(end) else verdict.effect for end in verdict.interval]
    axes.plot(ends, [y, y], color="black", linewidth=2.2, solid_capstyle="butt")
    axes.plot([verdict.effect], [y], "D", color="black", markersize=6)
    for end, edge in zip(verdict.interval, (0.0, 1.0), strict=True):
        if math.isinf(end):
            axes.annotate(
                "", (edge, y), (verdict.effect, y), xycoords=("axes fraction", "data"), textcoords="data",
                arrowprops={"arrowstyle": "->", "linewidth": 2.2, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip


def ensemble_sizes(errors: Mapping[int, Sequence[float]], smoke: bool = False) -> Figure:
    """Test error against the number of networks averaged, a line per group; errors: number -> fractions, by group."""
    figure, (axes,) = canvas(smoke=smoke)
    sizes = list(errors)
    groups = [[100 * errors[n][group] for n in sizes] for group in range(min(map(len, errors.values())))]
    for group in groups:
        axes.plot(sizes, group, "o-", color=PALETTE[0], alpha=0.6, linewidth=1.1, markersize=5)
    if groups:
        axes.plot(sizes, np.mean(groups, axis=0), "D-", color="black", label="mean of the groups")
        axes.legend(frameon=True)
    else:
        axes.text(0.5, 0.5, "no whole group yet", transform=axes.transAxes, ha="center", color="0.35")
    axes.set_xticks(sizes)
    axes.set(xlabel="number of networks averaged", ylabel="test error (%)")
    return figure


def ratios(values: Mapping[str, Sequence[float]], xlabel: str, verdict: Verdict, smoke: bool = False) -> Figure:
    """Ratios on a log scale: a row per group, a dot per seed; below them the mean with its interval."""
    figure, (axes,) = canvas(height=1.6 + 0.7 * len(values), smoke=smoke)
    for row, (_, points) in enumerate(values.items()):
        finite = np.asarray([v for v in points if np.isfinite(v)])
        axes.plot(finite, np.full(len(finite), row), "o", color=PALETTE[row % len(PALETTE)], alpha=0.7, markersize=8)
    _interval(axes, verdict, len(values) - 0.7)
    marks = {"no difference": 1.0, "the rule": verdict.size, "the paper": verdict.paper_value}
    for text, x in marks.items():
        if x is not None:
            axes.axvline(x, color="0.35", linestyle=":", linewidth=1.2)
            axes.annotate(
                text, (x, 1), xycoords=("data", "axes fraction"), xytext=(4, -4), textcoords="offset points",
                va="top", color="0.25",
            )  # fmt: skip
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.4, -0.9)
    axes.set_xscale("log")
    ticks = [1, 1.5, 2, 3, 4, 6, 8, 10]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel=xlabel, xlim=(0.9, None))
    return figure


def rate_search(
    found: Mapping[str, Mapping[int, RunRecord]], labels: Mapping[str, str], threshold: float, smoke: bool = False
) -> Figure:
    """A learning-rate search: epochs to ``threshold`` (percent) against the learning rate, a dot per trial.

    A trial that never reached the threshold is a hollow dot at its last epoch; one that diverged is a cross at 0.
    """
    figure, (axes,) = canvas(smoke=smoke)
    trials = [record for runs in found.values() for record in runs.values()]
    for (name, label), color, shift in zip(labels.items(), PALETTE, (0.96, 1.04), strict=False):
        ours = [record for record in trials if record.config.model.nonlinearity == name]
        styles: dict[str, list[tuple[float, float]]] = {"o": [], "none": [], "x": []}
        for record in ours:
            rate, epochs = record.config.optimizer.learning_rate * shift, record.metric("epochs_to_threshold")
            if record.status == "diverged":
                styles["x"].append((rate, 0.0))
            elif np.isfinite(epochs):
                styles["o"].append((rate, epochs))
            else:
                styles["none"].append((rate, float(record.config.budget.epochs)))
        for kind, points in styles.items():
            axes.plot(
                [x for x, _ in points], [y for _, y in points], "x" if kind == "x" else "o", color=color, markersize=8,
                fillstyle="none" if kind == "none" else "full", label=label if kind == "o" else None,
            )  # fmt: skip
    axes.set_xscale("log")
    rates = sorted({record.config.optimizer.learning_rate for record in trials})
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.set(xlabel="learning rate of the weights", ylabel=f"epochs to {threshold:g} % training error")
    axes.legend(frameon=True)
    return figure
