"""What the README says was found, in six lines and a picture: written from the records, checked by a test."""

import re
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from . import audit, effects, paths
from .effects import LOOKS, Look
from .figures import canvas, close, svg
from .files import write_atomic
from .runs import finder
from .scorecard import number
from .store import Store
from .verdicts import Verdict, scorecard, with_unit

PICTURE = Path(".github", "scorecard.svg")
BLOCK = re.compile(r"(<!-- found: written by make readme -->\n).*?(<!-- end -->)", re.DOTALL)
NAMED = 3
"""So many claims of one verdict are named in a line."""

COLUMNS = {"measured": 0.7, "observed": 2.3, "audited": 3.8, "derived": 5.1, "untested": 6.5}
"""Where the marks of each kind of evidence stand."""
OTHER_LOOKS = {
    "agrees": Look("#009e73", "o"),
    "disagrees": Look("#d55e00", "X"),
    "not in the log": Look("#b87300", "s"),
    "not run": Look("#999999", ".", "none"),
    "no rule": Look("#0072b2", "D", "none"),
    "not testable here": Look("#999999", "x"),
}


def write() -> None:
    """Bring the README's lines and its picture up to date with what is published."""
    readme = paths.repository() / "README.md"
    with tempfile.TemporaryDirectory() as nothing:  # for a working store: it is this machine's alone
        verdicts = scorecard(finder(Store(Path(nothing))))
    text = readme.read_text(encoding="utf-8")
    write_atomic(readme, BLOCK.sub(lambda block: block[1] + findings(verdicts) + block[2], text))
    drawing = picture(verdicts)
    write_atomic(paths.repository() / PICTURE, svg(drawing, summary(verdicts)))
    close(drawing)


def findings(verdicts: Sequence[Verdict]) -> str:
    """Six lines, in Markdown."""
    measured = [each for each in verdicts if each.evidence == "measured"]
    judged, drawn = effects.run(verdicts), effects.shown(verdicts)
    counts = ", ".join(f"{count} {name}" for name in LOOKS if (count := sum(each.verdict == name for each in judged)))
    reproduced = [each for each in drawn if each.verdict == "reproduced"]
    contradicted, nothing = (
        [each for each in reversed(drawn) if each.verdict == name] for name in ("contradicted", "no effect found")
    )
    few = sum(each.provisional for each in judged)
    waiting = f", {few} of them fewer than declared" if few else ""
    audited, derived = ([each for each in verdicts if each.evidence == kind] for kind in ("audited", "derived"))
    printed = [each for each in audited if each.beside == "log" and each.paper_value is not None]
    results, sourced = ([each for each in audited if each.beside == kind] for kind in ("results", "source"))
    observed, untested = (sum(each.evidence == kind for each in verdicts) for kind in ("observed", "untested"))
    logged = audit.effects()
    lines = [
        f"**Measured**: {len(judged)} of {len(measured)} comparisons have runs{waiting}: {counts or 'no verdict yet'}.",
        f"**Reproduced**, largest first, in units of the size that each rule names: {_named(reproduced)}.",
        f"**Contradicted**: {_named(contradicted)}; **no effect found**: {_named(nothing)}.",
        f"**Audited**: {_agreeing(printed)} of {len(printed)} comparisons find the paper's number in the author's "
        f"log; of its {len(logged)} differences between two single runs, top-1 and top-5, "
        f"{int(logged['clear'].sum())} exceed what two runs of one network differ by. {_agreeing(results)} of "
        f"{len(results)} agree with what others published; in {_agreeing(sourced)} of {len(sourced)} points the source "
        "of 2012 does what the paper says.",
        f"**Derived**: {_agreeing(derived)} of {len(derived)} numbers follow from the paper's own description; "
        f"not: {_named([each for each in derived if not each.verdict.endswith(': agrees')])}.",
        f"**Not judged**: {observed} effects in runs made before the question was asked, shown without a rule; "
        f"{untested} parts of claims that cannot be tested here, with the reason.",
    ]
    return "".join(f"* {line}\n" for line in lines)


def picture(verdicts: Sequence[Verdict]) -> Figure:
    """The scorecard at a glance: a line per claim, in two columns, a mark per kind of evidence and verdict."""
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
    """What the picture shows, in words: it goes into the file, and a test compares."""
    return "; ".join(f"{each.claim} {each.label}: {each.verdict}".replace(" :", ":") for each in verdicts)


def _agreeing(verdicts: Sequence[Verdict]) -> int:
    return sum(each.verdict.endswith(": agrees") for each in verdicts)


def _named(verdicts: Sequence[Verdict]) -> str:
    """The first few, with their effects; how many more."""
    named = []
    for each in verdicts[:NAMED]:
        effect = "" if each.effect is None else with_unit(number(each.effect), each.unit)
        stands = ["provisional" if each.provisional else "", "not after correction" if each.alone else ""]
        facts = "; ".join(filter(None, [each.label, effect, *stands]))
        named.append(f"{each.title} ({facts})" if facts else each.title)
    more = [f"{len(verdicts) - NAMED} more"] if len(verdicts) > NAMED else []
    return ", ".join(named + more) or "none"
