"""Several seeds of one net in one computation beside the same seeds one after another, in one run.

    python benchmarks/stack.py [--seeds 4] [--steps 5] [--rounds 5] [--device cpu] [--json PATH] [--publish]

Both ways take turns, in one process of one thread; the results are medians of the images/s of all seeds together.
Training on the bundled sample.
"""

from collections.abc import Callable

import torch
from common import finish, in_turns, keep_buffers, machine, options

from alexnet_repro.experiments.config import DeviceConfig, RunConfig
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.benchmarks import row
from alexnet_repro.training.parallel.vmap_seeds import Member, Stack
from alexnet_repro.training.trainer import Run

NETS = {
    "19pct": study("relu_speed", "smoke").config("relu", 0),
    "11pct": study("lrn_cifar", "smoke").config("11pct", 0),
    "AlexNet in CIFAR size": study("ablations").config("baseline", 0).changed(
        **{"data.dataset": "sample", "data.train_images": 1_000}
    ),
}  # fmt: skip


def ways(config: RunConfig, seeds: int, steps: int, placement: DeviceConfig) -> dict[str, Callable[[], object]]:
    """What makes ``steps`` steps of every seed, stacked and one after another."""
    configs = [config.changed(seed=seed) for seed in range(seeds)]
    stack, alone = Stack([Member(each, placement) for each in configs]), [Run(each, placement) for each in configs]
    return {
        "stacked": lambda: [stack.update() for _ in range(steps)],
        "alone": lambda: [run.update() for run in alone for _ in range(steps)],
    }


def main() -> None:
    parser = options(__doc__, seeds=4, steps=5, rounds=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    keep_buffers()
    torch.set_num_threads(1)
    rows = []
    for name, config in NETS.items():
        calls = ways(config, arguments.seeds, arguments.steps, DeviceConfig(device=arguments.device))
        found = in_turns(calls, arguments.rounds, arguments.device)
        images = arguments.seeds * arguments.steps * config.optimizer.batch_size
        ours, peer = (images / found[way] for way in ("stacked", "alone"))
        rows.append(row(f"{name}, {arguments.seeds} seeds", "one after another", "images/s", ours, peer))
    finish("stack", arguments, machine(arguments.device), rows)


if __name__ == "__main__":
    main()
