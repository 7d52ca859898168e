"""Training steps as CUDA graphs: a step is captured once and then replayed, with one launch instead of hundreds."""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

WARM_UP = 3
"""Eager steps before the capture, as many as in PyTorch's example: in them libraries choose kernels and reserve memory,
and the optimizer makes its velocities. They are the first steps of the run, so that nothing has to be undone."""

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""How far a replayed step may differ from an eager one: kernels that add in no fixed order round differently, and a
step that read a wrong tensor is off by more."""

Work = Callable[[], None]
"""Reads and writes tensors that stay where they are, and returns nothing."""


class Recorder(Protocol):
    """What makes graphs. A test has one for the CPU."""

    def warm_up(self, work: Work) -> None:
        """Run ``work`` once, in the way in which it will be captured."""

    def capture(self, work: Work) -> Work:
        """Record what ``work`` computes, without computing it; what is returned computes it, at every call."""


@functools.cache
def _stream(device: str) -> torch.cuda.Stream:
    """The stream that captures, one for all runs of a process: cuBLAS keeps megabytes of workspace for each stream."""
    return torch.cuda.Stream(device)


class CudaRecorder:
    """Makes CUDA graphs on one device."""

    def __init__(self, device: str) -> None:
        self.stream = _stream(device)

    def warm_up(self, work: Work) -> None:
        """Do ``work`` on the stream that captures, for which cuBLAS then has its workspace."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            work()
        current.wait_stream(self.stream)

    def capture(self, work: Work) -> Work:
        """A CUDA graph of ``work``. "thread_local" lets threads that read images reserve memory meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            work()
        replay: Work = graph.replay
        return replay


def recorder(device: str) -> Recorder | None:
    """What makes graphs on a device; None where there are none."""
    return CudaRecorder(device) if device.startswith("cuda") else None


class GraphedStep:
    """A training step that is captured after ``WARM_UP`` steps, and replayed from then on.

    A graph reads its batch where it did when it was captured: each batch is copied into buffers of this step. What
    Python computes is part of a graph, learning rates among it: with other rates, the step is captured again. The first
    replay is compared with the same step done eagerly. If it differs, or a capture fails, one line on stderr says so,
    and all later steps are eager.

    state: all tensors that a step changes and a later one reads.
    """

    def __init__(self, recorder: Recorder, state: Callable[[], Mapping[str, Tensor]]) -> None:
        self._recorder: Recorder | None = recorder
        self._state, self._trusted = state, False
        self._buffers: dict[str, Tensor] = {}
        self._warm = 0
        self._rates: tuple[float, ...] = ()
        self._replay: Work | None = None

    def __call__(
        self, compute: Callable[[Mapping[str, Tensor]], None], batch: Mapping[str, Tensor], *rates: float
    ) -> None:
        """One step: ``compute`` on a batch, given as tensors by name. The shapes and the names are always the same."""
        self._refresh(batch)

        def work() -> None:
            compute(self._buffers)

        if self._recorder is None:
            work()
        elif self._warm < WARM_UP:
            self._warm += 1
            self._recorder.warm_up(work)
        else:
            if rates != self._rates:
                self._replay = None  # first, so that the next graph can have its memory
                self._replay, self._rates = self._capture(self._recorder, work), rates
            if self._replay is not None and not self._trusted:
                self._compare(self._replay, work)
            else:
                (self._replay or work)()

    def _compare(self, replay: Work, work: Work) -> None:
        """One eager step, after a replayed one that is undone; the graph is dropped if their results differ."""
        before = {name: tensor.clone() for name, tensor in self._state().items()}
        replay()
        replayed = {name: tensor.clone() for name, tensor in self._state().items()}
        for name, tensor in self._state().items():
            tensor.copy_(before[name])
        work()
        self._trusted = True
        for name, tensor in self._state().items():
            if not torch.allclose(replayed[name].float(), tensor.float(), RELATIVE, ABSOLUTE, equal_nan=True):
                self._give_up(f"{name} differs from an eager step's")
                return

    def _refresh(self, batch: Mapping[str, Tensor]) -> None:
        for name, tensor in batch.items():
            if name not in self._buffers:
                self._buffers[name] = torch.empty_like(tensor)
            self._buffers[name].copy_(tensor)

    def _capture(self, recorder: Recorder, work: Work) -> Work | None:
        try:
            return recorder.capture(work)
        except RuntimeError as error:
            self._give_up(str(error).partition("\n")[0])
            return None

    def _give_up(self, why: str) -> None:
        print(f"a training step can't be a CUDA graph here ({why}): training goes on without", file=sys.stderr)
        self._recorder = self._replay = None


def graphed_step(device: str, state: Callable[[], Mapping[str, Tensor]]) -> GraphedStep | None:
    """A step to be captured, on a device that has graphs; None elsewhere."""
    found = recorder(device)
    return None if found is None else GraphedStep(found, state)
