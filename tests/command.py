"""The command line, called within the test's process."""

import sys

from alexnet_repro import cli


def call(monkeypatch, capsys, *words):
    """(exit code, stdout, stderr) of ``alexnet-repro words``."""
    monkeypatch.setattr(sys, "argv", ["alexnet-repro", *words])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()
