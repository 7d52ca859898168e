"""The command as a user types it: tables and JSON out, errors in one line with the exit code that they deserve."""

import json
import os
import subprocess
import sys

import pytest

from alexnet_repro import __main__
from alexnet_repro.experiments import step_timing
from alexnet_repro.experiments.registry import STUDIES, study
from alexnet_repro.paper.claims import load
from alexnet_repro.training import cost
from alexnet_repro.training.launch.local import places

from .command import call


def run(monkeypatch, capsys, tmp_path, *words):
    """(exit code, stdout, stderr) of ``alexnet-repro words`` with an empty working store."""
    monkeypatch.setenv("ALEXNET_REPRO_STORE", str(tmp_path / "store"))
    return call(monkeypatch, capsys, *words)


def test_scorecard_in_every_form(monkeypatch, capsys, tmp_path):
    shown = {}
    for form in ("json", "table", "csv"):
        code, shown[form], _ = run(monkeypatch, capsys, tmp_path, "verdict", "--format", form)
        assert code == 0
        assert all(claim.id in shown[form] for claim in load())
    rows = json.loads(shown["json"])
    assert {row["claim"] for row in rows} == {claim.id for claim in load()}
    assert all(row["conclusion"] and row["reading"] and row["comparisons"] for row in rows)
    every = [each for row in rows for each in row["comparisons"]]
    keys = {"stage", "scale", "verdict", "effect", "interval", "seeds"}
    assert all(keys <= each.keys() for each in every)
    timed = [each["scale"] for row in rows for each in row["comparisons"] if row["claim"] in step_timing.STUDIES]
    assert set(timed) == {None}  # of the paper's own net
    # The table marks what no correction leaves.
    alone = sum(each["stage"] == 1 and 0 <= (each["p"] or 0) < 0.05 <= (each["p_holm"] or 0) for each in every)
    assert alone
    assert shown["table"].count(") †") == alone
    assert "\n† excludes zero" in shown["table"]


