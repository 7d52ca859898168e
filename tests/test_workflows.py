"""The workflows of .github: they read as YAML, run what exists, and need no secrets."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from alexnet_repro.__main__ import app
from alexnet_repro.experiments.registry import study

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def commands(workflow: Path) -> list[list[str]]:
    lines = [line for step in steps(workflow) if "run" in step for line in step["run"].splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


def test_there_is_one_for_each_purpose() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "nightly", "publish"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_has_what_github_asks_for(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text())
    assert set(content) <= {"name", "on", True, "permissions", "concurrency", "jobs"}  # YAML 1.1 reads "on" as True
    assert content.get("on", content.get(True))
    assert content["permissions"]
    for job in content["jobs"].values():
        assert job["runs-on"]
        assert job["timeout-minutes"]
    for step in steps(workflow):
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "actions/checkout@v4"))


def test_quick_tests_come_first_and_the_slow_ones_are_run() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    for lines in ([" ".join(words) for words in commands(ROOT / ".github/workflows/ci.yml")], script):
        assert lines.index("make test") < lines.index("make slow")
    assert "make test " in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_needs_no_secrets(workflow: Path) -> None:
    assert "secrets." not in workflow.read_text()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_runs_what_exists(workflow: Path) -> None:
    for first, *rest in commands(workflow):
        if first == "make":
            assert set(rest) <= TARGETS
        elif first == ".venv/bin/alexnet-repro":
            get_command(app).make_context("alexnet-repro", rest, resilient_parsing=False)
        elif first == ".venv/bin/pytest":
            assert all((ROOT / path).exists() for path in rest)
        else:
            assert first in {"npm", "sed", "git"}


def test_nightly_reruns_a_published_run() -> None:
    (command,) = [each for each in commands(ROOT / ".github/workflows/nightly.yml") if "rerun" in each]
    name, arm, seed = command[2], command[command.index("--arm") + 1], command[command.index("--seed") + 1]
    plan = study(name)
    assert int(seed) in plan.seeds
    key = plan.config(arm, int(seed)).key
    assert key in (ROOT / "data" / "evidence" / name / "runs.csv").read_text()


def test_publishing_fills_in_the_one_url_of_the_configuration() -> None:
    assert len(re.findall(r"^  url:", (ROOT / "book" / "_config.yml").read_text(), re.MULTILINE)) == 1
