"""Semaphores: a number that lets so many in, and knows nothing of who they are.

A semaphore has no owner. Whoever comes may take one from it or give one to it, and when a process
ends, the kernel neither gives back what it took nor asks why it gave more. So it keeps out who
keeps to the rules: take before, give back after, once each, on every path, and where there are
several, all in one order. What else the kernel offers has a memory: SEM_UNDO of a System V
semaphore, a lock on a file, a robust mutex.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import multiprocessing
import os
import sys
import tempfile
import time
from errno import EOWNERDEAD
from pathlib import Path
from typing import TYPE_CHECKING

import posix_ipc
import sysv_ipc

from lab import Tally, scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkProcess

KEY = 0x1AB03  # agreed on beforehand; `ftok` makes such a number from a file

NO_PATIENCE = 0  # seconds

libc = ctypes.CDLL(None)
fork = multiprocessing.get_context("fork")


# --- Two semaphores, two orders ------------------------------------------------------------


@scenario(expects=["deadlock"])
def opposite_order(amount: int = 10, work: float = 0.1) -> None:
    """Two transfers between the same two accounts wait for each other, for ever.

    It happens when each has taken the account that it takes the money from, and wants the other.
    The fix takes the two in the order of their names, wherever the money goes.
    """

    def transfer(source: str, target: str) -> None:
        with accounts[source]:
            time.sleep(work)  # is there money enough?
            with accounts[target]:
                print(f"{amount} from {source} to {target}")

    with _semaphore("/lab-alice") as alice, _semaphore("/lab-bob") as bob:
        accounts = {"alice": alice, "bob": bob}
        _join(_start(transfer, "alice", "bob"), _start(transfer, "bob", "alice"))


@scenario(fixes="opposite_order")
def same_order(amount: int = 10, work: float = 0.1) -> None:
    """Each transfer takes the two accounts in the order of their names.

    That suffices because whoever has the last that it needs waits for nobody, and whoever waits
    for an account has none that comes after it. So there is always one that can go on.
    """

    def transfer(source: str, target: str) -> None:
        first, second = sorted((source, target))
        with accounts[first]:
            time.sleep(work)  # is there money enough?
            with accounts[second]:
                print(f"{amount} from {source} to {target}")

    with _semaphore("/lab-alice") as alice, _semaphore("/lab-bob") as bob:
        accounts = {"alice": alice, "bob": bob}
        _join(_start(transfer, "alice", "bob"), _start(transfer, "bob", "alice"))


# --- The holder dies -----------------------------------------------------------------------


@scenario(expects=["hang"])
def holder_killed(work: float = 0.02) -> None:
    """A process waits for ever for a semaphore whose holder was killed.

    It happens because SIGKILL lets nobody clean up, and the kernel does not know that the dead
    one held the semaphore. The fixes use what ends with its holder.
    """
    with _semaphore("/lab-printer") as printer:
        _kill_holder(printer, work)
        with printer:
            print("the next one prints")


@scenario(fixes="holder_killed")
def undone_by_the_kernel(work: float = 0.02) -> None:
    """A System V semaphore is taken with SEM_UNDO.

    That suffices because the kernel then keeps for each process what it has taken, and gives it
    back at the exit, whatever the cause. What the semaphore guards may be half done all the same.
    """
    printer = sysv_ipc.Semaphore(KEY, sysv_ipc.IPC_CREX, initial_value=1)
    try:
        printer.undo = True
        _kill_holder(printer, work)
        with printer:
            print("the next one prints")
    finally:
        printer.remove()


@scenario(fixes="holder_killed")
def lock_on_a_file(work: float = 0.02) -> None:
    """A lock on a file, by `flock`, takes the place of the semaphore.

    That suffices because such a lock belongs to an open file, and the kernel closes the files of
    whoever ends. Each process opens the file for itself, for a fork would share the lock.
    """
    with tempfile.TemporaryDirectory() as directory:
        printer = _FileLock(Path(directory, "printer.lock"))
        _kill_holder(printer, work)
        with printer:
            print("the next one prints")


@scenario(fixes="holder_killed")
def robust_mutex(work: float = 0.02) -> None:
    """A mutex of the C library in shared memory, of the robust kind, takes the semaphore's place.

    That suffices because the kernel marks it when its owner ends, and lets the next one in. That
    one learns with the lock that the owner died, and so that what it guards may be half done.
    """
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        printer = _RobustMutex(memory)
        _kill_holder(printer, work)
        with printer as found:
            print("the next one prints", "after a holder's death" if found == EOWNERDEAD else "")
        del printer  # it looks into the memory


class _RobustMutex:
    """A pthread_mutex_t at the beginning of shared memory."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._mutex = ctypes.c_char.from_buffer(memory)
        attributes = ctypes.create_string_buffer(64)
        libc.pthread_mutexattr_init(attributes)
        libc.pthread_mutexattr_setpshared(attributes, 1)  # PTHREAD_PROCESS_SHARED
        libc.pthread_mutexattr_setrobust(attributes, 1)  # PTHREAD_MUTEX_ROBUST
        libc.pthread_mutex_init(ctypes.byref(self._mutex), attributes)

    def __enter__(self) -> int:
        error: int = libc.pthread_mutex_lock(ctypes.byref(self._mutex))
        if error == EOWNERDEAD:
            libc.pthread_mutex_consistent(ctypes.byref(self._mutex))  # or nobody can lock it again
        return error

    def __exit__(self, *_: object) -> None:
        libc.pthread_mutex_unlock(ctypes.byref(self._mutex))


