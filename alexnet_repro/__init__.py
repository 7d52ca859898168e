"""A claim-by-claim replication of Krizhevsky, Sutskever & Hinton (2012)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.judge import judge
    from .experiments.registry import study
    from .paper.claims import claim
    from .records.query import load_curves, load_runs
    from .training.api import build_model, load_data, top1_error, top5_error
    from .training.optim import AlexNetSGD

__version__ = "0.1.0"

_HOMES = {
    "AlexNetSGD": "training.optim",
    "build_model": "training.api",
    "claim": "paper.claims",
    "judge": "analysis.judge",
    "load_curves": "records.query",
    "load_data": "training.api",
    "load_runs": "records.query",
    "study": "experiments.registry",
    "top1_error": "training.api",
    "top5_error": "training.api",
}
"""The module of each public name, imported when the name is first used: that of a network needs torch."""
__all__ = [
    "AlexNetSGD",
    "build_model",
    "claim",
    "judge",
    "load_curves",
    "load_data",
    "load_runs",
    "study",
    "top1_error",
    "top5_error",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
