"""Where a record comes from: whose commit, and what computed."""

import shutil
import subprocess
from types import SimpleNamespace

import pytest
import torch

from alexnet_repro.experiments.config import DeviceConfig
from alexnet_repro.training import provenance
from alexnet_repro.training.trainer import train

from ..homes import ROOT
from ..runs import tiny

X86 = """\
processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 26
model		: 2
model name	: AMD EPYC
stepping	: 1

processor	: 1
vendor_id	: another
"""
ARM = """\
processor	: 0
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x3
CPU part	: 0xd0c
CPU revision	: 1
"""


def git(folder, *words):
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, "-C", folder, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def outer(tmp_path, monkeypatch):
    """A repository that has one commit, and ignores the folder copy/ in it: a checkout's files without its .git."""
    copy = tmp_path / "outer" / "copy"
    (copy / "data").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "claims.toml", copy / "data")
    git(tmp_path / "outer", "init", "--quiet")
    (tmp_path / "outer" / ".gitignore").write_text("copy/\n")
    git(tmp_path / "outer", "add", ".")
    git(tmp_path / "outer", "commit", "--quiet", "--message", "another project")
    monkeypatch.setenv("ALEXNET_REPRO_HOME", str(copy))
    monkeypatch.delenv("GIT_DIR", raising=False)
    return tmp_path / "outer"


def commit():
    """Asked anew: within a process, the first answer holds."""
    return provenance.commit.__wrapped__()


def test_a_copy_inside_another_repository_is_of_no_commit(outer):
    assert commit() == ("unknown", False)


def test_a_repository_inside_another_is_of_its_own_commit(outer, monkeypatch):
    copy = outer / "copy"
    git(copy, "init", "--quiet")
    git(copy, "add", ".")
    git(copy, "commit", "--quiet", "--message", "this project")
    own = git(copy, "rev-parse", "HEAD")
    assert commit() == (own, True)
    monkeypatch.setenv("GIT_DIR", str(outer / ".git"))  # as in a hook of the other repository
    assert commit() == (own, True)
    (copy / "pyproject.toml").write_text("")
    assert commit() == (own, False)


@pytest.mark.parametrize(
    ("text", "name", "parts"),
    [
        (X86, "AMD EPYC (", "AuthenticAMD family 26 model 2 stepping 1"),
        (ARM, "part (", "implementer 0x41 part 0xd0c variant 0x3 revision 1"),
        (None, "part (", "part"),
    ],
    ids=["x86", "arm", "no Linux"],
)
def test_processors_of_one_name_are_told_apart(tmp_path, monkeypatch, text, name, parts):
    monkeypatch.setattr(provenance, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(provenance.platform, "processor", lambda: "part")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert provenance.processor() == parts
    assert provenance.device_name("cpu").startswith(name)


def test_a_record_says_what_computed_it(monkeypatch):
    for name in provenance.LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    source = train(tiny(**{"budget.epochs": 1}), DeviceConfig()).provenance
    assert source.instructions == f"{torch.backends.cpu.get_cpu_capability()}, MKL_CBWR COMPATIBLE"
    assert source.processor == provenance.processor()
    assert source.onednn is torch.backends.mkldnn.is_available()
    assert (source.capability, source.driver) == (None, None)


@pytest.mark.parametrize(("answer", "driver"), [("echo 580.65.06", "580.65.06"), ("exit 9", None), ("true", None)])
def test_a_gpu_has_a_capability_and_a_driver(tmp_path, monkeypatch, answer, driver):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{answer}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    found = provenance.place("cuda:0")
    assert (found["capability"], found["driver"]) == ("9.0", driver)
