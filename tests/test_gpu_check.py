"""``make gpu-check``: its commands exist, they need few packages, and a step that fails is reported."""

import fcntl
import importlib.util
import os
import subprocess
import sys

import pytest
from typer.main import get_command

from alexnet_repro.__main__ import app
from alexnet_repro.records import benchmarks
from alexnet_repro.report.benchmarks import shown

from .homes import ROOT

BLOCKED = (
    "IPython", "matplotlib", "seaborn", "papermill", "dask", "distributed", "altair", "nbformat", "tabulate",
    "hypothesis", "yaml", "ipykernel", "jupyter_book", "xdist", "playwright",
)  # fmt: skip
BLOCK = f"""
import builtins

found = builtins.__import__

def checked(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and name.split(".")[0] in {BLOCKED!r}:
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return found(name, globals, locals, fromlist, level)

builtins.__import__ = checked
"""
"""As sitecustomize.py, in every Python process; importlib.util.find_spec, with which torch looks around, finds all."""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("gpu_check", ROOT / "scripts" / "gpu_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_step_is_of_a_command_or_a_file_that_exists(script):
    found = script.steps("cuda", "cifar10", gpus=2)
    assert script.steps("cpu", "smoke", gpus=0).keys() < found.keys()
    for _, *words in found.values():
        if words[:2] == ["-m", "alexnet_repro"]:
            assert words[2] in get_command(app).commands
        elif words[:2] == ["-m", "pytest"]:
            assert all((ROOT / name).is_file() for name in words if name.endswith(".py"))
        else:
            assert (ROOT / words[0]).is_file()
    assert all((ROOT / name).is_file() for name in script.TESTS)


@pytest.fixture
def blocked(tmp_path):
    """Runs a module without the packages that a machine with a GPU may lack."""
    (tmp_path / "sitecustomize.py").write_text(BLOCK)

    def run(*words, **environment):
        place = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env={**os.environ, **place, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_packages_are_blocked(blocked):
    assert "ModuleNotFoundError" in blocked("alexnet_repro.report.figures").stderr


def test_its_tests_need_few_packages(script, blocked):
    done = blocked("pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *script.TESTS)
    assert done.returncode == 0, done.stdout[-2000:]


def test_without_pytorch_it_says_what_to_do():
    hidden = (
        f"import runpy, sys; sys.modules['torch'] = None; runpy.run_path({str(ROOT / 'scripts' / 'gpu_check.py')!r})"
    )
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: this Python has no PyTorch: 'make install' first, or ")
    assert done.stderr.count("\n") == 1


def test_its_commands_need_few_packages(tmp_path, blocked):
    done = blocked("alexnet_repro", "doctor", ALEXNET_REPRO_DATA=str(tmp_path), ALEXNET_REPRO_STORE=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_reproduction_needs_few_packages(tmp_path, blocked):
    words = ["alexnet_repro", "reproduce", "two_gpu_error", "--scale", "smoke", "--seeds", "3"]
    done = blocked(*words, ALEXNET_REPRO_STORE=str(tmp_path))
    assert done.returncode == 0
    assert done.stderr == "measuring, some 2 s for each network that is still to be trained\n"
    assert "6 runs to train" in done.stdout


def test_results_of_a_gpu_are_published_under_its_name_and_shown_below_those_of_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks.paths, "data", lambda: tmp_path)
    assert benchmarks.path("lrn", "NVIDIA H200 (80%)").name == "lrn-nvidia-h200-80.json"
    about = {"cores": 2, "load_average": 0.5, "python": "3.12", "torch": "2.14", "commit": "0" * 40, "clean": True}
    about["started"] = "2026-11-28T00:00:00+00:00"
    for gpu, ours in (("", 2.0), ("NVIDIA H200", 4.0)):
        row = benchmarks.row("conv1", "torch", "ms", ours, 8.0)
        benchmarks.write(benchmarks.path("lrn", gpu), {**about, "device": gpu or "a CPU"}, [row])
    text = shown("lrn").data
    assert text.index("a CPU") < text.index("4.00×") < text.index("NVIDIA H200") < text.index("2.00×")


def test_a_step_that_fails_stops_no_other_and_is_told_at_the_end(capfd, monkeypatch, script):
    steps = {name: [sys.executable, "-c", f"raise SystemExit({code})"] for name, code in (("one", 3), ("two", 0))}
    monkeypatch.setattr(script, "steps", lambda *options: steps)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        script.main()
    assert end.value.code == 1
    one, two = capfd.readouterr().out.splitlines()[-2:]
    assert one.split()[:5] == ["one", "failed,", "exit", "code", "3"]
    assert two.split()[:2] == ["two", "passed"]


def test_a_step_that_hangs_ends_with_all_of_its_processes(tmp_path, script):
    begun, held = tmp_path / "begun", tmp_path / "held"
    code = f"""
import fcntl, subprocess
file = open({str(held)!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)  # whoever of the two lives holds it
child = subprocess.Popen(["sleep", "600"], pass_fds=[file.fileno()])
open({str(begun)!r}, "w").close()
child.wait()
"""
    assert script.result([sys.executable, "-c", code], os.environ, 5.0) == "failed, over 5 s"
    assert begun.exists()
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until all have ended


def test_without_data_what_needs_it_is_skipped(capfd, monkeypatch, script):
    fails, passes = ([sys.executable, "-c", f"raise SystemExit({code})", "reproduce"] for code in (1, 0))
    monkeypatch.setattr(script, "steps", lambda *options: {script.DATA: fails[:3], "two": passes, "three": passes[:3]})
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu"])
    with pytest.raises(SystemExit):
        script.main()
    _, two, three = capfd.readouterr().out.splitlines()[-3:]
    assert two.split()[:4] == ["two", "skipped:", "no", "CIFAR-10"]
    assert three.split()[:2] == ["three", "passed"]


def test_without_a_gpu_it_says_how_to_rehearse(monkeypatch, script):
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    monkeypatch.setattr(script.torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SystemExit, match="--device cpu --scale smoke"):
        script.main()
