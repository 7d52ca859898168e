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
from ..records.record import RunRecord

PALETTE = sns.color_palette("colorblind")
WIDTH = 4.9
"""Width of a figure, in inches."""
FONT = 10.5
"""Font size of all text, in points: on a phone of 360 pixels, a figure ``WIDTH`` wide has it 9 pixels high."""
MARGIN = 19
"""Characters per line of a label in the left margin."""
LINE = 0.17
"""Height of a line of text, in inches."""
OUTLIER = 4
"""A comparison that reaches so many times as far from no effect as all others of its unit has a panel of its own."""
LINES = ("-", "--", ":", "-.")
"""The first arm is solid and the second dashed, as in the paper's Fig. 1."""


def canvas(
    width: float = WIDTH, height: float = 3.4, columns: int = 1, smoke: bool = False
) -> tuple[Figure, list[Axes]]:
    """An empty figure in the book's style, with its axes side by side; smoke: "smoke run" is printed across it."""
    sizes = dict.fromkeys(
        ("axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize", "font.size"), FONT
    )
    sns.set_theme(
        style="whitegrid",
        context="notebook",
        palette="colorblind",
        rc={"figure.facecolor": "white", "figure.dpi": 200, **sizes},
    )
    figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False)
    if smoke:
        figure.text(
            0.5, 0.5, "smoke run", fontsize=46, color="0.5", alpha=0.35, ha="center", va="center", rotation=20, zorder=9
        )
    return figure, list(axes[0])


def legend(figure: Figure, columns: int = 2) -> None:
    """Put a legend above the panels, with every labelled mark once; nothing if no mark has a label."""
    named = [axes.get_legend_handles_labels() for axes in figure.axes]
    marks = {label: handle for handles, labels in named for handle, label in zip(handles, labels, strict=True)}
    for axes in figure.axes:
        if (own := axes.get_legend()) is not None:
            own.remove()
    if marks:
        figure.legend(
            marks.values(), marks, loc="outside upper center", ncols=columns, frameon=False, handlelength=1.6,
            columnspacing=1.2,
        )  # fmt: skip


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
    """Training error (%) against epochs, as in Fig. 1; threshold: a level (%) at which the runs stop.

    With a threshold, a line per seed; without, the mean over the seeds and a band from the lowest to the highest.
    """
    figure, (axes,) = canvas(smoke=smoke)
    rows = [
        (arm, seed, point.epoch, 100 * point.train_error)
        for arm, runs in found.items()
        for seed, record in runs.items()
        for point in record.curve
    ]
    table = pd.DataFrame(rows, columns=["arm", "seed", "epoch", "train_error"])
    for (arm, label), color, line in zip(labels.items(), PALETTE, LINES, strict=False):
        runs = table[table["arm"] == arm]
        if threshold is None and len(runs):
            over = runs.groupby("epoch")["train_error"].agg(["mean", "min", "max"])
            axes.plot(over.index, over["mean"], line, color=color, linewidth=1.6, label=label)
            axes.fill_between(over.index, over["min"], over["max"], color=color, alpha=0.2, linewidth=0)
            continue
        for number, (_, run) in enumerate(runs.groupby("seed")):
            axes.plot(
                run["epoch"], run["train_error"], line, color=color, linewidth=1.1, alpha=0.8,
                label=f"{label}, one seed" if number == 0 else None,
            )  # fmt: skip
    if table.empty:
        axes.text(0.5, 0.5, "no runs yet", transform=axes.transAxes, ha="center", color="0.35")
    elif threshold is None:
        axes.fill_between([], [], color="0.5", alpha=0.3, linewidth=0, label="lowest to highest seed")
    if threshold is not None:
        axes.axhline(threshold, color="0.2", linewidth=1.2, linestyle=":", label=f"threshold, {threshold:g} %")
    axes.set(xlabel="epochs", ylabel="training error (%)", ylim=(0, None), xlim=(0, None))
    legend(figure, columns=1 if max(map(len, labels.values()), default=0) > MARGIN + 3 else 2)
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
        axes.set_ylabel("\n".join([*words, f"({AXIS[panel.unit]})"]), rotation=0, ha="right", va="center", labelpad=8)
    rows[-1].set_xlabel("epochs")
    figure.align_ylabels()
    legend(figure)
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
    axes.axhline(0, color="0.2", linewidth=1, zorder=1, label="no effect")
    axes.margins(y=0.12)
    axes.set_xlim(left=0)


