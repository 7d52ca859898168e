"""Notebooks: parameters checked before anything runs, execution whole or not at all, stored without outputs."""

import re
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import papermill
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import cifar_alexnet, registry, step_timing
from alexnet_repro.experiments.config import DeviceConfig, RunConfig
from alexnet_repro.paper.claims import load
from alexnet_repro.records.store import Store
from alexnet_repro.site import notebooks
from alexnet_repro.training import trainer
from alexnet_repro.training.data.load import LOADERS
from alexnet_repro.training.launch import local

from . import homes, legible
from .runs import few_test_images

STORED = sorted((homes.ROOT / "notebooks").glob("*.ipynb"))


def outputs(path: Path) -> list[dict]:
    cells = nbformat.read(path, as_version=4).cells
    return [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]


def test_parameters_have_types_defaults_and_help(home: Path) -> None:
    homes.write_notebook(home)
    found = notebooks.parameters("toy")
    assert list(found) == ["scale", "count", "rate", "loud"]
    assert found["count"] == notebooks.Parameter("count", "int", "2", "how many")


def test_values_become_the_declared_types(home: Path) -> None:
    homes.write_notebook(home)
    given = {"scale": "7", "count": "7", "rate": "1e-3", "loud": "true"}
    assert notebooks.parse("toy", given) == {"scale": "7", "count": 7, "rate": 1e-3, "loud": True}


def test_unknown_parameter_lists_the_valid_ones(home: Path, tmp_path: Path) -> None:
    homes.write_notebook(home)
    with pytest.raises(UserError, match=r"'scael': choose one of count, loud, rate, scale") as caught:
        notebooks.execute("toy", tmp_path / "out.ipynb", {"scael": "smoke"})
    assert caught.value.code == 2
    assert not (tmp_path / "out.ipynb").exists()


def test_what_cannot_run_is_said_before_it_runs(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "_executed", lambda *_: pytest.fail("it ran"))
    with pytest.raises(UserError, match="unknown scale 'cifar11': choose one of"):
        notebooks._check({"scale": "cifar11"})
    with pytest.raises(UserError, match="'gpu'"):
        notebooks._check({"device": "gpu"})
    homes.write_notebook(home)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"out\.ipynb"):
        notebooks.execute("toy", tmp_path / "file" / "out.ipynb")


@pytest.mark.parametrize(("name", "value"), [("count", "2.5"), ("count", "many"), ("rate", "fast"), ("loud", "2")])
def test_value_of_another_type_is_named(home: Path, name: str, value: str) -> None:
    homes.write_notebook(home)
    with pytest.raises(UserError, match=f"parameter {name}='{value}' is no"):
        notebooks.parse("toy", {name: value})


def test_unknown_notebook_lists_the_valid_ones(home: Path) -> None:
    homes.write_notebook(home)
    with pytest.raises(UserError, match=r"unknown notebook 'tyo': choose one of toy"):
        notebooks.parameters("tyo")


def test_damaged_notebook_is_named(home: Path) -> None:
    (home / "notebooks" / "toy.ipynb").write_text("{}")
    with pytest.raises(UserError, match=r"toy\.ipynb is no notebook"):
        notebooks.parameters("toy")


def test_execution_sees_the_values_and_keeps_what_a_page_shows(home: Path, tmp_path: Path) -> None:
    noise = "import sys; print('a warning', file=sys.stderr)"
    homes.write_notebook(home, noise, "print(scale, count * 2)", "object()")
    out = tmp_path / "deep" / "out.ipynb"
    notebooks.execute("toy", out, {"count": "21"})
    text, thing = outputs(out)
    assert text["text"] == "smoke 42\n"
    assert thing["data"]["text/plain"] == "<object>"
    injected = [
        c for c in nbformat.read(out, as_version=4).cells if "injected-parameters" in c.metadata.get("tags", [])
    ]
    assert ["remove-input" in cell.metadata.tags for cell in injected] == [True]


def test_finding_becomes_the_beginning_of_the_caption(home: Path, tmp_path: Path) -> None:
    said = "from IPython.display import Markdown\nMarkdown('Found 2.', metadata={'caption': True})"
    homes.write_notebook(home, said, "from IPython.display import Markdown\nMarkdown('')")
    path = home / "notebooks" / "toy.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].metadata["mystnb"] = {"figure": {"name": "fig", "caption": "How to read it."}}
    nbformat.write(notebook, path)
    notebooks.execute("toy", tmp_path / "out.ipynb")
    assert outputs(tmp_path / "out.ipynb") == []  # of an empty display, nothing is left either
    cell = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[2]
    assert cell.metadata.mystnb.figure.caption == "**Found 2.** How to read it."


