"""Check this package on a machine with a GPU, in some five to ten minutes: tests, benchmarks, and two reproductions.

    python scripts/gpu_check.py [--device cuda] [--scale cifar10]

``make gpu-check`` runs it. It needs no network once CIFAR-10 is in the data folder, and only torch, torchvision, numpy,
pandas, scipy, pyarrow, safetensors, pydantic, typer, tqdm and pytest. Every step is a process of its own, and one that
fails, or takes longer than ten minutes, stops none of the others; without CIFAR-10 the reproductions are skipped. A
table at the end says what passed and how long it took; the exit code is 1 if a step did not. The runs that are trained
are not kept. Benchmarks are written to data/benchmarks/ under the name of the device, ready to be published. With two
GPUs or more, several devices to a run are tested and timed, too. ``--device cpu --scale smoke`` rehearses it.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

try:
    import torch  # the only import that is not Python's own: any other missing package is a step that fails
except ImportError:
    sys.exit(
        "error: this Python has no PyTorch: 'make install' first, or name one that has it: make gpu-check PYTHON=..."
    )

ROOT = Path(__file__).resolve().parent.parent
TESTS = [
    f"tests/{name}.py"
    for name in (
        *("gpu/test_alexnet", "gpu/test_lrn", "gpu/test_graphs", "gpu/test_convolutions"),
        *(
            "training/test_gpu_path",
            "training/test_lrn_triton",
            "training/test_within_map",
            "training/test_convolutions",
            "training/test_graphs",
        ),
        *("training/test_pinned", "training/test_optim", "training/test_precision"),
        *("training/test_stacked", "training/test_sharing", "training/test_training", "training/test_resident"),
    )
]
FULL_SEEDS = "dropout_overfit"
"""A claim whose comparisons need three arms at five seeds and four arms in all: two minutes on one GPU."""
SOME = ["two_gpu_error", "lrn", "overlapping_pooling"]
LIMIT = 600.0
"""Seconds that a step may take."""
DATA = "CIFAR-10"


def steps(device: str, scale: str, gpus: int) -> dict[str, list[str]]:
    """The command of every step, by its name."""
    python, at = sys.executable, ["--device", device]
    command, publish = [python, "-m", "alexnet_repro"], ["--publish"] * (device == "cuda")
    found = {
        "what this machine has": [*command, "doctor"],
        DATA: [*command, "data", "cifar10"],
        "tests of the GPU's path": [python, "-m", "pytest", "-q", "-m", "not slow", *TESTS],
        "normalization beside torch's": [python, "benchmarks/lrn.py", *at, *publish],
        "several seeds in one computation": [python, "benchmarks/stack.py", *at, *publish],
        "steps as CUDA graphs": [python, "benchmarks/graphs.py", *at, *publish],
        "a step at full size": [python, "benchmarks/parallel.py", *at, *publish],
        "full size, images from disk": [python, "benchmarks/full_size.py", *at, *publish],
        f"{FULL_SEEDS} at full seeds": [*command, "reproduce", FULL_SEEDS, *at, "--scale", scale],
        f"{len(SOME)} claims in one minute": [
            *[*command, "reproduce", *SOME, *at, "--scale", scale, "--budget", "1m"],
            *["--workers", "4"] * (device == "cuda"),
        ],
    }
    if scale == "smoke":  # trains on the bundled sample
        del found[DATA]
    if device == "cpu":  # has no graphs, and the paper's net takes a core half an hour
        del found["steps as CUDA graphs"], found["a step at full size"], found["full size, images from disk"]
    if gpus > 1:
        found["tests of several GPUs"] = [python, "-m", "pytest", "-q", "tests/gpu/test_parallel.py"]
    return found


def result(command: Sequence[str], environment: Mapping[str, str], limit: float = LIMIT) -> str:
    """Run a step, and end it with all of its processes if it takes more than so many seconds: "passed" or what else."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        return f"failed, over {limit:.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return "passed" if code == 0 else f"failed, exit code {code}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--scale", default="cifar10", help="cifar10, or smoke to rehearse")
    arguments = parser.parse_args()
    gpus = torch.cuda.device_count()
    if arguments.device == "cuda" and not gpus:
        sys.exit("error: PyTorch finds no GPU here: rehearse with --device cpu --scale smoke")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    rows: dict[str, tuple[str, float]] = {}
    with tempfile.TemporaryDirectory() as store:
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "ALEXNET_REPRO_STORE": store}
        for name, command in steps(arguments.device, arguments.scale, gpus).items():
            print(f"\n== {name}", flush=True)
            start = time.monotonic()
            skipped = "reproduce" in command and rows.get(DATA, ("passed",))[0] != "passed"
            found = f"skipped: no {DATA}" if skipped else result(command, environment)
            rows[name] = (found, time.monotonic() - start)
    print(f"\n{'step':<36}{'result':<26}seconds")
    for name, (found, seconds) in rows.items():
        print(f"{name:<36}{found:<26}{seconds:7.1f}")
    if arguments.device == "cuda":
        print("\nresults are in data/benchmarks/: 'make sums' takes them into the evidence, 'make book' shows them")
    sys.exit(any(found != "passed" for found, _ in rows.values()))


if __name__ == "__main__":
    main()
