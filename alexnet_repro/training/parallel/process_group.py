"""The processes that share a run: their arrangement, communication on the CPU, and the detection of dead processes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ...common.errors import UserError
from ...common.machine import check_device, columns_of, cores, launched
from ...experiments.config import DeviceConfig, RunConfig
from ...networks.config import AlexNetConfig
from ...networks.cost import column_layers
from ..devices import available

LOST = 20.0
"""Seconds without a heartbeat after which a process counts as dead, and its peers exit."""

STUCK = 300.0
"""Seconds that a collective operation may wait while all processes are alive, such as for a peer that evaluates."""

BEAT = 1.0
"""Seconds between heartbeats."""

MEET = 120.0
"""Seconds that the first exchange between GPUs may take; where they cannot reach each other, it never ends."""

BROKEN = ("peer", "socket", "connection", "timed out", "timeout", "nccl")
"""Words in the errors that torch raises if an exchange fails."""

HINT = "NCCL_DEBUG=INFO tells more, and NCCL_P2P_DISABLE=1 helps where GPUs cannot reach each other's memory"


class Group:
    """This process and its peers, made from the environment variables that torchrun sets.

    parallel: "columns": each pair of processes holds one network, a column each, and the pairs share every batch.
    "data": each process holds the whole network, and all share every batch. The ranks of a pair are neighbours, so a
    pair is on one machine if machines have an even number of devices. Raises UserError for an odd number of processes
    with "columns".
    """

    def __init__(self, parallel: str, device: str) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.columns = columns_of(parallel, self.size)
        self.replicas = self.size // self.columns
        self.column, self.replica = self.rank % self.columns, self.rank // self.columns
        self.placement = _placement(device)
        # In the environment of torchrun, the launcher or process 0 holds the store through which all meet.
        store, _, _ = next(iter(dist.rendezvous("env://", timeout=timedelta(seconds=STUCK))))
        self.monitor = Monitor(store, self.rank, self.size, LOST)
        limit = timedelta(seconds=STUCK)
        backend = "nccl" if device == "cuda" else "gloo"
        os.environ.setdefault("NCCL_LAUNCH_ORDER_IMPLICIT", "1")  # pairs and twins may exchange at the same time
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=limit)
        everyone = range(self.size)
        pairs = [[r for r in everyone if r // self.columns == i] for i in range(self.replicas)]
        twins = [[r for r in everyone if r % self.columns == i] for i in range(self.columns)]
        self.pair = _subgroup(pairs, self.replica, limit)
        self.twins = _subgroup(twins, self.column, limit)
        # What is decided on the host is agreed on there, without waiting for a device.
        host = dist.new_group(backend="gloo", timeout=limit)
        assert isinstance(host, dist.ProcessGroup)
        self.host = host
        if device == "cuda":
            self._try_exchanges()

    def _try_exchanges(self) -> None:
        """One exchange within each of this process's groups: GPUs that cannot reach each other are told at once."""
        said = f"the GPUs exchanged nothing within {MEET:g} s: {HINT}"
        late = threading.Timer(MEET, self.monitor.end, [said])
        late.daemon = True
        late.start()
        try:
            for group in (self.pair, self.twins):
                if group.size() > 1:
                    one = torch.ones(1, device=self.placement.device)
                    dist.all_reduce(one, group=group)
                    one.item()  # waits for it
        except RuntimeError as error:
            self.monitor.end(f"the GPUs cannot exchange anything ({error}): {HINT}")
        finally:
            late.cancel()

    @property
    def peer(self) -> int:
        """Rank of the process with the other column."""
        return self.rank ^ 1

    def rows(self, batch: slice) -> slice:
        """This replica's part of a batch: consecutive images, shared out as evenly as possible."""
        count = batch.stop - batch.start
        cuts = [batch.start + count * i // self.replicas for i in (self.replica, self.replica + 1)]
        return slice(*cuts)

    def agree(self, *flags: bool) -> list[bool]:
        """For each flag, whether any process raises it."""
        raised = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(raised, dist.ReduceOp.MAX, self.host)
        return [bool(flag) for flag in raised]

    def tell(self, values: Any) -> Any:
        """The values that process 0 gives, in every process."""
        told = [values]
        dist.broadcast_object_list(told, 0, self.host)
        return told[0]

    def close(self) -> None:
        """Wait until all processes have called this, then leave the group."""
        dist.barrier(self.host)
        self.monitor.stop()
        # Process 0 may hold the store: it goes last.
        with suppress(RuntimeError):
            dist.barrier(self.host)
        dist.destroy_process_group()


class Monitor(threading.Thread):
    """A thread that sends heartbeats, and exits this process if a peer's stop, whatever the process is waiting for.

    Every second it increments a counter in the store and reads the peers' counters. ``resume`` is what its error
    message says about resuming. One of the remaining processes prints the message, and all exit with code 1.
    """

    def __init__(self, store: dist.Store, rank: int, size: int, lost: float) -> None:
        super().__init__(daemon=True)
        # A connection of its own: the other may wait for a peer, and nothing else gets through meanwhile.
        self.store = dist.PrefixStore("life", store.clone())  # type: ignore[attr-defined, unused-ignore]
        self.rank, self.size, self.lost = rank, size, lost
        self.resume = "run the same command again"
        self._seen = dict.fromkeys(range(size), (0, time.monotonic()))
        self._ended = threading.Event()
        self._ending = threading.Lock()
        # A first sign before the group forms: whoever dies later, however soon, has shown one.
        self.store.add(f"{rank}", 1)
        self.start()

    def run(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                self.store.add(f"{self.rank}", 1)
                for peer, (before, _) in self._seen.items():
                    count = self.store.add(f"{peer}", 0)
                    if count != before:
                        self._seen[peer] = (count, time.monotonic())
            except RuntimeError:
                self.end(f"the process through which all {self.size} meet has ended: {self.resume}")
            silent = self._silent(self.lost)
            if silent:
                self.end(f"{silent[0]} has shown no sign of life for {self.lost:g} s: {self.resume}")

    def _silent(self, seconds: float) -> list[str]:
        """Processes whose last heartbeat is older than that; processes that have not started yet are left out."""
        now = time.monotonic()
        return [
            f"process {peer} of {self.size}"
            for peer, (count, last) in self._seen.items()
            if count and now - last > seconds and peer != self.rank
        ]

    def failed(self, error: RuntimeError) -> None:
        """Handle an ``error``: exit if a peer has died or an exchange has failed, else return."""
        time.sleep(6 * BEAT)  # to see who is silent
        silent = self._silent(3 * BEAT)
        if silent:
            self.end(f"{' and '.join(silent)} has died: {self.resume}")
        if "timed out" in str(error).lower():
            self.end(f"an exchange has not ended, though all {self.size} processes live: {self.resume}")
        if any(word in str(error).lower() for word in BROKEN):
            self.end(f"an exchange has failed ({error}): {HINT}; {self.resume}")

    def end(self, line: str, code: int = 1) -> None:
        """Exit this process, unless it is exiting already; only one of the remaining processes prints ``line``."""
        with self._ending:
            if self._ended.is_set():
                return
            with suppress(RuntimeError):
                mine = f"{self.rank}"
                line = line if self.store.compare_set("said", "", mine).decode() == mine else ""
            if line:
                with suppress(OSError, ValueError):
                    print(f"error: {' '.join(line.split())}", file=sys.stderr, flush=True)
            os._exit(code)

    def stop(self) -> None:
        """Stop sending and watching heartbeats."""
        with self._ending:
            self._ended.set()


def check_parallel(configs: Sequence[RunConfig], parallel: str, processes: int, device: str) -> list[RunConfig]:
    """The runs that so many processes can train together: with "columns", those of networks with two columns.

    Raises UserError if there are none, if a GPU is missing, and for other devices than "cpu" and "cuda".
    """
    split = columns_of(parallel, processes) == 2
    able: list[RunConfig] = []
    reason = None
    for config in configs:
        try:
            if split:
                _check_columns(config)
            able.append(config)
        except UserError as error:
            reason = error
    if reason is not None and not able:
        raise reason
    check_device(device)
    if device == "mps":
        raise UserError("device 'mps' with several devices to a run: a machine has one Apple GPU; leave out --devices")
    if device == "cuda" and not launched():
        available(DeviceConfig(device=f"cuda:{processes - 1}"))
    return able


def _check_columns(config: RunConfig) -> None:
    """Raises UserError for a net that has no two columns, or is to be compiled."""
    if not isinstance(config.model, AlexNetConfig):
        raise UserError(f"net {config.model.net!r} has no two columns: use --parallel data")
    column_layers(config.model)
    if config.compiled:
        raise UserError("--compile with a column per device: leave it out, their exchanges are not compiled")


class StopSignal:
    """A callable that returns whether this process has received SIGTERM or Ctrl-C."""

    def __init__(self) -> None:
        self.yes = False
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self.yes = True

    def __call__(self) -> bool:
        return self.yes


def _placement(device: str) -> DeviceConfig:
    """This process's device, and its share of the machine's cores."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        place = DeviceConfig(device=f"cuda:{local}", threads=1)
        torch.cuda.set_device(available(place))
        return place
    return DeviceConfig(device="cpu", threads=max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _subgroup(ranks: list[list[int]], own: int, limit: timedelta) -> dist.ProcessGroup:
    """The group of ``ranks[own]``; every process makes all groups."""
    made = [dist.new_group(each, timeout=limit) for each in ranks][own]
    assert isinstance(made, dist.ProcessGroup)
    return made
