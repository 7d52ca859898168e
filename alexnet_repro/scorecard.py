"""The book's generated pages, in MyST: the scorecard, every claim with its rule, the scatter of the author's runs."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean

import nbformat
import pandas as pd

from . import audit, claims, contributions, notebooks
from .claims import Claim
from .conclusions import Conclusion
from .files import write_atomic
from .records import core_hours
from .runs import concluded, finder
from .store import Store
from .verdicts import Find, Verdict, counted, named, scorecard, with_unit

HEADER = ("§", "Claim", "Evidence", "Verdict", "Found", "Paper", "Seeds", "ImageNet")
NONE = "–"
KINDS = {
    "measured": "measured by a rule",
    "observed": "observed in runs, without a rule",
    "audited": "audited",
    "derived": "derived",
    "untested": "not testable here",
}
"""Kinds of evidence, as the scorecard counts them: each by itself."""
SHOWN = 4
"""So many numbers of one verdict share a row of the scorecard; of more, it gives the count."""

FINDINGS = ("relu_speed", "lrn", "two_gpu_error", "augmentation", "dropout_overfit")
"""The claims whose sentences stand on the home page and in the README: what a reader takes along who reads no more."""

INTRODUCTION = """\
What the paper says, how this replication tests it, and what came of it. A rule is completed and committed before the
first run that it judges; one that is still a draft says so, and judges nothing.
[](../verdicts.md) explains the terms. All of it is read from `data/claims.toml` and the records.
"""


def write(book: Path) -> None:
    """Write the generated pages of ``book`` from the claims and the records."""
    from . import elsewhere, estimates  # they build on this module

    store = Store()
    find = finder(store)
    every, verdicts, groups = claims.load(), scorecard(find), contributions.full_size(store)
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
        "contributed": elsewhere.contributed([g for g in contributions.groups(store) if not g.images]),
        "times": f"{estimates.words()}\n\n{markdown(estimates.table())}",
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
        title = f"[{_plain(first.title)}]({links[each.claim]})"
        rows.append(row([first.section, title, f"**{capital(each.conclusion)}**", _plain(each.reading)]))
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
        lines += [f"(claim-{claim.id})=", f"## {_plain(claim.title)}", ""]
        lines += [f"{capital(claim.where)}; `{claim.id}`, version {claim.version}.", "", f"> {claim.statement}", ""]
        rules = {("measured", entry.label): (entry.setting, entry.rule) for entry in claim.measured}
        for verdict in (each for each in verdicts if each.claim == claim.id):
            setting, rule = rules.get((verdict.evidence, verdict.label), ("", ""))
            outcome = (
                f"{badge(verdict.verdict, short=True)}, {found(verdict)}"
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
            row([_plain(title), f"{each['net']} − {each['against']}", error, points, number(each["clear_from"]), clear])
        )
    return "\n".join(rows) + "\n"


def level(find: Find) -> str:
    """How often the net of the ablations errs, beside the paper's 37.5 % (section 6, table 1)."""
    errors = [counted(record, "test_error") for record in find("ablations", "baseline").values()]
    ours = (
        f"{100 * fmean(errors):.1f} % of its test images (mean of {len(errors)} seeds)" if errors else "no number yet"
    )
    return f"The net of the ablations errs on {ours}; the paper's on 37.5 % of its own.\n"


def halved(unit: str, size: float | None, paper_value: float | None) -> bool:
    """Whether the smallest effect that a rule names is half of the paper's points."""
    return unit == "points" and size is not None and paper_value == 2 * size


def sizes(verdicts: Sequence[Verdict]) -> str:
    """The verdicts whose size is half of the paper's points, at all of them."""
    halves = [v for v in verdicts if halved(v.unit, v.size, v.paper_value) and v.interval]
    others = []
    for each in halves:
        assert each.interval is not None
        assert each.paper_value is not None
        whole = named(*each.interval, each.paper_value, 0.0)
        if whole != each.verdict:
            title = ", ".join(filter(None, [_plain(each.title), _plain(each.label)]))
            points = with_unit(number(each.paper_value), each.unit)
            others.append(f"* {title}: {badge(each.verdict)} would be {badge(whole)}, at {points}.")
    head = f"At the paper's whole points, {len(others)} of these {len(halves)} verdicts would be others"
    return "\n".join([f"{head}:\n", *others] if others else [f"{head}."]) + "\n"


