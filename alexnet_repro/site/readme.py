"""Write the README's findings and its picture from the published records; the rest of the README is written by hand."""

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..analysis.conclusions import Conclusion
from ..analysis.lookup import concluded
from ..analysis.verdicts import Verdict
from ..common import paths
from ..common.files import write_atomic
from ..records.store import Store
from ..report import scales
from ..report.figures import svg
from . import pages

PICTURE = Path(".github", "claims.svg")
BLOCK = re.compile(r"(<!-- found: written by make readme -->\n).*?(<!-- end -->)", re.DOTALL)


def write() -> None:
    """Update the findings in README.md and, if there are effects to draw, the picture, from the published records."""
    readme = paths.repository() / "README.md"
    with tempfile.TemporaryDirectory() as nothing:  # for a working store: it is this machine's alone
        claims = concluded(Store(Path(nothing)))
    text = readme.read_text(encoding="utf-8")
    write_atomic(readme, BLOCK.sub(lambda block: block[1] + findings(claims) + block[2], text))
    if drawn := scales.shown(claims):
        write_atomic(paths.repository() / PICTURE, svg(scales.figure(drawn), described(drawn)))


def findings(claims: Sequence[Conclusion]) -> str:
    """The findings in Markdown: a sentence on each of five claims, then counts per kind of evidence."""
    verdicts = [verdict for each in claims for verdict in each.verdicts]
    measured: Counter[str] = Counter(each.verdict for each in verdicts if each.evidence == "measured")
    primary: Counter[str] = Counter(
        other.verdict for each in claims for other in each.comparisons if other.role == "primary"
    )
    audited, derived = ([each for each in verdicts if each.evidence == kind] for kind in ("audited", "derived"))
    printed = [each for each in audited if each.beside == "log" and each.paper_value is not None]
    results, sourced = ([each for each in audited if each.beside == kind] for kind in ("results", "source"))
    untested = sum(each.evidence == "untested" for each in verdicts)
    rows = {
        "comparisons of a printed number with the author's log that agree": (_agreeing(printed), len(printed)),
        "comparisons with numbers that others published that agree": (_agreeing(results), len(results)),
        "points in which the 2012 source does what the paper says": (_agreeing(sourced), len(sourced)),
        "numbers of the paper that its own description gives or allows": (_agreeing(derived), len(derived)),
    }
    counts = "\n".join(f"| {what} | {count} of {whole} |" for what, (count, whole) in rows.items())
    return pages.findings(claims) + (
        f"\n| all {len(claims)} claims | |\n|---|---|\n| verdicts of stage one | {_counted(measured)} |\n"
        f"| main verdicts of stage two | {_counted(primary)} |\n{counts}\n"
        f"| parts of claims that cannot be tested here | {untested} |\n"
    )


def described(drawn: Mapping[str, Sequence[scales.Mark]]) -> str:
    """All marks of the picture as text: its description in the metadata, by which a test sees if it is up to date."""
    return "; ".join(
        f"{title}: " + ", ".join(f"{each.source} {each.effect:.2f} ({each.low:.2f} to {each.high:.2f})" for each in row)
        for title, row in drawn.items()
    )


def _counted(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items(), key=lambda each: -each[1]))


def _agreeing(verdicts: Sequence[Verdict]) -> int:
    return sum(each.verdict.endswith(": agrees") for each in verdicts)
