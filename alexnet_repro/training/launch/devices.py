"""Start a command in several processes of this machine, with the environment variables that torchrun sets."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import torch.distributed as dist

from ...common.errors import UserError
from ..parallel.process_group import LOST
from .local import MEMORY

COMMAND = [sys.executable, "-m", "alexnet_repro"]
HERE = "127.0.0.1"
GRACE = LOST + 20.0
"""Seconds that the other processes have to exit after one has failed or all were asked to stop."""


def start(words: list[str], count: int) -> None:
    """Run ``alexnet-repro`` with the arguments ``words`` in ``count`` processes of one group, and wait for them.

    On Ctrl-C or SIGTERM the processes write checkpoints and exit, and KeyboardInterrupt is raised. Raises SystemExit
    with the exit code of a process that has printed its error, and UserError if processes died without one.
    """
    # Held here, so that whichever process dies, the others can still meet.
    store = dist.TCPStore(HERE, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=GRACE))
    common = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": HERE}
    common |= {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True", **MEMORY}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    team: list[subprocess.Popen[bytes]] = []
    try:
        for rank in map(str, range(count)):
            team.append(
                subprocess.Popen(
                    [*COMMAND, *words],
                    env={**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank},
                    process_group=0,  # Ctrl-C is for this process alone
                )
            )
        while any(process.poll() is None for process in team) and not any(process.poll() for process in team):
            time.sleep(0.1)
    finally:
        interrupted = sys.exc_info()[0] is not None
        _end(team, ask=interrupted)
        signal.signal(signal.SIGTERM, before)
    _judge([process.returncode for process in team])


def _end(team: "list[subprocess.Popen[bytes]]", ask: bool) -> None:
    """Wait for the processes to exit, and kill those that do not. ask: send SIGTERM first."""
    if ask:
        for process in team:
            process.terminate()
    end = time.monotonic() + GRACE
    for process in team:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _judge(codes: list[int]) -> None:
    """Raise the error that the exit codes mean."""
    stopped = 128 + signal.SIGTERM
    said = [code for code in codes if code > 0 and code != stopped]
    if said:
        raise SystemExit(max(said))
    if stopped in codes:
        raise KeyboardInterrupt
    killed = [f"{rank} ({signal.Signals(-code).name})" for rank, code in enumerate(codes) if code < 0]
    if killed:
        raise UserError(f"processes {', '.join(killed)} of {len(codes)} died: run the same command again to resume", 1)
