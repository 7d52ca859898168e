"""Run every benchmark that needs no GPU, in turn: what `make bench` calls.

    python benchmarks/run.py [--json PATH] [--publish] [NAME ...]

Each prints a table of its own. With --json, all results go into one file; with --publish, each into data/benchmarks/.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from alexnet_repro.common.files import write_atomic
from alexnet_repro.records import benchmarks

NAMES = [*benchmarks.TITLES, "parallel"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, help="also write all results here")
    parser.add_argument("--publish", action="store_true", help="write them to data/benchmarks/, which the book shows")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}: choose of {', '.join(NAMES)}")
    results, failed = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.names or NAMES:
            print(f"\n{benchmarks.TITLES.get(name, 'AlexNet on one device and on two')} ({name})", flush=True)
            result = Path(scratch) / f"{name}.json"
            command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), "--json", str(result)]
            if subprocess.run([*command, *(["--publish"] if arguments.publish else [])]).returncode:
                failed.append(name)
            else:
                results[name] = json.loads(result.read_text())
    if arguments.json:
        write_atomic(arguments.json, json.dumps(results, indent=1) + "\n")
    if failed:
        sys.exit(f"error: failed: {', '.join(failed)}; each can be run alone, as benchmarks/NAME.py")


if __name__ == "__main__":
    main()
