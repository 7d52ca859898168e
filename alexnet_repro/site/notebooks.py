"""Run a notebook with papermill, its parameters checked first. The book is built from the results by build.py."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from ..common import paths
from ..common.errors import NoRuns, UserError, one_of
from ..common.files import atomic, is_hidden
from ..common.machine import check_device
from ..experiments.study import SCALES
from ..report.format import CAPTION, TITLE

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
MARKDOWN = "text/markdown"
WIDGET = "application/vnd.jupyter.widget-view+json"
LARGEST = 2.0**53
"""Largest absolute value of a number that is given to a notebook."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook: a line ``name: type = default  # help`` of its cell tagged ``parameters``."""

    name: str
    type: str
    default: str
    help: str


def folder() -> Path:
    """The folder of the notebooks."""
    return paths.repository() / "notebooks"


def names() -> list[str]:
    """The names of all notebooks, sorted."""
    return sorted(path.stem for path in folder().glob("*.ipynb") if not is_hidden(path.name))


def path(name: str) -> Path:
    """The path of a notebook. Raises UserError, with the valid names, for an unknown one."""
    if name not in names():
        raise one_of("notebook", name, names())
    return folder() / f"{name}.ipynb"


def parameters(name: str) -> dict[str, Parameter]:
    """The parameters of a notebook by name. Raises UserError for an unknown or damaged notebook."""
    import papermill

    source = path(name)
    try:
        found = papermill.inspect_notebook(str(source))
    except Exception as error:  # papermill and nbformat raise nearly anything for a damaged file
        raise UserError(f"{source} is no notebook ({error}): restore it with 'git checkout {source}'", 1) from error
    return {
        key: Parameter(key, each["inferred_type_name"], each["default"], each["help"]) for key, each in found.items()
    }


def parse(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Convert ``values`` to the types that the notebook declares.

    Raises UserError for an unknown parameter, with the valid names, and for a value of another type.
    """
    known = parameters(name)
    for key in values:
        if not known:
            raise UserError(f"notebook {name} has no parameters: leave out {key}")
        if key not in known:
            raise one_of(f"parameter of notebook {name}", key, list(known))
    return {key: _value(known[key], value) for key, value in values.items()}


def execute(name: str, output: Path, values: Mapping[str, str] | None = None) -> None:
    """Execute a notebook with this Python interpreter and write it with its outputs to ``output``, atomically.

    Left out is what would differ between two executions, such as times, and progress bars and stderr.
    Raises UserError for a bad parameter, before anything runs, and for a notebook that fails.
    """
    given = parse(name, values or {})
    _check(given)
    if output.is_dir():
        raise UserError(f"{output} is a folder: name the file that the executed notebook goes into")
    with atomic(output) as file:  # made before the execution, which may take hours: a place may not be writable
        notebook = _executed(name, given)
        _clean(notebook)
        file.write((nbformat.writes(notebook) + "\n").encode())


def _check(values: Mapping[str, Any]) -> None:
    """Raises UserError for a scale or device that no notebook takes."""
    if values.get("scale", SCALES[0]) not in SCALES:
        raise one_of("scale", values["scale"], list(SCALES))
    check_device(values.get("device", "cpu"))


def _executed(name: str, given: Mapping[str, Any]) -> nbformat.NotebookNode:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        notebook = papermill.execute_notebook(
            str(path(name)),
            None,
            parameters=given,
            kernel_name=KERNEL["name"],
            language=KERNEL["language"],
            cwd=str(paths.repository()),
            progress_bar=sys.stderr.isatty(),
            kernel_manager_class=_native_kernel(),
            extra_arguments=["--log-level=CRITICAL"],  # what it logs below is for servers
            coalesce_streams=True,
        )
    except PapermillExecutionError as error:
        if error.ename in (UserError.__name__, NoRuns.__name__):
            raise UserError(f"notebook {name}: {error.evalue}", 1) from error
        raise UserError(
            f"notebook {name} failed in cell [{error.exec_count}] with {error.ename}: {error.evalue}; "
            "open it in JupyterLab to see where",
            1,
        ) from error
    except (OSError, RuntimeError) as error:  # the kernel died, or never started
        raise UserError(f"notebook {name} lost its kernel ({error}): free some memory and run it again", 1) from error
    if notebook.metadata.papermill.exception:
        raise UserError(f"notebook {name} failed: open it in JupyterLab to see where", 1)
    return notebook


def _value(parameter: Parameter, text: str) -> Any:
    types: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": _bool}
    if parameter.type not in types:
        raise UserError(
            f"parameter {parameter.name!r} has the type {parameter.type!r}: declare it as {', '.join(types)}", 1
        )
    try:
        text.encode()  # what a shell gave that is no UTF-8 can't be written into a notebook
        value = types[parameter.type](text)
        if isinstance(value, int | float) and not abs(value) <= LARGEST:
            raise ValueError
        return value
    except ValueError:
        raise UserError(
            f"parameter {parameter.name}={text!r} is no {parameter.type}: give one like {parameter.default}"
        ) from None


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _native_kernel() -> type:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class Native(AsyncKernelManager):
        """The kernel of this interpreter, even if another one is installed as "python3"."""

        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)

    return Native


def _clean(notebook: nbformat.NotebookNode) -> None:
    """Remove metadata and outputs that differ from run to run; set captions and title from the outputs."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "remove-input"]
        if cell.cell_type == "code":
            _make_caption(cell)
            _make_title(notebook.cells[0], cell)
            cell["outputs"] = [output for output in cell.outputs if not _volatile(output)]
            for output in cell.outputs:
                plain = output.get("data", {}).get("text/plain")
                if plain is not None:
                    output.data["text/plain"] = ADDRESS.sub("", plain)


def _make_caption(cell: nbformat.NotebookNode) -> None:
    """Move a cell's computed caption into its metadata, before the text there on how to read the figure."""
    findings = [output for output in cell.outputs if output.get("metadata", {}).get(MARKDOWN, {}).get(CAPTION)]
    for output in findings:
        figure = cell.metadata["mystnb"]["figure"]
        figure["caption"] = f"**{output.data[MARKDOWN]}** {figure.get('caption', '')}".strip()
        cell.outputs.remove(output)


def _make_title(first: nbformat.NotebookNode, cell: nbformat.NotebookNode) -> None:
    """Move a computed finding to the end of the title, the first line of the ``first`` cell."""
    for output in [each for each in cell.outputs if each.get("metadata", {}).get(MARKDOWN, {}).get(TITLE)]:
        title, *rest = first.source.split("\n")
        first.source = "\n".join([f"{title}: {output.data[MARKDOWN]}", *rest])
        cell.outputs.remove(output)


def _volatile(output: nbformat.NotebookNode) -> bool:
    data = output.get("data", {})
    empty = data.get(MARKDOWN) == ""
    return output.get("name") == "stderr" or WIDGET in data or empty