def test_finding_goes_on_with_the_title(home: Path, tmp_path: Path) -> None:
    said = "from IPython.display import Markdown\nMarkdown('it is 2', metadata={'title': True})"
    homes.write_notebook(home, said)
    path = home / "notebooks" / "toy.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# Toy\n\nA title # in the text."))
    nbformat.write(notebook, path)
    notebooks.execute("toy", tmp_path / "out.ipynb")
    assert outputs(tmp_path / "out.ipynb") == []
    first = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0]
    assert first.source == "# Toy: it is 2\n\nA title # in the text."


def test_two_executions_write_the_same_bytes(home: Path, tmp_path: Path) -> None:
    homes.write_notebook(home, "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)):\n    print(_)", "lambda: 0")
    for name in ("one", "two"):
        notebooks.execute("toy", tmp_path / name, {"count": "3"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_failing_notebook_leaves_nothing(home: Path, tmp_path: Path) -> None:
    homes.write_notebook(home, "print('so far')", "1 / 0")
    with pytest.raises(UserError, match=r"notebook toy failed in cell \[3\] with ZeroDivisionError") as caught:
        notebooks.execute("toy", tmp_path / "out.ipynb")
    assert caught.value.code == 1
    assert list(tmp_path.glob("*.ipynb")) == []


def test_failing_notebook_leaves_the_page_before_it(home: Path, tmp_path: Path) -> None:
    (tmp_path / "out.ipynb").write_text("before")
    homes.write_notebook(home, "1 / 0")
    with pytest.raises(UserError):
        notebooks.execute("toy", tmp_path / "out.ipynb")
    assert (tmp_path / "out.ipynb").read_text() == "before"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("study('nosuch')", "unknown study 'nosuch': choose one of"),
        ("study('velocity', 'tiny-imagenet')", "study 'velocity' has no runs at the scale tiny-imagenet: it has"),
    ],
)
def test_users_error_inside_a_notebook_stays_one_line(home: Path, tmp_path: Path, call: str, said: str) -> None:
    homes.write_notebook(home, f"from alexnet_repro.experiments.registry import study\n{call}")
    with pytest.raises(UserError, match=f"^notebook toy: {said}"):
        notebooks.execute("toy", tmp_path / "out.ipynb")


