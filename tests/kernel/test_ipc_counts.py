"""The quick count agrees with what is there, in a world where nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sysv_ipc

from lab.kernel.ipc_counts import sysv_objects
from lab.kernel.namespaces import World
from tests.forked import in_namespaces


@pytest.mark.parametrize(
    "make",
    [
        lambda: sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=5000),
        lambda: sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX),
        lambda: sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX),
    ],
    ids=["shm", "sem", "msg"],
)
def test_each_object_counts_once_until_it_is_removed(make: Callable[[], Any]) -> None:
    def counts(_: World) -> list[int]:
        found = [sysv_objects()]
        made = [make(), make()]
        found.append(sysv_objects())
        for each in made:
            each.remove()
            if isinstance(each, sysv_ipc.SharedMemory):
                each.detach()
            found.append(sysv_objects())
        return found

    assert in_namespaces(counts) == [0, 2, 1, 0]


def test_all_sorts_are_counted_together() -> None:
    def count(_: World) -> int:
        sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=1)
        sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
        sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX).send("text")
        return sysv_objects()

    assert in_namespaces(count) == 3


def test_one_that_is_removed_and_still_attached_counts() -> None:
    def count(_: World) -> int:
        sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=1).remove()
        return sysv_objects()

    assert in_namespaces(count) == 1
