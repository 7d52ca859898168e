"""One process that trains runs one after another: lists of configs in on stdin, events out on stdout, a JSON line each.

Started by local.py, with a DeviceConfig in JSON, the number of the parent process and the two folders of the store. The
configs of a list are one, or several seeds to be stacked. Events: {"key": key, "step": done, "of": budget},
{"key": key, "saved": true}, and {"error": text, "code": exit code}, which ends the list.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

from ...common.errors import UserError
from ...common.files import lock, regular_file, sweep, write_atomic
from ...experiments.config import DeviceConfig, RunConfig, parse
from ...networks.config import AlexNetConfig
from ...records.record import RunRecord
from ...records.store import Store
from ..parallel import vmap_seeds
from ..trainer import Observer, Stopped, train

STOPPED = 128 + signal.SIGTERM


class Stop:
    """Callable: whether to stop training, because SIGTERM has come or the parent process has died."""

    def __init__(self, parent: int) -> None:
        self.parent = parent
        self.asked = False
        self.training = False

    def __call__(self) -> bool:
        self.training = True
        return self.asked or os.getppid() != self.parent

    def on_signal(self, *_: object) -> None:
        """While training, let the loop save a checkpoint first; otherwise exit."""
        self.asked = True
        if not self.training:
            # Asked again, it is ending already, and an exit within an exit would print a traceback.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.exit(STOPPED)


def _say(out: TextIO, **event: Any) -> None:
    with suppress(BrokenPipeError):  # the parent has died: see Stop
        print(json.dumps(event), file=out, flush=True)


def _work(configs: list[RunConfig], placement: DeviceConfig, store: Store, out: TextIO, stop: Stop) -> None:
    """Train the configs that the store lacks; several are stacked."""
    with ExitStack() as locks:
        for key in sorted(config.key for config in configs):  # in one order, or two processes could wait for each other
            locks.enter_context(lock(store.root / "locks" / key))
            for path in (store.checkpoint(key), store.weights(key), store.path(key)):
                sweep(path)
        missing = store.missing(configs)
        for config in configs:
            if config not in missing:
                _end(config, store, out)
        for record in _train(missing, placement, store, out, stop):
            store.save(record)
            _end(record.config, store, out)


def _end(config: RunConfig, store: Store, out: TextIO) -> None:
    path = store.checkpoint(config.key)
    if regular_file(path):
        path.unlink(missing_ok=True)
    _say(out, key=config.key, saved=True)


def _train(
    configs: list[RunConfig], placement: DeviceConfig, store: Store, out: TextIO, stop: Stop
) -> Iterator[RunRecord]:
    def observe(config: RunConfig) -> Observer:
        return lambda done, of: _say(out, key=config.key, step=done, of=of)

    def kept(config: RunConfig) -> Path | None:
        return store.weights(config.key) if isinstance(config.model, AlexNetConfig) else None

    if len(configs) == 1:
        config = configs[0]
        yield train(config, placement, store.checkpoint(config.key), observe(config), stop, kept(config))
    elif configs:
        yield from vmap_seeds.train(configs, placement, lambda each: store.checkpoint(each.key), observe, stop, kept)


def _unforeseen(error: Exception, key: str, store: Store) -> UserError:
    """A UserError for an unexpected error; its traceback is written to a file."""
    path = store.root / "errors" / f"{key}.txt"
    write_atomic(path, traceback.format_exc())
    return UserError(f"run {key} failed ({type(error).__name__}: {error}): report it with {path}", 1)


def main() -> None:
    """Train the runs given on stdin until it closes, the parent dies or SIGTERM comes. Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever else prints must not mix with the events.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    placement, stop = DeviceConfig.model_validate_json(sys.argv[1]), Stop(int(sys.argv[2]))
    signal.signal(signal.SIGTERM, stop.on_signal)
    store = Store(Path(sys.argv[3]), Path(sys.argv[4]))
    for line in sys.stdin:
        configs = [parse(values) for values in json.loads(line)]
        try:
            try:
                _work(configs, placement, store, out, stop)
            except (UserError, Stopped):
                raise
            except Exception as error:
                raise _unforeseen(error, configs[0].key, store) from error
        except UserError as error:
            _say(out, error=str(error), code=error.code)
            if placement.device != "cpu" and error.__cause__ is not None:
                break  # after an error on a GPU, its process may be of no more use: the next run gets a new one
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
