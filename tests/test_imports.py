"""The plan of the package, as alexnet_repro/README.md draws it: imports point down; only training/ has torch."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "alexnet_repro"
FILES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
FOLDERS = re.findall(r"^    (\w+(?:/\w+)?)/ ", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.M)
"""From the top down: each imports from those below it alone."""
HEAVY = {"torch", "torchvision", "safetensors", "distributed", "dask"}
WITHOUT_TORCH = [name for name in FILES if not name.startswith("training.") and not name.endswith("__")]
WITHOUT_TORCH += ["training.launch.runs", "training.launch.rerun"]  # they import what trains when it is needed


def statements(node: ast.AST, top_only: bool) -> Iterator[ast.AST]:
    """The nodes below; with ``top_only`` those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        if top_only and (typing or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            continue
        yield child
        yield from statements(child, top_only)


def imports(name: str, top_only: bool = False) -> set[str]:
    """What a file imports: modules of the package below it ("common.errors"), others by their first name (":torch")."""
    found = set()
    for node in statements(ast.parse(FILES[name].read_text(encoding="utf-8")), top_only):
        if isinstance(node, ast.Import):
            found |= {f":{alias.name.split('.')[0]}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(f":{(node.module or '').split('.')[0]}")
        elif isinstance(node, ast.ImportFrom):
            base = [*name.split(".")[: -node.level], *(node.module or "").split(".")]
            base = [part for part in base if part]
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                found.add(whole if whole in FILES else ".".join(base))
    return found


def folder(name: str) -> str:
    """The folder that a module is in, "training/data" for "training.data.cifar10"; of the top-level files "" ."""
    return "/".join(name.split(".")[:-1])


def test_the_drawing_names_every_folder():
    assert sorted(FOLDERS) == sorted({folder(name) for name in FILES} - {""})
    assert len([path for path in PACKAGE.iterdir() if path.name != "__pycache__"]) <= 12


@pytest.mark.parametrize("name", [name for name in FILES if folder(name)])
def test_imports_point_down_the_list_of_folders(name):
    mine = FOLDERS.index(folder(name))
    inside = {each for each in imports(name) if not each.startswith(":")}
    up = {each for each in inside if folder(each) != folder(name) and FOLDERS.index(folder(each)) <= mine}
    assert not up


def test_no_file_imports_one_that_imports_it():
    graph = {name: {each for each in imports(name) if each in FILES} for name in FILES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a circle of imports: {' -> '.join([*trail, name])}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_only_training_imports_torch_when_it_is_imported(name):
    assert not {f":{each}" for each in HEAVY} & imports(name, top_only=True)


def test_importing_all_that_has_no_torch_imports_none():
    modules = [f"alexnet_repro.{name.removesuffix('.__init__')}" for name in WITHOUT_TORCH]
    code = f"import importlib, sys; [importlib.import_module(m) for m in {modules}]; "
    code += f"heavy = sorted({HEAVY - {'dask'}!r} & set(sys.modules)); assert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_pages_import_ipython():
    beside = [path.stem for path in (PACKAGE.parent / "benchmarks").glob("*.py")]
    modules = [name for name in FILES if not name.startswith(("report.", "site.")) and not name.endswith("__")]
    modules = [*(f"alexnet_repro.{name}" for name in modules), "alexnet_repro.__main__", *beside]
    code = f"import importlib, sys; sys.path.append('benchmarks'); [importlib.import_module(m) for m in {modules}]; "
    code += "assert 'IPython' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
