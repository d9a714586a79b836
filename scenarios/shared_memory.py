"""Memory that several processes share: bytes, and no order between them.

One load and one store of an aligned number are whole; two are two. So a record of two fields can
be seen half new, `+=` is a read and a write with a gap between, and a flag that says "ready" says
so from the moment it is set, whatever is there by then. And the memory has a name, which somebody
must remove when all are done: not sooner, not never.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import sys
import time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING

import posix_ipc

from lab import Tally, scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkProcess
    from multiprocessing.sharedctypes import Synchronized

NAME = "/lab-results"  # SharedMemory puts the stroke before it itself

fork = multiprocessing.get_context("fork")


# --- A record of two fields ----------------------------------------------------------------


@scenario(expects=["invariant"])
def half_a_transfer(transfers: int = 3, window: float = 0.03) -> None:
    """A reader sees money that has left one account and not reached the other.

    It happens when it reads between the two writes of a transfer, each of which is whole, while
    the two together are not. The fixes let it read only before or after both, or look again.
    """
    with _numbers(2) as accounts:
        accounts[0], accounts[1] = 100, 0

        def write() -> None:
            for _ in range(transfers):
                _transfer(accounts, window)

        writer = _start(write)
        time.sleep(window * transfers / 2)  # the writer is half way
        seen = accounts[0], accounts[1]
        _join(writer)
        assert sum(seen) == 100, f"{seen[0]} and {seen[1]}, of 100"


@scenario(fixes="half_a_transfer")
def read_under_lock(transfers: int = 3, window: float = 0.03) -> None:
    """Writer and reader hold one lock, each over both accounts.

    That suffices because the reader then comes before the first write or after the second. It
    has to take the lock as well as the writer, for a lock keeps out only those who ask.
    """
    with _numbers(2) as accounts:
        accounts[0], accounts[1] = 100, 0
        lock = fork.Lock()

        def write() -> None:
            for _ in range(transfers):
                with lock:
                    _transfer(accounts, window)

        writer = _start(write)
        time.sleep(window * transfers / 2)  # the writer is half way
        with lock:
            seen = accounts[0], accounts[1]
        _join(writer)
        assert sum(seen) == 100, f"{seen[0]} and {seen[1]}, of 100"


@scenario(fixes="half_a_transfer")
def read_again_if_changed(transfers: int = 3, window: float = 0.03) -> None:
    """The writer counts before and after, so that an odd number means "at it": a seqlock.

    That suffices because a reader that finds the same even number before and after has met no
    writer, and otherwise it looks again. The writer never waits, and there may be only one.
    """
    with _numbers(3) as accounts:
        accounts[0], accounts[1] = 100, 0
        sequence = accounts[2:]

        def write() -> None:
            for _ in range(transfers):
                sequence[0] += 1
                _transfer(accounts, window)
                sequence[0] += 1

        writer = _start(write)
        time.sleep(window * transfers / 2)  # the writer is half way
        while True:
            before = sequence[0]
            seen = accounts[0], accounts[1]
            if before % 2 == 0 and sequence[0] == before:
                break
            time.sleep(window / 4)  # a transfer is under way
        _join(writer)
        sequence.release()
        assert sum(seen) == 100, f"{seen[0]} and {seen[1]}, of 100"


def _transfer(accounts: memoryview[int], window: float) -> None:
    accounts[0] -= 10
    time.sleep(window)  # without it the race is rare, not absent
    accounts[1] += 10


# --- multiprocessing.Value -----------------------------------------------------------------


@scenario(expects=["lost-update"])
def value_plus_equals(writers: int = 3, increments: int = 3, window: float = 0.02) -> Tally:
    """Increments of a `multiprocessing.Value` get lost, although it has a lock of its own.

    It happens when one writer reads the value between another's read and its write, because `+=`
    takes that lock twice, once for each. The fix holds it over both.
    """
    counter: Synchronized[int] = fork.Value("i", 0)

    def write() -> None:
        for _ in range(increments):
            counter.value += _one(window)  # reads, calls, adds, writes

    _join(*[_start(write) for _ in range(writers)])
    return Tally(writers * increments, counter.value)


@scenario(fixes="value_plus_equals")
def value_under_its_lock(writers: int = 3, increments: int = 3, window: float = 0.02) -> Tally:
    """Each writer holds the lock of the value, which `get_lock` gives, around the `+=`.

    That suffices because no other can read in between, and the lock may be taken again by its
    holder, as the read and the write do. A mere number in shared memory would need one as well.
    """
    counter: Synchronized[int] = fork.Value("i", 0)

    def write() -> None:
        for _ in range(increments):
            with counter.get_lock():
                counter.value += _one(window)

    _join(*[_start(write) for _ in range(writers)])
    return Tally(writers * increments, counter.value)


def _one(window: float) -> int:
    time.sleep(window)  # some work; without it the race is rare, not absent
    return 1


# --- A flag that says "ready" --------------------------------------------------------------


@scenario(expects=["invariant"])
def flag_before_data(work: float = 0.05) -> None:
    """A reader is told that the result is there, and reads a place where nothing is yet.

    It happens because the writer sets the flag first and the result after it, and the reader
    comes between. The fix writes in the other order.
    """
    with _numbers(2) as memory:
        ready, result = memory[:1], memory[1:]

        def write() -> None:
            ready[0] = 1
            time.sleep(work)  # works the result out, too late
            result[0] = 42

        _await_result(write, ready, result, work)


@scenario(fixes="flag_before_data")
def data_before_flag(work: float = 0.05) -> None:
    """The writer sets the flag when the result is there.

    That suffices because the processors that the lab runs on show the stores of one in the order
    in which it made them. Others need a barrier between the two, which a semaphore brings along.
    """
    with _numbers(2) as memory:
        ready, result = memory[:1], memory[1:]

        def write() -> None:
            time.sleep(work)  # works the result out
            result[0] = 42
            ready[0] = 1

        _await_result(write, ready, result, work)


def _await_result(
    write: Callable[[], None], ready: memoryview[int], result: memoryview[int], work: float
) -> None:
    with ready, result:
        writer = _start(write)
        while not ready[0]:
            time.sleep(work / 4)  # memory wakes nobody who waits for it
        seen = result[0]
        _join(writer)
        assert seen == 42, f"the result is said to be {seen}"


# --- A name that is removed ----------------------------------------------------------------


@scenario(expects=["invariant"])
def removed_by_the_first(workers: int = 2, work: float = 0.05) -> None:
    """A worker does not find the shared memory that all of them were to write to.

    It happens when another is done, and removes the name, before this one has opened it. The fix
    leaves the removal to the one who made it.
    """

    def write(number: int) -> None:
        memory = posix_ipc.SharedMemory(NAME)
        time.sleep(work)  # works the result out
        os.pwrite(memory.fd, b"done", number * 4)
        memory.close_fd()
        with contextlib.suppress(posix_ipc.ExistentialError):
            memory.unlink()

    _make(workers)
    _join(*_one_after_the_other(write, workers, work))


@scenario(fixes="removed_by_the_first")
def removed_by_its_maker(workers: int = 2, work: float = 0.05) -> None:
    """The parent removes the name when all workers have ended.

    That suffices because nobody is left then who might look for it. What is open or mapped would
    stay usable without a name, but it cannot be opened any more.
    """

    def write(number: int) -> None:
        memory = posix_ipc.SharedMemory(NAME)
        time.sleep(work)  # works the result out
        os.pwrite(memory.fd, b"done", number * 4)
        memory.close_fd()

    _make(workers)
    try:
        _join(*_one_after_the_other(write, workers, work))
    finally:
        posix_ipc.unlink_shared_memory(NAME)


def _make(workers: int) -> None:
    posix_ipc.SharedMemory(NAME, posix_ipc.O_CREX, size=4 * workers).close_fd()


def _one_after_the_other(
    write: Callable[[int], None], workers: int, work: float
) -> list[ForkProcess]:
    started = []
    for number in range(workers):
        started.append(_start(write, number))
        time.sleep(work * 3)  # the next comes late
    return started


# --- A name that is removed by Python ------------------------------------------------------


@scenario(expects=["invariant"])
def removed_by_a_tracker(work: float = 0.4) -> None:
    """A name is gone although its maker still uses it: whoever comes next finds nothing.

    It happens because Python's `SharedMemory` takes memory that a process only opened for its own,
    and a helper, the resource tracker, removes it when that process has ended. The fix opens it
    without the tracker's knowledge.
    """
    _read_by_one_after_the_other(lambda: SharedMemory(NAME[1:]), work)


@scenario(fixes="removed_by_a_tracker")
def opened_untracked(work: float = 0.4) -> None:
    """Whoever did not make the memory takes it off the tracker's list.

    That suffices because the name is then removed by its maker alone. Since Python 3.13
    `SharedMemory` can be asked not to put it there.
    """

    def opened() -> SharedMemory:
        if sys.version_info >= (3, 13):
            return SharedMemory(NAME[1:], track=False)
        memory = SharedMemory(NAME[1:])
        resource_tracker.unregister(NAME, "shared_memory")
        return memory

    _read_by_one_after_the_other(opened, work)


def _read_by_one_after_the_other(opened: Callable[[], SharedMemory], work: float) -> None:
    def read() -> None:
        os.chdir("/")  # as a daemon does
        memory = opened()
        print("read", bytes(memory.buf or b""))
        memory.close()

    _make(1)
    try:
        _join(_start(read))
        time.sleep(work)  # the next comes late
        posix_ipc.SharedMemory(NAME).close_fd()
    except posix_ipc.ExistentialError:
        raise AssertionError("the second reader finds no memory") from None
    finally:
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_shared_memory(NAME)


# --- What bugs and fixes have in common ----------------------------------------------------


def _start(body: Callable[..., None], *arguments: int) -> ForkProcess:
    process = fork.Process(target=body, args=arguments)
    process.start()
    return process


def _join(*processes: ForkProcess) -> None:
    for process in processes:
        process.join()
    for process in processes:
        assert process.exitcode == 0, f"{process.name} failed with exit code {process.exitcode}"


@contextlib.contextmanager
def _numbers(count: int) -> Iterator[memoryview[int]]:
    """So many numbers in memory that is shared with the children, all 0."""
    with (
        mmap.mmap(-1, mmap.PAGESIZE) as page,
        memoryview(page).cast("i") as numbers,
        numbers[:count] as those,
    ):
        yield those
