"""The page "How fast": published benchmarks as tables. They are measured by benchmarks/, not here."""

from IPython.display import Markdown

from ..common.markup import escaped
from ..records.benchmarks import on_gpus, path, read, table
from .format import markdown

COMMAND = "python benchmarks/{name}.py --publish"


def shown(name: str) -> Markdown:
    """The last published run of a benchmark, on a CPU and on each kind of GPU: tables, machines, versions.

    Without one, the command that measures it. Raises UserError if a file is damaged.
    """
    names = [*[name] * path(name).is_file(), *on_gpus(name)]
    if not names:
        return Markdown(f"*Not measured yet:* `{COMMAND.format(name=name)}` does it.")
    return Markdown("\n\n".join(map(_told, names)))


def _told(name: str) -> str:
    found = read(name)
    commit = escaped(found.commit[:10]) + ("" if found.clean else ", with changes")
    words = (
        f"*Measured:* {escaped(found.device)}, {found.cores} cores, {escaped(found.started[:10])}, Python "
        f"{escaped(found.python)}, PyTorch {escaped(found.torch)}, commit {commit}; load average {found.load_average} "
        "at the start."
    )
    rows = table(found.rows)
    return words + "\n\n" + markdown(rows, right=["ours", "beside", "times as good", "bar"], wide=True)
