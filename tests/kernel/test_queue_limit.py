from __future__ import annotations

import os
import resource

import posix_ipc
import pytest

from lab.kernel import queue_limit
from tests.forked import in_child

LIMIT = resource.RLIMIT_MSGQUEUE


def test_whoever_may_lift_the_limit_lifts_it() -> None:
    def lifted() -> tuple[str, int]:
        resource.setrlimit(LIMIT, (1000, 1000))
        return queue_limit.loosen(), resource.getrlimit(LIMIT)[0]

    if not in_child(_may_raise):
        pytest.skip("nobody here may raise a limit: CAP_SYS_RESOURCE is missing")
    assert in_child(lifted) == ("", resource.RLIM_INFINITY)


def _may_raise() -> bool:
    try:
        resource.setrlimit(LIMIT, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        return False
    return True


def as_nobody_with(limit: int, used: int) -> tuple[str, list[str]]:
    """What an ordinary user is told who has so many queues, and the names of all queues then."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    names = [f"/lab-limit-{os.getpid()}-{number}" for number in range(used)]

    def told() -> tuple[str, list[str]]:
        queues = [posix_ipc.MessageQueue(name, posix_ipc.O_CREX) for name in names]
        try:
            resource.setrlimit(LIMIT, (limit, limit))
            answer = queue_limit.loosen()
            return answer, [name for name in names if _exists(name)]
        finally:
            for queue in queues:
                queue.unlink()

    return in_child(told, user="nobody")


def _exists(name: str) -> bool:
    try:
        posix_ipc.MessageQueue(name).close()
    except posix_ipc.ExistentialError:
        return False
    return True


def test_room_for_one_is_enough() -> None:
    assert as_nobody_with(200_000, used=1)[0] == ""


def test_a_limit_that_is_used_up_is_told_with_whose_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_limit, "_PATIENCE", 0.05)

    answer, names = as_nobody_with(100_000, used=1)

    assert "RLIMIT_MSGQUEUE" in answer
    assert "100000 bytes" in answer
    assert len(names) == 1


def test_a_limit_below_any_queue_is_nobodys_fault() -> None:
    assert as_nobody_with(1000, used=0)[0] == ""


def test_the_probe_leaves_nothing() -> None:
    as_nobody_with(200_000, used=0)

    assert not _exists("/lab-probe")
