"""The book built in a fresh clone, then again with nothing changed, and the start of the command line, in one run.

    python benchmarks/book.py [--repeats 5] [--json PATH] [--publish]

Beside the build: papermill over the notebooks one after another and jupyter-book on what that gives; beside the second
one: jupyter-book on what it has built. Beside the command line, which needs no torch to start: importing torch.
Needs git and CIFAR-10 in the data folder.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import finish, machine, options

from alexnet_repro.common import paths
from alexnet_repro.records.benchmarks import Row, row


def seconds(command: list[str], folder: Path | None = None) -> float:
    """How long a command takes; its output goes nowhere."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder or paths.repository()),
        "ALEXNET_REPRO_DATA": str(paths.downloads()),
    }
    start = time.perf_counter()
    subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def builds(clone: Path) -> list[Row]:
    """The build beside its parts, one after another."""
    subprocess.run(["git", "clone", "--quiet", str(paths.repository()), str(clone)], check=True)
    build = [sys.executable, "-m", "alexnet_repro", "book"]
    jupyter_book = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        "--config",  # the one that the build has written: the buttons of the one in the book need an address
        str(clone / "book" / "_build" / "_config.yml"),
        str(clone / "book"),
    ]
    cold, again = seconds(build, clone), seconds(build, clone)
    plain_again = seconds(jupyter_book, clone)
    plain = seconds([*jupyter_book, "--all"], clone)
    for notebook in sorted((clone / "notebooks").glob("*.ipynb")):
        output = clone / "book" / "pages" / notebook.name
        plain += seconds([sys.executable, "-m", "papermill", str(notebook), str(output)], clone)
    return [
        row("the book, from a fresh clone", "papermill and jupyter-book, one after another", "s", cold, plain),
        row("the book, with nothing changed", "jupyter-book again", "s", again, plain_again),
    ]


def start_up(repeats: int) -> Row:
    """The command line's help beside the import of torch."""
    commands = {"ours": ["-m", "alexnet_repro", "--help"], "torch": ["-c", "import torch"]}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, words in commands.items():
            taken[name].append(seconds([sys.executable, *words]))
    ours, torch = (statistics.median(taken[name]) for name in commands)
    return row("`alexnet-repro --help`", "import torch", "s", ours, torch)


def main() -> None:
    arguments = options(__doc__, repeats=5).parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as scratch:
        finish("book", arguments, about, [*builds(Path(scratch) / "clone"), start_up(arguments.repeats)])


if __name__ == "__main__":
    main()