def paired_effects(
    effects: Mapping[str, Sequence[float]],
    verdicts: Mapping[str, Verdict],
    smoke: bool = False,
    dots: str = "one seed",
) -> Figure:
    """The effect at every seed as dots, and the mean with its interval below them; a panel per unit and per outlier.

    effects: comparison -> its effect at every seed. verdicts: comparison -> verdict, with the paper's value (drawn as a
    triangle) and the threshold (a dotted bar). Positive, or above 1, agrees with the paper. dots: what a dot is.
    """
    effects = {name: _finite(each) for name, each in effects.items()}
    groups = panels(verdicts, effects)
    labels = {name: wrap(name, MARGIN) for name in verdicts}
    height = [0.75 + sum(max(0.7, 0.2 + LINE * len(labels[name])) for name in group) for group in groups]
    figure, (empty,) = canvas(height=0.5 + sum(height), smoke=smoke)
    empty.remove()
    rows = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": height})[:, 0]
    for axes, group in zip(rows, groups, strict=True):
        for row, name in enumerate(group):
            _effect(axes, row, verdicts[name], effects[name], dots)
        unit = verdicts[group[0]].unit
        axes.axvline(1.0 if unit == "×" else 0.0, color="0.2", linewidth=1, label="no effect")
        axes.set_yticks(range(len(group)), ["\n".join(labels[name]) for name in group])
        axes.set_ylim(len(group) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(
            "ratio (×)\n(right of 1: as in the paper)"
            if unit == "×"
            else f"effect in {unit}\n(right of 0: as in the paper)"
        )
    legend(figure)
    return figure


def panels(verdicts: Mapping[str, Verdict], effects: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """The comparisons that share a panel: those of one unit, without its ``OUTLIER``."""
    found = []
    for unit in dict.fromkeys(verdict.unit for verdict in verdicts.values()):
        group = [name for name, verdict in verdicts.items() if verdict.unit == unit]
        reach = {name: _reach(verdicts[name], effects[name]) for name in group}
        furthest = max(group, key=lambda name: reach[name])
        others = [name for name in group if name != furthest]
        apart = bool(others) and reach[furthest] > OUTLIER * max(reach[name] for name in others) > 0
        found += [[furthest], others] if apart else [group]
    return found


def _reach(verdict: Verdict, effects: Sequence[float]) -> float:
    """The largest distance from no effect that a comparison draws."""
    middle = 1.0 if verdict.unit == "×" else 0.0
    drawn = [verdict.effect, verdict.size, verdict.paper_value, *(verdict.interval or ()), *effects]
    return max((abs(value - middle) for value in drawn if value is not None and math.isfinite(value)), default=0.0)


def _finite(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values if math.isfinite(value)]


def _effect(axes: Axes, row: int, verdict: Verdict, effects: Sequence[float], dots: str) -> None:
    """Draw a comparison: a dot per effect, below them the mean with its interval; threshold and paper's value."""
    if effects:
        axes.plot(effects, [row - 0.16] * len(effects), "o", color=PALETTE[0], alpha=0.6, markersize=6, label=dots)
    _interval(axes, verdict, row + 0.12)
    if verdict.effect is None and not effects:
        axes.annotate("no runs yet", (0.5, row), xycoords=("axes fraction", "data"), ha="center", color="0.35")
    if verdict.size is not None:
        axes.plot(
            [verdict.size] * 2, [row - 0.34, row + 0.34], color="0.2", linewidth=1.6, linestyle=":", label="threshold"
        )
    if verdict.paper_value is not None:
        axes.plot([verdict.paper_value], [row + 0.36], "^", color=PALETTE[3], markersize=8, label="the paper")


def _interval(axes: Axes, verdict: Verdict, y: float) -> None:
    """Draw the mean and its interval; an infinite end is an arrow to the edge of the axes."""
    if verdict.effect is None or verdict.interval is None:
        return
    low, high = (end if math.isfinite(end) else verdict.effect for end in verdict.interval)
    axes.errorbar(
        [verdict.effect], [y], xerr=[[verdict.effect - low], [high - verdict.effect]], fmt="D", color="black",
        markersize=6, elinewidth=2.2, label="mean, 95 % interval",
    )  # fmt: skip
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
        axes.plot(sizes, group, "o-", color=PALETTE[0], alpha=0.6, linewidth=1.1, markersize=5, label="one group")
    if groups:
        axes.plot(sizes, np.mean(groups, axis=0), "D-", color="black", label="mean of the groups")
    else:
        axes.text(0.5, 0.5, "no whole group yet", transform=axes.transAxes, ha="center", color="0.35")
    axes.set_xticks(sizes)
    axes.set(xlabel="number of networks averaged", ylabel="test error (%)")
    legend(figure)
    return figure


def ratios(values: Mapping[str, Sequence[float]], xlabel: str, verdict: Verdict, smoke: bool = False) -> Figure:
    """Ratios on a log scale: a row per group, a dot per seed; below them the mean with its interval."""
    figure, (axes,) = canvas(height=1.9 + 0.6 * len(values), smoke=smoke)
    for row, points in enumerate(map(_finite, values.values())):
        axes.plot(points, [row] * len(points), "o", color=PALETTE[0], alpha=0.6, markersize=7, label="one seed")
    _interval(axes, verdict, len(values) - 0.65)
    axes.axvline(1.0, color="0.2", linewidth=1, label="no difference")
    if verdict.size is not None:
        axes.axvline(verdict.size, color="0.2", linestyle=":", linewidth=1.6, label="threshold")
    if verdict.paper_value is not None:
        axes.plot([verdict.paper_value], [len(values) - 0.3], "^", color=PALETTE[3], markersize=8, label="the paper")
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.1, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xscale("log")
    ticks = [1, 1.5, 2, 3, 4, 6, 8, 10]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel=xlabel, xlim=(0.9, None))
    legend(figure)
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
        styles: dict[str, list[tuple[float, float]]] = {"reached it": [], "did not reach it": [], "diverged": []}
        for record in ours:
            rate, epochs = record.config.optimizer.learning_rate * shift, record.metric("epochs_to_threshold")
            if record.status == "diverged":
                styles["diverged"].append((rate, 0.0))
            elif np.isfinite(epochs):
                styles["reached it"].append((rate, epochs))
            else:
                styles["did not reach it"].append((rate, float(record.config.budget.epochs)))
        for kind, points in styles.items():
            if points:
                axes.plot(
                    [x for x, _ in points], [y for _, y in points], "x" if kind == "diverged" else "o", color=color,
                    markersize=8, fillstyle="none" if kind == "did not reach it" else "full", label=f"{label}, {kind}",
                )  # fmt: skip
    axes.set_xscale("log")
    rates = sorted({record.config.optimizer.learning_rate for record in trials})
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.set(xlabel="learning rate of the weights", ylabel=f"epochs to {threshold:g} %\ntraining error")
    legend(figure)
    return figure