def cost(store: Store) -> str:
    """What all published runs, pilots too, took."""
    records = list(store.published().values())
    took = f"{core_hours(records):.1f} core-hours of training"
    return f"The evidence so far is {len(records)} recorded runs, pilots included: {took}.\n"


def badge(name: str, short: bool = False) -> str:
    """A verdict's name with a class that the style sheet colours; ``short``: without the kind of evidence."""
    last = name.split(": ")[-1]
    return f"[{last if short else name}]{{.verdict .{last.replace(' ', '-')}}}"


def found(verdict: Verdict) -> str:
    """The effect with its unit and interval: "1.52× (1.40 to 1.66)"; a dash where there is none."""
    return with_interval(verdict.effect, verdict.interval, verdict.unit)


def with_interval(effect: float | None, interval: tuple[float, float] | None, unit: str) -> str:
    """The same of an effect and the ends of its interval, which may be open."""
    if effect is None:
        return NONE
    text = with_unit(number(effect), unit)
    if interval is None:
        return text
    low, high = interval
    if math.isinf(low) and math.isinf(high):
        return text
    if math.isinf(high):
        return f"{text} (above {number(low)})"
    return f"{text} (below {number(high)})" if math.isinf(low) else f"{text} ({number(low)} to {number(high)})"


def marked(verdict: Verdict) -> str:
    """The same with a † where a correction for all comparisons would leave no effect."""
    return f"{found(verdict)} †" if verdict.alone else found(verdict)


def number(value: float) -> str:
    """Two decimals, of less than that one digit; counts without, in groups of three digits."""
    text = f"{value:,.0f}" if value == round(value) else f"{value:,.2f}" if abs(value) >= 0.005 else f"{value:.1g}"
    return text.replace("-", "−")


def capital(text: str) -> str:
    """The text with a capital first letter, all else as it is."""
    return text[:1].upper() + text[1:]


def _cells(same: Sequence[Verdict], link: str, first: bool, full_size: Mapping[tuple[str, str], str]) -> list[str]:
    """One row of the scorecard; only a claim's first row repeats what holds for all of it."""
    verdict = same[0]
    section, title = (verdict.section, f"[{_plain(verdict.title)}]({link})") if first else ("", "")
    paper = _plain(verdict.paper) if first else papers(same)
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
    labels = [_plain(verdict.label) for verdict in same if verdict.label]
    if len(same) > SHOWN:
        return f"{same[0].evidence}, {len(same)} numbers"
    return f"{same[0].evidence}, {'; '.join(labels)}" if labels else same[0].evidence


def papers(same: Sequence[Verdict]) -> str:
    """The paper's values for these comparisons, errors with the decimal that it prints; a dash without any."""
    if same[0].paper_value is None:
        return NONE
    values = [verdict.paper_value for verdict in same if verdict.paper_value is not None]
    if len(values) < len(same) or len(same) > SHOWN or len({verdict.unit for verdict in same}) > 1:
        return _plain(same[0].paper)
    digits = max(int(same[0].unit == "%"), *(len(f"{value:g}".partition(".")[2]) for value in values))
    return with_unit(" / ".join(f"{value:,.{digits}f}".replace("-", "−") for value in values), same[0].unit)


def _found(same: Sequence[Verdict]) -> str:
    if len(same) == 1:
        return marked(same[0])
    if len(same) > SHOWN or any(verdict.effect is None for verdict in same):
        return NONE
    if len({verdict.unit for verdict in same}) > 1:
        return " / ".join(map(found, same))
    return with_unit(" / ".join(number(verdict.effect or 0.0) for verdict in same), same[0].unit)


def _seeds(verdict: Verdict) -> str:
    return verdict.counted or NONE


def markdown(frame: pd.DataFrame) -> str:
    """A table of words in Markdown."""
    head = [str(name) for name in frame.columns]
    lines = [row(head), row(["---"] * len(head)), *map(row, frame.to_numpy().tolist())]
    return "\n".join(lines) + "\n"


def with_commands(note: str) -> str:
    """A verdict's note in Markdown: a command keeps its double dashes, an address becomes a link."""
    linked = re.sub(r"https?://[^\s;]+", r"<\g<0>>", note)
    return re.sub(r"'((?:alexnet-repro|python) [^']*)'", r"`\1`", linked)


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return "| " + " | ".join(cells) + " |"
