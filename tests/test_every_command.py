"""Every command, wherever its words go: into another locale's encoding, or to nobody."""

import json
import os
import re
import subprocess
import sys

import pytest
from typer.main import get_command

from alexnet_repro.__main__ import app
from alexnet_repro.common.terminal import PLAIN, plain

from .homes import ROOT

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
MULTIPLE = {"ascii": "6x", "latin-1": "6×"}


def report(folder, how, environment):
    """What tests/every_command.py says of each command, and what stood on stderr."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: value for name, value in os.environ.items() if name not in (*C_LOCALE, "PYTHONIOENCODING")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.every_command", folder, how],
        cwd=ROOT,
        env={**plain, **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode("latin-1")


def check(lines, errors, codes):
    assert {line["words"][0] for line in lines} == set(get_command(app).commands)
    assert "".join(line["failure"] for line in lines) == ""
    assert "Traceback" not in errors
    assert {line["words"][0]: line["code"] for line in lines if line["code"]} == codes


@pytest.mark.parametrize(
    ("encoding", "environment"),
    [
        pytest.param("ascii", C_LOCALE, id="C"),
        pytest.param(
            "latin-1", {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"}, marks=pytest.mark.slow, id="ISO-8859-1"
        ),
    ],
)
def test_every_command_prints_what_it_can(tmp_path, encoding, environment):
    lines, errors = report(tmp_path / "Überprüfung", "as-is", environment)
    check(lines, errors, {"contribute": 1})  # whose runs no training made
    said = {line["words"][0]: line["out"] for line in lines}
    assert MULTIPLE[encoding] in said["verdict"]
    assert f"Tiny {MULTIPLE[encoding][-1]} 1" in said["plan"]
    assert [name for name, out in said.items() if not out] == ["readme"]


@pytest.mark.slow
def test_every_command_ends_quietly_where_nobody_reads(tmp_path):
    lines, errors = report(tmp_path, "closed", {})
    silent = {"readme"}
    check(lines, errors, {name: 1 for name in get_command(app).commands if name not in silent})
    assert [
        line for line in errors.splitlines() if not re.match(r"error: \d+ faults in .*: nothing was added", line)
    ] == []


def test_an_error_is_said_though_nobody_reads_what_came_before():
    end, into = os.pipe()
    os.close(end)
    done = subprocess.run(
        [sys.executable, "-c", "from alexnet_repro import __main__; print('x'); __main__._fail('so it is', 2)"],
        stdout=into,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        check=False,
    )
    os.close(into)
    assert (done.returncode, done.stderr) == (2, b"error: so it is\n")


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("7.50× – 7.81 †", "ascii", b"7.50x - 7.81 *"),
        ("7.50× – 7.81 †", "latin-1", b"7.50\xd7 - 7.81 *"),
        ("7.50× – 7.81 †", "utf-8", "7.50× – 7.81 †".encode()),
        ("Überprüfung, 漢", "ascii", b"Uberprufung, ?"),
        (b"named \xe4".decode("utf-8", "surrogateescape"), "utf-8", b"named \xe4"),
    ],
)
def test_the_nearest_plain_character(text, encoding, shown):
    assert text.encode(encoding, "plain") == shown


def test_what_stands_for_a_character_is_in_every_encoding():
    assert "".join(PLAIN.values()).isascii()
    assert plain(UnicodeEncodeError("ascii", "x−", 1, 2, "")) == ("-", 2)
