"""One process that trains runs one after another: configs in on stdin, events out on stdout, a JSON line each.

Started by launch.py, with a Placement in JSON and the number of the parent process.
Events: {"step": done, "of": budget}, {"saved": key}, {"error": text, "code": exit code}.
"""

import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any, TextIO

from ..config import Placement, RunConfig, parse
from ..errors import UserError
from ..files import lock, sweep, write_atomic
from ..networks import AlexNetConfig
from ..store import Store
from .training import Stopped, train

STOPPED = 128 + signal.SIGTERM


class Stop:
    """Says when to stop training: once SIGTERM has come, or the parent has died."""

    def __init__(self, parent: int) -> None:
        self.parent = parent
        self.asked = False
        self.training = False

    def __call__(self) -> bool:
        self.training = True
        return self.asked or os.getppid() != self.parent

    def on_signal(self, *_: object) -> None:
        """While training, remember; the loop saves a checkpoint first. Otherwise there is nothing to save."""
        self.asked = True
        if not self.training:
            # Asked again, it is ending already, and an exit within an exit would print a traceback.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.exit(STOPPED)


def _say(out: TextIO, **event: Any) -> None:
    with suppress(BrokenPipeError):  # the parent has died: see Stop
        print(json.dumps(event), file=out, flush=True)


def _work(config: RunConfig, placement: Placement, store: Store, out: TextIO, stop: Stop) -> None:
    checkpoint, weights = store.checkpoint(config.key), store.weights(config.key)
    with lock(store.root / "locks" / config.key):
        sweep(checkpoint)
        sweep(weights)
        sweep(store.path(config.key))
        if store.find(config) is None:
            kept = weights if isinstance(config.model, AlexNetConfig) else None
            record = train(config, placement, checkpoint, lambda done, of: _say(out, step=done, of=of), stop, kept)
            store.save(record)
        checkpoint.unlink(missing_ok=True)
    _say(out, saved=config.key)


def _unforeseen(error: Exception, key: str, store: Store) -> UserError:
    """One line for an error that nobody foresaw; its traceback goes to a file."""
    path = store.root / "errors" / f"{key}.txt"
    write_atomic(path, traceback.format_exc())
    return UserError(f"run {key} failed ({type(error).__name__}: {error}): report it with {path}", 1)


def main() -> None:
    """Serve until stdin closes, the parent dies or SIGTERM comes. Ctrl-C is for the parent to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever else prints must not mix with the events.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    placement, stop = Placement.model_validate_json(sys.argv[1]), Stop(int(sys.argv[2]))
    signal.signal(signal.SIGTERM, stop.on_signal)
    store = Store()
    for line in sys.stdin:
        config = parse(json.loads(line))
        try:
            try:
                _work(config, placement, store, out, stop)
            except (UserError, Stopped):
                raise
            except Exception as error:
                raise _unforeseen(error, config.key, store) from error
        except UserError as error:
            _say(out, error=str(error), code=error.code)
        except Stopped:
            break
        stop.training = False
        if stop.asked:
            break
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(BrokenPipeError):
        out.close()
    sys.exit(STOPPED if stop.asked else 0)


if __name__ == "__main__":
    main()
