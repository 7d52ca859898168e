"""Text blocks and tables for notebooks: claims, rules, verdicts, runs. Every number is read from claims and records.

Figures are drawn in figures.py; page.py chooses what a page shows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from statistics import median
from typing import Literal
from urllib.parse import quote

import pandas as pd
from IPython.display import HTML, Markdown

from ..analysis import meta
from ..analysis.conclusions import Conclusion, comparison_text
from ..analysis.lookup import record_lookup
from ..analysis.rules import SETTINGS
from ..analysis.statistics import paired_ratio
from ..analysis.verdicts import Verdict, audited, derived, effect_text, published, scorecard
from ..common.errors import UserError
from ..common.markup import escaped
from ..common.text import NONE, capital, number, probability, with_unit
from ..experiments.cifar_alexnet import arm_label
from ..experiments.registry import study
from ..experiments.study import Study
from ..paper.claims import Audited, Claim, Derived, Measured, Observed, Published, claim
from ..records.lookup import RunsByArm, records, select_learning_rates
from ..records.record import RunRecord, core_hours
from ..records.store import Store
from . import downloads
from .format import badge, halved, markdown, papers, unbroken, waiting, with_commands, with_pairs

ENDS = {"finished": "its budget used up", "stopped": "at the threshold", "diverged": "diverged"}
"""Status of a record -> how a page says that the run ended."""
JUDGES: Mapping[str, Callable[..., Verdict]] = {"audited": audited, "published": published, "derived": derived}
"""Field of a claim with numbers that are checked without runs -> what judges one of them."""


def claim_card(name: str) -> Markdown:
    """The paper's statement of a claim, and the rules that judge it. Raises UserError for an unknown claim."""
    entry = claim(name)
    return Markdown(f"> **The paper, {entry.where}:** {entry.statement}\n\n{rules_card(name).data}")


def rules_card(name: str) -> Markdown:
    """The rules of a claim's measured and observed comparisons, word for word; empty if it has none."""
    entry = claim(name)
    lines = []
    for measured in entry.measured:
        label = f" ({measured.label})" if measured.label else ""
        lines += [f"**The rule{label}, written down before the runs** (version {entry.version}): {measured.rule}", ""]
    for seen in entry.observed:
        label = f", {seen.label}" if seen.label else ""
        lines += [
            f"*Observed{label}: without a rule, since the runs were there before the question.* {seen.setting}.",
            "",
        ]
    if any(halved(each.unit, each.size, each.paper_value) for each in entry.measured):
        text = "why the reason that some rules give for it is false, and what the whole number would say"
        lines += [f"*The threshold is half of the paper's points, a lenient choice:* [{text}](#size).", ""]
    return Markdown("\n".join(lines))


def answer(entry: Claim, conclusion: Conclusion | None) -> str:
    """A claim as the paper states it, our answer in one sentence, the verdict, and the scales that have runs.

    conclusion: None at the scale smoke, a rehearsal, which answers nothing.
    """
    lines = [f"**The paper ({entry.where}):** {entry.statement}", ""]
    if conclusion is None:
        return "\n".join([*lines, "**The answer:** none; this is a rehearsal on the bundled sample.", ""])
    lines += [
        f"**The answer:** {conclusion.reading}",
        "",
        f"**[The verdict](../verdicts.md):** {conclusion.in_full}.",
    ]
    primary = [each for each in conclusion.comparisons if each.role == "primary"]
    there = [with_pairs(each) for each in primary if each.verdict != "not run"]
    tested: list[Measured | Observed] = [*entry.measured, *entry.observed]
    if primary:
        lines[-1] += f" Scales: {'; '.join(there) or 'none yet'}."
        lines[-1] += f" {capital(missing)}." if (missing := waiting(primary)) else ""
    elif tested:
        lines[-1] += f" Scale: {tested[0].setting.partition(': speaks')[0]}."
    return "\n".join([*lines, ""])


def explore_link(*names: str) -> HTML:
    """Links to the page "Explore the runs", one per study, which open it at that study.

    Raises UserError for an unknown study.
    """
    links = [f'<a href="../explore.html#study={quote(name)}">{study(name).title}</a>' for name in names]
    return HTML(f'<p class="explore-link">Explore the runs, seed by seed: {"; ".join(links)}.</p>')


