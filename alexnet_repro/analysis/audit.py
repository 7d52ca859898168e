"""Compare the paper's numbers with the first author's log of runs, and with what others published."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import chi2

from ..common import paths
from ..common.errors import one_of
from ..common.files import read_csv
from ..paper.claims import Audited, Published, load
from ..paper.derivations import Finding
from .statistics import LEVEL, t_quantile

VARIANT = "schedule variant (net 153)"
LONGER = ("145", "145-longer")
DROP, STOPPED = "learning rate divided by 10", "stopped"
"""Events of data/author_schedule.csv; those of conv1 or the colour noise only have other names."""

EDGE = 1e-9
"""Tolerance for binary fractions: 100 * 0.40665 is not exactly 40.665."""

TABLES = ("author_log.csv", "author_schedule.csv", "author_nets.csv")
LOG_COLUMNS = {
    **dict.fromkeys(("net", "relation", "change", "train_set", "eval_set", "views"), str),
    **dict.fromkeys(("logprob", "top1_error", "top5_error"), float),
}
SCHEDULE_COLUMNS = {"net": str, "event": str, "epoch": float}
NETS_COLUMNS = dict.fromkeys(("net", "layers", "bias_rate", "starts_from"), str)
RESULTS_COLUMNS = {
    **dict.fromkeys(("set", "entry", "file"), str),
    **dict.fromkeys(("top1_error", "top5_error"), float),
    "source": str,
}
FALL_2011 = ".2011"
"""The ending, in a submission's file name, of nets that were pre-trained on ImageNet Fall 2011."""


@dataclass(frozen=True)
class Scatter:
    """Spread of ``n`` runs of one architecture, errors in percent.

    ``sd_range`` is the 95 % interval of ``sd``; ``clear_from``, the smallest effect larger than the spread.
    """

    n: int
    sd: float
    low: float
    high: float
    sd_range: tuple[float, float]
    clear_from: float


def log(path: Path | None = None) -> pd.DataFrame:
    """data/author_log.csv: a row per net and evaluation; errors are fractions. See data/README.md.

    Raises UserError if the file is missing or damaged.
    """
    return read_csv(path or paths.data() / "author_log.csv", LOG_COLUMNS)


def schedule(path: Path | None = None) -> pd.DataFrame:
    """data/author_schedule.csv: a row per net and event of its learning rate. Raises UserError as `log` does."""
    return read_csv(path or paths.data() / "author_schedule.csv", SCHEDULE_COLUMNS)


def nets(path: Path | None = None) -> pd.DataFrame:
    """data/author_nets.csv: how the nets differ, beyond the log's column ``change``. Raises UserError as `log` does."""
    return read_csv(path or paths.data() / "author_nets.csv", NETS_COLUMNS)


def results(path: Path | None = None) -> pd.DataFrame:
    """data/published_results.csv: a row per competition entry or result of a cited paper; errors are fractions.

    Raises UserError as `log` does.
    """
    return read_csv(path or paths.data() / "published_results.csv", RESULTS_COLUMNS, gaps=("top1_error", "top5_error"))


def nets_of(entry: str) -> tuple[str, ...]:
    """The nets that a submission averages, from its file name: "test-preds-131-137" gives ("131", "137").

    Raises UserError for an unknown entry.
    """
    name = str(_result(entry)["file"]).removesuffix(".txt").rstrip(".")
    return tuple(name.removeprefix("test-preds-").split("-"))


def check_published(entry: Published) -> Finding:
    """Compare a published number, rounded as in the paper, with the paper's. Raises UserError for an unknown entry."""
    row = _result(entry.entry)
    if entry.quantity in ("top1_error", "top5_error"):
        value = float(100 * row[entry.quantity])
    else:
        nets = nets_of(entry.entry)
        kept = {
            "nets": nets,
            "shared nets": set(nets) & set(nets_of(entry.others)) if entry.others else (),
            "pre-trained nets": [net for net in nets if net.endswith(FALL_2011)],
        }
        value = float(len(kept[entry.quantity]))
    agrees = _prints_as(value, entry.paper_value, entry.digits)
    return _finding(agrees, value, f"{entry.entry}, {row['set']}: {row['source']}", entry)


def check(entry: Audited) -> Finding:
    """Compare the log's value, rounded to the digits that the paper prints, with the paper's.

    "not in the log" if the row is missing or, for an entry without ``net``, if no row of its ``train_set`` agrees; the
    value is then the nearest one. Without a paper_value, a difference agrees if it is positive; with "at most", if its
    absolute value is at most the paper's number.
    """
    if entry.net is None:
        return _any_row(entry)
    value = _value(entry, entry.net, entry.views, entry.eval_set)
    if value is not None and entry.against is not None:
        other = _value(entry, entry.against, entry.views, entry.against_eval_set)
        value = None if other is None else value - other
    if value is None:
        missing = " or ".join(f"net {net}" for net in (entry.net, entry.against) if net is not None)
        return Finding("audited: not in the log", None, _note(f"the log has no such run of {missing}", entry))
    if entry.paper_value is None:
        agrees = value > 0
    elif entry.comparison == "at most":
        agrees = abs(value) <= entry.paper_value + EDGE
    else:
        agrees = _prints_as(value, entry.paper_value, entry.digits)
    rows = entry.net if entry.against is None else f"{entry.net} against {entry.against}"
    if entry.against == entry.net and entry.eval_set != entry.against_eval_set:
        rows = f"{entry.net}, {entry.eval_set} against {entry.against_eval_set} images"
    notes = f"net {rows}"
    if entry.against not in (None, entry.net):
        clear_from = scatter(entry.column).clear_from
        stands = "stands" if value > clear_from else "does not stand"
        notes += f", one run each; {stands} clear of the scatter between runs ({clear_from:.2f} points)"
    return _finding(agrees, value, notes, entry)


