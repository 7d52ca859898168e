"""The directions of imports: the reader needs no torch, the lab may read the reader, never the reverse."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "alexnet_repro"
READER = sorted(PACKAGE.glob("*.py"))
LAB = sorted((PACKAGE / "lab").glob("*.py"))
HEAVY = {"torch", "torchvision", "safetensors", "distributed", "dask"}

# From the bottom up: what a record is, what claims say, how they are judged, what is shown.
CHAIN = ("errors", "config", "records", "store", "studies", "query", "runs", "notebooks", "scorecard", "site", "cli")


def imports(path: Path, top_only: bool) -> set[str]:
    """Modules that a file imports, relative ones as ".name", ".lab.name" from the package's root."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for part in tree.body for node in _statements(part)] if top_only else list(ast.walk(tree))
    inside = "lab." if path.parent.name == "lab" else ""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "" if node.level == 0 else "." + (inside if node.level == 1 else "")
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {f"{base}{name}" for name in names if name}
    return found


def _statements(node: ast.AST) -> list[ast.AST]:
    """The statements that run when the module is imported: those of functions do not."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return []
    return [node, *(each for child in ast.iter_child_nodes(node) for each in _statements(child))]


@pytest.mark.parametrize("path", READER, ids=lambda path: path.stem)
def test_reader_opens_the_lab_and_torch_only_inside_functions(path: Path) -> None:
    found = imports(path, top_only=True)
    assert not {name for name in found if name.startswith(".lab") or name.split(".")[0] in HEAVY}


@pytest.mark.parametrize("path", LAB, ids=lambda path: path.stem)
def test_lab_reads_no_page_makers(path: Path) -> None:
    shown = {".cli", ".site", ".scorecard", ".notebooks", ".report", ".figures", ".verdicts"}
    assert not imports(path, top_only=False) & shown


def test_package_imports_itself_one_way() -> None:
    graph = {
        (".lab." if path in LAB else ".") + path.stem: {n for n in imports(path, top_only=True) if n.startswith(".")}
        for path in [*READER, *LAB]
    }

    def reach(name: str, trail: tuple[str, ...] = ()) -> None:
        assert name not in trail, f"a circle of imports: {' -> '.join([*trail, name])}"
        for other in graph.get(name, set()):
            reach(other, (*trail, name))

    for name in graph:
        reach(name)


def test_layers_stand_in_the_order_of_the_flow() -> None:
    position = {name: i for i, name in enumerate(CHAIN)}
    for path in READER:
        if path.stem not in position:
            continue
        above = {name for name in CHAIN if position[name] > position[path.stem]}
        assert not {n.lstrip(".") for n in imports(path, top_only=True) if n.startswith(".")} & above, path.stem


def test_chain_names_modules() -> None:
    assert all((PACKAGE / f"{name}.py").is_file() for name in CHAIN)


def test_importing_the_reader_imports_no_torch() -> None:
    modules = [f"alexnet_repro.{path.stem}" for path in READER if not path.stem.startswith("__")]
    code = f"import importlib, sys; [importlib.import_module(m) for m in {modules}]; "
    code += f"heavy = sorted({HEAVY - {'dask'}!r} & set(sys.modules)); assert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
