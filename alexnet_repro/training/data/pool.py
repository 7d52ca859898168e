"""Prepare shards of images in several processes, with one progress bar."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ...common.errors import UserError
from . import shards
from .image_folders import Source


@dataclass(frozen=True)
class Task:
    """A shard to be written: its part, its file, and its images."""

    part: str
    path: Path
    sources: list[Source]


_ticks: Any = None
_stop: Any = None


class _Stopped(Exception):
    """Raised in a worker process that is asked to stop."""


def _begin(ticks: Any, stop: Any) -> None:
    """Set up a worker process: it ignores Ctrl-C, which the parent handles, and exits if the parent dies."""
    global _ticks, _stop
    _ticks, _stop = ticks, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    if not parent.is_alive():  # killed while this process started, with tasks left in the queue
        os._exit(1)

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _tick() -> None:
    if _stop.is_set():
        raise _Stopped
    with _ticks.get_lock():
        _ticks.value += 1


def _write(path: Path, sources: list[Source], size: int) -> None:
    shards.write(path, sources, size, _tick)


def write_shards(tasks: list[Task], size: int, workers: int, progress: bool) -> None:
    """Write the shards in ``workers`` processes. Raises UserError if one dies or the disk is full."""
    workers = min(workers, len(tasks))
    total = sum(len(task.sources) for task in tasks)
    with tqdm(total=total, desc="preparing", unit=" images", disable=not progress) as bar:
        if workers > 1:
            _write_in_processes(tasks, size, workers, bar)
        else:
            for task in tasks:
                shards.write(task.path, task.sources, size, bar.update)


def _write_in_processes(tasks: list[Task], size: int, workers: int, bar: Any) -> None:
    context = multiprocessing.get_context("spawn")
    pool = None
    try:
        ticks, stop = context.Value("q", 0), context.Event()
        pool = ProcessPoolExecutor(workers, context, _begin, (ticks, stop))
        waiting: set[Future[None]] = {pool.submit(_write, task.path, task.sources, size) for task in tasks}
        while waiting:
            done, waiting = wait(waiting, timeout=0.25, return_when=FIRST_EXCEPTION)
            bar.update(ticks.value - bar.n)
            for future in done:
                future.result()
    except BrokenProcessPool as error:
        raise UserError("a process died (out of memory?): run it again to resume, with fewer --workers", 1) from error
    except OSError as error:
        raise UserError(f"cannot start a process ({error.strerror or error}): ask for fewer --workers", 1) from error
    finally:
        if pool is not None:
            stop.set()  # each process ends after the image that it is decoding
            pool.shutdown(cancel_futures=True)
