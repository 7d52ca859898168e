"""Tables of a study's arms and of the exploratory analyses, with a line or paragraph on how to read each."""

import math
from collections.abc import Sequence

import pandas as pd
from IPython.display import Markdown

from ..analysis.contrasts import Contrast
from ..analysis.exploratory import CHANCE_RATIO, ColourNull, Pooled
from ..analysis.meta import Row
from ..analysis.statistics import DEALS, paired_difference
from ..analysis.verdicts import ALPHA, MIN_PAIRS
from ..common.text import NONE, capital, number, probability, with_interval
from ..experiments.cifar_alexnet import arm_label
from ..experiments.study import Study
from ..records.lookup import RunsByArm
from ..records.metrics import scored_metric
from ..records.record import RunRecord
from .format import markdown

EFFECT = "effect (95 % interval)"

Estimate = tuple[float, float, float]
"""Mean, low, high, in points."""
METRICS = {
    "test_error": "test error (%)",
    "test_top5_error": "test error, top-5 (%)",
    "ten_view_error": "test error, ten views (%)",
    "ten_view_top5_error": "test error, top-5, ten views (%)",
    "clean_train_error": "error on the training images (%)",
    "gap": "gap (points)",
    "early_train_loss": "loss, first five epochs (nats)",
    "epochs_to_converge": "epochs to within a point of its lowest test error",
    "lowest_epoch": "epoch of its lowest test error",
    "epochs_to_threshold": "epochs to the threshold",
    "train_error": "training error, as trained (%)",
    "color_gap": "difference of the columns' colour indices",
    "color_gap_shuffled": "the same, kernels dealt at random",
    "color_gap_p": "share of deals as wide",
    "knn_features": "neighbours of the same class, features (%)",
    "knn_pixels": "neighbours of the same class, pixels (%)",
}
"""Metric of a run -> its name as a table's column."""
PERCENT = [name for name, label in METRICS.items() if label.endswith(("(%)", "(points)"))]
FEW = 5
"""Up to so many pairs, a sentence lists the effect of each."""


def arms(plan: Study, runs: RunsByArm, metrics: Sequence[str]) -> Markdown:
    """A table of a study's arms: mean ± standard deviation of ``metrics`` over the seeds that all arms have."""
    rows, seen = [], [set(by_seed) for by_seed in runs.values() if by_seed]
    shared = sorted(set.intersection(*seen)) if seen else []
    for arm in plan.arms:
        records = [runs[arm][seed] for seed in shared if seed in runs[arm]]
        row: dict[str, object] = {"arm": arm_label(arm), "seeds": len(records)}
        for metric in metrics:
            values = pd.Series([_value(record, metric) for record in records], dtype=float)
            row[METRICS[metric]] = _spread(values * (100 if metric in PERCENT else 1))
        row["diverged"] = sum(record.status == "diverged" for record in records)
        rows.append(row)
    table = pd.DataFrame(rows)
    if not table["diverged"].any():
        table = table.drop(columns="diverged")
    shown = markdown(table, right=list(table.columns[1:]), wide=True)
    if len(shared) < 2:
        return Markdown(shown)
    chance = " A diverged run's errors count at chance." if "diverged" in table else ""
    return Markdown(f"{shown}\n\nMean ± standard deviation over the seeds that all of these arms have.{chance}")


def differences(plan: Study, runs: RunsByArm, pairs: Sequence[tuple[str, str]], metric: str) -> Markdown:
    """A list of paired differences, first arm minus second, with 95 % intervals; metric: one of ``PERCENT``."""
    lines = []
    for arm, against in pairs:
        what = f"{arm_label(arm)} minus {arm_label(against)}"
        if not {arm, against} <= runs.keys():
            lines.append(f"* {what}: not at the scale {plan.scale}.")
            continue
        seeds = sorted(runs[arm].keys() & runs[against].keys())
        if len(seeds) < MIN_PAIRS:
            lines.append(f"* {what}: no number yet.")
            continue
        first, second = ([100 * scored_metric(runs[each][s], metric) for s in seeds] for each in (arm, against))
        effect = paired_difference(first, second, resample=False)
        interval = f"{number(effect.low)} to {number(effect.high)}"
        differences = ", ".join(f"{a - b:.2f}".replace("-", "−") for a, b in zip(first, second, strict=True))
        count = f"{len(seeds)} pairs" + (f": {differences}" if len(seeds) <= FEW else "")
        lines.append(f"* {what}: {number(effect.estimate)} points ({interval}) from {count}.")
    title = capital(METRICS[metric].partition(" (")[0])
    return Markdown("\n".join([f"{title}, paired by seed, with 95 % intervals:", "", *lines]))


def parts(found: Sequence[tuple[Contrast, pd.DataFrame, Sequence[Estimate | None]]]) -> Markdown:
    """A table of effects on training error, gap and test error: three rows per contrast.

    found: a contrast, its parts (``exploratory.parts``), and the pooled model's estimate for each part.
    """
    same = len({each.setting for each, _, _ in found}) == 1
    rows = []
    for each, table, models in found:
        title = each.label if same else f"{each.label} ({each.setting})"
        for i, (part, model) in enumerate(zip(table.to_dict("records"), models, strict=True)):
            effect = _points((part["mean"], part["low"], part["high"]))
            row = {
                "comparison": title if i == 0 else "",
                "part": part["part"],
                EFFECT: f"**{effect}**" if part["metric"] in each.judged else effect,
                "seeds with a positive effect": f"{100 * part['side']:.0f} % of {part['pairs']}",
                "all arms pooled": NONE if model is None else _points(model),
            }
            rows.append(row)
    if not rows:
        return Markdown("No comparison has three pairs of runs with both errors yet.")
    setting = f"{found[0][0].setting}. " if same else ""
    return Markdown(
        f"{markdown(pd.DataFrame(rows), wide=True)}\n\n{setting}Test error = training error + gap, all of the "
        "final network as it is tested (centre crop, no dropout). **Bold**: what a rule judges, positive being the "
        "paper's side; all else is *exploratory*. Pooled: by [one model of all arms](#all-arms)."
    )


