"""Groups and sessions, signals that wait, and signals to many: all meet who may change them."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

import lab
from tests.run.control.controlled import outcomes


@pytest.mark.parametrize("ask", ["getpgid", "getsid"])
def test_who_asks_for_a_group_meets_the_child_that_leaves_it(ask: str) -> None:
    def body() -> lab.Tally:
        child = os.fork()
        if child == 0:
            os.setsid()
            os._exit(0)
        own = getattr(os, ask)(child) == child
        os.waitpid(child, 0)
        return lab.Tally(1, int(own), "groups")

    assert outcomes(body) == {"0 of 1 groups", "1 of 1 groups"}


def test_who_asks_for_its_own_group_meets_the_parent_that_sets_it() -> None:
    def body() -> lab.Tally:
        child = os.fork()
        if child == 0:
            os._exit(os.getpgrp() == os.getpid())
        with contextlib.suppress(ProcessLookupError):
            os.setpgid(child, child)
        return lab.Tally(1, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "groups")

    assert outcomes(body) == {"0 of 1 groups", "1 of 1 groups"}


def test_who_waits_for_a_group_meets_the_child_that_leaves_it() -> None:
    """A child that goes on is found in the group, or none is there any more."""

    def body() -> lab.Tally:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os.read(reader, 1)
            os._exit(0)
        found = False
        with contextlib.suppress(ChildProcessError):
            found = os.waitpid(0, os.WNOHANG)[0] == 0
        os.write(writer, b"x")
        os.waitpid(child, 0)
        return lab.Tally(1, int(found), "children")

    assert outcomes(body) == {"0 of 1 children", "1 of 1 children"}


def test_who_asks_what_is_pending_meets_who_sends_it() -> None:
    def body() -> lab.Tally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            os.kill(parent, signal.SIGUSR1)
            os._exit(0)
        found = len(signal.sigpending())
        os.waitpid(child, 0)
        return lab.Tally(1, found, "signals")

    assert outcomes(body) == {"0 of 1 signals", "1 of 1 signals"}


@pytest.mark.parametrize("whom", [0, -1], ids=["group", "all"])
def test_a_signal_to_many_comes_to_each_before_or_after_its_own_steps(whom: int) -> None:
    """Two who only look whether it has come, at a step that meets nothing else: four outcomes."""
    came: list[int] = []

    def looking() -> int:
        child = os.fork()
        if child == 0:
            os.getppid()
            os._exit(len(came))
        return child

    def body() -> lab.Tally:
        signal.signal(signal.SIGUSR1, lambda number, _frame: came.append(number))
        children = [looking(), looking()]
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.kill(whom, signal.SIGUSR1)
        first, second = (os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children)
        return lab.Tally(20, 10 * first + second, "looks")

    assert outcomes(body) == {f"{number} of 20 looks" for number in (0, 1, 10, 11)}