def verdicts_card(verdicts: Sequence[Verdict]) -> Markdown:
    """A table of these verdicts, then their notes, bootstrap intervals and p-values."""
    rows = [
        {
            "": _kind(each),
            "verdict": f"**{each.verdict.removeprefix(each.evidence + ': ')}**"
            f"{', provisional' if each.provisional and each.effect is not None else ''}",
            "found (95 % interval)": effect_text(each),
            "the paper": each.paper if each is verdicts[0] else papers([each]),
            "pairs": each.pairs_judged,
        }
        for each in verdicts
    ]
    notes = [f"*{_kind(each)}:* {with_commands(each.note.removesuffix('.'))}." for each in verdicts if each.note]
    extra = [
        f"*{_kind(each)}:* bootstrap interval: {_interval(each.bootstrap)}; the smallest effect that so many pairs "
        f"detect with 80 % power: {with_unit(number(each.detectable), each.unit)}; "
        f"{probability(each.p)}, corrected for all comparisons of the scorecard (Holm): {probability(each.p_holm)}."
        for each in verdicts
        if each.bootstrap is not None and each.p is not None and each.p_holm is not None and each.detectable is not None
    ]
    return Markdown("\n\n".join([markdown(pd.DataFrame(rows).map(unbroken)), *notes, *extra]))


def conclusion_card(conclusion: Conclusion) -> Markdown:
    """A claim's conclusion, the sentence that explains it, and a table of its stage-two comparisons at all scales."""
    lines = [f"**Conclusion: {conclusion.conclusion}.** {conclusion.reading}"]
    if conclusion.comparisons:
        table = markdown(comparison_rows(conclusion).map(unbroken))
        lines += ["Stage two, by [rules for both signs](#stage-two):", table]
        notes = [f"*{SETTINGS[each.scale].title}:* {each.note}." for each in conclusion.comparisons if each.note]
        lines += dict.fromkeys(notes)
    return Markdown("\n\n".join(lines))


def comparison_rows(conclusion: Conclusion) -> pd.DataFrame:
    """A claim's comparisons of stage two as text, a row per comparison and scale."""
    rows = []
    for each in conclusion.comparisons:
        marks = [each.remark, f"unseen pairs alone: {each.unseen}" if each.unseen else ""]
        threshold = with_unit(number(each.threshold), each.unit)
        rows.append(
            {
                "scale": SETTINGS[each.scale].title,
                "comparison": ": ".join(filter(None, [each.role, each.label])),
                "verdict": "; ".join(filter(None, [f"**{each.verdict}**", *marks])),
                "effect (95 % interval)": NONE if each.verdict == "not run" else comparison_text(each),
                "threshold": threshold if each.unit == "×" else f"± {threshold}",
                "pairs": each.pairs_judged,
                "on the paper's side": "" if each.side is None else f"{100 * each.side:.0f} %",
            }
        )
    return pd.DataFrame(rows)


def _kind(verdict: Verdict) -> str:
    return ", ".join(filter(None, [verdict.evidence, verdict.label]))


def agreement(name: str) -> Markdown:
    """How many of a claim's numbers agree with the author's log or source code, and which do not."""
    judged = [each for each in claim_verdicts(name) if each.evidence == "audited"]
    wrong = [each.label for each in judged if each.verdict != "audited: agrees"]
    return Markdown(f"{len(judged) - len(wrong)} of {len(judged)} points agree. Not: {', '.join(wrong) or 'none'}.")


def unjudged(*names: str) -> Markdown:
    """A list of the parts of these claims that cannot be tested here, with the reasons."""
    parts = [(each.title, part) for each in map(claim, names) for part in each.untested]
    return Markdown("\n".join(f"* {title}, {part.label}: {part.reason}." for title, part in parts))


def claim_verdicts(name: str) -> list[Verdict]:
    """The verdicts on one claim that need no runs: audited, derived, or not testable here."""
    return [each for each in scorecard(lambda study, arm: {}) if each.claim == name and each.seeds is None]


