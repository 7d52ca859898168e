"""The command line, called within the test's process."""

import sys

from alexnet_repro import __main__


def call(monkeypatch, capsys, *words):
    """(exit code, stdout, stderr) of ``alexnet-repro words``."""
    monkeypatch.setattr(sys, "argv", ["alexnet-repro", *words])
    code = 0
    try:
        __main__.main()
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()
