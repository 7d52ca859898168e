"""Tensors that claim to be on "cuda" or "mps" and compute on the CPU: one on the wrong device fails on a laptop.

torch's FakeTensorMode claims a device, too, but holds no numbers: the first ``.item()`` of a run would end the test.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache

import pytest
import torch
import torch.distributed as dist
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from alexnet_repro.training import convolutions, graphs, provenance
from alexnet_repro.training.models import lrn, within_map
from alexnet_repro.training.parallel import trainer

WITHOUT_GPU = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="tests/gpu does this on the GPU that is here"),
    pytest.mark.skipif(
        not hasattr(torch._C, "_ensureCUDADeviceGuardSet"), reason="this version of torch needs a GPU's driver for it"
    ),
]
"""The marks of a file whose tests pretend."""


def pretending(test):
    """Mark one test that pretends."""
    for mark in WITHOUT_GPU:
        test = mark(test)
    return test


aten = torch.ops.aten
KIND = "cuda"
"""What the tensors claim: "cuda" or "mps"."""
COPIES = {aten.copy_.default, aten._to_copy.default}
"""The operations whose tensors may be on different devices."""


class PretendTensor(torch.Tensor):
    """A tensor whose ``device`` is the first of ``KIND``. ``held`` is a CPU tensor with its numbers.

    For torch's C++ code it is on "meta": were it on the CPU, ``.cpu()`` would give the same tensor, unseen by
    ``__torch_dispatch__``.
    """

    @staticmethod
    def __new__(cls, held):
        if KIND == "mps" and held.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), held.stride(), held.storage_offset(), dtype=held.dtype, device="meta"
        )
        tensor.held = held
        return tensor

    device = property(lambda self: torch.device(KIND, 0))
    is_cuda = property(lambda self: KIND == "cuda")
    is_meta = property(lambda self: False)
    data = property(lambda self: self.detach(), lambda self, other: setattr(self, "held", other.held))

    def tolist(self):
        return self.held.tolist()

    def pin_memory(self):
        raise RuntimeError("cannot pin 'cuda' memory: only dense CPU tensors can be pinned")

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return compute(operation, args, kwargs or {})


class PretendGenerator(torch.Generator):
    """A CPU generator that claims another device."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls, device="cpu")

    def __init__(self, device="cpu"):
        self.claimed = torch.device(device)

    device = property(lambda self: self.claimed)


class PretendMode(TorchDispatchMode):
    """While entered, in this thread, ``device="cuda"`` makes a PretendTensor."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return compute(operation, args, kwargs or {})


class AsCuda(TorchFunctionMode):
    """While entered, torch is given "cuda" for "mps", which its C++ code refuses where it was built without."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        def renamed(value):
            apple = isinstance(value, str | torch.device) and str(value).startswith("mps")
            return torch.device("cuda") if apple else value

        if function is torch.device:
            return function(*args, **kwargs or {})
        return function(*tree_map(renamed, args), **tree_map(renamed, kwargs or {}))


@contextmanager
def pretending_mode():
    """The modes of this thread."""
    with AsCuda() if KIND == "mps" else nullcontext(), PretendMode():
        yield


def compute(operation, args, kwargs):
    """Compute on the CPU. The result claims the device that it would have. Raises RuntimeError where torch would."""
    claiming, others = {}, []

    def held(value):
        if isinstance(value, PretendTensor):
            claiming[id(value.held)] = value
            return value.held
        if isinstance(value, torch.Tensor):
            others.append(value)
        return value

    own_args, own_kwargs = tree_map(held, args), tree_map(held, kwargs)
    # A number on the CPU may be added to what is on a GPU, but not the other way.
    written = operation._schema.is_mutable and any(value is args[0] for value in others)
    if claiming and operation not in COPIES and (written or any(value.dim() for value in others)):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {KIND}:0 and cpu in {operation}")
    device = kwargs.get("device")
    if device is not None:
        own_kwargs["device"] = torch.device("cpu")
    result = operation(*own_args, **own_kwargs)
    if operation is aten._to_copy.default and any(result is each for each in (*others, *own_args)):
        result = result.clone()

    def claim(value):
        if type(value) is not torch.Tensor:
            return value
        return claiming[id(value)] if id(value) in claiming else PretendTensor(value)

    # "meta" is what autograd asks for where it makes zeros like a PretendTensor.
    on_gpu = bool(claiming) if device is None else torch.device(device).type in ("cuda", "meta")
    return tree_map(claim, result) if on_gpu else result


