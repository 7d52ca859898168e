"""Real processes for the tests of what runs on several, each test bounded in time."""

import datetime
import os
import time
from multiprocessing import get_context

import pytest
import torch
import torch.distributed as dist

SECONDS = 60
"""After which a test that hangs has failed."""


def member(rank, size, folder, function, arguments):
    """One process of a team: joins the others by a file, and leaves what ``function`` returns in another."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(str(folder / "store"), size)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=size, timeout=datetime.timedelta(seconds=SECONDS)
    )
    torch.save(function(rank, *arguments), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def run(size, folder, function, *arguments):
    """What ``function(rank, *arguments)`` returns in each of ``size`` processes of one Gloo group, by rank."""
    folder.mkdir(parents=True, exist_ok=True)
    context = get_context("spawn")
    team = [
        context.Process(target=member, args=(rank, size, folder, function, arguments), daemon=True)
        for rank in range(size)
    ]
    for process in team:
        process.start()
    end = time.monotonic() + SECONDS
    for process in team:
        process.join(max(end - time.monotonic(), 0))
    codes = [process.exitcode for process in team]
    for process in team:
        process.kill()
    if any(codes) or None in codes:
        pytest.fail(f"exit codes {codes} of {size} processes (None: it hung for {SECONDS} s)")
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]
