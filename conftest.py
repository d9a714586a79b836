"""What the whole test suite shares. The fixture `observe` comes from the installed plugin."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["pytester"]


def pytest_xdist_auto_num_workers() -> int:
    """Three workers on two CPUs: these tests wait for processes as often as they compute."""
    return len(os.sched_getaffinity(0)) * 3 // 2 or 1


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Runs of pytest that are left alone by plugins that load themselves and change every run.

    They are installed for the tests of how the lab goes with them; such a test says `-p randomly`.
    That of hypothesis imports all of it at the end of each run, and takes longer than the rest.
    """
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:randomly -p no:asyncio -p no:hypothesispytest")
    return pytester


@pytest.fixture(scope="session")
def control() -> None:
    """A machine that refuses control skips whatever needs it, with the lab's own advice."""
    from lab.run.control import ControlRefusedError, in_controller
    from lab.run.root import Function

    try:
        in_controller(
            lambda runner, _: runner.run(lambda point: point.default, max_steps=100),
            Function("nothing", lambda: None),
        )
    except ControlRefusedError as refused:
        pytest.skip(str(refused))
