import os

import pytest

from alexnet_repro.common import machine
from alexnet_repro.common.errors import UserError


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1


def test_launched_where_every_name_is_set(monkeypatch):
    for name in machine.LAUNCHED:
        assert not machine.launched()
        monkeypatch.setenv(name, "0")
    assert machine.launched()


def test_columns_come_in_pairs():
    assert [machine.columns_of("columns", 4), machine.columns_of("data", 3)] == [2, 1]
    with pytest.raises(UserError, match="1 device for two columns"):
        machine.columns_of("columns", 1)
    with pytest.raises(UserError, match="3 devices for two columns"):
        machine.columns_of("columns", 3)
