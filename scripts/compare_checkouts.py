"""Whether two checkouts give the same numbers: published keys, verdicts, runs bit for bit, every table of the book.

    python scripts/compare_checkouts.py BEFORE AFTER [--book]

Both run in this interpreter, on this machine, through the command line alone, so that their layouts may differ. BEFORE
and AFTER are folders. --book builds both books, too (minutes). Exit code 0: nothing differs; 1: a line per difference.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

REHEARSALS = ("relu_speed", "relu_speed_modern", "lrn_cifar", "ablations", "dropout_convergence")
"""Studies that between them train every kind of network and option; at smoke scale they take minutes."""


def command(checkout: Path, store: Path, *words: str) -> str:
    """What ``alexnet-repro words`` prints, run from a checkout."""
    env = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "ALEXNET_REPRO_HOME": str(checkout),
        "ALEXNET_REPRO_STORE": str(store),
    }
    done = subprocess.run(
        [sys.executable, "-m", "alexnet_repro", *words],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: 'alexnet-repro {' '.join(words)}' failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def numbers(checkout: Path, scratch: Path, book: bool) -> Mapping[str, object]:
    """Everything that is compared, by name."""
    store = scratch / "store"
    found: dict[str, object] = {}
    for table in sorted((checkout / "data" / "evidence").glob("*/runs.csv")):
        found[f"published keys of {table.parent.name}"] = sorted(pd.read_csv(table, usecols=["key"])["key"])
    found["verify"] = command(checkout, scratch / "none", "verify")
    for verdict in json.loads(command(checkout, scratch / "none", "verdict", "--format", "json")):
        found[f"verdict on {verdict.get('id', verdict.get('claim'))}"] = verdict
    for study in REHEARSALS:
        command(checkout, store, "run", study, "--scale", "smoke")
    for path in sorted((store / "runs").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        where = record["provenance"]
        found[f"run {path.stem}"] = {name: record[name] for name in ("config", "status", "curve", "metrics")} | {
            "weights": where["weights"]
        }
    if book:
        command(checkout, scratch / "none", "book")
        found |= dict(tables(checkout / "book" / "_build" / "html"))
    return found


def tables(site: Path) -> Iterator[tuple[str, object]]:
    """Every table of the book, by its contents: pages and their order may change, a table may not."""
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        for found in re.findall(r"<table.*?</table>", text, re.DOTALL):
            rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in found.split("</tr>")]
            cells = [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in row] for row in rows]
            yield f"table of {page.relative_to(site)}: {cells}", True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--book", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        before, after = (
            numbers(getattr(options, side).resolve(), Path(scratch) / side, options.book)
            for side in ("before", "after")
        )
    different = [name for name in before if name in after and before[name] != after[name]]
    lines = [f"differs: {name}" for name in different]
    lines += [f"only before: {name}" for name in before if name not in after]
    lines += [f"only after: {name}" for name in after if name not in before]
    print("\n".join(lines) if lines else f"nothing differs: {len(before)} keys, verdicts, runs and tables compared")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
