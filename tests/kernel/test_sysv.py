from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import sysv_ipc

from lab.kernel import sysv

KEY = 0x1AB0_0000 | os.getpid() & 0xFFFF
"""Another one for each worker that runs tests."""


@pytest.fixture
def semaphore() -> Iterator[sysv_ipc.Semaphore]:
    made = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=3)
    yield made
    made.remove()


@pytest.fixture
def queue() -> Iterator[sysv_ipc.MessageQueue]:
    made = sysv_ipc.MessageQueue(KEY, sysv_ipc.IPC_CREX)
    yield made
    made.remove()


def test_values_of_semaphores_are_asked_for(semaphore: sysv_ipc.Semaphore) -> None:
    semaphore.acquire()
    assert sysv.semaphore_values(semaphore.id) == [2]


def test_a_set_that_is_gone_has_no_values() -> None:
    assert sysv.semaphore_values(0x7FFFFFFF) is None


def test_how_full_a_queue_is(queue: sysv_ipc.MessageQueue) -> None:
    queue.max_size = 1000
    queue.send(b"hello")
    queue.send(b"you")

    assert sysv.queue_state(queue.id) == sysv.QueueState(8, 2, 1000)


def test_a_queue_that_is_gone_has_no_state() -> None:
    assert sysv.queue_state(0x7FFFFFFF) is None


def test_an_object_is_known_by_its_key(
    queue: sysv_ipc.MessageQueue, semaphore: sysv_ipc.Semaphore
) -> None:
    assert sysv.key_of("msg", queue.id) == KEY
    assert sysv.key_of("sem", semaphore.id) == semaphore.key & 0xFFFFFFFF
    assert sysv.key_of("shm", 0x7FFFFFFF) == 0
