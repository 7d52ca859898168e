"""Format all verdicts for ``alexnet-repro verdict``: as text tables, or as a data frame with a row per comparison."""

import pandas as pd

from ..analysis.conclusions import Conclusion, comparison_text
from ..common.terminal import text_table
from .format import marked


def text(claims: list[Conclusion]) -> str:
    """Three text tables: the verdicts of stage one, the comparisons of stage two, and the conclusions."""
    verdicts = [each for claim in claims for each in claim.verdicts]
    comparisons = [each for claim in claims for each in claim.comparisons]
    one: dict[str, list[str]] = {
        "claim": [each.claim for each in verdicts],
        "section": [each.section for each in verdicts],
        "": [each.label for each in verdicts],
        "paper": [each.paper for each in verdicts],
        "evidence": [each.evidence for each in verdicts],
        "verdict": [each.verdict for each in verdicts],
        "found (95 % interval)": [marked(each) for each in verdicts],
        "seeds": [each.pairs_judged for each in verdicts],
    }
    two: dict[str, list[str]] = {
        "claim": [each.claim for each in comparisons],
        "scale": [each.scale for each in comparisons],
        "": [each.label or each.role for each in comparisons],
        "verdict": ["; ".join(filter(None, [each.verdict, each.remark])) for each in comparisons],
        "found (95 % interval)": [comparison_text(each) for each in comparisons],
        "seeds": [each.pairs_judged for each in comparisons],
    }
    last = {"claim": [each.claim for each in claims], "conclusion": [each.conclusion for each in claims]}
    mark = "\n† excludes zero, but would not once corrected for all comparisons (Holm)"
    parts = [
        ("Stage one", f"{text_table(one)}{mark if any(each.lost_after_holm for each in verdicts) else ''}"),
        ("Stage two", text_table(two)),
        ("Conclusions", text_table(last)),
    ]
    return "\n\n".join(f"{title}\n{text}" for title, text in parts)


def flat(claims: list[Conclusion]) -> pd.DataFrame:
    """A row per comparison of both stages; intervals as two columns, low and high, an infinite end empty."""
    rows = [claim.row() for claim in claims]
    shared = ("claim", "section", "title", "paper", "conclusion")
    table = pd.DataFrame(
        [comparison | {name: row[name] for name in shared} for row in rows for comparison in row["comparisons"]]
    )
    for name in ("interval", "bootstrap", "narrow"):
        ends = table.pop(name)
        for end, index in (("low", 0), ("high", 1)):
            table[f"{name}_{end}"] = [pair[index] if isinstance(pair, list) else None for pair in ends]
    return table.astype({"seeds": "Int64", "declared": "Int64", "seen": "Int64"})
