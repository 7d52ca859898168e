"""The recipes of CONTRIBUTING.md, followed in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from alexnet_repro.report import captions, figures

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(recipe: str) -> list[str]:
    """The texts of the blocks of a recipe, as printed."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## Add {recipe}$(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^\d\. ", section, re.MULTILINE)) <= 5
    return [textwrap.dedent(code) for _, _, code in BLOCK.findall(section)]


def change(path: Path, diff: str) -> None:
    """Insert the lines that begin with "+", each after the line printed above it."""
    text, above = path.read_text(encoding="utf-8"), ""
    for line in diff.splitlines():
        if line.startswith("+"):
            assert text.count(f"\n{above}\n") == 1, above
            text = text.replace(f"\n{above}\n", f"\n{above}\n{line[1:]}\n")
        above = line[1:]
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package, its data and the book's sources, without what a build or a run leaves behind."""
    left = shutil.ignore_patterns("downloads", "store", "_build", "_generated", "_vendor", "pages", "__pycache__")
    for name in ("alexnet_repro", "data", "book", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left)
    return tmp_path


def python(root: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root), "ALEXNET_REPRO_HOME": str(root)}
    environment["ALEXNET_REPRO_STORE"] = str(root / "store")
    done = subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_an_arm_is_added(copy):
    name, study, commands = blocks("an arm")
    module = copy / "alexnet_repro" / "experiments" / "cifar_alexnet.py"
    change(module, name)
    change(module, study)
    plan = python(copy, "-m", "alexnet_repro", *commands.splitlines()[0].split()[1:])
    assert "5 of 10 runs missing" in plan  # the baseline's are published


def test_a_figure_is_added():
    function, sentence = blocks("a figure")
    runs = pd.DataFrame({"arm": ["baseline", "baseline", "no_lrn"], "test_error": [0.39, 0.41, 0.44]})
    drawn, said = dict(vars(figures)), {**vars(captions), "pd": pd}
    exec(function, drawn)
    exec(sentence, said)
    figure = drawn["final_errors"](runs)
    assert isinstance(figure, Figure)
    assert said["final_errors"](runs).data == "baseline has the lowest test error on average, 40 %."


def test_a_data_set_is_added(copy):
    module, loader, name = blocks("a data set")
    folder = copy / "alexnet_repro" / "training" / "data"
    (folder / "toy.py").write_text(module, encoding="utf-8")
    change(folder / "load.py", loader)
    change(copy / "alexnet_repro" / "experiments" / "config.py", name)
    code = """
        from alexnet_repro.experiments.cifar_alexnet import BASELINE, SMOKE
        from alexnet_repro.experiments.config import DeviceConfig
        from alexnet_repro.training.trainer import train
        config = BASELINE.changed(**SMOKE | {"data.dataset": "toy", "data.train_images": 256, "budget.epochs": 1})
        record = train(config, DeviceConfig())
        print(record.config.data.dataset, record.status, record.provenance.data)
    """
    assert python(copy, "-c", textwrap.dedent(code)).split() == ["toy", "finished", "toy"]


def test_a_page_is_added(copy):
    copying, line, commands = blocks("a page")
    subprocess.run(copying, shell=True, cwd=copy, check=True)
    change(copy / "book" / "_toc.yml", line)
    assert "pages/velocity" in (copy / "book" / "_toc.yml").read_text()
    cells = json.loads((copy / "notebooks" / "velocity.ipynb").read_text())["cells"]
    assert cells
    assert commands.splitlines()[0] == "alexnet-repro notebook velocity"
