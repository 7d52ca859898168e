"""The book's generated pages, in MyST: the scorecard, every claim with its rule, the scatter of the author's runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import nbformat

from ..analysis import audit, contributed
from ..analysis.conclusions import Conclusion
from ..analysis.lookup import concluded, record_lookup
from ..analysis.verdicts import Verdict, classify, effect_text, scorecard
from ..common.files import write_atomic
from ..common.text import NONE, capital, number, with_unit
from ..paper import claims
from ..paper.claims import Claim
from ..records.record import core_hours
from ..records.store import Store
from ..report.captions import level
from ..report.format import SHOWN, badge, halved, in_cell, markdown, marked, papers, row, with_commands
from . import notebooks

HEADER = ("§", "Claim", "Evidence", "Verdict", "Found", "Paper", "Seeds", "ImageNet")
KINDS = {
    "measured": "measured by a rule",
    "observed": "observed in runs, without a rule",
    "audited": "audited",
    "derived": "derived",
    "untested": "not testable here",
}
"""Kinds of evidence, as the scorecard counts them: each by itself."""

FINDINGS = ("relu_speed", "lrn", "two_gpu_error", "augmentation", "dropout_overfit")
"""The claims whose sentences stand on the home page and in the README: what a reader takes along who reads no more."""

INTRODUCTION = """\
What the paper says, how this replication tests it, and what came of it. A rule is completed and committed before the
first run that it judges; one that is still a draft says so, and judges nothing.
[](../verdicts.md) explains the terms. All of it is read from `data/claims.toml` and the records.
"""


def write(book: Path) -> None:
    """Write the generated pages of ``book`` from the claims and the records."""
    from ..analysis import gpu_hours  # they build on this module
    from . import elsewhere

    store = Store()
    find = record_lookup(store)
    every, verdicts, groups = claims.load(), scorecard(find), contributed.full_size(store)
    links, every_conclusion = pages(every), concluded(store, verdicts)
    parts = {
        "findings": findings(every_conclusion, links),
        "conclusions": conclusions(every_conclusion, links),
        "scorecard": table(verdicts, links, elsewhere.column(every, groups)),
        "claims": details(every, verdicts),
        "scatter": scatter(every),
        "sizes": f"{level(find)}\n{sizes(verdicts)}",
        "cost": cost(store),
        "full_size": elsewhere.full_size(groups),
        "contributed": elsewhere.contributed([g for g in contributed.groups(store) if not g.images]),
        "times": f"{gpu_hours.words()}\n\n{markdown(gpu_hours.table())}",
    }
    for name, text in parts.items():
        write_atomic(book / "_generated" / f"{name}.md", text)


def findings(every: Sequence[Conclusion], links: Mapping[str, str] | None = None) -> str:
    """The sentences of ``FINDINGS``, a line each, with links to their pages where these are given."""
    by_claim = {each.claim: each for each in every}
    lines = []
    for name in FINDINGS:
        title = by_claim[name].verdicts[0].title
        head = f"**{title}.**" if links is None else f"**[{title}]({links[name]}).**"
        lines.append(f"* {head} {by_claim[name].reading} *Conclusion: {by_claim[name].conclusion}.*\n")
    return "".join(lines)


def conclusions(every: Sequence[Conclusion], links: Mapping[str, str]) -> str:
    """Every claim in one row: what it says, what all evidence comes to, and the sentence that says so."""
    rows = [row(("§", "Claim", "Conclusion", "In a sentence")), row(["---"] * 4)]
    for each in every:
        first = each.verdicts[0]
        title = f"[{in_cell(first.title)}]({links[each.claim]})"
        rows.append(row([first.section, title, f"**{capital(each.conclusion)}**", in_cell(each.reading)]))
    return "\n".join(rows) + "\n"


def pages(every: Sequence[Claim]) -> dict[str, str]:
    """Claim -> page, relative to the book.

    A claim's page is the notebook of its name, or the one whose metadata lists it under ``claims``; a claim that
    has none yet leads to its entry on the page of all claims.
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
    """Every claim, "not run" or not, under counts by kind of evidence; numbers of one kind and verdict share a row.

    full_size: (claim, label) of a measured comparison -> what came of it at full size.
    """
    rows = [
        f"{len(links)} claims. {counts(verdicts)} Numbers of one kind and verdict share a row.",
        "",
        row(HEADER),
        row(["---"] * len(HEADER)),
    ]
    for claim, of_claim in groupby(verdicts, key=lambda verdict: verdict.claim):
        for position, (_, group) in enumerate(groupby(of_claim, key=_together)):
            rows.append(row(_cells(list(group), links[claim], position == 0, full_size or {})))
    return "\n".join(rows) + "\n"


