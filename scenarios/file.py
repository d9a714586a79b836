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

from lab import Tally, scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkProcess
    from typing import TextIO

fork = multiprocessing.get_context("fork")


# --- Read, change, write -------------------------------------------------------------------


@scenario(expects=["lost-update"])
def update_without_lock(visitors: int = 3, window: float = 0.1) -> Tally:
    """Visits are lost from a JSON file that is read, changed and written.

    It happens when one visitor reads the file between another's read and its write, so that both
    add one to the same number. The fix locks the file over both.
    """
    return _visited(lambda visits: _update(visits, window), visitors)


@scenario(fixes="update_without_lock")
def update_under_lock(visitors: int = 3, window: float = 0.1) -> Tally:
    """Each visitor holds a lock on the file, by `flock`, from before the read until it is closed.

    That suffices because no read can fall between another's read and write. It holds only against
    those who ask for the lock as well.
    """
    return _visited(lambda visits: _update(visits, window, fcntl.LOCK_EX), visitors)


def _update(visits: Path, window: float, lock: int = fcntl.LOCK_UN) -> None:
    with visits.open("r+") as file:
        fcntl.flock(file, lock)
        number = json.load(file)["visits"]
        time.sleep(window)  # work with the value; without it the race is rare, not absent
        file.seek(0)
        json.dump({"visits": number + 1}, file)
        file.truncate()


@scenario(expects=["lost-update"])
def rename_without_lock(visitors: int = 3, window: float = 0.1) -> Tally:
    """Visits are lost, though each visitor puts a whole new file in the place of the old one.

    It happens when one reads the old file before another's rename, which shows readers no half
    written file and keeps no update. The fix locks from before the read until after the rename.
    """
    return _visited(lambda visits: _replace(visits, window), visitors)


@scenario(fixes="rename_without_lock")
def rename_under_lock(visitors: int = 3, window: float = 0.1) -> Tally:
    """Each visitor holds a lock from before the read until after the rename.

    That suffices because no read can fall between another's read and rename. The lock is on a
    file of its own, since the rename puts another file in the place of the first.
    """

    def visit(visits: Path) -> None:
        with visits.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _replace(visits, window)

    return _visited(visit, visitors)


@scenario(expects=["lost-update"])
def lock_on_what_is_replaced(visitors: int = 3, window: float = 0.1) -> Tally:
    """Visits are lost, though each visitor locks the file that it reads until it has renamed.

    It happens when one waits for the lock while another replaces the file: what it gets is a lock
    on the old file. The fix looks whether the file that it has locked is still the one there.
    """

    def visit(visits: Path) -> None:
        with visits.open() as old:
            fcntl.flock(old, fcntl.LOCK_EX)
            _replace(visits, window, old.read())

    return _visited(visit, visitors)


@scenario(fixes="lock_on_what_is_replaced")
def lock_on_what_is_there(visitors: int = 3, window: float = 0.1) -> Tally:
    """Whoever has got the lock looks whether the path still leads to the file that is locked.

    That suffices because only who holds the lock on the file that is there replaces it. If it is
    another file by now, the visitor opens that one and asks for its lock.
    """

    def visit(visits: Path) -> None:
        while True:
            with visits.open() as old:
                fcntl.flock(old, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(old.fileno()), visits.stat()):
                    _replace(visits, window, old.read())
                    return

    return _visited(visit, visitors)


def _replace(visits: Path, window: float, content: str = "") -> None:
    number = json.loads(content or visits.read_text())["visits"]
    time.sleep(window)  # work with the value
    new = visits.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps({"visits": number + 1}))
    new.replace(visits)


def _visited(visit: Callable[[Path], None], visitors: int) -> Tally:
    with _directory() as directory:
        visits = directory / "visits.json"
        visits.write_text(json.dumps({"visits": 0}))
        _join(*[_start(lambda: visit(visits)) for _ in range(visitors)])
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
        time.sleep(work * lines / 2)  # the writer is half way
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
        time.sleep(work)  # as long as the bug looks away
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
        time.sleep(life)  # it serves
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
            time.sleep(life)  # it serves

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


def _start(body: Callable[[], None]) -> ForkProcess:
    process = fork.Process(target=body)
    process.start()
    return process


def _join(*processes: ForkProcess) -> None:
    for process in processes:
        process.join()
        assert process.exitcode == 0, f"{process.name} failed with exit code {process.exitcode}"
