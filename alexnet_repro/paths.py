"""Where things lie: the repository, its data, the working store."""

import os
from pathlib import Path

from .errors import UserError


def repository() -> Path:
    """The checkout that holds data/, notebooks/ and book/; ALEXNET_REPRO_HOME overrides it.

    Raises UserError where there is none.
    """
    named = os.environ.get("ALEXNET_REPRO_HOME")
    root = Path(named).expanduser().resolve() if named else Path(__file__).resolve().parent.parent
    if not (root / "data" / "claims.toml").is_file():
        raise UserError(
            f"no data/claims.toml under {root}: install with 'pip install -e .' from a checkout, "
            "or set ALEXNET_REPRO_HOME to one"
        )
    return root


def data() -> Path:
    """The folder of claims, evidence and the bundled sample."""
    return repository() / "data"


def downloads() -> Path:
    """Where data sets are kept; ALEXNET_REPRO_DATA overrides it."""
    named = os.environ.get("ALEXNET_REPRO_DATA")
    return Path(named).expanduser().resolve() if named else data() / "downloads"


def store() -> Path:
    """The working store of runs and checkpoints; ALEXNET_REPRO_STORE overrides it."""
    named = os.environ.get("ALEXNET_REPRO_STORE")
    return Path(named).expanduser().resolve() if named else data() / "store"