def counts(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts of each name, a sentence per kind of evidence: audits never stand beside measurements."""
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
    """A section per claim: the paper's statement, the rule that was written down, and what came of it."""
    lines = ["# Every claim and its rule", "", INTRODUCTION]
    for claim in every:
        lines += [f"(claim-{claim.id})=", f"## {in_cell(claim.title)}", ""]
        lines += [f"{capital(claim.where)}; `{claim.id}`, version {claim.version}.", "", f"> {claim.statement}", ""]
        rules = {("measured", entry.label): (entry.setting, entry.rule) for entry in claim.measured}
        for verdict in (each for each in verdicts if each.claim == claim.id):
            setting, rule = rules.get((verdict.evidence, verdict.label), ("", ""))
            outcome = (
                f"{badge(verdict.verdict, short=True)}, {effect_text(verdict)}"
                if verdict.effect is not None
                else badge(verdict.verdict, short=True)
            )
            facts = {"Setting": setting, "Rule": rule, "Note": with_commands(verdict.note)}
            lines.append(f"{_kinds([verdict])}: {outcome}")
            lines += [f": *{name}:* {text}" for name, text in facts.items() if text]
            lines.append("")
    return "\n".join(lines) + "\n"


def scatter(every: Sequence[Claim]) -> str:
    """How far the author's runs of one architecture lie apart, and which logged effects stand clear of that."""
    runs, effects = audit.scatter(), audit.effects()
    titles = {claim.id: claim.title for claim in every}
    rows = [
        f"The author's log holds {runs.n} nets of one architecture that differ in little but the schedule of the "
        f"learning rate: their top-1 errors, over ten views, run from {runs.low:.2f} to {runs.high:.2f} %, with a "
        f"standard deviation of {runs.sd:.2f} points. Two single runs of one architecture would then differ by more "
        f"than {runs.clear_from:.2f} points once in twenty times. Of the {len(effects)} differences between two "
        f"single runs below, {int(effects['clear'].sum())} are larger than that.",
        "",
        row(("Claim", "Nets", "Error", "Points", "Clear from", "Stands clear")),
        row(["---"] * 6),
    ]
    for each in effects.to_dict("records"):
        title = titles[each["claim"]]
        error = each["column"].removesuffix("_error").replace("top", "top-")
        clear = "yes" if each["clear"] else "no"
        points = NONE if each["points"] is None else number(each["points"])
        rows.append(
            row(
                [in_cell(title), f"{each['net']} − {each['against']}", error, points, number(each["clear_from"]), clear]
            )
        )
    return "\n".join(rows) + "\n"


def sizes(verdicts: Sequence[Verdict]) -> str:
    """The verdicts whose size is half of the paper's points, at all of them."""
    halves = [v for v in verdicts if halved(v.unit, v.size, v.paper_value) and v.interval]
    others = []
    for each in halves:
        assert each.interval is not None
        assert each.paper_value is not None
        whole = classify(*each.interval, each.paper_value, 0.0)
        if whole != each.verdict:
            title = ", ".join(filter(None, [in_cell(each.title), in_cell(each.label)]))
            points = with_unit(number(each.paper_value), each.unit)
            others.append(f"* {title}: {badge(each.verdict)} would be {badge(whole)}, at {points}.")
    head = f"At the paper's whole points, {len(others)} of these {len(halves)} verdicts would be others"
    return "\n".join([f"{head}:\n", *others] if others else [f"{head}."]) + "\n"


def cost(store: Store) -> str:
    """What all published runs, pilots too, took."""
    records = list(store.published().values())
    took = f"{core_hours(records):.1f} core-hours of training"
    return f"The evidence so far is {len(records)} recorded runs, pilots included: {took}.\n"


def _cells(same: Sequence[Verdict], link: str, first: bool, full_size: Mapping[tuple[str, str], str]) -> list[str]:
    """One row of the scorecard; only a claim's first row repeats what holds for all of it."""
    verdict = same[0]
    section, title = (verdict.section, f"[{in_cell(verdict.title)}]({link})") if first else ("", "")
    paper = in_cell(verdict.paper) if first else papers(same)
    whole = full_size.get((verdict.claim, verdict.label), NONE) if verdict.evidence == "measured" else NONE
    ours = badge(verdict.verdict, short=True)
    return [section, title, _kinds(same), ours, _found(same), paper, _seeds(verdict), whole]


def _together(verdict: Verdict) -> tuple[str, str, bool]:
    """What rows that share one row of the scorecard have in common; measured comparisons share none."""
    return (
        verdict.evidence,
        verdict.label if verdict.evidence == "measured" else verdict.verdict,
        bool(verdict.effect),
    )


def _kinds(same: Sequence[Verdict]) -> str:
    labels = [in_cell(verdict.label) for verdict in same if verdict.label]
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


def _seeds(verdict: Verdict) -> str:
    return verdict.pairs_judged or NONE
