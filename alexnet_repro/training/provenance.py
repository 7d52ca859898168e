"""Provenance of a record: commit, versions, device, digests."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..common import paths

CODE = ("alexnet_repro", "pyproject.toml")


LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
"""Environment variables that limit the processor instructions which a library may use."""
CPUINFO = Path("/proc/cpuinfo")
PARTS = {
    "vendor_id": "", "cpu family": "family ", "model": "model ", "stepping": "stepping ",
    "CPU implementer": "implementer ", "CPU part": "part ", "CPU variant": "variant ", "CPU revision": "revision ",
}  # fmt: skip
"""Fields of /proc/cpuinfo that identify a processor beside its name, on x86-64 and arm64."""
UNKNOWN = ("unknown", False)


@cache
def commit() -> tuple[str, bool]:
    """The commit of the checkout, and whether the package's code has no uncommitted changes.

    ("unknown", False) if the checkout is not the root of a git repository.
    """
    home = paths.repository()
    # A hook's variables would name the hook's repository.
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(home), *words], capture_output=True, check=True, env=environment)
        return os.fsdecode(done.stdout).strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != home:
            return UNKNOWN
        return git("rev-parse", "HEAD"), git("status", "--porcelain", "--", *CODE) == ""
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN


def device_name(device: str) -> str:
    """The model name of a device, such as that of the processor."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device == "mps":
        return f"Apple GPU ({platform.machine()}, macOS {platform.mac_ver()[0] or 'unknown'})"
    return f"{_cpuinfo().get('model name') or platform.processor() or 'unknown'} ({platform.machine()})"


def place(device: str) -> dict[str, Any]:
    """What the last bits of a run depend on, beside versions and the device's name: see records.Provenance."""
    instructions = [torch.backends.cpu.get_cpu_capability()]
    instructions += [f"{name} {os.environ[name]}" for name in LIMITS if os.environ.get(name)]
    found: dict[str, Any] = {
        "instructions": ", ".join(instructions),
        "processor": processor(),
        "onednn": torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled),
    }
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        found |= {"capability": f"{major}.{minor}", "driver": query_nvidia_smi(device, "driver_version")}
    return found


def processor() -> str | None:
    """Vendor, family, model and stepping of the processor; None if the system does not say."""
    info = _cpuinfo()
    return " ".join(words + info[name] for name, words in PARTS.items() if name in info) or platform.processor() or None


def _cpuinfo() -> dict[str, str]:
    """The fields of /proc/cpuinfo for the first processor; empty on other systems than Linux."""
    text = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def query_nvidia_smi(device: str, question: str) -> str | None:
    """nvidia-smi's answer to a query about a GPU, such as "driver_version"; None if it fails."""
    uuid = torch.cuda.get_device_properties(device).uuid
    asked = ["nvidia-smi", f"--id=GPU-{uuid}", f"--query-gpu={question}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() or None


def versions() -> dict[str, Any]:
    """Versions of Python, torch and numpy."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def weights_digest(net: nn.Module) -> str:
    """SHA-256 of the names and values of all parameters, in the order of the names."""
    digest = hashlib.sha256()
    for name, parameter in sorted(net.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
