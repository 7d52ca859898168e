"""The Slurm script without Slurm: what it would start. scripts/slurm_trial.sh tries it on a cluster of one machine."""

import os
import subprocess

import pytest
from typer.main import get_command

from alexnet_repro import __main__
from alexnet_repro.common import paths

SCRIPT = paths.repository() / "scripts" / "several_nodes.slurm"


@pytest.fixture
def submit(tmp_path):
    """Runs the script in the environment of a job on two nodes; srun says its words and its cores instead."""
    stubs = {
        "scontrol": '[ "$*" = "show hostnames node[7-8]" ] && printf "node7\\nnode8\\n"',
        "srun": 'echo "$SRUN_CPUS_PER_TASK"; printf "%s\\n" "$@"',
    }
    for name, line in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    job = {"NNODES": "2", "JOB_NODELIST": "node[7-8]", "JOB_ID": "123456", "GPUS_ON_NODE": "4", "CPUS_PER_TASK": "8"}
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        **{f"SLURM_{name}": value for name, value in job.items()},
    }

    def run(*words):
        return subprocess.run(["bash", SCRIPT, *words], env=environment, text=True, capture_output=True, timeout=60)

    return run


def test_every_node_starts_a_process_per_gpu_and_meets_the_others(submit):
    done = submit("column_links", "columns", "--scale", "smoke")
    assert done.returncode == 0, done.stderr
    cores, *words = done.stdout.splitlines()
    assert cores == "8"
    assert words[words.index("--nnodes") + 1] == "2"
    assert words[words.index("--nproc-per-node") + 1] == "4"
    assert words[words.index("--rdzv-endpoint") + 1] == "node7:23456"
    start = words.index("alexnet_repro")
    assert words[start + 1 :] == [
        "run", "column_links", "--device", "cuda", "--parallel", "columns", "--scale", "smoke",
    ]  # fmt: skip
    options = {name for each in get_command(__main__.app).commands["run"].params for name in each.opts}
    assert {word for word in words[start:] if word.startswith("--")} <= options


def test_data_parallel_is_the_default_and_a_study_is_not(submit):
    assert submit("lrn").stdout.splitlines()[-2:] == ["--parallel", "data"]
    done = submit()
    assert done.returncode != 0
    assert "usage: sbatch scripts/several_nodes.slurm STUDY" in done.stderr
