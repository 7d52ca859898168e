"""The training loop: RunConfig to RunRecord, with checkpoints; progress by callback."""

import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..common.errors import UserError
from ..common.files import regular_file
from ..common.rng import stream, torch_stream
from ..experiments.config import NUMERICS_VERSION, DeviceConfig, RunConfig
from ..records.record import Measurement, Provenance, RunRecord, Status, curve_metrics, trailing
from . import checkpoint, graphs, provenance
from .convolutions import split_where_faster
from .data.load import load
from .devices import available
from .evaluate import top1_wrong
from .from_disk import OnDiskData
from .in_memory import InMemoryData
from .models.alexnet import AlexNet
from .models.build import build
from .optim import AlexNetSGD, first_factor, param_groups, rate_factor
from .out_of_memory import remedy, says_memory
from .precision import at_least_float32, autocast, check_precision, set_tf32

Observer = Callable[[int, int], None]
"""A callback, called after every measurement with (steps done, steps in the whole budget)."""


class Stopped(Exception):
    """Raised by a run that is asked to stop before its end, once its checkpoint is written."""


class Run:
    """A run in progress: network, optimizer, images, and the number of steps done.

    step: optimizer steps so far. wrong, loss: number of misclassified images, and sum of the losses of all images,
    in training since the last measurement. graph: makes the steps of full batches on a GPU; None for eager steps.
    """

    def __init__(self, config: RunConfig, placement: DeviceConfig) -> None:
        self.config, self.placement = config, placement
        self.device = available(placement)
        check_precision(config.precision, self.device)
        if config.data.dataset == "imagenet":
            self.data: OnDiskData | InMemoryData = OnDiskData(config, self.device)
        else:
            self.data = InMemoryData(config, load(config.data.dataset), self.device)
        self.train, self.test, self.digest = self.data.train, self.data.test, self.data.digest
        self.net: nn.Module = self.build()
        self.net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_tf32(config.precision)
        self.split_convolutions()
        # Compiled for training only; it is tested as it is.
        self.trained: nn.Module = compiled(self.net) if config.compiled else self.net
        groups, outside = param_groups(self.net, config.optimizer), config.optimizer.velocity == "gradients"
        self.optimizer = AlexNetSGD(groups, momentum=config.optimizer.momentum, rate_outside=outside)
        self.graph = None if config.compiled else graphs.graphed_step(self.device)
        self.step = 0
        self.curve: list[Measurement] = []
        self.wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        dtype = torch.float32 if self.device == "mps" else torch.float64  # MPS has no float64
        self.loss = torch.zeros((), dtype=dtype, device=self.device)
        self.seconds = 0.0
        # Now, not when the record is written: by then the checkout may have moved on.
        self.commit, self.clean = provenance.commit()
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self._order = torch.empty(0)

    def build(self) -> nn.Module:
        """The network that this process trains, on the CPU."""
        return build(self.config.model, self.config.seed)

    def split_convolutions(self) -> None:
        """On a GPU, compute grouped convolutions group by group where that is faster for a full batch."""
        split_where_faster(self.net, self.config.optimizer.batch_size, self.config.precision, self.device)

    @property
    def epoch_steps(self) -> int:
        """Steps per epoch; the last batch of an epoch may be smaller."""
        return self.config.epoch_steps

    @property
    def budget_steps(self) -> int:
        """Steps of the whole budget."""
        return self.epoch_steps * self.config.budget.epochs

    @property
    def first_steps(self) -> int:
        """Number of first steps that are slower than later ones: they choose kernels, and a graph is captured."""
        return 1 if self.graph is None else graphs.WARM_UP + 1

    def update(self) -> None:
        """One optimizer step (section 5) on the next batch, without waiting for the GPU."""
        part = self.start_step()
        inputs, labels = self.batch(part)
        batch = {"inputs": inputs, "labels": labels, **self.masks(part)}
        compute = partial(self.compute, part)
        if self.graph is not None and len(labels) == self.config.optimizer.batch_size:
            self.graph(compute, self.tensors, batch, *(group["lr"] for group in self.optimizer.param_groups))
        else:
            compute(batch)
        self.step += 1

    def compute(self, part: slice, batch: Mapping[str, Tensor]) -> None:
        """Forward pass, backward pass and update; adds the batch to ``wrong`` and ``loss``.

        batch: inputs, labels and dropout masks of ``part`` of the epoch's order. On a GPU, full batches are captured as
        a CUDA graph: nothing here may depend on values that change from step to step, other than those of the tensors.
        """
        inputs, labels = batch["inputs"], batch["labels"]
        with autocast(self.config.precision, self.device):
            logits = self.logits(inputs, {name: batch[name] for name in batch if name not in ("inputs", "labels")})
        logits = at_least_float32(logits)
        loss = cross_entropy(logits, labels)
        self.optimizer.zero_grad()  # to None: the backward pass writes gradients instead of adding to them
        self.backward(loss, part)
        self.optimizer.step()
        self.count(logits, labels, loss)

    def start_step(self) -> slice:
        """The next batch as a slice of the epoch's order. A new epoch draws its order and sets learning rates."""
        size, batch = self.config.data.train_images, self.config.optimizer.batch_size
        epoch, position = divmod(self.step, self.epoch_steps)
        if position == 0 or len(self._order) == 0:
            order = stream(self.config.seed, "order", epoch).permutation(size)
            self._order = torch.from_numpy(order).to(self.device)
            factor = self._rate_factor()
            assert factor is not None
            self.optimizer.scale_rates(factor, first_factor(self.config.optimizer, epoch))
            self.data.start(epoch)
        return slice(position * batch, min((position + 1) * batch, size))

    def count(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Add a batch to ``wrong`` and ``loss``. loss: its mean loss."""
        self.wrong += top1_wrong(logits.detach(), labels)
        self.loss += loss.detach().to(self.loss.dtype) * len(labels)

    def batch(self, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the images in this slice of the epoch's order."""
        index = self._order[part]
        return self.data.batch(index, part)

    def masks(self, part: slice) -> dict[str, Tensor]:
        """This step's dropout masks by layer, for the batch ``part``; none for a network without dropout."""
        if not isinstance(self.net, AlexNet):
            return {}
        generator = torch_stream(self.config.seed, "dropout", self.step, device=self.device)
        return self.net.masks(part.stop - part.start, generator)

    def logits(self, inputs: Tensor, masks: dict[str, Tensor]) -> Tensor:
        """Logits in training mode, (batch, classes)."""
        logits: Tensor = self.trained(inputs, **({"masks": masks} if masks else {}))
        return logits

    def backward(self, loss: Tensor, part: slice) -> None:
        """Compute the gradients of the mean loss over the batch ``part``."""
        loss.backward()

    def _rate_factor(self) -> float | None:
        """The factor on all initial learning rates from this step on; None if the schedule ends the run here."""
        errors = [m.test_error for m in self.curve if m.test_error is not None]
        return rate_factor(self.config.optimizer, self.step // self.epoch_steps, errors)

    def should_log(self) -> bool:
        """Whether the step just made is to be followed by a measurement."""
        return (self.step - 1) % self.epoch_steps + 1 in self.config.measured_steps

    def measure(self) -> None:
        """Append to ``curve`` loss and error since the last measurement, and the test error at an epoch's end."""
        size = self.config.data.train_images
        whole, position = divmod(self.step, self.epoch_steps)
        images = whole * size + min(position * self.config.optimizer.batch_size, size)
        since = images - (self.curve[-1].images if self.curve else 0)
        loss = self.loss.item() / since
        self.curve.append(
            Measurement(
                epoch=images / size,
                images=images,
                train_loss=loss if math.isfinite(loss) else None,
                train_error=self.wrong.item() / since,
                test_error=self.data.curve_error(self.net) if self.config.budget.test_curve and position == 0 else None,
            )
        )
        self.wrong.zero_()
        self.loss.zero_()

    def status(self) -> Status | None:
        """How the run has ended; None if it has not."""
        if self.curve and self.curve[-1].train_loss is None:
            return "diverged"
        threshold = self.config.budget.stop_at_train_error
        if threshold is not None:
            _, errors = trailing(self.curve, self.config.data.train_images)
            if len(errors) and errors[-1] <= threshold:
                return "stopped"
        if self._rate_factor() is None:
            return "stopped"
        return "finished" if self.step >= self.budget_steps else None

    def record(self, status: Status) -> RunRecord:
        """The record of a run that has ended."""
        config = self.config
        metrics = curve_metrics(config, self.curve, status) | {"test_error": None}
        if status != "diverged":
            metrics |= self.data.metrics(self.net, self.curve)
        return RunRecord(
            key=config.key,
            recipe=NUMERICS_VERSION,
            config=config,
            status=status,
            curve=tuple(self.curve),
            metrics=metrics,
            provenance=Provenance(
                commit=self.commit,
                clean=self.clean,
                **provenance.versions(),
                device=self.device_name(),
                threads=torch.get_num_threads(),
                data=self.digest,
                weights=provenance.weights_digest(self.whole()),
                started=self.started,
                wall_seconds=round(self.seconds, 3),
                images_per_second=round(self.curve[-1].images / max(self.seconds, 1e-9), 1),
                **provenance.place(self.device),
            ),
        )

    def whole(self) -> nn.Module:
        """The whole network, as it would be on one device."""
        return self.net

    def device_name(self) -> str:
        """Name of the device or devices that compute."""
        return provenance.device_name(self.device)

    def agree(self, *flags: bool) -> list[bool]:
        """For each flag, whether any process of this run raises it."""
        return list(flags)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of a checkpoint, by name."""
        weights = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        return weights | self.optimizer.velocities() | {"wrong": self.wrong, "loss": self.loss}

    def values(self) -> dict[str, Any]:
        """Every value of a checkpoint that is no tensor, as JSON takes it."""
        curve = [m.model_dump(exclude_defaults=True) for m in self.curve]
        return {"key": self.config.key, "step": self.step, "curve": curve, "seconds": self.seconds,
                "started": self.started, "commit": self.commit, "clean": self.clean}  # fmt: skip

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        checkpoint.save(path, self.tensors(), self.values())

    def saved(self, path: Path) -> bool:
        """Whether there is a checkpoint at ``path``. Raises UserError for a folder or device."""
        return regular_file(path)

    def load(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and values of a checkpoint."""
        return checkpoint.load(path)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Copy the tensors of a checkpoint into this run."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])

    def keep(self, path: Path) -> None:
        """Write the weights, without the optimizer, to ``path``."""
        checkpoint.save(path, self.whole().state_dict(), {"key": self.config.key})

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint. Raises UserError for one of another run."""
        tensors, values = self.load(path)
        own = self.tensors()
        shapes, found = ({name: tensor.shape for name, tensor in part.items()} for part in (own, tensors))
        if values.get("key") != self.config.key or shapes != found:
            raise UserError(f"{path} belongs to another run: delete it, and the run starts afresh", 1)
        try:
            step, seconds, started = int(values["step"]), float(values["seconds"]), str(values["started"])
            commit, clean = values["commit"], bool(values["clean"])
            curve = [Measurement(**point) for point in values["curve"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is no whole checkpoint: delete it, and the run starts afresh", 1) from error
        self.restore(tensors)
        self._order = torch.empty(0)  # of the epoch before
        self.step, self.seconds, self.started, self.curve = step, seconds, started, curve
        self.commit, self.clean = commit, self.clean and clean


def train(
    config: RunConfig,
    placement: DeviceConfig,
    checkpoint_path: Path | None = None,
    observe: Observer = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
    weights_path: Path | None = None,
    make: Callable[[RunConfig, DeviceConfig], Run] = Run,
) -> RunRecord:
    """Run ``config`` to its end, resuming from ``checkpoint_path`` where that exists.

    A checkpoint is written there every ``placement.checkpoint_seconds``, and as many times less often as one takes
    seconds; whoever saves the record removes it. A resumed run has the same numbers as an uninterrupted one. Its wall
    time is the sum over its parts; its commit is that of the first part, and counts as clean if the code was clean in
    every part. ``stop`` is called before every step: if it returns True, a checkpoint is written and Stopped raised.
    The final weights are written to ``weights_path``. ``make`` creates the Run. Raises UserError if memory runs out or
    torch.compile fails.
    """
    torch.set_num_threads(placement.threads)
    with resource_errors(config, placement):
        return _whole(lambda: make(config, placement), checkpoint_path, observe, stop, weights_path)


def repeats_with_other_rounding(
    config: RunConfig, placement: DeviceConfig, count: int, observe: Observer = lambda done, total: None
) -> list[tuple[Measurement, ...]]:
    """The first epoch of a run, repeated ``count`` times with other rounding errors: the curve of each repeat.

    After every step each weight moves to the next larger or smaller float, at random. That is at least as much as
    summation in another order changes it.
    """
    torch.set_num_threads(placement.threads)
    curves = []
    for repeat in range(count):
        run = Run(config, placement)
        while run.step < run.epoch_steps:
            run.update()
            chance = torch_stream(config.seed, "rounding", repeat, run.step, device=run.device)
            with torch.no_grad():
                for weights in run.net.parameters():
                    up = torch.randint(2, weights.shape, generator=chance, device=run.device)
                    weights.copy_(torch.nextafter(weights, (2.0 * up - 1.0) * math.inf))
            if run.should_log():
                run.measure()
                observe(repeat * run.epoch_steps + run.step, count * run.epoch_steps)
        curves.append(tuple(run.curve))
    return curves


def compiled(net: nn.Module) -> nn.Module:
    """The net by torch.compile, announced on stderr: it compiles, in silence, at the first step.

    Each size of batch has its own code: torch.compile fails on a free size.
    """
    if os.environ.get("RANK", "0") == "0":  # of several processes, the first says it
        print("torch.compile: the first step compiles the network, which can take minutes", file=sys.stderr)
    return torch.compile(net, dynamic=False)  # type: ignore[return-value]


@contextmanager
def resource_errors(config: RunConfig, placement: DeviceConfig) -> Iterator[None]:
    """Turn out-of-memory errors and failures of torch.compile into UserError, which says what to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if config.compiled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            said = " ".join(str(error).split("\n")[:2])
            instead = "install what it lacks (a C++ compiler, on a CPU), or train without --compile"
            raise UserError(f"torch.compile fails on run {config.key} ({said}): {instead}", 1) from error
        if not says_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # what they hold would keep its memory
        said = remedy(config, placement)
        raise UserError(f"too little memory on {placement.device} for run {config.key}: {said}", 1) from error


def _whole(
    make: Callable[[], Run],
    checkpoint_path: Path | None,
    observe: Observer,
    stop: Callable[[], bool],
    weights_path: Path | None,
) -> RunRecord:
    run = make()
    record = run.record(_train(run, checkpoint_path, observe, stop))
    if weights_path is not None:
        run.keep(weights_path)
    return record


def _train(run: Run, checkpoint_path: Path | None, observe: Observer, stop: Callable[[], bool]) -> Status:
    if checkpoint_path is not None and run.saved(checkpoint_path):
        run.resume(checkpoint_path)
    before, start = run.seconds, time.monotonic()
    due_at = start + run.placement.checkpoint_seconds
    status = run.status()
    while status is None:
        asked, due = run.agree(stop(), time.monotonic() >= due_at)
        if checkpoint_path is not None and (asked or due):
            began = time.monotonic()
            run.save(checkpoint_path)
            took = time.monotonic() - began
            due_at = began + run.placement.checkpoint_seconds * max(1.0, took)
        if asked:
            raise Stopped
        run.update()
        if run.should_log():
            run.measure()
            status = run.status()
            observe(run.step, run.budget_steps)
        run.seconds = before + time.monotonic() - start
    return status