class _FileLock:
    """Held from `with` to its end, and not after its holder's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _kill_holder(printer: contextlib.AbstractContextManager[object], work: float) -> None:
    """Let a child take the printer and kill it while it prints."""
    reading, writing = os.pipe()

    def hold() -> None:
        with printer:
            os.write(writing, b"printing")
            time.sleep(work * 10)  # prints, and is killed meanwhile

    holder = _start(hold)
    os.read(reading, 100)
    holder.kill()
    holder.join()
    os.close(reading)
    os.close(writing)


# --- Two that make the same one ------------------------------------------------------------


@scenario(expects=["lost-update"])
def value_set_twice(increments: int = 3, window: float = 0.03) -> Tally:
    """Two writers are in at once, although both take the semaphore that guards the counter.

    It happens when the second sets the semaphore to 1, as whoever starts does, while the first
    holds it. The fix lets only the one that makes the semaphore set it.
    """

    def open_semaphore() -> sysv_ipc.Semaphore:
        semaphore = sysv_ipc.Semaphore(KEY, sysv_ipc.IPC_CREAT)
        semaphore.value = 1
        return semaphore

    return _two_that_begin(open_semaphore, increments, window)


@scenario(fixes="value_set_twice")
def set_by_its_maker(increments: int = 3, window: float = 0.03) -> Tally:
    """Each tries to make the semaphore with IPC_CREAT and IPC_EXCL, and who succeeds sets it.

    That suffices because only one can succeed, and the others change nothing. Who opens it before
    its maker has set it finds 0, as Linux makes it, and waits.
    """

    def open_semaphore() -> sysv_ipc.Semaphore:
        try:
            return sysv_ipc.Semaphore(KEY, sysv_ipc.IPC_CREX, initial_value=1)
        except sysv_ipc.ExistentialError:
            return sysv_ipc.Semaphore(KEY)

    return _two_that_begin(open_semaphore, increments, window)


def _two_that_begin(
    open_semaphore: Callable[[], sysv_ipc.Semaphore], increments: int, window: float
) -> Tally:
    with _counter() as counter:

        def write() -> None:
            semaphore = open_semaphore()
            for _ in range(increments):
                with semaphore:
                    _add_one(counter, window)

        first = _start(write)
        time.sleep(window / 2)  # the second begins while the first is at it
        second = _start(write)
        _join(first, second)
        sysv_ipc.Semaphore(KEY).remove()
        return Tally(2 * increments, counter[0])


# --- One release too many ------------------------------------------------------------------


@scenario(expects=["lost-update"])
def release_without_acquire(workers: int = 4, increments: int = 3, window: float = 0.02) -> Tally:
    """Two workers are in at once, because a third gave back what it did not have.

    It happens when a worker finds the semaphore taken and gives up, and goes through the same
    `finally` as those who got in. The fix takes the semaphore before the `try` begins.
    """

    def write() -> None:
        try:
            semaphore.acquire(NO_PATIENCE)
            for _ in range(increments):
                _add_one(counter, window)
        except posix_ipc.BusyError:
            sys.exit("busy; try again later")
        finally:
            semaphore.release()

    with _counter() as counter, _semaphore("/lab-counter") as semaphore:
        added = _number_of_those_who_added(write, workers)
        return Tally(added * increments, counter[0])


@scenario(fixes="release_without_acquire")
def release_what_was_acquired(workers: int = 4, increments: int = 3, window: float = 0.02) -> Tally:
    """The `try` whose `finally` gives the semaphore back begins when it has been taken.

    That suffices because nobody passes that `finally` who has not got in. A worker that gave up
    has nothing to give back.
    """

    def write() -> None:
        try:
            semaphore.acquire(NO_PATIENCE)
        except posix_ipc.BusyError:
            sys.exit("busy; try again later")
        try:
            for _ in range(increments):
                _add_one(counter, window)
        finally:
            semaphore.release()

    with _counter() as counter, _semaphore("/lab-counter") as semaphore:
        added = _number_of_those_who_added(write, workers)
        return Tally(added * increments, counter[0])


def _number_of_those_who_added(write: Callable[[], None], workers: int) -> int:
    started = [_start(write) for _ in range(workers)]
    for worker in started:
        worker.join()
    return sum(worker.exitcode == 0 for worker in started)


# --- What bugs and fixes have in common ----------------------------------------------------


def _add_one(counter: memoryview[int], window: float) -> None:
    value = counter[0]
    if window:
        time.sleep(window)  # work with the value; without it the race is rare, not absent
    counter[0] = value + 1


def _start(body: Callable[..., None], *arguments: str) -> ForkProcess:
    process = fork.Process(target=body, args=arguments)
    process.start()
    return process


def _join(*processes: ForkProcess) -> None:
    for process in processes:
        process.join()
        assert process.exitcode == 0, f"{process.name} failed with exit code {process.exitcode}"


@contextlib.contextmanager
def _counter() -> Iterator[memoryview[int]]:
    """A number in memory that is shared with the children."""
    with mmap.mmap(-1, mmap.PAGESIZE) as page, memoryview(page).cast("i") as counter:
        yield counter


@contextlib.contextmanager
def _semaphore(name: str) -> Iterator[posix_ipc.Semaphore]:
    semaphore = posix_ipc.Semaphore(name, posix_ipc.O_CREX, initial_value=1)
    try:
        yield semaphore
    finally:
        semaphore.unlink()
        semaphore.close()