def test_dead_kernel_is_said(home: Path, tmp_path: Path) -> None:
    homes.write_notebook(home, "import os; os._exit(9)")
    with pytest.raises(UserError, match="lost its kernel"):
        notebooks.execute("toy", tmp_path / "out.ipynb")


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_figures_have_captions_with_findings_and_alternative_texts(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if "mystnb" in cell.metadata:
            assert cell.metadata.mystnb.figure.caption
            assert cell.metadata.mystnb.image.alt
            assert not cell.source.rstrip().endswith(";"), "the last line gives the finding"


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_parameters_say_what_they_are(path: Path) -> None:
    found = notebooks.parameters(path.stem)
    assert all(each.help and each.type != "None" for each in found.values())


def tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


@pytest.mark.parametrize("path", [*STORED, homes.ROOT / "book" / "template.ipynb"], ids=lambda path: path.stem)
def test_code_is_in_sight_or_left_out_never_closed(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert set().union(*map(tags, cells)) <= {"parameters", "remove-input"}


def judged_by_runs(path: Path) -> list[str]:
    """The claims of a notebook that a study's runs judge by a rule."""
    names = nbformat.read(path, as_version=4).metadata.get("claims", [path.stem])
    entries = {each.id: [entry for entry in each.measured if entry.study not in step_timing.STUDIES] for each in load()}
    return [name for name in names if entries.get(name)]


CLAIM_PAGES = [path for path in STORED if judged_by_runs(path)]


def test_every_claim_that_runs_judge_has_a_page() -> None:
    paged = {name for path in CLAIM_PAGES for name in judged_by_runs(path)}
    judged = {each.id for each in load() if any(entry.study not in step_timing.STUDIES for entry in each.measured)}
    assert paged == judged


@pytest.mark.parametrize("path", CLAIM_PAGES, ids=lambda path: path.stem)
def test_a_claims_page_computes_each_verdict_anew_in_sight(path: Path) -> None:
    """Besides ``judge`` the cell has an assert, or calls a function of the page that has one."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    shown = [cell.source for cell in cells if "remove-input" not in tags(cell)]
    checks = ("assert np.array_equal", "check(")
    anew = [text for text in shown if "judge(" in text and "load_runs(" in text and any(c in text for c in checks)]
    assert anew
    assert any("assert np.array_equal" in text for text in anew)
    named = {name for text in anew for name in judged_by_runs(path) if f'"{name}"' in text}
    assert named == set(judged_by_runs(path))
    assert any("study(" in text and "arms" in text for text in shown)


@pytest.mark.parametrize("path", CLAIM_PAGES, ids=lambda path: path.stem)
def test_a_claims_page_has_the_parts_of_the_plan(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    parts = ["The technique", "The experiment", "The result", "What explains it", "What others found", "Caveats"]
    parts += ["Try it", "Rules and provenance", "Rerun it"]
    assert [head for head in heads if head in parts] == parts
    plumbing = "\n".join(cell.source for cell in cells if "remove-input" in tags(cell))
    for call in ("page.title(", "page.box(", "page.rules("):
        assert call in plumbing
    exercises = re.split(r"^## ", text.partition("## Try it")[2], flags=re.MULTILINE)[0]
    assert 2 <= len(re.findall(r"^\d\. ", exercises, re.MULTILINE)) <= 3
    assert "alexnet-repro " in exercises


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_at_most_five_caveats(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    caveats = re.split(r"^## ", text.partition("## Caveats\n")[2], flags=re.MULTILINE)[0]
    assert len(re.findall(r"^\* ", caveats, re.MULTILINE)) <= 5


COMMAND = re.compile(r"^alexnet-repro notebook (\w+)([^#\n]*)", re.MULTILINE)
PAGES = [*STORED, *sorted((homes.ROOT / "book").glob("*.md")), homes.ROOT / "README.md"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_printed_commands_name_parameters_as_the_command_takes_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
    for name, rest in COMMAND.findall(text):
        words = rest.split()
        assert set(words[::2]) <= {"-p"}, rest
        given = dict(word.split("=") for word in words[1::2])
        assert set(notebooks.parse(name, given)) == set(given)


PAPERMILL = re.compile(r"papermill notebooks/(\w+)\.ipynb \S+ ([^`#\n]*)")


def test_printed_commands_of_papermill_are_papermills() -> None:
    found = [match for path in PAGES for match in PAPERMILL.findall(path.read_text(encoding="utf-8"))]
    assert len(found) >= 3
    for name, rest in found:
        flags, names, values = (rest.split()[i::3] for i in range(3))
        assert set(flags) == {"-p"}
        assert len(names) == len(values)
        given = dict(zip(names, values, strict=True))
        assert set(notebooks.parse(name, given)) == set(given)


@pytest.fixture(scope="module")
def smoke_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for every page: the runs that they share are trained once."""
    return tmp_path_factory.mktemp("smoke") / "store"


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is trained, in this process, on as many images as one step takes, and tested on 100."""
    for smoke in (cifar_alexnet.SMOKE, registry.SMOKE):
        monkeypatch.setitem(smoke, "data.train_images", 128)
    few = few_test_images()

    def train_here(configs: list[RunConfig], store: Store, **_: object) -> None:
        for config in store.missing(configs):
            store.save(trainer.train(config, DeviceConfig(), weights_path=store.weights(config.key)))

    monkeypatch.setitem(LOADERS, "sample", lambda: few)
    monkeypatch.setattr(local, "launch", train_here)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_cells_run_on_few_images(
    path: Path, few_images: None, smoke_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, as a kernel would: what each cell gives is shown, and its figures are drawn."""
    monkeypatch.setenv("ALEXNET_REPRO_STORE", str(smoke_store))
    shell, drawn = InteractiveShell(), 0
    with plt.rc_context(), torch.set_grad_enabled(True):  # a page may change both
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                done = shell.run_cell(cell.source)
                done.raise_error()
                shell.display_formatter.format(done.result)
                if "parameters" in cell.metadata.get("tags", []):
                    shell.push({"scale": "smoke", "epochs": 2})
                for number in plt.get_fignums():
                    plt.figure(number).savefig(BytesIO())
                    assert legible.smallest(plt.figure(number)) >= legible.LEAST, cell.source
                    drawn += 1
                plt.close("all")
    assert drawn or "scale" not in notebooks.parameters(path.stem)


QUICK = ("benchmarks",)  # and this alone: the others train, or draw a lot


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.slow, id=path.stem) for path in STORED],
)
def test_runs_bare_at_smoke_scale(
    path: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By papermill alone, from its own folder (the build runs it from the root), and nothing is downloaded."""
    monkeypatch.setenv("ALEXNET_REPRO_STORE", str(tmp_path_factory.getbasetemp() / "whole_smoke"))
    monkeypatch.setenv("ALEXNET_REPRO_DATA", str(tmp_path / "no-downloads"))
    smoke = {"scale": "smoke"} if "scale" in notebooks.parameters(path.stem) else {}
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(str(path), str(out), smoke, cwd=str(path.parent), progress_bar=False)
    if smoke:
        assert any("image/png" in output.get("data", {}) for output in outputs(out))
