"""What holds for every test."""

from contextlib import suppress

with suppress(ImportError):  # which only the tests that use it need: a machine with a GPU may lack it
    from hypothesis import HealthCheck, settings

    # No deadline: a busy machine is no fault of the code. The same examples every time: neither is chance.
    settings.register_profile("project", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("project")
