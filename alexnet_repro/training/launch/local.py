"""Train many runs at once on this machine: one process per CPU core or per GPU, with one progress bar."""

import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tqdm.auto import tqdm

from ...common.errors import UserError
from ...common.machine import check_device, cores
from ...experiments.config import DeviceConfig, RunConfig
from ...records.store import Store

# glibc gives large buffers back to the system and faults them in anew at every step; these keep them.
MEMORY = {
    "MALLOC_TOP_PAD_": str(2**28),
    "MALLOC_MMAP_THRESHOLD_": str(10**9),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 10**9),
}
VISIBLE = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
"""Environment variables that select the visible GPUs, in the order in which PyTorch reads them."""
TRIES = 2
GRACE = 30.0
"""Seconds that a worker has to finish a step or an evaluation and write its checkpoint."""

Event = dict[str, Any]
Tell = Callable[[tuple[str, Event]], object]
"""A callback, called with (key of a run, event of its worker); worker.py lists the events."""


def stackable(config: RunConfig) -> bool:
    """Whether seeds of this config can be stacked: images in memory, a fixed schedule, not compiled.

    Not in bfloat16, either: autocast does not reach all operations within vmap.
    """
    fixed = config.optimizer.plateau is None and not config.compiled
    return config.data.dataset != "imagenet" and fixed and config.precision != "bfloat16"


def stacks(configs: Sequence[RunConfig], most: int) -> list[list[RunConfig]]:
    """Group configs that differ only in their seeds, at most ``most`` in a group, in the order of the first of each."""
    found: dict[str, list[list[RunConfig]]] = {}
    every: list[list[RunConfig]] = []
    for config in configs:
        kind = config.changed(seed=0).key if stackable(config) else config.key
        own = found.setdefault(kind, [])
        if not own or len(own[-1]) == most:
            own.append([])
            every.append(own[-1])
        own[-1].append(config)
    return every


def environment(placement: DeviceConfig, gpu: int | None) -> dict[str, str]:
    """The environment of a training process, which sees one GPU. gpu: its number among those that are visible here."""
    found = {**os.environ, **MEMORY, "OMP_NUM_THREADS": str(placement.threads)}
    if gpu is not None:
        name = next(filter(os.environ.get, VISIBLE), "CUDA_VISIBLE_DEVICES")
        visible = os.environ.get(name)
        found[name] = visible.split(",")[gpu].strip() if visible else str(gpu)
    return found


