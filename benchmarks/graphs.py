"""Training steps as CUDA graphs beside the same steps launched one operation at a time, data path included, in one run.

    python benchmarks/graphs.py [--device cuda] [--steps 100] [--rounds 5] [--json PATH] [--publish]

Both take turns, in one process; the results are medians. The first turn, with the capture in it, is left out. Training
on the bundled sample, in full batches alone.
"""

import sys

import torch
from common import finish, in_turns, machine, options

from alexnet_repro.experiments.config import DeviceConfig, RunConfig
from alexnet_repro.experiments.registry import study
from alexnet_repro.records.benchmarks import row
from alexnet_repro.training.trainer import Run

FULL = {"data.dataset": "sample", "data.train_images": 7 * 128}
ALEXNET, CUDA_CONVNET = study("ablations").config("baseline", 0), study("lrn_cifar").config("11pct", 0)
CONFIGS = {
    "11pct, float32": CUDA_CONVNET.changed(**FULL),
    **{f"AlexNet in CIFAR size, {each}": ALEXNET.changed(**FULL, precision=each) for each in ("float32", "bfloat16")},
}


def measure(config: RunConfig, device: str, steps: int, rounds: int) -> tuple[float, float]:
    """Images/s with graphs and without."""
    graphed, eager = (Run(config, DeviceConfig(device=device)) for _ in range(2))
    eager.graph = None
    found = in_turns({"graphed": graphed.update, "eager": eager.update}, rounds, device, steps)
    images = steps * config.optimizer.batch_size
    return images / found["graphed"], images / found["eager"]


def main() -> None:
    parser = options(__doc__, steps=100, rounds=5)
    parser.add_argument("--device", default="cuda", choices=["cuda"])
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: this needs a CUDA GPU: other devices have no graphs")
    about, rows = machine(arguments.device), []
    bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    for name, config in CONFIGS.items():
        if config.precision == "bfloat16" and not bfloat16:
            continue
        ours, peer = measure(config, arguments.device, arguments.steps, arguments.rounds)
        rows.append(row(name, "an operation at a time", "images/s", ours, peer))
    finish("graphs", arguments, about, rows)


if __name__ == "__main__":
    main()
