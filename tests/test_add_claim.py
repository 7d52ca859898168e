"""The five steps of book/how_made.md, followed to the letter in a copy of the repository."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_repro.experiments import registry
from alexnet_repro.paper import claims

from . import homes

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
PAGES = ("verdicts", "_generated/claims", "references")
RECORDS = """\
from alexnet_repro.experiments.config import DIGESTS
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store
from alexnet_repro.experiments.registry import study
from tests.runs import record
for config in Store().missing([config for _, config in study("momentum").runs()]):  # the baseline has been run
    epochs, size = config.budget.epochs, config.data.train_images
    error = (60 + config.seed) / 100  # far above the baseline's, and of a whole number of images
    curve = [
        Measurement(epoch=float(e), images=e * size, train_loss=2 + error, train_error=error)
        for e in range(1, epochs + 1)
    ]
    loss = curve[-1].train_loss
    metrics = {"epochs": float(epochs), "train_loss": loss, "train_error": error, "test_error": error}
    metrics |= {"clean_train_error": error, "gap": 0.0, "early_train_loss": loss, "ten_view_error": error}
    metrics |= dict.fromkeys(("knn_features", "knn_pixels", "color_gap", "color_gap_shuffled", "color_gap_p"), 0.5)
    rate = round(epochs * size / 100.0, 1)
    source = {"data": DIGESTS["cifar10"], "images_per_second": rate, "started": "2026-11-26T00:00:00+00:00"}
    Store().save(record(config, curve=curve, metrics=metrics, **source))
"""


def blocks(step: int) -> list[tuple[str, str]]:
    """(language, text) of the blocks of a step, as printed."""
    page = (ROOT / "book" / "how_made.md").read_text()
    text = re.split(r"^### \d\. .*$", page, flags=re.MULTILINE)[step]
    return [(language, code) for language, code in BLOCK.findall(text)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository without what a build or a run leaves behind, and with the one page that this is about."""
    left = shutil.ignore_patterns(
        ".*", "node_modules", "downloads", "store", "_build", "_generated", "pages", "__pycache__"
    )
    root = tmp_path / "copy"
    shutil.copytree(ROOT, root, ignore=left)
    for notebook in (root / "notebooks").glob("*.ipynb"):
        notebook.unlink()
    toc, index = root / "book" / "_toc.yml", root / "book" / "index.md"
    toc.write_text("format: jb-book\nroot: index\nchapters:\n" + "".join(f"      - file: {page}\n" for page in PAGES))
    index.write_text("# Toy\n\n```{include} _generated/scorecard.md\n```\n\n```{include} _generated/effects.md\n```\n")
    return root


def run(root: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root), "ALEXNET_REPRO_HOME": str(root)}
    environment.setdefault("ALEXNET_REPRO_DATA", str(ROOT / "data" / "downloads"))
    environment["ALEXNET_REPRO_STORE"] = str(root / "store")
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def alexnet(root: Path, line: str) -> str:
    program, *arguments = shlex.split(line, comments=True)
    assert program == "alexnet-repro"
    return run(root, sys.executable, "-m", "alexnet_repro", *arguments)


def test_the_printed_claim_and_study_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = homes.make(tmp_path / "home", monkeypatch)
    (_, printed), _ = blocks(1)
    table = home / "data" / "claims.toml"
    table.write_text(f"{table.read_text()}\n{printed}")
    added = claims.load()[-1]
    ((_, entry),) = blocks(2)
    ((name, (title, setting, arms, options)),) = eval(f"{{{entry}}}", dict(vars(registry))).items()
    made = registry._ablation(name, title, setting, arms, "cifar10", **options)
    assert {each.study for each in added.measured} == {added.id} == {name}
    assert {each.arm for each in added.measured} <= set(made.arms)


@pytest.mark.slow
def test_a_claim_is_added_in_five_steps(copy: Path) -> None:
    (language, claim), (_, command) = blocks(1)
    assert language == "toml"
    claims = copy / "data" / "claims.toml"
    claims.write_text(f"{claims.read_text()}\n{claim}")
    assert "new digests of claims.toml" in alexnet(copy, command.splitlines()[-1])

    ((language, entry),) = blocks(2)
    assert language == "python"
    registry = copy / "alexnet_repro" / "experiments" / "registry.py"
    head = re.search(r"^SMALL_ALEXNET.*\{\n", registry.read_text(), re.MULTILINE)
    assert head
    registry.write_text(registry.read_text().replace(head[0], head[0] + entry))

    ((language, commands),) = blocks(3)
    plan, rehearse, train, publish = (line for line in commands.splitlines() if not line.startswith("#"))
    assert "5 of 10 runs missing" in alexnet(copy, plan)
    assert "all 6 runs are in the store" in alexnet(copy, rehearse)
    assert train == "alexnet-repro run momentum"
    run(copy, sys.executable, "-c", RECORDS)  # hours of training, stood in for
    assert "5 runs published to data/evidence/momentum" in alexnet(copy, publish)

    ((language, commands),) = blocks(4)
    assert language == "bash"
    run(copy, "bash", "-ec", commands)

    (_, line), (_, command) = blocks(5)
    toc = copy / "book" / "_toc.yml"
    toc.write_text(toc.read_text().replace("chapters:\n", f"chapters:\n{line}"))
    alexnet(copy, command.splitlines()[-1])

    html = copy / "book" / "_build" / "html"
    page, home = (html / "pages" / "momentum.html").read_text(), (html / "index.html").read_text()
    assert "reproduced" in page
    assert "10 of 10 planned runs" in page
    assert 'href="pages/momentum.html"' in home
    assert "Stage one measured" in home