def numbers_table(names: Sequence[str], evidence: Literal["audited", "published", "derived"]) -> pd.DataFrame:
    """A row per number of the paper that is checked without runs, for these claims.

    evidence: what it is checked against: "audited", the author's log and source code; "published", results that others
    published; "derived", arithmetic. Columns: claim, number, paper, found, verdict, note.
    """
    rows = []
    for entry in map(claim, names):
        for each in getattr(entry, evidence):
            verdict = JUDGES[evidence](entry, each)
            rows.append(
                {
                    "claim": verdict.title,
                    "number": verdict.label,
                    "paper": "" if each.paper_value is None else with_unit(_printed(each), verdict.unit),
                    "found": effect_text(verdict),
                    "verdict": badge(verdict.verdict, short=True),
                    "note": verdict.note,
                }
            )
    return pd.DataFrame(rows)


def runs_table(runs: RunsByArm, metrics: Mapping[str, str]) -> pd.DataFrame:
    """A row per run: arm, seed, how it ended, and its metrics as text, errors in percent.

    metrics: name of a metric -> name of its column.
    """
    rows = [
        {"arm": arm_label(arm), "seed": seed, "ended": ENDS[record.status]}
        | {name: _shown(metric, record.metric(metric)) for metric, name in metrics.items()}
        for arm, by_seed in runs.items()
        for seed, record in by_seed.items()
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "ended", *metrics.values()])


