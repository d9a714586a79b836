from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import TypeVar

import posix_ipc
import pytest

from lab.kernel import queue_limit
from tests.forked import in_child, user_of_its_own

Result = TypeVar("Result")
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


def as_user_of_its_own(function: Callable[[], Result]) -> Result:
    if os.geteuid() != 0:
        pytest.skip("other tests make queues as the same user; only root can become another")
    return in_child(function, user=user_of_its_own())


def test_what_a_user_takes_is_measured_to_the_byte() -> None:
    def measured() -> tuple[list[int | None], bool]:
        limit = resource.getrlimit(LIMIT)
        readings = [queue_limit.used()]
        for messages, size in [(1, 1), (10, 64)]:
            queue = posix_ipc.MessageQueue(
                None, posix_ipc.O_CREX, max_messages=messages, max_message_size=size
            )
            readings.append(queue_limit.used())
            queue.close()
            queue.unlink()
        readings.append(queue_limit.used())
        return readings, resource.getrlimit(LIMIT) == limit

    (before, smallest, larger, after), unchanged = as_user_of_its_own(measured)

    assert (before, after, unchanged) == (0, 0, True)
    assert smallest is not None
    overhead = smallest - 1  # of a message, in the kernel
    assert larger == 10 * (64 + overhead)


def test_without_a_limit_it_is_measured_too() -> None:
    def measured() -> int | None:
        resource.setrlimit(LIMIT, (1000, resource.RLIM_INFINITY))
        return queue_limit.used()

    if not in_child(_may_raise):
        pytest.skip("nobody here may raise a limit: CAP_SYS_RESOURCE is missing")
    assert in_child(measured) is not None


def test_a_limit_below_any_queue_measures_nothing() -> None:
    def measured() -> int | None:
        resource.setrlimit(LIMIT, (0, 0))
        return queue_limit.used()

    assert in_child(measured) is None
