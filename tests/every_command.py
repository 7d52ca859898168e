"""Each command of ``alexnet-repro`` once, with real output, in a checkout of its own: ``FOLDER as-is`` or ``FOLDER
closed``, where nobody reads.

Prints a JSON line for each: its words, its exit code, the bytes that it wrote to stdout, as Latin-1, and the traceback
of what ended it otherwise.
"""

import json
import os
import shutil
import sys
import traceback
from itertools import product
from pathlib import Path

import pytest

from alexnet_repro import __main__
from alexnet_repro.experiments import registry
from alexnet_repro.experiments.registry import study
from alexnet_repro.experiments.study import Study
from alexnet_repro.records.store import Store
from alexnet_repro.site import build, pdf
from alexnet_repro.training.data import cifar10
from alexnet_repro.training.launch import reproduce

from . import homes, pictures
from .runs import record, tiny

SPHINX = """
import pathlib, sys
sys.stdout.buffer.write("building \\u00d7".encode())
for builder in ("html", "singlehtml"):
    page = pathlib.Path(sys.argv[-1], "_build", builder, "index.html")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.touch()
"""
TINY = Study("tiny", "Tiny × 1", tiny(**{"budget.epochs": 1}), {"×": {}}, (0,))
BROWSER = """#!/bin/sh
for word; do case "$word" in --print-to-pdf=*) echo "– printed ×" | tee "${word#*=}";; esac; done
"""
README = "# Toy\n<!-- found: written by make readme -->\n<!-- end -->\n"


def commands(folder: Path) -> list[list[str]]:
    """One way to call every command; each finds what those before it left."""
    return [
        ["data", "imagenet", "--from", f"{folder}/images", "--workers", "1"],
        ["plan", "tiny"],
        ["run", "tiny", "--workers", "1"],
        ["rerun", "tiny", "--arm", "×", "--seed", "0"],
        ["reproduce", "two_gpu_error", "--seeds", "3"],
        ["verdict"],
        ["publish", "relu_speed", "--to", f"{folder}/mine"],
        ["contribute", f"{folder}/mine/relu_speed", "--source", "jane"],
        ["sums"],
        ["verify"],
        ["notebook", "toy", "--output", f"{folder}/toy.ipynb"],
        ["book"],
        ["pdf"],
        ["readme"],
        ["doctor"],
    ]


def prepare(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """What the commands find: a small checkout with what the locale can't say in it, and stand-ins for slow programs.

    Sphinx and Chromium are replaced by what leaves their files; both write them in UTF-8 whatever the locale.
    """
    home = homes.make(folder / "home", patch)
    homes.write_notebook(home, "print('6 × –')")
    (home / "README.md").write_text(README, encoding="utf-8")
    (home / ".github").mkdir()
    pictures.tree(folder / "images", train=1, val=1)
    shutil.copytree(homes.ROOT / "data" / "cifar10_sample", home / "data" / "cifar10_sample")
    patch.setitem(registry.STUDIES, "tiny", lambda scale: TINY)
    patch.setattr(cifar10, "cifar10", lambda fetch=True: None)
    Store().save(record(study("relu_speed").config("relu", 0)))
    for arm, seed in product(("half", "baseline"), range(3)):
        reproduce.stores("cpu")[0].save(record(study("two_gpu_error").config(arm, seed)))
    browser = folder / "browser"
    browser.write_text(BROWSER, encoding="utf-8")
    browser.chmod(0o755)
    patch.setattr(pdf, "BROWSERS", [str(browser)])
    patch.setattr(build, "BUILDER", SPHINX)


def call(words: list[str], closed: bool, out: Path) -> dict[str, object]:
    """What comes of one command, whose stdout is a file, or a pipe that nobody reads."""
    into = os.open(out, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    if closed:
        (end, into) = os.pipe()
        os.close(end)
    os.dup2(into, 1)
    os.close(into)
    old = sys.stdout
    sys.stdout = open(1, "w", encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
    sys.argv = ["alexnet-repro", *words]
    code, failure = 0, ""
    try:
        __main__.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        failure = traceback.format_exc()
    sys.stdout.flush()  # as Python does at its end
    return {"words": words, "code": code, "failure": failure, "out": out.read_bytes().decode("latin-1")}


def main() -> None:
    folder, closed = Path(sys.argv[1]), sys.argv[2] == "closed"
    report = os.dup(1)
    with pytest.MonkeyPatch.context() as patch:
        prepare(folder, patch)
        for words in commands(folder):
            os.write(report, (json.dumps(call(words, closed, folder / "out")) + "\n").encode())


if __name__ == "__main__":
    main()