def _shown(metric: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{100 * value:.1f} %" if metric.endswith("error") else f"{value:.2f}"


def epochs_to_threshold_summary(runs: RunsByArm, labels: Mapping[str, str], threshold: float) -> list[str]:
    """A sentence per arm: in how many of its runs the training error reached ``threshold`` (percent), and when.

    labels: arm -> its name in the sentence. An arm without runs has no sentence.
    """
    lines = []
    for arm, label in labels.items():
        epochs = [record.metric("epochs_to_threshold") for record in runs[arm].values()]
        there = sorted(each for each in epochs if not math.isnan(each))
        if there:
            spread = f"median {median(there):.1f} epochs (lowest {there[0]:.1f}, highest {there[-1]:.1f})"
            lines.append(f"{capital(label)}: {len(there)} of {len(epochs)} runs reached {threshold:g} %; {spread}.")
        elif epochs:
            lines.append(f"{capital(label)}: none of {len(epochs)} runs reached {threshold:g} % within its budget.")
    return lines


def study_summary(plan: Study, store: Store) -> Markdown:
    """How many of a study's runs are recorded, their core-hours, training images and devices, and links to them."""
    runs: list[RunRecord] = [record for by_seed in records(plan, store).values() for record in by_seed.values()]
    planned = len(plan.runs())
    images = sum(record.curve[-1].images for record in runs)
    devices = sorted({escaped(record.provenance.device) for record in runs})
    if not runs:
        return Markdown(f"*{plan.title}:* none of {planned} runs yet; `alexnet-repro run {plan.name}` makes them.")
    if plan.baseline.data.dataset == "sample":
        records_lie = "A rehearsal on the bundled sample, no evidence."
    else:
        home = store.published_in()
        records_lie = _where(sorted({home[record.key] for record in runs if record.key in home}))
    return Markdown(
        f"*{plan.title}:* {len(runs)} of {planned} planned runs ({_seeds(plan.seeds)}), "
        f"{core_hours(runs):.1f} core-hours, {images:,} training images, on {' and '.join(devices)}. {records_lie}"
    )


def _seeds(seeds: Sequence[int]) -> str:
    """ "seed 1000", "seeds 0 to 19"."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _where(homes: Sequence[str]) -> str:
    """Links to the published tables of these studies."""
    if not homes:
        return "Their records are in the working store, not yet published."
    tables = [downloads.link(PurePosixPath("evidence", home, name)) for home in homes for name in downloads.TABLES]
    return f"Records, a row per run, and their curves: {', '.join(tables)}."


def verdict_of(name: str, store: Store, scale: str = "cifar10") -> Verdict:
    """The first measured verdict on a claim."""
    verdicts = scorecard(record_lookup(store, scale))
    return next(each for each in verdicts if each.claim == name and each.evidence == "measured")


def ratios(runs: RunsByArm, arm: str, against: str, metric: str) -> list[float]:
    """The metric of ``arm`` divided by that of ``against``, for every seed that both have; NaN if either is NaN."""
    seeds = sorted(runs[arm].keys() & runs[against].keys())
    return [runs[arm][seed].metric(metric) / runs[against][seed].metric(metric) for seed in seeds]


def search_card(plan: Study, store: Store) -> Markdown:
    """A table of a learning-rate search, a row per trial, and the rates that its rule picks."""
    rows = [
        {"trial": arm_label(arm)} | {f"pilot seed {seed}": _trial(runs.get(seed)) for seed in plan.seeds}
        for arm, runs in records(plan, store).items()
    ]
    table = markdown(pd.DataFrame(rows))
    try:
        picks = select_learning_rates(plan, store)
    except UserError as error:
        return Markdown(f"{table}\n\n*No pick yet: {error}*")
    words = ", ".join(f"{rate:g} for {arm_label(name)}" for name, rate in picks.items())
    edges = [arm_label(name) for name, rate in picks.items() if rate in _edges(plan, name)]
    warning = f" At an edge of the grid: {', '.join(edges)}." if edges else " Neither is at an edge of the grid."
    return Markdown(f"{table}\n\n**Picked: {words}.**{warning}")


def _trial(record: RunRecord | None) -> str:
    if record is None:
        return "not run"
    if record.status == "diverged":
        return f"diverged in epoch {math.ceil(record.curve[-1].epoch)}"
    if math.isnan(record.metric("epochs_to_threshold")):
        return f"not reached; {100 * record.metric('train_error'):.1f} % at the end"
    return f"{record.metric('epochs_to_threshold'):.2f} epochs"


def _edges(plan: Study, nonlinearity: str) -> tuple[float, float]:
    configs = [plan.config(arm, 0) for arm in plan.arms]
    rates = [each.optimizer.learning_rate for each in configs if each.model.nonlinearity == nonlinearity]
    return min(rates), max(rates)


def comparison(settings: Mapping[str, RunsByArm], arm: str, against: str, metric: str) -> pd.DataFrame:
    """A ratio of two arms in several settings, a row each: mean, 95 % interval, pairs of runs. Not a verdict.

    settings: name of a setting -> its runs. metric: NaN for a run that never reached the threshold.
    """
    rows = []
    for name, runs in settings.items():
        values = [value for value in ratios(runs, arm, against, metric) if not math.isnan(value)]
        pairs = len(runs[arm].keys() & runs[against].keys())
        mean = paired_ratio(values, [1.0] * len(values), resample=False) if len(values) == pairs and pairs > 1 else None
        rows.append(
            {
                "setting": name,
                f"{arm_label(arm)} / {arm_label(against)}": "" if mean is None else number(mean.estimate),
                "95 % interval": "" if mean is None else _interval((mean.low, mean.high)),
                "pairs": pairs,
                "of which both reached the threshold": len(values),
            }
        )
    return pd.DataFrame(rows)


def others(name: str) -> pd.DataFrame:
    """The rows of data/others.csv on a claim: what others measured for the same comparison, with its source."""
    table = meta.others()[list(meta.OTHERS_TEXT)]
    table["source"] = [f"{{cite}}`{key}`" for key in table["source"]]
    return table[table["claim"] == name].drop(columns="claim")


def to_markdown(table: pd.DataFrame, right: Sequence[str] = (), wide: bool = False) -> Markdown:
    """``format.markdown`` for a notebook: a data frame as a Markdown table, columns in ``right`` aligned right."""
    return Markdown(markdown(table, right, wide))


def _printed(entry: Audited | Published | Derived) -> str:
    """The paper's number with the digits that it prints, and "at most" or "above" where it is a bound."""
    assert entry.paper_value is not None
    bound = "" if isinstance(entry, Published) or entry.comparison == "equal" else f"{entry.comparison} "
    if isinstance(entry, Derived):
        return f"{bound}{number(entry.paper_value)}"
    return f"{bound}{entry.paper_value:,.{max(entry.digits, 0)}f}"


def _interval(pair: tuple[float, float]) -> str:
    return f"{number(pair[0])} to {number(pair[1])}"
