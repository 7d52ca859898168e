"""Tables, paragraphs and the figure of the page on the first author's log of 2012.

The log itself is read and compared with the paper in analysis/audit.py.
"""

from itertools import combinations
from typing import Any

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from ..analysis import audit
from ..analysis.meta import ERRORS
from ..common.text import number
from ..paper.claims import load
from . import cards, downloads
from .captions import caption
from .figures import PALETTE, canvas, legend
from .format import with_commands

EVENTS = {
    audit.DROP: "rate / 10 at epochs",
    "learning rate of conv1 alone divided by 10": "conv1 alone / 10",
    "conv1 frozen": "conv1 frozen",
    "colour noise switched off": "colour noise off",
    audit.STOPPED: "stopped",
}
EFFECTS = {
    "two_gpu_error": "half net",
    "column_links": "no links",
    "lrn": "no normalization",
    "overlapping_pooling": "2 × 2 pooling",
    "longer_training": "shorter training",
}


def audited_table() -> pd.DataFrame:
    """A row per number of the paper that can be checked against the log; columns as in ``cards.numbers_table``."""
    return cards.numbers_table([claim.id for claim in load() if claim.audited], "audited")


def audited_rows() -> Markdown:
    """`audited_table` in Markdown: each claim is named once, and notes end at their first semicolon."""
    rows = audited_table()
    again = rows["claim"].duplicated()
    return cards.to_markdown(
        rows.assign(
            claim=rows["claim"].mask(again, ""),
            note=rows["note"].str.split(";").str[0].mask(rows["verdict"].str.contains("not in"), rows["note"]),
        ),
        wide=True,
    )


def audited_words() -> Markdown:
    """How many of the paper's numbers the log confirms to the last printed digit, and which it does not."""
    table = audited_table()
    printed, unprinted = table[table["paper"] != ""], table[table["paper"] == ""]
    agree, missing = (printed["verdict"].str.contains(word) for word in (r"\[agrees", r"\[not in the log"))
    lacking = ", ".join(dict.fromkeys(printed[missing]["claim"])) or "none"
    wrong = printed[~agree & ~missing]
    others = ", ".join(f"{row.claim}, {row.number}" for row in wrong.itertuples()) or "none"
    return Markdown(
        f"{len(printed)} comparisons below check a number that the paper prints against the log. {agree.sum()} agree, "
        f"{len(wrong)} disagree ({others}), and {missing.sum()} are not in the log "
        f"({lacking}). For {len(unprinted)} more the paper prints no number, and the log shows only the "
        f"direction. The log as tables: {', '.join(map(downloads.link, audit.TABLES))}."
    )


def published_rows() -> Markdown:
    """A table of the paper's numbers that others published too, with links to the sources."""
    rows = cards.numbers_table([claim.id for claim in load() if claim.published], "published")
    named_once = rows["claim"].mask(rows["claim"].duplicated(), "")
    return cards.to_markdown(rows.assign(claim=named_once, note=rows["note"].map(with_commands)), wide=True)


def scatter_words() -> Markdown:
    """The standard deviation of runs of one architecture, with and without runs that continue from another."""
    all_runs, apart = audit.scatter(), audit.scatter(runs=audit.independent())
    branched = audit.nets().dropna(subset="starts_from")
    common = ", ".join(f"{row.net} from {row.starts_from}" for row in branched.itertuples())
    return Markdown(
        f"The {all_runs.n} nets have top-1 errors, over ten views, from {all_runs.low:.2f} to {all_runs.high:.2f} %, "
        f"with a standard deviation of {all_runs.sd:.2f} points (95 % interval {all_runs.sd_range[0]:.2f} to "
        f"{all_runs.sd_range[1]:.2f}). Two runs of one architecture would then differ by more than "
        f"{all_runs.clear_from:.2f} points once in twenty times; the t quantile in that rule allows for the "
        "uncertainty of the standard deviation. Three things bear on that number. The "
        "schedules differ, and one net has twice the weight decay in its fully-connected layers: both widen it. And "
        f"some nets go on from an early epoch of another ({common}), which narrows it. The {apart.n} nets "
        f"without these have a standard deviation of {apart.sd:.2f}, and would differ by more than "
        f"{apart.clear_from:.2f}."
    )


def effects_words() -> Markdown:
    """Which logged effects are larger than the scatter between runs, and how longer training compares with pooling."""
    table = audit.effects()
    top1 = table[table["column"] == "top1_error"].set_index("claim")
    other = audit.scatter(runs=audit.independent()).clear_from
    same = bool(((top1["points"] > other) == top1["clear"]).all())
    clear, within = _sides(top1.reset_index())
    points = top1["points"].to_dict()
    longer, pooling = points["longer_training"], points["overlapping_pooling"]
    stops = audit.schedule().query("event == @audit.STOPPED").set_index("net")["epoch"]
    before, after = (stops[net] for net in audit.LONGER)
    size = "more than" if longer > pooling else "as much as" if longer == pooling else "less than"
    return Markdown(
        f"In top-1 error, these stand clear of the scatter: {clear or 'none'}. These do not: {within or 'none'}. "
        f"Counting the independent nets alone {'changes none of this' if same else 'changes the answer'}.\n\nNet 145 "
        f"itself, its rate raised again at epoch {before} and trained on to {after}, gained {number(longer)} points: "
        f"{size} the {number(pooling)} points between 2 × 2 and overlapping pooling. That comparison is between one "
        "run of each kind. It does not say that overlapping pooling has no effect; it says that one run of each "
        "cannot show it."
    )


