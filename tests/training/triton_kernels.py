"""Triton kernels without a GPU: Triton's interpreter runs them on the CPU, and its compiler compiles them for a GPU."""

import os
import subprocess
import sys

import pytest
import torch

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
ROUNDED = {torch.float16: 2**-11, torch.bfloat16: 2**-7}
"""How far the result is off at most, relatively, by being rounded once to half precision: half an ulp. A whole one in
bfloat16, to which Triton's interpreter truncates; compiled code rounds, as another test reads."""


def triton():
    return pytest.importorskip("triton", reason="PyTorch has no Triton here: a build for CPUs alone, or not Linux")


def name(case):
    dtype, shape, memory_format = case
    return f"{dtype}-{shape}-{memory_format}".removeprefix("torch.")


def interpret(results, inputs, path):
    """``results``, source text of a function, called with each of ``inputs``.

    Triton reads TRITON_INTERPRET when it is imported: hence another process.
    """
    triton()
    torch.save(inputs, path)
    ends = "path = sys.argv[1]\ntorch.save([results(*each) for each in torch.load(path)], path)"
    script = f"import sys, torch\n{results}\n{ends}"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", script, path], env=environment, check=True)
    return torch.load(path)


def assert_close(ours, theirs, x):
    """``ours``, computed in x's type, equals ``theirs`` in double; a small number is a difference of large terms."""
    assert (ours.dtype, ours.shape, ours.stride()) == (x.dtype, x.shape, x.stride())
    largest = theirs.abs().max().item() if x.numel() else 0.0
    working = torch.promote_types(x.dtype, torch.float32)
    rtol, eps = ROUNDED.get(x.dtype, 0.0), torch.finfo(working).eps
    torch.testing.assert_close(ours.double(), theirs, rtol=rtol, atol=16 * eps * largest)


def ptx(kernel, dtype, constants, architecture, warps, others=None):
    """The kernel's machine-independent code. Its pointers are of ``dtype``, but for ``others`` (name: type)."""
    triton()
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = {each: "constexpr" if each in constants else f"*{dtype}" for each in kernel.arg_names} | {"count": "i32"}
    types |= {each: kind for each, kind in (others or {}).items() if each in types}
    source = ASTSource(kernel, types, constants)
    target = GPUTarget("cuda", architecture, 32)
    return compile(source, target=target, options={"num_warps": warps}).asm["ptx"]
