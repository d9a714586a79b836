"""A log that several processes write to, and each believes to know where it ends.

A process writes where its descriptor stands, and only with O_APPEND does the kernel take it to
the end first, in one step with the write. A log has a size, too, at which somebody puts it aside
and begins another; who does that must be alone, as with every look that a step relies on.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab import Messages, Tally, scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

fork = multiprocessing.get_context("fork")


# --- Each at its own position --------------------------------------------------------------


@scenario(expects=["message-loss"])
def own_position(writers: int = 2, lines: int = 3, work: float = 0.02) -> Messages:
    """Lines vanish from a log that two processes write to.

    It happens because each has opened the file for itself and writes where it was last, which
    is where the other has written meanwhile. The fix opens the log with O_APPEND.
    """
    return _logged(os.O_WRONLY | os.O_CREAT, writers, lines, work)


@scenario(fixes="own_position")
def appended(writers: int = 2, lines: int = 3, work: float = 0.02) -> Messages:
    """Each writer opens the log with O_APPEND and writes a line in one call.

    That suffices because the kernel then goes to the end of the file and writes there in one
    step. A line that was written in two calls could still be parted by another's.
    """
    return _logged(os.O_WRONLY | os.O_CREAT | os.O_APPEND, writers, lines, work)


def _logged(flags: int, writers: int, lines: int, work: float) -> Messages:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "lab.log")

        def write(own: Sequence[str]) -> None:
            file = os.open(path, flags)
            for line in own:
                os.write(file, f"{line}\n".encode())
                time.sleep(work)  # makes the next line

        return Messages(_write_all(write, writers, lines), tuple(path.read_text().splitlines()))


# --- To the end, and then write ------------------------------------------------------------


@scenario(expects=["lost-update"])
def end_then_write(writers: int = 2, lines: int = 3, work: float = 0.02) -> Tally:
    """Lines vanish, though each writer goes to the end of the log before each line.

    It happens when another writes between the seek and the write, for then the end is elsewhere.
    The fix holds a lock over both; O_APPEND makes one step of them.
    """
    return _logged_at_end(writers, lines, work)


@scenario(fixes="end_then_write")
def end_under_lock(writers: int = 2, lines: int = 3, work: float = 0.02) -> Tally:
    """Each writer holds a lock on the log, by `flock`, from before the seek until after the write.

    That suffices because the end stays where it is meanwhile. Unlike O_APPEND, a lock could keep
    several lines together as well.
    """
    return _logged_at_end(writers, lines, work, fcntl.LOCK_EX)


def _logged_at_end(writers: int, lines: int, work: float, lock: int = fcntl.LOCK_UN) -> Tally:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "lab.log")

        def write(own: Sequence[str]) -> None:
            file = os.open(path, os.O_WRONLY | os.O_CREAT)
            for line in own:
                fcntl.flock(file, lock)
                os.lseek(file, 0, os.SEEK_END)
                time.sleep(work)  # without it the race is rare, not absent
                os.write(file, f"{line}\n".encode())
                fcntl.flock(file, fcntl.LOCK_UN)

        written = _write_all(write, writers, lines)
        return Tally(len(written), len(path.read_text().splitlines()), "lines")


# --- A log that is full --------------------------------------------------------------------


@scenario(expects=["message-loss"])
def rotated_twice(writers: int = 2, lines: int = 3, work: float = 0.03) -> Messages:
    """A whole log is lost when it is full and is to be put aside.

    It happens when two writers see that it is full, for the second puts aside the new log of the
    first, over the old one. The fix looks and puts aside under one lock.
    """
    return _logged_and_rotated(contextlib.nullcontext, writers, lines, work)


@scenario(fixes="rotated_twice")
def rotated_under_lock(writers: int = 2, lines: int = 3, work: float = 0.03) -> Messages:
    """A writer holds a lock while it looks whether the log is full, puts it aside, and writes.

    That suffices because the second to come finds a log that is not full. The lock is on a file
    of its own, since the log itself is another one afterwards.
    """
    return _logged_and_rotated(_locked, writers, lines, work)


@contextlib.contextmanager
def _locked(log: Path) -> Iterator[None]:
    with log.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _logged_and_rotated(
    alone: Callable[[Path], AbstractContextManager[object]], writers: int, lines: int, work: float
) -> Messages:
    """Let the writers come to a log that is full, and has room for all that they write when new."""
    with tempfile.TemporaryDirectory() as directory:
        log, aside = Path(directory, "lab.log"), Path(directory, "lab.log.1")
        before = _lines("before", writers * lines)
        log.write_text("".join(f"{line}\n" for line in before))
        full = log.stat().st_size

        def write(own: Sequence[str]) -> None:
            for line in own:
                with alone(log):
                    if _size(log) >= full:
                        time.sleep(3 * work)  # without it the race is rare, not absent
                        with contextlib.suppress(FileNotFoundError):  # another has just done it
                            log.replace(aside)
                    with log.open("a") as file:
                        print(line, file=file)
                time.sleep(work)  # makes the next line

        written = _write_all(write, writers, lines, apart=work)
        kept = aside.read_text() + log.read_text()
        return Messages((*before, *written), tuple(kept.splitlines()))


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0  # put aside, and not begun anew


# --- What bugs and fixes have in common ----------------------------------------------------


def _lines(name: str, number: int) -> tuple[str, ...]:
    return tuple(f"{name}: line {count}" for count in range(number))


def _write_all(
    write: Callable[[Sequence[str]], None], writers: int, lines: int, apart: float = 0
) -> tuple[str, ...]:
    """Let each writer write its lines, in a process of its own; return them all."""
    own = [_lines(f"writer {number}", lines) for number in range(writers)]
    started = [fork.Process(target=write, args=(each,)) for each in own]
    for process in started:
        process.start()
        if apart:
            time.sleep(apart)  # the next one comes late
    for process in started:
        process.join()
        assert process.exitcode == 0, f"{process.name} failed with exit code {process.exitcode}"
    return tuple(line for each in own for line in each)
