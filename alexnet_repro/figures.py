"""Figures of records: tidy tables in, matplotlib figures out, one style for the whole book."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .records import RunRecord, curve_rows

PALETTE = sns.color_palette("colorblind")
LINES = ("-", "--", ":", "-.")
"""The first arm is solid and the second dashed, as in the paper's Fig. 1."""


def curves_table(found: Mapping[str, Mapping[int, RunRecord]]) -> pd.DataFrame:
    """The curves of (arm -> seed -> record), a row per measurement; errors in percent."""
    rows = [row for arm, runs in found.items() for record in runs.values() for row in curve_rows(arm, record)]
    table = pd.DataFrame(rows, columns=None if rows else ["arm", "seed", "epoch", "train_error"])
    return table.assign(train_error=table["train_error"].astype(float) * 100)


def canvas(width: float = 7.0, height: float = 4.2, columns: int = 1, smoke: bool = False) -> tuple[Figure, list[Axes]]:
    """An empty figure of the book's style; ``smoke`` writes across it that it is no evidence."""
    sns.set_theme(style="whitegrid", context="notebook", palette="colorblind", rc={"figure.facecolor": "white"})
    figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False)
    if smoke:
        figure.text(
            0.5, 0.5, "smoke run", fontsize=46, color="0.5", alpha=0.35, ha="center", va="center", rotation=20, zorder=9
        )
    return figure, list(axes[0])


def training_curves(
    found: Mapping[str, Mapping[int, RunRecord]], labels: Mapping[str, str], threshold: float, smoke: bool = False
) -> Figure:
    """Training error against epochs, a thin line per seed, as in Fig. 1; ``threshold`` in percent is drawn."""
    figure, (axes,) = canvas(smoke=smoke)
    table = curves_table(found)
    for (arm, label), color, line in zip(labels.items(), PALETTE, LINES, strict=False):
        for number, (_, run) in enumerate(table[table["arm"] == arm].groupby("seed")):
            axes.plot(
                run["epoch"], run["train_error"], line, color=color, linewidth=1.1, alpha=0.8,
                label=label if number == 0 else None,
            )  # fmt: skip
    axes.axhline(threshold, color="0.35", linewidth=1, linestyle=":")
    axes.annotate(
        f"{threshold:g} %", (1, threshold), xycoords=("axes fraction", "data"), xytext=(-4, 4),
        textcoords="offset points", ha="right", color="0.35",
    )  # fmt: skip
    axes.set(xlabel="epochs", ylabel="training error (%)", ylim=(0, None), xlim=(0, None))
    axes.legend(frameon=True)
    return figure


def dots(
    values: Mapping[str, Sequence[float]],
    xlabel: str,
    interval: Mapping[str, tuple[float, float, float]] | None = None,
    marks: Mapping[str, float] | None = None,
    log: bool = False,
    smoke: bool = False,
) -> Figure:
    """One row per group: every seed a dot, (estimate, low, high) as a bar, named vertical ``marks``."""
    figure, (axes,) = canvas(height=1.2 + 0.7 * len(values), smoke=smoke)
    for row, (name, points) in enumerate(values.items()):
        finite = np.asarray([v for v in points if np.isfinite(v)])
        spread = np.linspace(-0.14, 0.14, len(finite)) if len(finite) > 1 else np.zeros(len(finite))
        axes.plot(finite, row + spread, "o", color=PALETTE[row % len(PALETTE)], alpha=0.75, markersize=6)
        if interval and name in interval:
            estimate, low, high = interval[name]
            axes.plot([low, high], [row + 0.28] * 2, color="black", linewidth=2, solid_capstyle="butt")
            axes.plot([estimate], [row + 0.28], "D", color="black", markersize=6)
    for text, x in (marks or {}).items():
        axes.axvline(x, color="0.35", linestyle=":", linewidth=1.2)
        axes.annotate(
            text, (x, 1), xycoords=("data", "axes fraction"), xytext=(4, -4), textcoords="offset points",
            va="top", color="0.25",
        )  # fmt: skip
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.4, -0.75)
    if log:
        axes.set_xscale("log")
    axes.set_xlabel(xlabel)
    return figure


def rate_search(table: pd.DataFrame, labels: Mapping[str, str], ylabel: str, smoke: bool = False) -> Figure:
    """A learning-rate search: ``value`` against ``rate`` (log), a dot per pilot seed, a line through the means.

    ``table`` has the columns nonlinearity, rate, seed, value.
    """
    figure, (axes,) = canvas(smoke=smoke)
    for (name, label), color, line in zip(labels.items(), PALETTE, LINES, strict=False):
        part = table[table["nonlinearity"] == name]
        means = part.groupby("rate")["value"].mean()
        axes.plot(means.index, means.to_numpy(), line, color=color, label=label)
        axes.plot(part["rate"], part["value"], "o", color=color, alpha=0.7)
    axes.set_xscale("log")
    axes.set(xlabel="learning rate of the weights", ylabel=ylabel)
    axes.legend(frameon=True)
    return figure
