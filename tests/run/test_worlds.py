from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

import pytest

from lab.kernel.ipc_namespace import NamespaceError
from lab.run import worlds
from lab.run.limits import Isolation, LabError
from lab.run.worlds import best, choose
from tests.forked import in_child


def refuse(*, new_user: bool) -> None:
    raise NamespaceError(f"unshare: Operation not permitted ({new_user})")


def test_snapshots_can_always_be_had() -> None:
    assert choose(Isolation.SNAPSHOTS) == worlds.World(Isolation.SNAPSHOTS, new_user=False)


def test_without_namespaces_the_best_is_snapshots_and_why_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worlds, "leave_host", refuse)

    def chosen() -> worlds.World:
        best.cache_clear()
        return choose(Isolation.AUTO)

    world = in_child(chosen)

    assert world.isolation is Isolation.SNAPSHOTS
    assert "Operation not permitted" in world.refusal


def test_namespaces_that_are_demanded_and_refused_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worlds, "leave_host", refuse)

    def chosen() -> str:
        best.cache_clear()
        with pytest.raises(LabError) as refused:
            choose(Isolation.NAMESPACES)
        return str(refused.value)

    assert "namespaces are refused here" in in_child(chosen)


@pytest.mark.parametrize("ask", [best, *(partial(choose, each) for each in Isolation)])
def test_what_is_missing_around_is_told_as_such_and_as_no_refusal(
    ask: Callable[[], worlds.World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def demand() -> None:
        raise LabError("the working directory was removed")

    def asked() -> str:
        best.cache_clear()
        with pytest.raises(LabError) as refused:
            ask()
        return str(refused.value)

    monkeypatch.setattr(worlds, "demand_surroundings", demand)

    assert in_child(asked) == "the working directory was removed"


def test_root_needs_no_user_namespace() -> None:
    world = choose(Isolation.AUTO)
    if not world.private:
        pytest.skip(f"no namespaces here: {world.refusal}")

    assert world.new_user == (os.geteuid() != 0)


def test_the_attempt_works_where_sigchld_is_ignored() -> None:
    def attempted() -> worlds.World:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        best.cache_clear()
        return best()

    assert in_child(attempted) == best()


def test_the_attempt_leaves_no_process_and_no_descriptor() -> None:
    def counted() -> tuple[int, int]:
        before = len(os.listdir("/proc/self/fd"))
        best.cache_clear()
        best()
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, 0)
        return before, len(os.listdir("/proc/self/fd"))

    before, after = in_child(counted)

    assert before == after
