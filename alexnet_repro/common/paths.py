"""Where files are: the repository, its data, downloads, and the working store of runs."""

import os
from pathlib import Path

from .errors import UserError


def repository() -> Path:
    """The checkout with data/, notebooks/ and book/; ALEXNET_REPRO_HOME overrides it.

    Raises UserError if there is none.
    """
    root = _named("ALEXNET_REPRO_HOME") or Path(__file__).resolve().parents[2]
    if not (root / "data" / "claims.toml").is_file():
        raise UserError(
            f"no data/claims.toml under {root}: install with 'pip install -e .' from a checkout, "
            "or set ALEXNET_REPRO_HOME to one"
        )
    return root


def data() -> Path:
    """The folder data/: claims, published evidence, and the bundled sample of CIFAR-10."""
    return repository() / "data"


def downloads() -> Path:
    """Where data sets are kept; ALEXNET_REPRO_DATA overrides it."""
    return _named("ALEXNET_REPRO_DATA") or data() / "downloads"


def store() -> Path:
    """The working store of runs and checkpoints; ALEXNET_REPRO_STORE overrides it."""
    return _named("ALEXNET_REPRO_STORE") or data() / "store"


def _named(variable: str) -> Path | None:
    """The folder that an environment variable names; None where it is not set. Raises UserError for what is none."""
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        folder = Path(text).expanduser().resolve()
        if folder.is_dir() or not (folder.exists() or folder.is_symlink()):
            return folder
        kind = "a link to itself" if folder.is_symlink() else "no folder"
    except RuntimeError:  # of no such user; or, before Python 3.13, a link to itself
        kind = "the folder of no user" if text.startswith("~") else "a link to itself"
    except OSError as error:
        kind = f"not to be read ({error.strerror})"
    raise UserError(f"{variable}={text} is {kind}: name a folder")