def test_ctrl_c_is_said_and_has_its_exit_code(monkeypatch, capsys, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("alexnet_repro.__main__.load_or_train", interrupted)
    code, _, err = run(monkeypatch, capsys, tmp_path, "run", "relu_speed", "--scale", "smoke")
    assert (code, err) == (130, "error: interrupted: run it again to resume\n")


def test_the_scorecard_folds_its_cells_on_a_narrow_terminal(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COLUMNS", "400")
    _, wide, _ = run(monkeypatch, capsys, tmp_path, "verdict")
    monkeypatch.setenv("COLUMNS", "100")
    _, narrow, _ = run(monkeypatch, capsys, tmp_path, "verdict")
    assert max(map(len, wide.splitlines())) > 150
    assert max(map(len, narrow.splitlines())) <= 100
    assert sorted("".join(narrow.split())) == sorted("".join(wide.split()))  # nothing is cut off


def test_alone_it_prints_its_help(monkeypatch, capsys, tmp_path):
    code, out, err = run(monkeypatch, capsys, tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("Usage:")


def test_the_doctor_goes_on_past_a_damaged_record(monkeypatch, capsys, tmp_path):
    runs = tmp_path / "store" / "runs"
    runs.mkdir(parents=True)
    (runs / f"{'0' * 16}.json").write_text("{")
    code, out, _ = run(monkeypatch, capsys, tmp_path, "doctor")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("store")]
    assert "0" * 16 in line
    assert "processor" in out
    (line,) = [line for line in out.splitlines() if line.startswith("ImageNet")]
    assert "no prepared images in" in line
    assert "imagenet-256: run 'alexnet-repro data imagenet" in line


def test_plan_counts_what_is_missing(monkeypatch, capsys, tmp_path):
    code, out, _ = run(monkeypatch, capsys, tmp_path, "plan", "relu_speed", "--scale", "smoke")
    assert code == 0
    assert "6 of 6 runs missing" in out


def test_the_cost_is_measured_where_a_run_would_be(monkeypatch):
    placements = []

    def measure(config, placement):
        placements.append(placement)
        return cost.Cost(1, 1.0, 1.0, 1.0, 1.0, 1, 1, 1, None)

    monkeypatch.setattr(cost, "measure", measure)
    __main__._cost(study("relu_speed").baseline, "cpu")
    assert [(placements[0], None)] == places("cpu", 1)


def test_half_of_a_launchers_environment_is_none(monkeypatch, capsys, tmp_path):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("alexnet_repro.__main__.load_or_train", lambda *_, **__: {})
    code, out, _ = run(monkeypatch, capsys, tmp_path, "run", "relu_speed", "--scale", "smoke")
    assert (code, out) == (0, "relu_speed: all 0 runs are in the store\n")


@pytest.mark.parametrize(
    ("words", "said", "expected"),
    [
        (["plan", "relu"], ["'relu'", *STUDIES], 2),
        (["plan", "relu_speed", "--scale", "huge"], ["'huge'", "smoke", "cifar10"], 2),
        (["run", "relu_speed", "--scale", "smoke", "--device", "tpu"], ["'tpu'", "cpu", "cuda"], 2),
        (["run", "relu_speed", "--scale", "smoke", "--workers", "0"], ["workers=0"], 2),
        (["run", "relu_speed", "--workers", "many"], ["--workers many", "integer"], 2),
        (["run", "relu_speed", "--parallel", "nonsense"], ["'nonsense'", "columns", "data"], 2),
        (
            ["run", "lrn", "--scale", "smoke", "--parallel", "columns"],
            ["1 device for two columns", "--parallel data"],
            2,
        ),
        (["run", "relu_speed", "--device", "foo"], ["'foo'", "cpu", "cuda"], 2),
        (["plan", "relu_speed", "--device", "foo"], ["'foo'", "cpu", "cuda"], 2),
        (["rerun", "relu_speed", "--arm", "relu", "--seed", "0", "--device", "gpu"], ["'gpu'", "cpu", "cuda"], 2),
        (["plan", "imagenet", "--scale", "nonsense"], ["'nonsense'", "imagenet", "--scale"], 2),
        (["run", "imagenet", "--scale", "smoke"], ["'smoke'", "imagenet", "--scale"], 2),
        (["data", "mnist"], ["'mnist'", "cifar10", "tiny-imagenet"], 2),
        (["data", "cifar10", "--size", "128"], ["--size 128 is for imagenet"], 2),
        (["data", "tiny-imagenet", "--workers", "3"], ["--workers 3 is for imagenet"], 2),
        (["data", "cifar10", "--from", "x"], ["--from x", "imagenet and tiny-imagenet"], 2),
        (["data", "tiny-imagenet", "--from", "nowhere.zip"], ["nowhere.zip", "No such file"], 2),
        (["run", "relu_rates", "--scale", "tiny-imagenet"], ["'relu_rates'", "it has smoke and cifar10"], 2),
        (["rerun", "lrn", "--scale", "tiny-imagenet", "--arm", "no_lrn", "--seed", "7"], ["no seed 7: it has 5"], 2),
        (["publish", "lrn", "--scale", "smoke"], ["rehearsal, never evidence"], 2),
        (["publish", "ensemble", "--scale", "smoke"], ["rehearsal, never evidence"], 2),
        (["publish", "ensemble", "--first-seed", "5000"], ["first seed 5000", "--to"], 2),
        (["data", "imagnet", "--size", "128"], ["'imagnet'", "choose one of cifar10, imagenet"], 2),
        (["data", "imagenet", "--workers", "3"], ["--workers 3 without --from"], 2),
        (["publish", "lrn", "--scale", "tiny-imagenet"], ["'alexnet-repro publish tiny_imagenet'"], 2),
        (["data", "imagenet", "--from", "nowhere", "--size", "0"], ["--size 0", "128 or 256"], 2),
        (["data", "imagenet", "--from", "nowhere", "--size", "192"], ["--size 192", "128 or 256"], 2),
        (["notebook", "nothing"], ["'nothing'", "relu_speed"], 2),
        (
            ["notebook", "benchmarks", "-p", "scale=smoke"],
            ["benchmarks has no parameters: leave out scale"],
            2,
        ),
        (["notebook", "relu_speed", "-p", "scale=smol"], ["'smol'", "smoke"], 2),
        (["notebook", "relu_speed", "-p", "scale"], ["'scale'", "name=value"], 2),
        (["notebook", "relu_speed", "-p", "scael=smoke"], ["'scael'", "scale"], 2),
        (["frobnicate"], ["frobnicate", "--help"], 2),
        (["plam"], ["Did you mean 'plan'? In 'alexnet-repro plam'; try"], 2),
        (["plan", "relu_sped"], ["unknown study 'relu_sped' (did you mean 'relu_speed'?): choose one of"], 2),
        (["plan"], ["STUDY", "--help"], 2),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, capsys, tmp_path, words, said, expected):
    code, _, err = run(monkeypatch, capsys, tmp_path, *words)
    assert code == expected
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in said)


def test_without_a_checkout(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ALEXNET_REPRO_HOME", str(tmp_path))
    code, _, err = run(monkeypatch, capsys, tmp_path, "verdict")
    assert code == 2
    assert str(tmp_path) in err


def test_a_reader_that_closes_early_sees_no_traceback(tmp_path):
    # Larger than a pipe holds, so that the write really meets the closed end.
    command = f"{sys.executable} -m alexnet_repro verdict --format json | head -n 1"
    environment = {**os.environ, "ALEXNET_REPRO_STORE": str(tmp_path)}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "[\n"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["> /dev/full", ">&-"])
@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_an_output_that_is_full_or_closed_is_one_line_at_most(tmp_path, target, unbuffered):
    environment = {**os.environ, "ALEXNET_REPRO_STORE": str(tmp_path), "PYTHONUNBUFFERED": unbuffered}
    command = f"{sys.executable} -m alexnet_repro plan relu_rates {target}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, check=False)
    full = "error: cannot write the output (No space left on device): free some space, or send it elsewhere\n"
    assert (done.returncode, done.stderr) == ((0, "") if target == ">&-" else (1, full))


@pytest.mark.parametrize("command", ["plan", "run", "publish"])
def test_other_precisions_are_for_full_size_runs(command, monkeypatch, capsys):
    for options in (["--precision", "bfloat16"], ["--compile"]):
        code, out, err = call(monkeypatch, capsys, command, "relu_speed", *options)
        assert (code, out) == (2, "")
        assert err.startswith("error: --precision and --compile are for imagenet")
    code, _, err = call(monkeypatch, capsys, command, "relu_speed", "--precision", "half")
    assert (code, err) == (2, "error: unknown precision 'half': choose one of bfloat16, float32, tf32\n")
