"""One process that trains runs one after another: configs in on stdin, events out on stdout, a JSON line each.

Started by launch.py. Events: {"step": done, "of": budget}, {"saved": key}, {"error": text, "code": exit code}.
"""

import json
import os
import signal
import sys
from typing import Any, TextIO

from ..config import Placement, parse
from ..errors import UserError
from ..files import lock
from ..store import Store
from .training import train


def _say(out: TextIO, **event: Any) -> None:
    print(json.dumps(event), file=out, flush=True)


def _work(line: str, placement: Placement, store: Store, out: TextIO) -> None:
    config = parse(json.loads(line))
    checkpoint = store.root / "checkpoints" / f"{config.key}.safetensors"
    with lock(store.root / "locks" / config.key):
        if store.find(config) is None:
            record = train(config, placement, checkpoint, observe=lambda done, of: _say(out, step=done, of=of))
            store.save(record)
        checkpoint.unlink(missing_ok=True)
    _say(out, saved=config.key)


def main() -> None:
    """Serve until stdin closes. Ctrl-C is for the parent to handle: it closes stdin or ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever else prints must not mix with the events.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    placement = Placement.model_validate_json(sys.argv[1])
    store = Store()
    for line in sys.stdin:
        try:
            _work(line, placement, store, out)
        except UserError as error:
            _say(out, error=str(error), code=error.code)


if __name__ == "__main__":
    main()