def effects_table() -> pd.DataFrame:
    """A row per logged difference between two nets, with the paper's value and the scatter between runs, in points."""
    titles = {claim.id: claim.title for claim in load()}
    rows: list[Any] = audit.effects().to_dict("records")
    return pd.DataFrame(
        {
            "effect": titles[row["claim"]],
            "nets": f"{row['net']} − {row['against']}",
            "error": ERRORS[row["column"]],
            "paper": "" if pd.isna(row["paper_value"]) else f"{row['paper_value']:g}",
            "log (points)": number(row["points"]),
            "clear from": number(row["clear_from"]),
            "stands clear": "yes" if row["clear"] else "no",
        }
        for row in rows
    )


def compared_table() -> pd.DataFrame:
    """A row per net in these comparisons: the intended change, other differences, and epochs of rate changes."""
    log = audit.log().query("views == '10-crop'").set_index("net")
    notes, events = audit.nets().set_index("net"), audit.schedule()
    rows = []
    for net in dict.fromkeys(events["net"]):
        of_net = events[events["net"] == net]
        times = {label: of_net[of_net["event"] == event]["epoch"] for event, label in EVENTS.items()}
        rows.append(
            {
                "net": net,
                "meant to differ": log.loc[net, "change"],
                "its layer file also has": notes["layers"].fillna("").get(net, ""),
                **{label: ", ".join(map(str, epochs)) for label, epochs in times.items()},
                "bias rate left behind": notes["bias_rate"].fillna("").get(net, ""),
            }
        )
    return pd.DataFrame(rows)


def nets_table(*nets: str) -> Markdown:
    """These nets of the log, tested on ten crops: what changes in each, and its top-1 and top-5 error."""
    log = audit.log().query("views == '10-crop'").set_index("net").loc[list(nets)].reset_index()
    errors = {f"{label} (%)": [f"{100 * error:.2f}" for error in log[name]] for name, label in ERRORS.items()}
    return cards.to_markdown(pd.DataFrame({"net": log["net"], "change": log["change"], **errors}), right=list(errors))


def variants_table() -> pd.DataFrame:
    """A row per net of one architecture: its schedule, the net that it continues from, and its errors (%)."""
    table, notes = audit.variants(), audit.nets().set_index("net")["starts_from"]
    return pd.DataFrame(
        {
            "net": table["net"],
            "schedule": table["change"],
            "goes on from": [notes.dropna().get(net, "") for net in table["net"]],
            **{f"{label} (%)": [f"{100 * error:.2f}" for error in table[name]] for name, label in ERRORS.items()},
        }
    )


def figure_found(column: str = "top1_error") -> Markdown:
    """The caption of ``figure``: which of its effects are larger than the scatter between runs."""
    effects, clear_from = audit.effects().query("column == @column"), audit.scatter(column).clear_from
    clear, within = _sides(effects)
    return caption(
        f"Two runs of one architecture differ by more than {clear_from:.2f} points once in twenty times. Clear of "
        f"that: {clear or 'none'}; within it: {within or 'none'}."
    )


def figure(column: str = "top1_error") -> Figure:
    """The scatter between runs of one architecture, and the logged effects, in points of error on one axis.

    Row 1: each run minus the mean of all, hollow if it continues from another run. Row 2: the difference of any two
    runs. Below: each effect as a bar, hatched if it is within the scatter; a tick is the paper's value.
    """
    runs, effects = audit.variants(), audit.effects().query("column == @column")
    errors, branched = 100 * runs[column], ~runs["net"].isin(audit.independent()["net"])
    clear_from = audit.scatter(column).clear_from
    drawn, (axes,) = canvas(height=5.4)
    distance = errors - errors.mean()
    for rows, fill, label in ((~branched, "full", "one net"), (branched, "none", "goes on from another")):
        axes.plot(
            distance[rows],
            [0] * rows.sum(),
            "o",
            color=PALETTE[0],
            markersize=9,
            alpha=0.8,
            fillstyle=fill,
            label=label,
        )
    pairs = [abs(a - b) for a, b in combinations(errors, 2)]
    heights = [1 + 0.24 * ((i % 5) / 2 - 1) for i in range(len(pairs))]
    axes.plot(pairs, heights, "o", color=PALETTE[0], markersize=4, alpha=0.7, label="one pair of nets")
    for place, row in enumerate(effects.to_dict("records"), 2):
        color, hatch, label = (
            (PALETTE[2], "", "effect beyond it") if row["clear"] else (PALETTE[1], "///", "effect within it")
        )
        axes.barh(place, row["points"], height=0.5, color=color, hatch=hatch, edgecolor="white", label=label)
        if not pd.isna(row["paper_value"]):
            ends = [place - 0.36, place + 0.36]
            axes.plot([row["paper_value"]] * 2, ends, color="black", linewidth=2.5, label="the paper")
    axes.axvline(0, color="0.35", linewidth=1)
    axes.axvline(clear_from, color="black", linewidth=1.2, linestyle="--", label="reach of the scatter")
    names = ["nets, from\ntheir mean", "any two\nof them", *(EFFECTS[name] for name in effects["claim"])]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    right = 1.1 * max(effects["points"].max(), clear_from)
    axes.set(xlabel=f"points of {ERRORS[column]} error (ten views)", xlim=(1.2 * distance.min(), right))
    legend(drawn)
    return drawn


def _sides(effects: pd.DataFrame) -> tuple[str, str]:
    """Names of the effects that are larger than the scatter, and of those that are not."""
    clear, within = (
        ", ".join(EFFECTS[name] for name in effects.loc[effects["clear"] == side, "claim"]) for side in (True, False)
    )
    return clear, within
