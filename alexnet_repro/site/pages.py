"""Generated parts of the book's own pages, in MyST: scorecard, conclusions, every claim with its rule, costs.

The pages of notebooks are executed by notebooks.py; results of other people's runs are in elsewhere.py.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import nbformat
import pandas as pd

from ..analysis import audit, contributed, gpu_hours, rules
from ..analysis.conclusions import Conclusion
from ..analysis.judge import formula
from ..analysis.lookup import concluded, record_lookup
from ..analysis.rules import SETTINGS, Rule
from ..analysis.verdicts import Verdict, classify, effect_text, scorecard
from ..common.files import write_atomic
from ..common.text import NONE, capital, number, with_unit
from ..paper import claims
from ..paper.claims import Claim
from ..records.record import core_hours
from ..records.store import Store
from ..report import author_log, cards
from ..report.captions import level
from ..report.format import SHOWN, badge, halved, markdown, marked, papers, with_commands
from . import elsewhere, notebooks

HEADER = ("§", "Claim", "Evidence", "Verdict", "Found", "Paper", "Seeds", "ImageNet")
KINDS = {
    "measured": "measured by a rule",
    "observed": "observed in runs, without a rule",
    "audited": "audited",
    "derived": "derived",
    "untested": "not testable here",
}
"""Kind of evidence -> its name where the scorecard counts verdicts; each kind is counted separately."""

INTRODUCTION = """\
What the paper says, how this replication tests it, and what came of it. A rule is completed and committed before the
first run that it judges; one that is still a draft says so, and judges nothing.
[](../verdicts.md) explains the terms. All of it is read from `data/claims.toml`, `data/rules_stage_2.toml` and the
records.
"""


def write(book: Path) -> None:
    """Write the generated pages of ``book`` from the claims and the records."""
    store = Store()
    find = record_lookup(store)
    every, verdicts, groups = claims.load(), scorecard(find), contributed.full_size(store)
    links, every_conclusion = pages(every), concluded(store, verdicts)
    parts = {
        "findings": findings(every_conclusion, links),
        "conclusions": conclusions(every_conclusion, links),
        "stage_two": stage_two(every_conclusion, links),
        "scorecard": table(verdicts, links, elsewhere.column(every, groups)),
        "claims": details(every, verdicts),
        "scatter": scatter(),
        "sizes": f"{level(find)}\n{sizes(verdicts)}",
        "cost": cost(store),
        "full_size": elsewhere.full_size(groups),
        "contributed": elsewhere.by_others([g for g in contributed.groups(store) if not g.images]),
        "small_times": f"{markdown(gpu_hours.small_table())}\n",
        "times": f"{gpu_hours.words()}\n\n{markdown(gpu_hours.table())}\n",
    }
    for name, text in parts.items():
        write_atomic(book / "_generated" / f"{name}.md", text)


def findings(every: Sequence[Conclusion], links: Mapping[str, str] | None = None) -> str:
    """A list of ``claims.FIRST`` with our conclusions; links: claim -> its page, as ``pages`` gives them."""
    by_claim = {each.claim: each for each in every}
    lines = []
    for name in claims.FIRST:
        found = by_claim[name]
        title = found.verdicts[0].title
        head = title if links is None else f"[{title}]({links[name]})"
        said = capital(f"{found.finding}.") if found.finding else found.reading
        lines.append(f"* **{head}:** *{found.in_full}.* {said}\n")
    return "".join(lines)


def conclusions(every: Sequence[Conclusion], links: Mapping[str, str]) -> str:
    """A table with a row per claim: section, title, conclusion, and the sentence that explains it."""
    rows = [
        {
            "§": each.verdicts[0].section,
            "Claim": f"[{each.verdicts[0].title}]({links[each.claim]})",
            "Conclusion": f"**{capital(each.in_full)}**",
            "In a sentence": each.reading,
        }
        for each in every
    ]
    return f"{markdown(pd.DataFrame(rows))}\n"


def stage_two(every: Sequence[Conclusion], links: Mapping[str, str]) -> str:
    """A table of all comparisons of stage two, for screens of any width: its cells need no head."""
    parts = []
    for each in every:
        if each.comparisons:
            rows = cards.comparison_rows(each).drop(columns=["threshold", "on the paper's side"])
            rows["pairs"] += " pairs"
            rows.insert(0, "Claim", f"[{each.verdicts[0].title}]({links[each.claim]})")
            parts.append(rows)
    return f"{markdown(pd.concat(parts).rename(columns=capital))}\n"


def pages(every: Sequence[Claim]) -> dict[str, str]:
    """Claim -> its page, as a path relative to the book's folder.

    A claim's page is the notebook of its name, or the one whose metadata lists it under ``claims``. A claim without
    a notebook gets the link to its section on the page "Every claim and its rule".
    """
    found = {claim.id: f"#claim-{claim.id}" for claim in every}
    for name in notebooks.names():
        metadata = nbformat.read(notebooks.path(name), as_version=4).metadata
        for claim in metadata.get("claims", [name]):
            if claim in found:
                found[claim] = f"pages/{name}.ipynb"
    return found


def table(
    verdicts: Sequence[Verdict], links: Mapping[str, str], full_size: Mapping[tuple[str, str], str] | None = None
) -> str:
    """The scorecard: counts by kind of evidence, then a table of all claims, also of those not run yet.

    Numbers of one kind of evidence and one verdict share a row. full_size: (claim, label) of a measured comparison ->
    its cell in the column ImageNet.
    """
    rows = [
        _cells(list(group), links[claim], position == 0, full_size or {})
        for claim, of_claim in groupby(verdicts, key=lambda verdict: verdict.claim)
        for position, (_, group) in enumerate(groupby(of_claim, key=_row_key))
    ]
    head = f"{len(links)} claims. {counts(verdicts)} Numbers of one kind and verdict share a row."
    return f"{head}\n\n{markdown(pd.DataFrame(rows, columns=HEADER))}\n"


def counts(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts there are of each name: a sentence per kind of evidence, so that kinds are never added up."""
    sentences = []
    for kind, words in KINDS.items():
        names = Counter(each.verdict for each in verdicts if each.evidence == kind)
        if not names:
            continue
        told = ", ".join(f"{count} {badge(name, short=True)}" for name, count in names.most_common())
        one_name = kind in ("observed", "untested") and len(names) == 1
        sentences.append(f"{capital(words)}: {names.total() if one_name else told}.")
    return " ".join(sentences)