def pooled(model: Pooled | None) -> Markdown:
    """A table of every arm minus the baseline, in points: from its own pairs, and from one model of all arms."""
    if model is None:
        return Markdown("No arm has three seeds of the baseline yet.")
    every = model.table.to_dict("records")
    rows = [
        {
            "arm": arm_label(each["arm"]),
            "seeds": each["seeds"],
            "its own pairs": _points((each["paired"], each["paired_low"], each["paired_high"])),
            "all arms pooled": _points((each["mean"], each["low"], each["high"])),
            "scatter of its pairs": f"{each['sd']:.2f}",
        }
        for each in every
    ]
    least, most = (end(every, key=lambda each: each["sd"]) for end in (min, max))
    return Markdown(
        f"{markdown(pd.DataFrame(rows), right=['seeds', 'scatter of its pairs'], wide=True)}\n\n"
        "Test error minus that of the baseline, with 95 % intervals; the scatter is the standard deviation of the "
        f"pairs' differences, in points. The model has one residual standard deviation for all arms, {model.sd:.2f} "
        f"points ({model.df} degrees of freedom), by which every difference of two runs would scatter by "
        f"{math.sqrt(2) * model.sd:.2f}. In fact they scatter by {least['sd']:.2f} ({arm_label(least['arm'])}) to "
        f"{most['sd']:.2f} ({arm_label(most['arm'])}): equal variances are an approximation. Where an arm's own "
        "pairs scatter more than the model says, its pooled interval is too narrow; where they scatter less, too wide."
    )


def colours(null: ColourNull | None, dealt: float | None) -> Markdown:
    """Whether the two columns' kernels differ in colour more than by chance, in a paragraph.

    dealt: the ratio after dealing one net's kernels to its columns at random; None without a net.
    """
    if null is None:
        return Markdown("No three runs have the colours of their columns yet.")
    low, high = null.ratio.low, null.ratio.high
    inside = "includes" if low <= CHANCE_RATIO <= high else "excludes"
    deals = "" if dealt is None else f"; {DEALS:,} deals of the pictured net's kernels (seed 0) give {number(dealt)}×"
    sign = "There is no sign that the two columns differ" if null.p >= ALPHA else "The two columns differ"
    return Markdown(
        f"*Exploratory.* By chance alone the ratio is {CHANCE_RATIO:.2f}×, not the 1× that the rule takes for no "
        "effect: it is the geometric mean of the absolute value of a normal variable over its arithmetic mean, "
        f"$\\sqrt{{\\pi/2}}\\,e^{{-(\\gamma+\\ln 2)/2}}$ with Euler's $\\gamma${deals}. The ratio of the "
        f"{null.ratio.n} runs is {with_interval(null.ratio.estimate, (low, high), '×')}, and its interval {inside} "
        f"that of chance. Their shares of deals as wide, uniform by chance, have {null.below} below 5 %, where "
        f"{number(0.05 * null.ratio.n)} is expected; Fisher's combination of all of them gives {probability(null.p)}. "
        f"**{sign} in colour more than two random halves of the same kernels.**"
    )


def side_by_side(rows: Sequence[Row]) -> Markdown:
    """A table of every measurement of one effect, and how to read its intervals and signs."""
    table = pd.DataFrame(
        [
            {
                "source": each.source,
                "comparison": each.what or NONE,
                EFFECT: _measured(each),
                "pairs": NONE if each.n is None else str(each.n),
                "the paper's sign": _sign(each),
            }
            for each in rows
        ]
    )
    scatter = (
        " The log has one pair of runs for each comparison; its interval is the [scatter between two runs of one "
        "architecture](#scatter-2012): 5 % of such pairs differ by more."
    )
    logged = any(each.source == "the author's log" and each.clear is not None for each in rows)
    return Markdown(
        f"{markdown(table, wide=True)}\n\nPositive, or above 1×, is the paper's side; *not clearly*: the interval "
        f"includes 0 (or 1×).{scatter if logged else ''}"
    )


def _measured(each: Row) -> str:
    if math.isnan(each.value) or each.source == "the paper":
        return each.printed
    effect = with_interval(each.value, None if math.isnan(each.low) else (each.low, each.high), each.unit)
    return ": ".join(filter(None, [effect, each.printed]))


def _sign(each: Row) -> str:
    if each.agrees is None or each.source == "the paper":
        return NONE
    return f"{'yes' if each.agrees else 'no'}{', not clearly' if each.clear is False else ''}"


def _points(estimate: Estimate) -> str:
    mean, low, high = estimate
    return with_interval(mean, (low, high), "points")


def _value(record: RunRecord, metric: str) -> float:
    return record.lowest_epoch if metric == "lowest_epoch" else scored_metric(record, metric)


def _spread(values: "pd.Series[float]") -> str:
    values = values.dropna()
    if values.empty:
        return "–"
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    digits = 3 if sd is not None and 1e-9 < sd < 0.005 else 2
    spread = "" if sd is None else f" ± {sd:.{digits}f}"
    return f"{values.mean():.{digits}f}{spread}".replace("-", "−")
