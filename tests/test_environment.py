"""environment.yml asks for what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
NAME = re.compile(r"[A-Za-z0-9-]+")


def split(requirement: str) -> tuple[str, str]:
    """(name, version) of a requirement of pip's or conda's; extras are left out."""
    name = NAME.match(requirement)
    assert name is not None, requirement
    version = re.sub(r"^\[.*\]", "", requirement[name.end() :]).replace(" ", "")
    # conda's name=2.7 is pip's name==2.7.*
    return name[0].lower(), re.sub(r"^=([0-9.]+)$", r"==\1.*", version)


def conda_requirements() -> dict[str, str]:
    plain = [each for each in CONDA if isinstance(each, str)]
    pip = next(each["pip"] for each in CONDA if isinstance(each, dict))
    return dict(split(each) for each in [*plain, *pip] if not each.startswith("-e"))


def test_every_requirement_is_the_same() -> None:
    conda = conda_requirements()
    for requirement in PROJECT["dependencies"]:
        name, version = split(requirement)
        assert conda.get(name) == version, (
            f"{name}: pyproject.toml has {version!r}, environment.yml {conda.get(name)!r}"
        )


def test_python_is_the_same() -> None:
    assert conda_requirements()["python"] == PROJECT["requires-python"]


def test_environment_asks_for_nothing_more() -> None:
    known = {split(each)[0] for each in PROJECT["dependencies"]} | {"python", "pip", "distributed"}
    assert set(conda_requirements()) <= known


def test_pip_installs_this_package() -> None:
    pip = next(each["pip"] for each in CONDA if isinstance(each, dict))
    assert "-e ." in pip