def details(every: Sequence[Claim], verdicts: Sequence[Verdict]) -> str:
    """The page "Every claim and its rule": a section per claim with the paper's statement, rules and verdicts."""
    lines = ["# Every claim and its rule", "", INTRODUCTION]
    for claim in every:
        lines += [f"(claim-{claim.id})=", f"## {claim.title}", ""]
        lines += [f"{capital(claim.where)}; `{claim.id}`, version {claim.version}.", "", f"> {claim.statement}", ""]
        stage_one = {("measured", entry.label): (entry.setting, entry.rule) for entry in claim.measured}
        for verdict in (each for each in verdicts if each.claim == claim.id):
            setting, rule = stage_one.get((verdict.evidence, verdict.label), ("", ""))
            outcome = badge(verdict.verdict, short=True)
            outcome += "" if verdict.effect is None else f", {effect_text(verdict)}"
            facts = {"Setting": setting, "Rule": rule, "Note": with_commands(verdict.note)}
            lines.append(f"{_kinds([verdict])}: {outcome}")
            lines += [f": *{name}:* {text}" for name, text in facts.items() if text]
            lines.append("")
        lines += [line for each in rules.load() if each.claim == claim.id for line in _stage_two_rule(each)]
    return "\n".join(lines) + "\n"


def _stage_two_rule(rule: Rule) -> list[str]:
    """A rule of stage two as an entry of the page "Every claim and its rule"."""
    pairs = ", ".join(f"{count} ({SETTINGS[name].title})" for name, count in rule.seeds.items())
    seen = ", ".join(f"{count} ({SETTINGS[name].title})" for name, count in rule.seen.items())
    return [
        f"stage two, {': '.join(filter(None, [rule.role, rule.label]))}: `{formula(rule)}`, by `{rule.metric}`",
        f": *Threshold:* {with_unit(number(rule.threshold), rule.unit)} on either side. {rule.why}",
        f": *Pairs:* {pairs}." + (f" Published before the rule was written: {seen}." if seen else ""),
        "",
    ]


