"""Write the README's findings and its picture from the published records; the rest of the README is written by hand."""

import re
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from ..analysis.conclusions import Conclusion
from ..analysis.lookup import concluded
from ..analysis.verdicts import Verdict
from ..common import paths
from ..common.files import write_atomic
from ..records.store import Store
from ..report import effects
from ..report.effects import LOOKS, Look
from ..report.figures import canvas, svg
from . import pages

PICTURE = Path(".github", "scorecard.svg")
BLOCK = re.compile(r"(<!-- found: written by make readme -->\n).*?(<!-- end -->)", re.DOTALL)

COLUMNS = {"measured": 0.7, "observed": 2.3, "audited": 3.8, "derived": 5.1, "untested": 6.5}
"""Kind of evidence -> x of its markers."""
OTHER_LOOKS = {
    "agrees": Look("#009e73", "o"),
    "disagrees": Look("#d55e00", "X"),
    "not in the log": Look("#b87300", "s"),
    "not run": Look("#999999", ".", "none"),
    "no rule": Look("#0072b2", "D", "none"),
    "not testable here": Look("#999999", "x"),
}


def write() -> None:
    """Update the findings in README.md and the picture, from the published records alone."""
    readme = paths.repository() / "README.md"
    with tempfile.TemporaryDirectory() as nothing:  # for a working store: it is this machine's alone
        claims = concluded(Store(Path(nothing)))
    verdicts = [verdict for each in claims for verdict in each.verdicts]
    text = readme.read_text(encoding="utf-8")
    write_atomic(readme, BLOCK.sub(lambda block: block[1] + findings(claims) + block[2], text))
    write_atomic(paths.repository() / PICTURE, svg(picture(verdicts), summary(verdicts)))


def findings(claims: Sequence[Conclusion]) -> str:
    """The findings in Markdown: a sentence on each of five claims, then counts per kind of evidence."""
    verdicts = [verdict for each in claims for verdict in each.verdicts]
    measured = [each for each in verdicts if each.evidence == "measured"]
    judged = effects.run(verdicts)
    audited, derived = ([each for each in verdicts if each.evidence == kind] for kind in ("audited", "derived"))
    printed = [each for each in audited if each.beside == "log" and each.paper_value is not None]
    results, sourced = ([each for each in audited if each.beside == kind] for kind in ("results", "source"))
    untested = sum(each.evidence == "untested" for each in verdicts)
    rows = {
        "comparisons that were measured": (len(judged), len(measured)),
        "printed numbers that the author's log has, too": (_agreeing(printed), len(printed)),
        "printed numbers that others published, too": (_agreeing(results), len(results)),
        "points in which the 2012 source does what the paper says": (_agreeing(sourced), len(sourced)),
        "numbers that follow from the paper's own description": (_agreeing(derived), len(derived)),
    }
    counts = "\n".join(f"| {what} | {count} of {whole} |" for what, (count, whole) in rows.items())
    return pages.findings(claims) + (
        "\n*Stage one* was the first round of runs, most of them 24 epochs of a small network on CIFAR-10; *so far* "
        f"means that some runs of a comparison are missing.\n\n| all {len(claims)} claims | |\n|---|---|\n{counts}\n"
        f"| parts of claims that cannot be tested here | {untested} |\n"
    )


def picture(verdicts: Sequence[Verdict]) -> Figure:
    """The scorecard as a figure: a line per claim, in two columns, with a marker per kind of evidence and verdict."""
    claims = [list(group) for _, group in groupby(verdicts, key=lambda each: each.claim)]
    half = (len(claims) + 1) // 2
    figure, panels = canvas(width=16.5, height=1.1 + 0.29 * half, columns=2)
    used: dict[str, Look] = {}
    for axes, column in zip(panels, (claims[:half], claims[half:]), strict=True):
        axes.set_axis_off()
        axes.set(xlim=(0, 17), ylim=(half - 0.4, -1.4))
        for kind, x in COLUMNS.items():
            axes.text(x, -0.9, kind, ha="center", fontsize=8, color="0.35")
        for row, claim in enumerate(column):
            for kind, x in COLUMNS.items():
                names = list(dict.fromkeys(each.verdict for each in claim if each.evidence == kind))
                for position, name in enumerate(names):
                    last = name.split(": ")[-1]
                    look = used.setdefault(last, (LOOKS | OTHER_LOOKS)[last])
                    offset = 0.32 * (position - (len(names) - 1) / 2)
                    axes.plot(x + offset, row, look.marker, color=look.color, fillstyle=look.fill, markersize=6)
            axes.text(7.1, row, f"§ {claim[0].section}  {claim[0].title}", va="center", fontsize=9, in_layout=False)
    for last, look in used.items():
        panels[0].plot([], [], look.marker, color=look.color, fillstyle=look.fill, label=last)
    figure.legend(loc="outside lower center", ncols=(len(used) + 1) // 2, frameon=False, fontsize=9, handletextpad=0.2)
    return figure


def summary(verdicts: Sequence[Verdict]) -> str:
    """All verdicts as text: the picture's description in its metadata, by which a test sees if it is up to date."""
    return "; ".join(f"{each.claim} {each.label}: {each.verdict}".replace(" :", ":") for each in verdicts)


def _agreeing(verdicts: Sequence[Verdict]) -> int:
    return sum(each.verdict.endswith(": agrees") for each in verdicts)
