"""Two processes of one thread each beside one process of two threads, training nets of the studies, in one run.

Two processes can be at most twice as fast as one that has the machine to itself, which the same run measures: the rest
goes to the memory and the caches that they share. What one process of two threads leaves of that limit is all that can
be gained, so the bar is 1: starting two processes is not the slower way.

    python benchmarks/launch.py [--steps 30] [--rounds 5] [--json PATH] [--publish]

All processes are started as `launch` starts its workers, and the two ways take turns; the results are medians of the
images/s of all processes together. Training on the bundled sample.
"""

import statistics
import time

import torch
from common import Process, finish, machine, options, serve

from alexnet_repro.experiments.cifar_alexnet import BASELINE
from alexnet_repro.experiments.config import SAMPLE_TRAIN_IMAGES, DeviceConfig, RunConfig
from alexnet_repro.experiments.registry import CUDA_CONVNET_19PCT
from alexnet_repro.records.benchmarks import row
from alexnet_repro.training.trainer import Run

SAMPLE = {"data.dataset": "sample", "data.train_images": SAMPLE_TRAIN_IMAGES}
NETS = {
    "19pct": CUDA_CONVNET_19PCT.changed(**SAMPLE),
    "AlexNet in CIFAR size": BASELINE.changed(**SAMPLE),
}
WAYS = {
    "one process of two threads": (1, 2),
    "two processes of one thread": (2, 1),
    "one process of one thread": (1, 1),
}


def take_turns(config: RunConfig, steps: int, threads: int) -> None:
    """Train ``steps`` steps a turn; the number of a turn is how many images those were."""
    torch.set_num_threads(threads)
    run = Run(config, DeviceConfig(threads=threads))
    size, batch = config.data.train_images, config.optimizer.batch_size
    for _ in range(3):
        run.update()

    def turn() -> int:
        images = 0
        for _ in range(steps):
            images += min(batch, size - run.step % run.epoch_steps * batch)
            run.update()
        return images

    serve(turn)


def together(processes: list[Process]) -> float:
    """Images/s of all processes, all told at once, until the last is done."""
    begin = time.perf_counter()
    for process in processes:
        process.tell()
    images = sum(process.answer() for process in processes)
    return images / (time.perf_counter() - begin)


def measure(net: str, steps: int, rounds: int) -> dict[str, list[float]]:
    """Images/s of each way in every round."""
    ways = {
        way: [Process("--net", net, "--threads", threads, "--steps", steps, threads=threads) for _ in range(count)]
        for way, (count, threads) in WAYS.items()
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, processes in ways.items():
            found[way].append(together(processes))
    for processes in ways.values():
        for process in processes:
            process.close()
    return found


def main() -> None:
    parser = options(__doc__, steps=30, rounds=5)
    parser.add_argument("--threads", type=int, help="be one of the processes")
    parser.add_argument("--net", choices=NETS, help="that it trains")
    arguments = parser.parse_args()
    if arguments.threads:
        take_turns(NETS[arguments.net], arguments.steps, arguments.threads)
        return
    about = machine()
    found = {net: measure(net, arguments.steps, arguments.rounds) for net in NETS}
    rows = []
    for net, rates in found.items():
        (peer_is, peer), (case, ours), (_, alone) = ((way, statistics.median(each)) for way, each in rates.items())
        rows.append(row(f"{net}: {case} each", peer_is, "images/s", ours, peer, bar=1.0))
        rows.append(row(f"{net}: {case} each", "twice one such process alone, the limit", "images/s", ours, 2 * alone))
    finish("launch", arguments, {**about, "rounds": found}, rows)


if __name__ == "__main__":
    main()
