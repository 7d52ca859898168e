"""A claim-by-claim replication of Krizhevsky, Sutskever & Hinton (2012)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .records.query import load_curves, load_runs

__version__ = "0.1.0"
__all__ = ["load_curves", "load_runs"]

_HOMES = {"load_curves": "records.query", "load_runs": "records.query"}
"""The module of each public name, imported when the name is first used."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