def variants() -> pd.DataFrame:
    """The log's runs of net 153's architecture, which differ in little but the learning-rate schedule."""
    table = log()
    return table[table["relation"] == VARIANT].reset_index(drop=True)


def independent() -> pd.DataFrame:
    """The variants without those that share their first epochs with another."""
    branched = nets().dropna(subset="starts_from")["net"]
    table = variants()
    return table[~table["net"].isin(branched)].reset_index(drop=True)


def scatter(column: str = "top1_error", runs: pd.DataFrame | None = None) -> Scatter:
    """Spread of runs of one architecture: the schedule variants of net 153, or the given ``runs``.

    An effect between two single runs is clear of it if it is larger than t * sqrt(2) * sd, with t the 0.975 quantile at
    n - 1 degrees of freedom: two runs of one architecture differ by more only once in twenty times. Different schedules
    (and one doubled weight decay) increase the spread; nets 170 and 174, which continue net 169 from epoch 23 or 24,
    decrease it (`independent` leaves them out). There is no log of plain repetitions. The rule does not apply to two
    evaluations of one net, such as one view and ten.
    """
    errors = 100 * (variants() if runs is None else runs)[column]
    n, sd = len(errors), float(errors.std(ddof=1))
    clear_from = t_quantile(n - 1, LEVEL) * math.sqrt(2) * sd
    low, high = (float(sd * math.sqrt((n - 1) / chi2.ppf(0.5 + side * LEVEL / 2, n - 1))) for side in (1, -1))
    return Scatter(n, sd, float(errors.min()), float(errors.max()), (low, high), clear_from)


def effects() -> pd.DataFrame:
    """Every effect in the log between two trained nets, and whether it is clear of the scatter between runs.

    A row per comparison and column: claim, net, against, column, points (the log's difference), paper_value, clear_from
    and clear. One net on two sets of images, or with one view and ten, is left out.
    """
    entries = [
        (claim.id, entry) for claim in load() for entry in claim.audited if entry.against not in (None, entry.net)
    ]
    rows = []
    for name, entry in entries:
        points, clear_from = check(entry).value, scatter(entry.column).clear_from
        rows.append(
            {
                "claim": name,
                "net": entry.net,
                "against": entry.against,
                "column": entry.column,
                "points": points,
                "paper_value": entry.paper_value,
                "clear_from": clear_from,
                "clear": points is not None and points > clear_from,
            }
        )
    return pd.DataFrame(rows)


def _any_row(entry: Audited) -> Finding:
    table = log()
    values: list[float] = [float(100 * error) for error in table[table["train_set"] == entry.train_set][entry.column]]
    paper = entry.paper_value
    if not values or paper is None:
        return Finding("audited: not in the log", None, _note(f"the log has no run on {entry.train_set}", entry))
    nearest: float = min(values, key=lambda value: abs(value - paper))
    if _prints_as(nearest, paper, entry.digits):
        return _finding(True, nearest, f"a run on {entry.train_set}", entry)
    note = _note(f"the nearest logged run on {entry.train_set} is given", entry)
    return Finding("audited: not in the log", round(nearest, 4), note)


def _result(entry: str) -> "pd.Series[Any]":
    table = results()
    rows = table[table["entry"] == entry]
    if rows.empty:
        raise one_of("entry of published_results.csv", entry, list(table["entry"]))
    return rows.iloc[0]


def _value(entry: Audited, net: str, views: str, eval_set: str | None) -> float | None:
    if entry.column in ("epochs", "drops"):
        events = schedule().query("net == @net")
        stops = events[events["event"] == STOPPED]["epoch"]
        drops = int((events["event"] == DROP).sum())
        return None if stops.empty else float(stops.iloc[0] if entry.column == "epochs" else drops)
    row = log().query("net == @net and views == @views and train_set == @entry.train_set")
    if eval_set is not None:
        row = row[row["eval_set"] == eval_set]
    return None if row.empty else float(100 * row[entry.column].iloc[0])


def _prints_as(value: float, printed: float, digits: int) -> bool:
    return abs(value - printed) <= 0.5 * 10**-digits + EDGE


def _finding(agrees: bool, value: float, note: str, entry: Audited | Published) -> Finding:
    return Finding("audited: agrees" if agrees else "audited: disagrees", round(value, 4), _note(note, entry))


def _note(found: str, entry: Audited | Published) -> str:
    return f"{found}; {entry.note}" if entry.note else found
