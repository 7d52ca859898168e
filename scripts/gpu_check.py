"""Check this package on a machine with a GPU, in about five minutes: tests, benchmarks, and two reproductions.

    python scripts/gpu_check.py [--device cuda] [--scale cifar10]

``make gpu-check`` runs it. It needs no network once CIFAR-10 is in the data folder, and only torch, torchvision, numpy,
pandas, scipy, pyarrow, safetensors, pydantic, typer, tqdm and pytest. Every step is a process of its own, and one that
fails stops none of the others. A table at the end says what passed and how long it took; the exit code is 1 if a step
failed. Benchmarks are written to data/benchmarks/ under the name of the device, ready to be published. With two GPUs
or more, several devices to a run are tested and timed, too. ``--device cpu --scale smoke`` rehearses it.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch  # the only import that is not Python's own: a missing package is a step that fails

ROOT = Path(__file__).resolve().parent.parent
TESTS = [
    f"tests/{name}.py"
    for name in (
        *("gpu/test_alexnet", "gpu/test_lrn", "gpu/test_graphs", "gpu/test_convolutions"),
        *("training/test_gpu_path", "training/test_lrn_triton", "training/test_convolutions", "training/test_graphs"),
        *("training/test_pinned", "training/test_optim", "training/test_precision"),
        *("training/test_stacked", "training/test_sharing", "training/test_training", "training/test_resident"),
    )
]
FULL_SEEDS = "dropout_overfit"
"""A claim whose comparisons need three arms at five seeds and four arms in all: two minutes on one GPU."""


def steps(device: str, scale: str, gpus: int) -> dict[str, list[str]]:
    """The command of every step, by its name."""
    python, at = sys.executable, ["--device", device]
    command, publish = [python, "-m", "alexnet_repro"], ["--publish"] * (device == "cuda")
    found = {
        "what this machine has": [*command, "doctor"],
        "tests of the GPU's path": [python, "-m", "pytest", "-q", *TESTS],
        "normalization beside torch's": [python, "benchmarks/lrn.py", *at, *publish],
        "several seeds in one computation": [python, "benchmarks/stack.py", *at, *publish],
        "steps as CUDA graphs": [python, "benchmarks/graphs.py", *at, *publish],
        "a step at full size": [python, "benchmarks/parallel.py", *at, *publish],
        "full size, images from disk": [python, "benchmarks/full_size.py", *at, *publish],
        f"{FULL_SEEDS} at full seeds": [*command, "reproduce", FULL_SEEDS, *at, "--scale", scale],
        "every claim in one minute": [*command, "reproduce", *at, "--scale", scale, "--budget", "1m"],
    }
    if device == "cpu":  # has no graphs, and the paper's net takes a core half an hour
        del found["steps as CUDA graphs"], found["a step at full size"], found["full size, images from disk"]
    if gpus > 1:
        found["tests of several GPUs"] = [python, "-m", "pytest", "-q", "tests/gpu/test_parallel.py"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--scale", default="cifar10", help="cifar10, or smoke to rehearse")
    arguments = parser.parse_args()
    gpus = torch.cuda.device_count()
    if arguments.device == "cuda" and not gpus:
        sys.exit("error: PyTorch finds no GPU here: rehearse with --device cpu --scale smoke")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    rows = []
    for name, command in steps(arguments.device, arguments.scale, gpus).items():
        print(f"\n== {name}", flush=True)
        start = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        rows.append((name, "passed" if code == 0 else f"failed, exit code {code}", time.monotonic() - start))
    print(f"\n{'step':<36}{'result':<26}seconds")
    for name, result, seconds in rows:
        print(f"{name:<36}{result:<26}{seconds:7.1f}")
    if arguments.device == "cuda":
        print("\nresults are in data/benchmarks/: 'make sums' before you commit them, and 'make book' shows them")
    sys.exit(any(result != "passed" for _, result, _ in rows))


if __name__ == "__main__":
    main()
