"""Train one run on several devices: a column on each, a part of every batch on each, or both."""

import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from ...common.errors import UserError
from ...common.files import lock, sweep, write_atomic
from ...experiments.config import DeviceConfig, RunConfig
from ...networks.config import AlexNetConfig
from ...records.store import Store
from .. import checkpoint, provenance
from ..convolutions import split_where_faster
from ..models.alexnet import AlexNet
from ..trainer import Run, Stopped, train
from . import model_parallel
from .model_parallel import Column, Link
from .process_group import Group, StopSignal


class ParallelRun(Run):
    """This process's part of a run that is trained by the processes of ``group``.

    Images, their order and dropout masks are those of a run on one device: each replica takes its rows of every batch,
    and gradients are weighted by their number, so an uneven batch counts as it does on one device. Only the order of
    summation differs. Checkpoints are interchangeable with those of one device. Raises UserError for a batch of fewer
    images than replicas.
    """

    def __init__(self, config: RunConfig, placement: DeviceConfig, group: Group) -> None:
        self.group = group
        size, batch = config.data.train_images, config.optimizer.batch_size
        least = min(batch, size % batch or batch)
        if least < group.replicas:
            raise UserError(f"a batch of {least} images for {group.replicas} devices: ask for fewer devices")
        super().__init__(config, placement)
        self.graph = None  # within a step the processes wait for each other
        self._shared: nn.Module = self.trained
        if group.replicas > 1:
            self._shared = DistributedDataParallel(self.trained, process_group=group.twins)

    def build(self) -> nn.Module:
        if self.group.columns == 1:
            return super().build()
        assert isinstance(self.config.model, AlexNetConfig)  # see group.check_parallel
        self.link = Link(self.group.column, self.group.peer, self.group.pair)
        return Column(self.config.model, self.config.seed, self.link)

    def split_convolutions(self) -> None:
        rows = self.group.rows(slice(0, self.config.optimizer.batch_size))
        split_where_faster(self.net, rows.stop - rows.start, self.config.precision, self.device)

    def batch(self, part: slice) -> tuple[Tensor, Tensor]:
        return super().batch(self.group.rows(part))

    def masks(self, part: slice) -> dict[str, Tensor]:
        rows = self.group.rows(part)
        own = slice(rows.start - part.start, rows.stop - part.start)
        return {name: mask[own] for name, mask in super().masks(part).items()}

    def logits(self, inputs: Tensor, masks: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self._shared(inputs, **({"masks": masks} if masks else {}))
        return logits

    def backward(self, loss: Tensor, part: slice) -> None:
        rows = self.group.rows(part)
        share = (rows.stop - rows.start) / (part.stop - part.start)
        # The replicas' gradients are averaged, and are to be added.
        (loss * (share * self.group.replicas)).backward()

    def measure(self) -> None:
        for sums in (self.wrong, self.loss):
            dist.all_reduce(sums, group=self.group.twins)
        super().measure()
        # One test error for all, which the schedule follows: another kernel may decide another image.
        self.curve[-1] = self.group.tell(self.curve[-1])

    def whole(self) -> nn.Module:
        if self.group.columns == 1:
            return self.net
        assert isinstance(self.config.model, AlexNetConfig)
        net = AlexNet(self.config.model, self.config.seed, device="meta").to_empty(device=self.device)
        net.load_state_dict(model_parallel.whole(self.net.state_dict(), self.link))
        return net

    def device_name(self) -> str:
        group, name = self.group, provenance.device_name(self.device)
        return f"{group.size} x {name}: columns on {group.columns}, batches over {group.replicas}"

    def agree(self, *flags: bool) -> list[bool]:
        return self.group.agree(*flags)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that a checkpoint of one device has, in every process. All processes must call it."""
        own = super().tensors()
        sums = {name: own.pop(name).clone() for name in ("wrong", "loss")}
        for tensor in sums.values():
            dist.all_reduce(tensor, group=self.group.twins)
        return (model_parallel.whole(own, self.link) if self.group.columns == 2 else own) | sums

    def restore(self, tensors: dict[str, Tensor]) -> None:
        for name, own in super().tensors().items():
            if name in ("wrong", "loss"):  # the replicas' are added up
                own.copy_(tensors[name]).mul_(self.group.replica == 0)
            else:
                own.copy_(self.link.own(tensors[name]) if self.group.columns == 2 else tensors[name])

    def save(self, path: Path) -> None:
        tensors = self.tensors()
        if self.group.rank == 0:
            checkpoint.save(path, tensors, self.values())
        self.group.monitor.resume = f"run the same command again to resume from step {self.step}"

    def saved(self, path: Path) -> bool:
        """Whether process 0 sees a checkpoint: only that process reads it."""
        return bool(self.group.tell(path.is_file()))

    def load(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Read a checkpoint in process 0 and broadcast it: other processes may be on machines without that disk."""
        tensors, values = checkpoint.load(path) if self.group.rank == 0 else ({}, {})
        about = {name: (list(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in tensors.items()}
        about, values = self.group.tell([about, values])
        for name, (shape, kind) in about.items():
            tensor = tensors[name] if name in tensors else torch.empty(shape, dtype=getattr(torch, kind))
            dist.broadcast(tensor, 0, self.group.host)
            tensors[name] = tensor
        return tensors, values

    def keep(self, path: Path) -> None:
        weights = self.whole().state_dict()
        if self.group.rank == 0:
            checkpoint.save(path, weights, {"key": self.config.key})


def train_runs(
    configs: Sequence[RunConfig], store: Store, group: Group, title: str = "runs", progress: bool = True
) -> None:
    """Train the runs that process 0's store lacks, one after another, each in all processes of ``group``.

    All processes must call it with the same configs. Only process 0 reads and writes the store. If a process dies or
    hangs (see Monitor), the others exit with one line of error; the next call resumes from the checkpoint. SIGTERM or
    Ctrl-C in any process stops all of them, after writing a checkpoint, and raises SystemExit.
    """
    asked = StopSignal()
    try:
        keys = group.tell([config.key for config in store.missing(configs)] if group.rank == 0 else None)
        waiting = {config.key: config for config in configs if config.key in keys}
        if len(waiting) < len(keys):
            raise UserError(
                f"process {group.rank} does not know all runs of process 0: install one version everywhere", 1
            )
        silent = not progress or group.rank != 0
        try:
            with tqdm(total=float(len(waiting)), desc=title, disable=silent, bar_format=BAR) as bar:
                for done, config in enumerate(waiting.values()):
                    _train(config, store, group, asked, partial(_show, bar, done))
        except Stopped:
            group.close()
            sys.exit(128 + signal.SIGTERM)
        group.close()
    except UserError as error:
        group.monitor.end(str(error), error.code)
    except Exception as error:
        if isinstance(error, RuntimeError):
            group.monitor.failed(error)
        path = store.root / "errors" / f"process-{group.rank}.txt"
        write_atomic(path, traceback.format_exc())
        group.monitor.end(f"process {group.rank} failed ({type(error).__name__}: {error}): report it with {path}")


BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left"


def _show(bar: Any, runs: int, done: int, total: int) -> None:
    bar.n = runs + done / total
    bar.refresh()


def _train(config: RunConfig, store: Store, group: Group, asked: StopSignal, observe: Any) -> None:
    saved, weights = store.checkpoint(config.key), store.weights(config.key)
    first = group.rank == 0
    group.monitor.resume = "run the same command again; it had no checkpoint yet"

    def busy() -> None:
        raise UserError(f"run {config.key} is being trained by another process: wait for its end", 1)

    with lock(store.root / "locks" / config.key, busy) if first else nullcontext():
        if first:
            for path in (saved, weights, store.path(config.key)):
                sweep(path)
        kept = weights if isinstance(config.model, AlexNetConfig) else None
        record = train(config, group.placement, saved, observe, asked, kept, partial(ParallelRun, group=group))
        if first:
            store.save(record)
            saved.unlink(missing_ok=True)
