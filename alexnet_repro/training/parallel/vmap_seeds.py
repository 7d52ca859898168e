"""Train several seeds of one network in one computation (torch.vmap), for networks too small to keep a GPU busy."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

from ...experiments.config import DeviceConfig, RunConfig
from ...records.record import RunRecord, Status
from ..optim import AlexNetSGD
from ..trainer import Observer, Run, Stopped, resource_errors


class Member(Run):
    """A run whose steps are made by a Stack; everything else, checkpoints too, is as in a Run."""

    def device_name(self) -> str:
        return f"{super().device_name()}, seeds stacked"

    def split_convolutions(self) -> None:
        """Leave them as they are: a Stack computes those of all its nets together, which is not what is timed."""


class Stack:
    """Runs that differ only in their seeds and are at the same step; their weights become views of stacked tensors.

    Each run has the images, order, crops and dropout masks that it has alone; none may be in bfloat16. Only the order
    of summation differs: over many steps the rounding errors grow as they do between two machines.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = list(runs)
        first = self.runs[0]
        nets = [dict(run.net.named_parameters()) for run in self.runs]
        self.parameters = {name: _stacked([net[name] for net in nets]).requires_grad_() for name in nets[0]}
        names = {parameter: name for name, parameter in nets[0].items()}
        groups = [
            {**group, "params": [self.parameters[names[p]] for p in group["params"]]}
            for group in first.optimizer.param_groups
        ]
        self.optimizer = AlexNetSGD(groups)
        for name, parameter in self.parameters.items():
            velocity = _stacked([run.optimizer.velocity(net[name]) for run, net in zip(self.runs, nets, strict=True)])
            self.optimizer.state[parameter]["velocity"] = velocity
            for number, (run, net) in enumerate(zip(self.runs, nets, strict=True)):
                net[name].data = parameter.detach()[number]
                run.optimizer.state[net[name]]["velocity"] = velocity[number]

    def update(self) -> None:
        """The next step of every run, without waiting for the GPU."""
        first = self.runs[0]
        parts = [run.start_step() for run in self.runs]
        batches = [run.batch(part) for run, part in zip(self.runs, parts, strict=True)]
        inputs, labels = _stacked([each for each, _ in batches]), torch.stack([each for _, each in batches])
        logits = vmap(self._logits)(self.parameters, inputs, self._masks(parts))
        losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).mean(1)
        self.optimizer.zero_grad()
        losses.sum().backward()
        for ours, its in zip(self.optimizer.param_groups, first.optimizer.param_groups, strict=True):
            ours["lr"] = its["lr"]
        self.optimizer.step()
        for run, *own in zip(self.runs, logits, labels, losses, strict=True):
            run.count(*own)
            run.step += 1

    def _logits(self, parameters: dict[str, Tensor], inputs: Tensor, masks: dict[str, Tensor]) -> Tensor:
        options: dict[str, Any] = {"masks": masks} if masks else {}
        logits: Tensor = functional_call(self.runs[0].net, parameters, (inputs,), options)
        return logits

    def _masks(self, parts: list[slice]) -> dict[str, Tensor]:
        """The dropout masks of all runs, stacked; each run draws its own."""
        drawn = [run.masks(part) for run, part in zip(self.runs, parts, strict=True)]
        return {name: torch.stack([each[name] for each in drawn]) for name in drawn[0]}


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """torch.stack that keeps the memory format of the tensors."""
    whole = torch.stack([t.detach().permute(_by_stride(t)) for t in tensors])
    back = sorted(range(tensors[0].dim()), key=_by_stride(tensors[0]).__getitem__)
    return whole.permute(0, *(place + 1 for place in back))


def _by_stride(tensor: Tensor) -> list[int]:
    """Its dimensions in the order of memory."""
    return sorted(range(tensor.dim()), key=tensor.stride().__getitem__, reverse=True)


def train(
    configs: Sequence[RunConfig],
    placement: DeviceConfig,
    path: Callable[[RunConfig], Path | None] = lambda _: None,
    observe: Callable[[RunConfig], Observer] = lambda _: lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
    weights_path: Callable[[RunConfig], Path | None] = lambda _: None,
) -> Iterator[RunRecord]:
    """Train configs that differ only in their seeds, stacked, and yield the record of each when it ends.

    Each run resumes from the checkpoint at its path if that exists; runs at the same step are stacked. The time of a
    step is divided among the runs. Otherwise as ``trainer.train``.
    """
    torch.set_num_threads(placement.threads)
    with resource_errors(configs[0], placement):
        runs = [Member(config, placement) for config in configs]
        for run in runs:
            own = path(run.config)
            if own is not None and run.saved(own):
                run.resume(own)
        runs.sort(key=lambda run: run.step)
        for _, together in groupby(runs, key=lambda run: run.step):
            left = list(together)
            while left:
                for run, status in _until_one_ends(left, path, observe, stop):
                    left.remove(run)
                    record, kept = run.record(status), weights_path(run.config)
                    if kept is not None:
                        run.keep(kept)
                    yield record


def _until_one_ends(
    runs: list[Member],
    path: Callable[[RunConfig], Path | None],
    observe: Callable[[RunConfig], Observer],
    stop: Callable[[], bool],
) -> list[tuple[Member, Status]]:
    """Train until a run has ended; return the ended runs and their status. Raises Stopped after writing checkpoints."""
    stack, before = Stack(runs), time.monotonic()
    due_at = before + runs[0].placement.checkpoint_seconds
    while not (ended := [(run, status) for run in runs if (status := run.status()) is not None]):
        asked, now = stop(), time.monotonic()
        if asked or now >= due_at:
            for run in runs:
                own = path(run.config)
                if own is not None:
                    run.save(own)
            due_at = now + runs[0].placement.checkpoint_seconds * max(1.0, time.monotonic() - now)
        if asked:
            raise Stopped
        stack.update()
        for run in runs:
            if run.should_log():
                run.measure()
                observe(run.config)(run.step, run.budget_steps)
        now = time.monotonic()
        for run in runs:
            run.seconds += (now - before) / len(runs)
        before = now
    return ended