def scatter() -> str:
    """The standard deviation of the author's runs of one architecture, and a table of his log's effects beside it."""
    runs, effects = audit.scatter(), audit.effects()
    head = (
        f"The author's log holds {runs.n} nets of one architecture that differ in little but the schedule of the "
        f"learning rate: their top-1 errors, over ten views, run from {runs.low:.2f} to {runs.high:.2f} %, with a "
        f"standard deviation of {runs.sd:.2f} points. Two single runs of one architecture would then differ by more "
        f"than {runs.clear_from:.2f} points once in twenty times. Of the {len(effects)} differences between two "
        f"single runs below, {int(effects['clear'].sum())} are larger than that."
    )
    table = author_log.effects_table().drop(columns="paper")
    rows = table.rename(columns={"effect": "claim", "log (points)": "points"}).rename(columns=capital)
    return f"{head}\n\n{markdown(rows)}\n"


def sizes(verdicts: Sequence[Verdict]) -> str:
    """Which verdicts would change if their threshold were the paper's whole difference instead of half of it."""
    halves = [v for v in verdicts if halved(v.unit, v.size, v.paper_value) and v.interval]
    others = []
    for each in halves:
        assert each.interval is not None
        assert each.paper_value is not None
        whole = classify(*each.interval, each.paper_value, 0.0)
        if whole != each.verdict:
            title = ", ".join(filter(None, [each.title, each.label]))
            points = with_unit(number(each.paper_value), each.unit)
            others.append(f"* {title}: {badge(each.verdict)} would be {badge(whole)}, at {points}.")
    head = (
        f"{len(halves)} verdicts of stage one use half of the paper's points. With the whole number, {len(others)} of "
        "them would change"
    )
    return "\n".join([f"{head}:\n", *others] if others else [f"{head}."]) + "\n"


def cost(store: Store) -> str:
    """How many runs are published, pilots included, and their core-hours."""
    records = list(store.published().values())
    took = f"{core_hours(records):.1f} core-hours of training"
    return f"The evidence so far is {len(records)} recorded runs, pilots included: {took}.\n"


def _cells(same: Sequence[Verdict], link: str, first: bool, full_size: Mapping[tuple[str, str], str]) -> list[str]:
    """The cells of one row of the scorecard; section, title and the paper's text are in a claim's first row only."""
    verdict = same[0]
    section, title = (verdict.section, f"[{verdict.title}]({link})") if first else ("", "")
    paper = verdict.paper if first else papers(same)
    whole = full_size.get((verdict.claim, verdict.label), NONE) if verdict.evidence == "measured" else NONE
    ours, seeds = badge(verdict.verdict, short=True), verdict.pairs_judged or NONE
    return [section, title, _kinds(same), ours, _found(same), paper, seeds, whole]


def _row_key(verdict: Verdict) -> tuple[str, str, bool]:
    """The key by which verdicts share a row of the scorecard; each measured comparison has its own row."""
    return (
        verdict.evidence,
        verdict.label if verdict.evidence == "measured" else verdict.verdict,
        verdict.effect is not None,
    )


def _kinds(same: Sequence[Verdict]) -> str:
    labels = [verdict.label for verdict in same if verdict.label]
    if len(same) > SHOWN:
        return f"{same[0].evidence}, {len(same)} numbers"
    return f"{same[0].evidence}, {'; '.join(labels)}" if labels else same[0].evidence


def _found(same: Sequence[Verdict]) -> str:
    if len(same) == 1:
        return marked(same[0])
    if len(same) > SHOWN or any(verdict.effect is None for verdict in same):
        return NONE
    if len({verdict.unit for verdict in same}) > 1:
        return " / ".join(map(effect_text, same))
    return with_unit(" / ".join(number(verdict.effect or 0.0) for verdict in same), same[0].unit)
