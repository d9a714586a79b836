"""Files that several processes read and write, with nobody between them.

The kernel does each call as a whole, and promises nothing about two. Between the look and the
step that relies on it, between the read and the write, between the first half of a report and
the second, another process may come. Three means help, each against one thing: a lock is held
over several calls; a rename shows a file either as it was or as it will be; and O_EXCL and
O_APPEND make one call of two.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab import Messages, Tally, scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkProcess
    from typing import TextIO

fork = multiprocessing.get_context("fork")


# --- Read, change, write -------------------------------------------------------------------


@scenario(expects=["lost-update"])
def update_without_lock(visitors: int = 3, window: float = 0.1) -> Tally:
    """Visits are lost from a JSON file that is read, changed and written anew.

    It happens when one visitor reads the file between another's read and its rename; that the
    rename replaces the file at once does not help. The fix locks from the read to the rename.
    """
    with _directory() as directory:
        visits = directory / "visits.json"

        def visit() -> None:
            _count_one(visits, window)

        return _visited(visits, visitors, visit)


@scenario(fixes="update_without_lock")
def update_under_lock(visitors: int = 3, window: float = 0.1) -> Tally:
    """Each visitor holds a lock, by `flock`, from before the read until after the rename.

    That suffices because no read can fall between another's read and rename. The lock is on a
    file of its own, since the rename puts another file in the place of the first.
    """
    with _directory() as directory:
        visits = directory / "visits.json"

        def visit() -> None:
            with (directory / "visits.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _count_one(visits, window)

        return _visited(visits, visitors, visit)


def _count_one(visits: Path, window: float) -> None:
    number = json.loads(visits.read_text())["visits"]
    if window:
        time.sleep(window)  # work with the value; without it the race is rare, not absent
    new = visits.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps({"visits": number + 1}))
    new.replace(visits)


def _visited(visits: Path, visitors: int, visit: Callable[[], None]) -> Tally:
    visits.write_text(json.dumps({"visits": 0}))
    _join(*[_start(visit) for _ in range(visitors)])
    return Tally(visitors, json.loads(visits.read_text())["visits"], "visits")


# --- A reader in the middle ----------------------------------------------------------------


@scenario(expects=["invariant"])
def half_written(lines: int = 4, work: float = 0.03) -> None:
    """A reader sees a report of which only the first lines are there, or none at all.

    It happens when it reads while the report is written, because opening the file empties it and
    each write adds a piece. The fix writes a new file and puts it in the place of the old one.
    """

    def write(report: Path) -> None:
        with report.open("w") as file:
            _write_report(file, lines, work)

    _read_while(write, lines, work)


@scenario(fixes="half_written")
def written_beside_and_renamed(lines: int = 4, work: float = 0.03) -> None:
    """The report is written to a file beside it, which is then renamed to the report's name.

    That suffices because a rename replaces a file at once: the name leads to the old report or to
    the new one. A reader that has opened the old one goes on reading that.
    """

    def write(report: Path) -> None:
        new = report.with_suffix(".new")
        with new.open("w") as file:
            _write_report(file, lines, work)
        new.replace(report)

    _read_while(write, lines, work)


def _write_report(file: TextIO, lines: int, work: float) -> None:
    for number in range(lines):
        print(f"new, line {number}", file=file, flush=True)
        time.sleep(work)  # the next line takes its time


def _read_while(write: Callable[[Path], None], lines: int, work: float) -> None:
    with _directory() as directory:
        report = directory / "report.txt"
        report.write_text("".join(f"old, line {number}\n" for number in range(lines)))
        writer = _start(lambda: write(report))
        time.sleep(work * lines / 2)
        seen = report.read_text().splitlines()
        _join(writer)
        assert len(seen) == lines, f"{len(seen)} of {lines} lines were there to be read"


# --- Look, then make -----------------------------------------------------------------------


@scenario(expects=["invariant"])
def look_then_make(workers: int = 2, work: float = 0.1) -> None:
    """Two workers each believe that they are the one who does the nightly job.

    It happens when one looks for the other's mark after that one has looked and before it has
    made it. The fix looks and makes in one call.
    """

    def claim(mark: Path) -> bool:
        if mark.exists():
            return False
        time.sleep(work)  # without it the race is rare, not absent
        mark.touch()
        return True

    _claimed_once(claim, workers)


@scenario(fixes="look_then_make")
def make_exclusively(workers: int = 2, work: float = 0.1) -> None:
    """The mark is opened with O_CREAT and O_EXCL, which fails if it is there already.

    That suffices because the kernel looks and makes as one step, so that only one can succeed.
    Python's open mode "x" means that.
    """

    def claim(mark: Path) -> bool:
        time.sleep(work)
        try:
            mark.open("x").close()
        except FileExistsError:
            return False
        return True

    _claimed_once(claim, workers)


def _claimed_once(claim: Callable[[Path], bool], workers: int) -> None:
    with _directory() as directory:

        def come() -> None:
            sys.exit(DOES_IT if claim(directory / "job.mark") else 0)

        started = [_start(come) for _ in range(workers)]
        for worker in started:
            worker.join()
        doing = sum(worker.exitcode == DOES_IT for worker in started)
        assert doing == 1, f"{doing} workers do the job"


DOES_IT = 10  # exit code of a worker


# --- One log, two writers ------------------------------------------------------------------


@scenario(expects=["message-loss"])
def log_at_own_position(writers: int = 2, lines: int = 3, work: float = 0.02) -> Messages:
    """Lines vanish from a log that two processes write to.

    It happens because each has opened the file for itself and writes where it was last, which
    is where the other has written meanwhile. The fix opens the log with O_APPEND.
    """
    return _logged(os.O_WRONLY | os.O_CREAT, writers, lines, work)


@scenario(fixes="log_at_own_position")
def log_appended(writers: int = 2, lines: int = 3, work: float = 0.02) -> Messages:
    """Each writer opens the log with O_APPEND and writes a line in one call.

    That suffices because the kernel then goes to the end of the file and writes there in one
    step. A line that was written in two calls could still be parted by another's.
    """
    return _logged(os.O_WRONLY | os.O_CREAT | os.O_APPEND, writers, lines, work)


def _logged(flags: int, writers: int, lines: int, work: float) -> Messages:
    with _directory() as directory:

        def log(name: str) -> None:
            file = os.open(directory / "lab.log", flags)
            for number in range(lines):
                os.write(file, f"{name}: line {number}\n".encode())
                time.sleep(work)

        names = [f"writer {number}" for number in range(writers)]
        _join(*[_start(log, name) for name in names])
        sent = tuple(f"{name}: line {number}" for name in names for number in range(lines))
        return Messages(sent, tuple((directory / "lab.log").read_text().splitlines()))


# --- A file that outlives its process ------------------------------------------------------


@scenario(expects=["invariant"])
def stale_pid_file(life: float = 0.05) -> None:
    """A server does not start, because one that is dead is said to be running.

    It happens when the first was killed and could not remove its PID file. The fix asks whether
    somebody holds a lock on the file, not whether it is there.
    """

    def serve(pid_file: Path, serving: int) -> None:
        try:
            with pid_file.open("x") as file:
                print(os.getpid(), file=file)
        except FileExistsError:
            sys.exit(f"process {pid_file.read_text().strip()} is running already")
        os.write(serving, b"serving")
        time.sleep(life)
        pid_file.unlink()

    _kill_and_start_anew(serve)


@scenario(fixes="stale_pid_file")
def locked_pid_file(life: float = 0.05) -> None:
    """The server holds a lock on its PID file as long as it lives.

    That suffices because the kernel gives the lock back at the server's end, whatever the cause.
    The file may stay, for it is the lock that counts.
    """

    def serve(pid_file: Path, serving: int) -> None:
        with pid_file.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.exit(f"process {pid_file.read_text().strip()} is running already")
            file.truncate(0)
            print(os.getpid(), file=file, flush=True)
            os.write(serving, b"serving")
            time.sleep(life)

    _kill_and_start_anew(serve)


def _kill_and_start_anew(serve: Callable[[Path, int], None]) -> None:
    with _directory() as directory:
        pid_file = directory / "server.pid"
        told, serving = os.pipe()
        first = _start(lambda: serve(pid_file, serving))
        os.read(told, 100)
        first.kill()
        first.join()
        second = _start(lambda: serve(pid_file, serving))
        second.join()
        assert second.exitcode == 0, "the server did not start"


# --- What bugs and fixes have in common ----------------------------------------------------


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _start(body: Callable[..., None], *arguments: str) -> ForkProcess:
    process = fork.Process(target=body, args=arguments)
    process.start()
    return process


def _join(*processes: ForkProcess) -> None:
    for process in processes:
        process.join()
        assert process.exitcode == 0, f"{process.name} failed with exit code {process.exitcode}"