class Averaged(torch.nn.Module):
    """What DistributedDataParallel does to gradients: their mean over the processes of a group, once all are there."""

    def __init__(self, module, process_group):
        super().__init__()
        self.module = module

        def average(parameter):
            parameter.grad /= process_group.size()
            dist.all_reduce(parameter.grad, group=process_group)

        for parameter in module.parameters():
            parameter.register_post_accumulate_grad_hook(average)

    def forward(self, *given, **options):
        return self.module(*given, **options)


def by_formula(x):
    """Cross-map normalization as on a GPU without Triton."""
    return lrn._Passes(lrn._formula, lrn._gradient_formula)


def no_faster(works, device):
    """No way is faster than another; test_convolutions.py runs what is to be timed."""
    return [1.0] * len(works)


def in_pretend_mode(function, *arguments):
    """Call a function in a thread of its own, where the mode of the thread that asks does not hold."""
    with pretending_mode():
        return function(*arguments)


@contextmanager
def pretend_gpu(recorder=None, kind="cuda"):
    """One GPU that is not there. What the block does on ``kind`` is done on the CPU, with all devices compared.

    On "mps" a tensor of float64 is an error, as on Apple's GPUs.

    Not covered: what torch does in C++ alone (autocast chooses no other type, pinned memory is ordinary memory, copies
    wait, DistributedDataParallel is replaced by ``Averaged``), CUDA graphs (``recorder`` captures, or steps are eager),
    Triton (normalization computes its formula in plain operations), NCCL (replaced by Gloo), how long a
    convolution takes (see ``no_faster``), and more than one GPU a process.
    """
    empty = torch.empty
    with pytest.MonkeyPatch.context() as patch:
        torch._C._ensureCUDADeviceGuardSet()
        patch.setattr(sys.modules[__name__], "KIND", kind)
        patch.setattr(torch.backends.mps, "is_available", cache(lambda: kind == "mps"))
        patch.setattr(torch.mps, "synchronize", lambda: None)
        patch.setattr(torch.mps, "empty_cache", lambda: None)
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
        patch.setattr(torch.cuda, "device_count", lambda: 2 * (kind == "cuda"))
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *given, **options: True)
        patch.setattr(torch.cuda, "set_device", lambda device: None)
        patch.setattr(torch.cuda, "get_device_name", lambda device: "pretended GPU")
        patch.setattr(torch.cuda, "get_device_capability", lambda device: (0, 0))
        patch.setattr(provenance, "query_nvidia_smi", lambda device, question: None)
        patch.setattr(torch, "Generator", PretendGenerator)
        patch.setattr(torch, "empty", lambda *size, pin_memory=False, **options: empty(*size, **options))
        patch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr(lrn, "_passes", by_formula)
        patch.setattr(within_map, "_kernels", lambda: None)
        patch.setattr(graphs, "recorder", lambda device: recorder)
        patch.setattr(convolutions, "milliseconds", no_faster)
        patch.setattr(trainer, "DistributedDataParallel", Averaged)
        submit = ThreadPoolExecutor.submit
        patch.setattr(ThreadPoolExecutor, "submit", lambda pool, *call: submit(pool, in_pretend_mode, *call))
        start = dist.init_process_group
        patch.setattr(dist, "init_process_group", lambda backend, **options: start("gloo", **options))
        with pretending_mode():
            yield
