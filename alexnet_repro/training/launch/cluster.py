"""Train many runs on a Dask cluster: each in its own process under a Dask worker, with one progress bar here."""

import asyncio
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client, Future, KilledWorker, Reschedule, Status, get_worker
from distributed.comm import connect, get_address_host_port, resolve_address

from ...common import paths
from ...common.errors import UserError
from ...common.machine import check_device
from ...experiments.config import DeviceConfig, RunConfig, parse
from ...records.record import RunRecord
from ...records.store import Store
from .local import TRIES, Event, Worker, follow

CONNECT = 10.0
"""Seconds to wait for the scheduler's answer."""
POLL = 0.5
"""Seconds between looks at whether a run is still wanted."""


def launch(
    configs: Sequence[RunConfig],
    store: Store,
    address: str,
    device: str = "cpu",
    title: str = "runs",
    progress: bool = True,
) -> None:
    """Train the runs that the store lacks on the workers of the Dask scheduler at ``address``.

    As many runs train at once as the workers have threads. A worker uses the folder ``store.root`` if it exists there,
    else its own store; records are sent back into ``store`` in both cases. If a worker is lost, another one restarts
    its run, from the checkpoint if both see the same store. On Ctrl-C the runs write checkpoints and end, and
    KeyboardInterrupt is raised. Raises UserError with the first error once all other runs have ended, and if no
    scheduler answers.
    """
    check_device(device)
    missing = store.missing(configs)
    if not missing:
        return
    with _connected(address) as client:
        if not client.scheduler_info()["workers"]:
            with suppress(OSError):
                print(f"no worker yet at {address}: start one with 'dask worker {address}'", file=sys.stderr)
        _launch(client, missing, store, DeviceConfig(device=device), title, progress)


def _launch(
    client: Client, missing: list[RunConfig], store: Store, placement: DeviceConfig, title: str, progress: bool
) -> None:
    store.root.mkdir(parents=True, exist_ok=True)  # for a worker to see that it sees it
    events: queue.Queue[tuple[str, Event]] = queue.Queue()
    name = f"alexnet-repro-{uuid4().hex}"  # never shared: a task of an older launch may still be ending
    client.subscribe_topic(name, lambda event: events.put(event[1]))
    wanted = [(config.model_dump(mode="json"), config.key) for config in missing]
    futures: dict[str, Future] = {
        key: client.submit(
            _work, values, key, placement.model_dump_json(), str(store.root), name,
            key=f"{name}-{key}", pure=False, retries=TRIES - 1,
        )
        for values, key in wanted
    }  # fmt: skip
    for key, future in futures.items():
        future.add_done_callback(lambda done, key=key: events.put((key, _outcome(done, key, store))))
    try:
        follow(events, lambda: client.status in ("running", "connecting"), len(missing), title, progress)
    finally:
        client.cancel(list(futures.values()))


async def _answer(address: str) -> None:
    """Wait for a scheduler's answer. A dask Client would wait forever for a server of another kind."""
    async with asyncio.timeout(CONNECT + 1):
        comm = await connect(address, timeout=CONNECT)
        await comm.close()


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A client of the scheduler. Raises UserError if none answers."""
    try:
        # First, because a client that fails on these is not cleaned up.
        get_address_host_port(resolve_address(address), strict=True)
        asyncio.run(_answer(address))
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        reason = str(error).partition(" after ")[0] or type(error).__name__
        remedy = "start one with 'dask scheduler', or mend the address"
        raise UserError(f"no Dask scheduler answers at {address!r} ({reason}): {remedy}", 1) from error
    with client:
        yield client


def _outcome(future: Future, key: str, store: Store) -> Event:
    """The last event of a run (see worker.py), after its record is saved."""
    said = f"run {key} was taken off the cluster: run the study again to resume"
    try:
        if not future.cancelled():
            event: Event = future.result()
            if "record" in event and store.load(key) is None:
                store.save(RunRecord.model_validate_json(event["record"]))
            return event
    except UserError as error:
        return {"error": str(error), "code": error.code}
    except KilledWorker as error:
        lost = error.allowed_failures + 1
        said = f"run {key} has lost {lost} workers (out of memory?): mend that, and run the study again to resume"
    except ModuleNotFoundError as error:
        said = f"a worker lacks {error.name}: install alexnet-repro where the workers run"
    except Exception as error:
        said = f"run {key} failed on the cluster ({type(error).__name__}: {error}): run the study again to resume"
    return {"error": said, "code": 1}


def _work(values: dict[str, Any], key: str, placement: str, root: str, topic: str) -> Event:
    """In a thread of a Dask worker: train one run in a process of its own; its record in JSON, or an error."""
    config = parse(values)
    if config.key != key:
        said = f"a worker knows run {key} as {config.key}: install one version of alexnet-repro everywhere"
        return {"error": said, "code": 1}
    here, store = get_worker(), _store(Path(root))
    last: Event = {}

    def tell(event: tuple[str, Event]) -> None:
        if "step" in event[1]:
            here.log_event(topic, event)
        else:
            last.update(event[1])

    worker = Worker(DeviceConfig.model_validate_json(placement), store, None)
    ended, unwanted = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(POLL):
            if not _wanted(here, f"{topic}-{key}"):
                unwanted.set()
                worker.process.terminate()  # it saves a checkpoint
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        worker.run([config], tell)
    finally:
        ended.set()
        code = worker.close()
    if unwanted.is_set():
        raise Reschedule
    record = store.load(key) if "saved" in last else None
    if record is not None:
        return {"record": record.model_dump_json(exclude_defaults=True)}
    if not last:  # tried once more by the scheduler
        raise RuntimeError(f"its process died, {'out of memory?' if code == -signal.SIGKILL else f'exit code {code}'}")
    return last


def _store(root: Path) -> Store:
    """The launcher's store, where this machine sees it; otherwise this machine's own."""
    return Store(root if root.is_dir() else paths.store())


def _wanted(worker: Any, task: str) -> bool:
    """Whether the Dask worker stays, and somebody still waits for the task."""
    state = worker.state.tasks.get(task)
    stays = worker.status in (Status.running, Status.paused)
    return stays and state is not None and state.state in ("executing", "long-running")
