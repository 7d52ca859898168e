"""Training steps as CUDA graphs: a step is captured once and then replayed, with one launch instead of hundreds."""

import functools
import gc
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

WARM_UP = 3
"""Eager steps before the capture, as many as in PyTorch's example: in them libraries choose kernels and reserve memory,
and the optimizer makes its velocities. They are the first steps of the run, so that nothing has to be undone."""

TOLERANCE = 1e-2
"""How far a replayed step may differ from an eager one, relative to a tensor's largest number: kernels that add in no
fixed order round differently, and a step that read a wrong tensor is off by more, in loss and velocities at least."""

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
    """The stream that captures, one for all runs of a process: cuBLAS keeps megabytes of workspace for each stream.

    So only one run of a process should have a graph: the graphs of a stream share that workspace.
    """
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
        graph, device = torch.cuda.CUDAGraph(), self.stream.device
        before, collects = torch.cuda.current_stream(device), gc.isenabled()
        gc.disable()  # a graph that is freed during a capture spoils it
        try:
            with (
                torch.cuda.device(device),
                torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
            ):
                work()
        except BaseException:
            torch.cuda.set_stream(before)  # torch stays on the other stream where ending the capture fails
            raise
        finally:
            if collects:
                gc.enable()
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

    It holds no reference to its run. With one, the two would keep each other, and their GPU memory, until Python's
    garbage collector runs.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder: Recorder | None = recorder
        self._trusted = False
        self._buffers: dict[str, Tensor] = {}
        self._warm = 0
        self._rates: tuple[float, ...] = ()
        self._replay: Work | None = None

    def __call__(
        self,
        compute: Callable[[Mapping[str, Tensor]], None],
        state: Callable[[], Mapping[str, Tensor]],
        batch: Mapping[str, Tensor],
        *rates: float,
    ) -> None:
        """One step: ``compute`` on a batch, given as tensors by name. The shapes and the names are always the same.

        state: all tensors that a step changes and a later one reads.
        """
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
                self._compare(self._replay, work, state)
            else:
                (self._replay or work)()

    def _compare(self, replay: Work, work: Work, state: Callable[[], Mapping[str, Tensor]]) -> None:
        """One eager step, after a replayed one that is undone; the graph is dropped if their results differ."""
        before = {name: tensor.clone() for name, tensor in state().items()}
        replay()
        replayed = {name: tensor.clone() for name, tensor in state().items()}
        for name, tensor in state().items():
            tensor.copy_(before[name])
        work()
        self._trusted = True
        for name, tensor in state().items():
            ours, eager = replayed[name].float(), tensor.float()
            least = 0.0 if tensor.is_floating_point() else 1.0  # of wrong images: rounding can decide one's class
            tolerance = max(TOLERANCE * eager.abs().nan_to_num().max().item(), least)
            if not torch.allclose(ours, eager, rtol=0, atol=tolerance, equal_nan=True):
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


def graphed_step(device: str) -> GraphedStep | None:
    """A step to be captured, on a device that has graphs; None elsewhere."""
    found = recorder(device)
    return None if found is None else GraphedStep(found)
