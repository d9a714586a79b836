"""Several writers, one integer in shared memory.

Shared memory gives processes the same bytes and nothing else: no order, no exclusion. `n += 1`
is a read, an addition and a write, and between any two of them another process may run. A
semaphore makes the three one, for those who ask it, and for nobody else; and it makes nothing
right that one process does alone, such as a first write that forgets to count.

The kernel offers both in two dialects. POSIX objects have names ("/lab-counter", files in
/dev/shm); System V objects have numbers, which unrelated programs agree on by `ftok`, from a
file that all of them can see. The bugs are the same.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
import traceback
from typing import TYPE_CHECKING

import posix_ipc
import sysv_ipc

from lab import Tally, scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "/lab-counter"
KEY = 0x1AB01  # agreed on beforehand; `ftok` makes such a number from a file
CELL = 4  # bytes of a C int


# --- POSIX ---------------------------------------------------------------------------------


@scenario(expects=["lost-update"])
def posix_unguarded(writers: int = 3, increments: int = 5, window: float = 0.004) -> Tally:
    """Increments of a counter in POSIX shared memory get lost.

    It happens when one writer reads the counter between another's read and its write: both
    then write the same number. The fix holds a semaphore from the read to the write.
    """
    with _posix_counter() as counter:

        def write() -> None:
            for _ in range(increments):
                _add_one(counter, window)

        _run(writers, write)
        return Tally(writers * increments, counter[0])


@scenario(fixes="posix_unguarded")
def posix_guarded(writers: int = 3, increments: int = 5, window: float = 0.004) -> Tally:
    """Each writer holds a POSIX semaphore from before the read until after the write.

    That suffices because every access by a writer is inside, so that no read can fall between
    another's read and write. The parent reads outside, but only when the writers have ended.
    """
    with _posix_counter() as counter, _posix_semaphore() as semaphore:

        def write() -> None:
            for _ in range(increments):
                with semaphore:
                    _add_one(counter, window)

        _run(writers, write)
        return Tally(writers * increments, counter[0])


@scenario(expects=["lost-update"])
def posix_first_write_lost(writers: int = 3, increments: int = 5, window: float = 0.004) -> Tally:
    """One increment is lost in every run, although a semaphore guards them all.

    Whoever finds no counter makes one that starts at 0, and thereby spends its turn without
    adding. The fix makes the counter before the first writer starts.
    """
    with _posix_semaphore() as semaphore:

        def write() -> None:
            for _ in range(increments):
                with semaphore:
                    try:
                        with _posix_open() as counter:
                            _add_one(counter, window)
                    except posix_ipc.ExistentialError:
                        with _posix_open(posix_ipc.O_CREX) as counter:
                            counter[0] = 0

        try:
            _run(writers, write)
            with _posix_open() as counter:
                return Tally(writers * increments, counter[0])
        finally:
            posix_ipc.unlink_shared_memory(NAME)


@scenario(fixes="posix_first_write_lost")
def posix_initialised_first(writers: int = 3, increments: int = 5, window: float = 0.004) -> Tally:
    """The parent makes the counter and sets it to 0 before it starts the writers.

    That suffices because a writer then always finds a counter, so that every turn adds one. If
    the counter were missing all the same, the writer would fail loudly instead of making one.
    """
    with _posix_counter(), _posix_semaphore() as semaphore:

        def write() -> None:
            for _ in range(increments):
                with semaphore, _posix_open() as counter:
                    _add_one(counter, window)

        _run(writers, write)
        with _posix_open() as counter:
            return Tally(writers * increments, counter[0])


# --- System V ------------------------------------------------------------------------------


@scenario(expects=["lost-update"])
def sysv_unguarded(writers: int = 3, increments: int = 5, window: float = 0.004) -> Tally:
    """Increments of a counter in a System V segment get lost.

    It happens when one writer reads the counter between another's read and its write: both
    then write the same number. The fix holds a semaphore from the read to the write.
    """
    with _sysv_counter() as counter:

        def write() -> None:
            for _ in range(increments):
                _add_one(counter, window)

        _run(writers, write)
        return Tally(writers * increments, counter[0])


@scenario(fixes="sysv_unguarded")
def sysv_guarded(writers: int = 3, increments: int = 5, window: float = 0.004) -> Tally:
    """Each writer holds a System V semaphore from before the read until after the write.

    That suffices because every access by a writer is inside, so that no read can fall between
    another's read and write. SEM_UNDO gives the semaphore back even for a writer that is killed.
    """
    with _sysv_counter() as counter, _sysv_semaphore() as semaphore:

        def write() -> None:
            for _ in range(increments):
                with semaphore:
                    _add_one(counter, window)

        _run(writers, write)
        return Tally(writers * increments, counter[0])


# --- What bug and fix have in common -------------------------------------------------------


def _add_one(counter: memoryview[int], window: float) -> None:
    value = counter[0]
    if window:
        time.sleep(window)  # work with the value; without it the race is rare, not absent
    counter[0] = value + 1


def _run(writers: int, write: Callable[[], None]) -> None:
    """Start that many children that each call `write`, and wait for all of them."""
    children = []
    for _ in range(writers):
        child = os.fork()
        if child == 0:
            # Never back into the parent's code, by an exception either: the `finally` clauses
            # there would remove the objects that the other writers still use.
            try:
                write()
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0, f"writer {child} failed with wait status {status}"


@contextlib.contextmanager
def _posix_open(flags: int = 0) -> Iterator[memoryview[int]]:
    memory = posix_ipc.SharedMemory(NAME, flags, size=CELL if flags else 0)
    page = mmap.mmap(memory.fd, CELL)
    memory.close_fd()
    with page, memoryview(page).cast("i") as counter:
        yield counter


@contextlib.contextmanager
def _posix_counter() -> Iterator[memoryview[int]]:
    with _posix_open(posix_ipc.O_CREX) as counter:
        try:
            counter[0] = 0
            yield counter
        finally:
            posix_ipc.unlink_shared_memory(NAME)


@contextlib.contextmanager
def _posix_semaphore() -> Iterator[posix_ipc.Semaphore]:
    semaphore = posix_ipc.Semaphore(NAME, posix_ipc.O_CREX, initial_value=1)
    try:
        yield semaphore
    finally:
        semaphore.unlink()
        semaphore.close()


@contextlib.contextmanager
def _sysv_counter() -> Iterator[memoryview[int]]:
    memory = sysv_ipc.SharedMemory(KEY, sysv_ipc.IPC_CREX, size=CELL, init_character=b"\0")
    try:
        with memoryview(memory).cast("i") as counter:
            yield counter
    finally:
        memory.detach()
        memory.remove()


@contextlib.contextmanager
def _sysv_semaphore() -> Iterator[sysv_ipc.Semaphore]:
    semaphore = sysv_ipc.Semaphore(KEY, sysv_ipc.IPC_CREX, initial_value=1)
    semaphore.undo = True
    try:
        yield semaphore
    finally:
        semaphore.remove()
