"""What holds for every test, and what tests of several files start from."""

import sys
from contextlib import suppress

import pytest

from alexnet_repro.records.store import Store

with suppress(ImportError):  # a machine with a GPU may lack it; not by the environment, which notebooks would inherit
    import matplotlib

    matplotlib.use("Agg")

with suppress(ImportError):  # which only the tests that use it need: a machine with a GPU may lack it
    from hypothesis import HealthCheck, settings

    # No deadline: a busy machine is no fault of the code. The same examples every time: neither is chance.
    ignored = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile("project", deadline=None, derandomize=True, suppress_health_check=ignored)
    settings.load_profile("project")


@pytest.fixture(autouse=True, scope="session")
def _no_runs_of_ones_own(tmp_path_factory):
    """Hide the developer's own working store: its runs would replace published ones in the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXNET_REPRO_STORE", str(tmp_path_factory.mktemp("own") / "none"))
        yield


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture
def store(tmp_path):
    """A store without a record, in which nothing is published."""
    return Store(tmp_path / "store", tmp_path / "data" / "evidence")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A small checkout that is the package's."""
    from . import homes  # what it needs, tests on a GPU do without

    return homes.make(tmp_path / "home", monkeypatch)
