"""Two processes of one thread each beside one process of two threads, training the 19pct net, in one run.

    python benchmarks/launch.py [--steps 30] [--rounds 5] [--json PATH] [--publish]

All processes are started as `launch` starts its workers, and the two ways take turns; the results are medians of the
images/s of all processes together. Training on the bundled sample.
"""

import statistics
import time

import torch
from common import Process, finish, machine, options, serve

from alexnet_repro.config import Placement
from alexnet_repro.lab import datasets
from alexnet_repro.lab.training import Run
from alexnet_repro.speed import row
from alexnet_repro.studies import CUDA_CONVNET_19PCT

CONFIG = CUDA_CONVNET_19PCT.changed(**{"data.dataset": "sample", "data.train_images": datasets.SAMPLE_TRAIN})
WAYS = {"one process of two threads": (1, 2), "two processes of one thread": (2, 1)}


def take_turns(steps: int, threads: int) -> None:
    """Train ``steps`` steps a turn; the number of a turn is how many images those were."""
    torch.set_num_threads(threads)
    run = Run(CONFIG, Placement(threads=threads))
    size, batch = CONFIG.data.train_images, CONFIG.optimizer.batch_size
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


def measure(steps: int, rounds: int) -> dict[str, list[float]]:
    """Images/s of each way in every round."""
    ways = {
        way: [Process("--threads", threads, "--steps", steps, threads=threads) for _ in range(count)]
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
    arguments = parser.parse_args()
    if arguments.threads:
        take_turns(arguments.steps, arguments.threads)
        return
    about = machine()
    found = measure(arguments.steps, arguments.rounds)
    (peer_is, peer), (case, ours) = ((way, statistics.median(rates)) for way, rates in found.items())
    rows = [row(f"{case} each", peer_is, "images/s", ours, peer, bar=1.2)]
    finish("launch", arguments, {**about, "rounds": found}, rows)


if __name__ == "__main__":
    main()
