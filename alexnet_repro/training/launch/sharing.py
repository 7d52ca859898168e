"""How many runs share a GPU: measured, by processes that train on it at the same time for some seconds."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from ...common.machine import cores
from ...experiments.config import DeviceConfig, RunConfig, parse
from .local import environment, places

COUNTS = (1, 2, 4, 8)
"""Numbers of runs on a GPU that are tried, as far as there are cores and runs."""
GAIN = 1.05
"""More runs share a GPU if they train at least so many times as many images per second as fewer do."""
SECONDS = 2.0


class Sharing(NamedTuple):
    """How runs are placed on GPUs.

    workers: runs at once, None for one per core or GPU. runs: on a GPU. gain: how many times as many images per second
    these train together as one alone.
    """

    workers: int | None = None
    runs: int = 1
    gain: float = 1.0

    def __str__(self) -> str:
        return f"{self.runs} runs share a GPU, and train {self.gain:.2g} times as many images per second as one"


def sharing(configs: Sequence[RunConfig], device: str, workers: int | None = None) -> Sharing:
    """Measure how many of these runs should share a GPU, or with ``workers``, what sharing it among so many does.

    Nothing is measured on other devices than "cuda", for full-size runs, which keep a GPU busy, and where there are no
    more runs than GPUs.
    """
    small = [config for config in configs if config.data.dataset != "imagenet"]
    if device != "cuda" or not small:
        return Sharing(workers)
    spots = places(device, None)
    gpus, asked = len(spots), len(places(device, workers)) if workers else None
    most = min(-(-len(small) // gpus), max(cores() // gpus, 1))
    counts = [1, -(-asked // gpus)] if asked else [count for count in COUNTS if count <= most]
    if counts[-1] == 1:
        return Sharing(workers)
    print(f"trying how many runs should share a GPU: {', '.join(map(str, counts))}", file=sys.stderr, flush=True)
    kinds = {config.changed(seed=0).key: config for config in small}
    commonest, _ = Counter(config.changed(seed=0).key for config in small).most_common(1)[0]
    rates = steps_per_second(kinds[commonest], spots[0], counts)
    runs = counts[-1] if asked else most_useful(rates)
    return Sharing(workers or runs * gpus, runs, rates[runs] / rates[1] if {1, runs} <= rates.keys() else 1.0)


def most_useful(rates: dict[int, float]) -> int:
    """The number of runs on a GPU beyond which more gain too little. rates: steps per second of all, by number."""
    best = 1
    for count in sorted(rates):
        if rates[count] > GAIN * rates.get(best, 0.0):
            best = count
    return best


def steps_per_second(
    config: RunConfig, place: tuple[DeviceConfig, int | None], counts: Sequence[int]
) -> dict[int, float]:
    """Number of processes -> their training steps per second together; a number that can't start is left out."""
    placement, gpu = place
    words = [json.dumps(config.model_dump(mode="json")), placement.model_dump_json()]
    team = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment(placement, gpu), process_group=0,
        )
        for _ in range(max(counts))
    ]  # fmt: skip
    try:
        ready = [process for process in team if _answer(process)]
        found = {}
        for count in counts:
            rates = [float(answer) for answer in _turn(ready[:count]) if answer]
            if len(rates) == count:
                found[count] = sum(rates)
        return found
    finally:
        for process in team:
            process.kill()
            process.communicate()


def _turn(processes: Sequence["subprocess.Popen[str]"]) -> list[str]:
    """Let all of these processes train at the same time, and return their answers."""
    for process in processes:
        assert process.stdin is not None
        with suppress(OSError):  # it has ended, and so answers nothing
            process.stdin.write("go\n")
            process.stdin.flush()
    return [_answer(process) for process in processes]


def _answer(process: "subprocess.Popen[str]") -> str:
    """The next line of a process; empty if it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def main() -> None:
    """Be one of the processes: say that all is ready, then train for ``SECONDS`` for every line that comes."""
    from ..cost import steps_per_second
    from ..trainer import Run

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not mix with the numbers
    run = Run(parse(json.loads(sys.argv[1])), DeviceConfig.model_validate_json(sys.argv[2]))
    steps_per_second(run, 0.0)
    print("ready", file=out, flush=True)
    for _ in sys.stdin:
        print(steps_per_second(run, SECONDS), file=out, flush=True)


if __name__ == "__main__":
    main()
