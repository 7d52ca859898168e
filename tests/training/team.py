"""Real processes for the tests of what runs on several; a team that hangs fails its test within a minute."""

import os
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

STUCK = 40
"""Seconds without work by any process of a team, after which it hangs: waiting for a peer takes no processor time."""
LIMIT = 300
"""Seconds that a team may take where other work fills the machine."""

# A clean process imports torch once; members are forked from it before it has threads.
context = get_context("forkserver")
context.set_forkserver_preload(["alexnet_repro.training.parallel.trainer"])


def member(rank, size, folder, port, function, arguments):
    """One process of a team, in the environment that torchrun would give it; leaves what ``function`` returns."""
    torch.set_num_threads(1)
    sys.stderr = (folder / f"{rank}.txt").open("w")
    os.environ |= {"RANK": f"{rank}", "WORLD_SIZE": f"{size}", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    os.environ |= {"LOCAL_RANK": f"{rank}", "LOCAL_WORLD_SIZE": f"{size}", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.save(function(rank, *arguments), folder / f"{rank}.pt")


def start(size, folder, function, *arguments):
    """The processes of a team, and the store through which they meet."""
    folder.mkdir(parents=True, exist_ok=True)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    team = [
        context.Process(target=member, args=(rank, size, folder, store.port, function, arguments), daemon=True)
        for rank in range(size)
    ]
    for process in team:
        process.start()
    return team, store


def work(pids):
    """Processor seconds of these processes; of the ended ones, none."""
    ticks = 0
    for pid in pids:
        try:
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        except OSError:  # it can end while its file is read
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def wait(pids, running, limit=LIMIT):
    """Wait while ``running()``, at most ``limit`` seconds; False where the processes hang."""
    start = moved = time.monotonic()
    done = 0.0
    while running():
        time.sleep(0.1)
        now, used = time.monotonic(), work(pids)
        if abs(used - done) > 0.2:
            done, moved = used, now
        if now - moved > STUCK or now - start > limit:
            return False
    return True


def run(size, folder, function, *arguments):
    """What ``function(rank, *arguments)`` returns in each of ``size`` processes, by rank."""
    team, _store = start(size, folder, function, *arguments)

    def running():
        # One that fails takes the others with it: they would wait for it.
        return any(p.is_alive() for p in team) and not any(p.exitcode for p in team)

    ended = wait([p.pid for p in team], running)
    codes = [process.exitcode for process in team]
    for process in team:
        process.kill()
        process.join()
    if not ended or any(codes):
        said = "".join((folder / f"{rank}.txt").read_text() for rank in range(size))
        pytest.fail(f"exit codes {codes} of {size} processes{'' if ended else ', which hung'}: {said}")
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]
