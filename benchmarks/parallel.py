"""A training step of AlexNet on one device and on two, in one run: half the kernels, two columns, data parallel.

    python benchmarks/parallel.py [--device cuda] [--net paper] [--batch 128] [--steps 100] [--rounds 5] [--publish]

Cases: the one-GPU net of section 3.2 with half the kernels; both columns on one device; a column on each of two; the
whole net on each of two, which share the batch. Synthetic images, section 5's update, dropout; the cases take turns,
and a row is the mean of a turn's steps after ten that are not timed. On CPUs a device is a process of one thread;
CPU seconds, those of one process, stay put where other programs share the machine. With --publish the numbers go to
data/benchmarks/, which the page on two GPUs shows; with nothing changed, two GPUs settle both claims about time, and
one the pace of section 5.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from common import machine, options, write
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from alexnet_repro.common.machine import launched
from alexnet_repro.common.rng import torch_stream
from alexnet_repro.experiments import step_timing
from alexnet_repro.experiments.cifar_alexnet import BASELINE
from alexnet_repro.experiments.step_timing import NETS
from alexnet_repro.networks.config import AlexNetConfig
from alexnet_repro.training import provenance
from alexnet_repro.training.launch import devices as processes
from alexnet_repro.training.models.alexnet import AlexNet
from alexnet_repro.training.optim import AlexNetSGD, param_groups
from alexnet_repro.training.parallel.model_parallel import Column, Link
from alexnet_repro.training.parallel.process_group import Group
from alexnet_repro.training.precision import set_tf32

WARM_UP = step_timing.RULE["warm_up"]
STEPS = {"cpu": 10, "cuda": step_timing.RULE["steps"]}


class Case:
    """One net ready to train: ``net`` of this process, or ``whole``, the module that is called; ``rows`` of a batch."""

    def __init__(self, net: AlexNet, whole: nn.Module, batch: int, device: str) -> None:
        self.net, self.whole, self.batch, self.device = net, whole, batch, device
        self.optimizer = AlexNetSGD(param_groups(net, BASELINE.optimizer), momentum=BASELINE.optimizer.momentum)
        side = net.config.image_size
        images = torch.randn(batch, 3, side, side, device=device)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.arange(batch, device=device) % net.config.classes

    def step(self, number: int) -> None:
        logits: Tensor = self.whole(self.images, torch_stream(0, "dropout", number, device=self.device))
        self.optimizer.zero_grad()
        cross_entropy(logits, self.labels).backward()
        self.optimizer.step()

    def turn(self, steps: int) -> tuple[float, float]:
        """Mean wall and CPU seconds of a step."""
        for number in range(WARM_UP):
            self.step(number)
        self._wait()
        start, start_cpu = time.perf_counter(), time.process_time()
        for number in range(steps):
            self.step(number)
        self._wait()
        return (time.perf_counter() - start) / steps, (time.process_time() - start_cpu) / steps

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


def cases(config: AlexNetConfig, batch: int, group: Group) -> dict[str, Callable[[], Case | None]]:
    """How each case is made in this process; None where it has no part in it."""
    device = group.placement.device

    def made(config: AlexNetConfig) -> AlexNet:
        net = AlexNet(config, 0)
        net.to(device)
        return net

    def alone(config: AlexNetConfig) -> Case | None:
        net = made(config)
        return Case(net, net, batch, device) if group.rank == 0 else None

    def columns() -> Case:
        net = Column(config, 0, Link(group.column, group.peer, group.pair))
        net.to(device)
        return Case(net, net, batch, device)

    def data() -> Case:
        net = made(config)
        return Case(net, DistributedDataParallel(net), batch // 2, device)

    single: dict[str, Callable[[], Case | None]] = {
        step_timing.HALF: lambda: alone(config.change(columns="half")),
        step_timing.ONE: lambda: alone(config),
    }
    return single | ({step_timing.COLUMNS: columns, step_timing.DATA: data} if group.size == 2 else {})


def measure(config: AlexNetConfig, batch: int, steps: int, rounds: int, group: Group) -> list[dict[str, Any]]:
    """A row per case and round, as this process sees it."""
    torch.set_num_threads(1)
    set_tf32("float32")
    rows: list[dict[str, Any]] = []
    ready = {name: make() for name, make in cases(config, batch, group).items()}
    for number in range(rounds):
        for name, case in ready.items():
            dist.barrier(group.host)
            if case is None:
                continue
            sent = case.net.link.sent if isinstance(case.net, Column) else 0
            wall, cpu = case.turn(steps)
            sent = (case.net.link.sent - sent) // (steps + WARM_UP) if isinstance(case.net, Column) else 0
            rows.append({"case": name, "round": number, "step_seconds": wall, "cpu_seconds": cpu, "bytes_sent": sent})
    return rows


def main() -> None:
    parser = options(__doc__, batch=step_timing.RULE["batch"], rounds=5)
    parser.add_argument("--steps", type=int, help="default: 10 on CPUs, 100 on GPUs")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--net", choices=NETS, help="default: cifar on CPUs, the paper's on GPUs")
    arguments = parser.parse_args()
    if not launched():
        devices = min(2, torch.cuda.device_count()) if arguments.device == "cuda" else 2
        if devices == 0:
            sys.exit("error: device 'cuda' is not available: this machine has no CUDA GPU; use '--device cpu'")
        processes.COMMAND = [sys.executable, __file__]
        processes.start(sys.argv[1:], devices)
        return
    group = Group("columns" if int(os.environ["WORLD_SIZE"]) == 2 else "data", arguments.device)
    net = arguments.net or ("paper" if arguments.device == "cuda" else "cifar")
    steps = arguments.steps or STEPS[arguments.device]
    places = [f"cuda:{rank}" if arguments.device == "cuda" else "cpu" for rank in range(group.size)]
    about: dict[str, Any] = {
        **machine(group.placement.device),
        "kind": arguments.device,
        "devices": [provenance.device_name(place) for place in places],
        "net": net,
        "precision": "float32",
        "batch": arguments.batch,
        "warm_up": WARM_UP,
        "steps": steps,
    }
    rows = measure(NETS[net], arguments.batch, steps, arguments.rounds, group)
    group.close()
    if group.rank:
        return
    print(f"{'case':34} {'s/step':>8} {'CPU s':>8} {'MB sent':>8}")
    for name in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == name]
        wall, cpu = (statistics.median(row[key] for row in own) for key in ("step_seconds", "cpu_seconds"))
        print(f"{name:34} {wall:8.4f} {cpu:8.4f} {own[0]['bytes_sent'] / 1e6:8.2f}")
    write(arguments, step_timing.path(about["devices"] if arguments.device == "cuda" else ()), about, rows)


if __name__ == "__main__":
    main()