class Worker:
    """A training process (worker.py)."""

    def __init__(self, placement: DeviceConfig, store: Store, gpu: int | None) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "alexnet_repro.training.launch.worker",
                placement.model_dump_json(),
                str(os.getpid()),
                str(store.root),
                str(store.evidence),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(placement, gpu),
            process_group=0,  # Ctrl-C is for this process alone
        )

    def run(self, configs: Sequence[RunConfig], tell: Tell) -> bool:
        """Train one config, or several stacked. False if the process died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            asked = json.dumps([config.model_dump(mode="json") for config in configs])
            print(asked, file=self.process.stdin, flush=True)
            left = {config.key for config in configs}
            for line in self.process.stdout:
                event = json.loads(line)
                if "error" in event:
                    for key in left:
                        tell((key, event))
                    return True
                tell((event["key"], event))
                left -= {event["key"]} if "saved" in event else set()
                if not left:
                    return True
        except (OSError, ValueError):  # it died while one side wrote
            pass
        return False

    def close(self) -> int:
        """End the process after it has saved a checkpoint; return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def places(device: str, workers: int | None) -> list[tuple[DeviceConfig, int | None]]:
    """A placement and a GPU number per worker: one per core on "cpu", one per GPU on "cuda" and "mps", or ``workers``.

    More workers than GPUs share them: small networks leave most of a GPU idle.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers}: ask for at least one")
    check_device(device)
    if device == "cpu":
        return [(DeviceConfig(device="cpu", threads=1), None)] * (workers or cores())
    import torch

    from ..devices import available

    placement = DeviceConfig(device=device, threads=1)
    available(placement)
    if device == "mps":  # a machine has one
        return [(placement, None)] * (workers or 1)
    count = torch.cuda.device_count()
    return [(placement, worker % count) for worker in range(workers or count)]


def launch(
    configs: Sequence[RunConfig],
    store: Store,
    device: str = "cpu",
    workers: int | None = None,
    title: str = "runs",
    progress: bool = True,
    stack: int = 1,
    seconds: float = math.inf,
) -> None:
    """Train the runs that the store lacks on this machine; return when all are saved.

    stack: how many seeds of one config may train in one computation (vmap_seeds.py). seconds: after so many no further
    run is begun. If a process dies, its run is resumed once from its checkpoint. On Ctrl-C the workers write
    checkpoints and exit, and KeyboardInterrupt is raised.
    Raises UserError with the first error once all other runs have ended.
    """
    missing = store.missing(configs)
    if not missing:
        return
    waiting: queue.Queue[list[RunConfig]] = queue.Queue()
    for each in stacks(missing, stack):
        waiting.put(each)
    events: queue.Queue[tuple[str, Event]] = queue.Queue()
    live: list[Worker] = []
    stop = threading.Event()
    starting = threading.Lock()
    end = time.monotonic() + seconds

    def start(placement: DeviceConfig, gpu: int | None) -> Worker | None:
        """A new worker; None once all are to end, so that none outlives this function."""
        with starting:
            if stop.is_set():
                return None
            live.append(Worker(placement, store, gpu))
            return live[-1]

    def feed(placement: DeviceConfig, gpu: int | None) -> None:
        worker: Worker | None = None
        while not stop.is_set() and time.monotonic() < end:
            try:
                configs = waiting.get_nowait()
            except queue.Empty:
                break
            said = ""
            for _ in range(TRIES):
                try:
                    worker = worker or start(placement, gpu)
                except OSError as error:
                    said = f"cannot start a process ({error.strerror}): close others, or ask for fewer workers"
                    continue
                if worker is None or worker.run(configs, events.put):
                    break
                code = worker.close()
                worker = None
                how = "out of memory? ask for fewer workers" if code == -signal.SIGKILL else f"exit code {code}"
                key = configs[0].key
                said = f"the process of run {key} died {TRIES} times ({how}): run the study again to resume"
            else:
                for config in store.missing(configs):
                    events.put((config.key, {"error": said, "code": 1}))
        if worker is not None:
            worker.close()

    def not_begun() -> int:
        return sum(map(len, waiting.queue))

    spots = places(device, workers)[: len(missing)]
    threads = [threading.Thread(target=feed, args=spot, daemon=True) for spot in spots]
    try:
        for thread in threads:
            thread.start()
        follow(events, lambda: any(thread.is_alive() for thread in threads), len(missing), title, progress, not_begun)
    finally:
        with starting:
            stop.set()
        for worker in live:
            worker.process.terminate()
        for worker in live:
            worker.close()


def _bar(total: int, title: str, shape: str, progress: bool) -> Any:
    """A progress bar; a silent one if stderr is closed or cannot be written."""
    try:
        return tqdm(total=float(total), desc=title, bar_format=shape, disable=not progress or sys.stderr is None)
    except OSError:
        return tqdm(disable=True)


def follow(
    events: "queue.Queue[tuple[str, Event]]",
    alive: Callable[[], bool],
    total: int,
    title: str,
    progress: bool,
    not_begun: Callable[[], int] = lambda: 0,
) -> None:
    """Show the progress of all runs until they have ended or the workers have; then raise the first error, if any.

    not_begun: how many runs the workers have left for lack of time, which is no error.
    """
    parts: dict[str, float] = {}
    ended: set[str] = set()
    first: UserError | None = None
    shape = "{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left{postfix}"
    with _bar(total, title, shape, progress) as bar:
        while len(ended) < total and (alive() or not events.empty()):
            try:
                key, event = events.get(timeout=0.5)
            except queue.Empty:
                continue
            if "step" in event:
                parts[key] = event["step"] / event["of"]
            else:
                parts[key] = 1.0
                ended.add(key)
                if "error" in event:
                    first = first or UserError(event["error"], event["code"])
            bar.n = sum(parts.values())
            try:
                bar.set_postfix_str(f"{len(ended)} of {total} runs done, {len(parts) - len(ended)} running")
            except OSError:  # nobody can see it any more: no reason to stop training
                bar.disable = True
    if first is not None:
        raise first
    if len(ended) + not_begun() < total:
        raise UserError(f"{total - len(ended)} of {total} runs did not end: run the study again to resume them", 1)
