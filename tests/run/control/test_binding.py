"""A tracer and what it traces share one CPU."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from lab.run.control import binding, in_controller
from lab.run.control.binding import Binding
from lab.run.control.runner import Runner
from lab.run.root import Function


@pytest.fixture
def allowed() -> Iterator[set[int]]:
    """The CPUs of this process, which gets them back."""
    before = os.sched_getaffinity(0)
    yield before
    os.sched_setaffinity(0, before)


@pytest.fixture
def zygote() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.send_signal(signal.SIGKILL)


def test_the_kernel_chooses_one_of_the_allowed_cpus(allowed: set[int]) -> None:
    Binding(None)

    (chosen,) = os.sched_getaffinity(0)
    assert chosen in allowed


def test_a_given_cpu_is_kept_for_good(allowed: set[int], zygote: int) -> None:
    given = max(allowed)

    Binding(given).renew(zygote)

    assert os.sched_getaffinity(0) == {given}


def test_the_zygote_moves_along(
    allowed: set[int], zygote: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "_EVERY", 0.0)
    bound = Binding(None)
    os.sched_setaffinity(zygote, allowed)

    bound.renew(zygote)

    assert os.sched_getaffinity(zygote) == os.sched_getaffinity(0)
    assert len(os.sched_getaffinity(zygote)) == 1


def test_a_program_runs_where_its_tracer_does() -> None:
    def cpus(runner: Runner, _report: object) -> tuple[set[int], str]:
        trace = runner.run(lambda point: point.default, max_steps=100)
        return os.sched_getaffinity(0), trace.output

    def body() -> None:
        os.write(1, repr(os.sched_getaffinity(0)).encode())

    mine, printed = in_controller(cpus, Function("where", body))

    assert printed == repr(mine)
