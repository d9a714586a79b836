"""Completeness, as in test_completeness: files, the paths to them, their locks, and queues."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sysv_ipc

from tests.every_order import Body, children, is_there, outcomes, statuses
from tests.run.control.conftest import compiled

__all__ = ["compiled"]
pytestmark = pytest.mark.usefixtures("control")


# --- Files -------------------------------------------------------------------------------------


def write(path: str, text: str = "1") -> int:
    return Path(path).write_text(text) - len(text)


def make(call: Callable[[], object]) -> Body:
    """What is made, as the work of a child."""

    def work() -> int:
        call()
        return 0

    return work


def fails(call: Callable[[], object]) -> Body:
    def work() -> int:
        try:
            call()
        except OSError:
            return 1
        return 0

    return work


def link_to(*targets: str) -> Body:
    """Let a link lead to the first of these files, then to the next."""

    def turn() -> int:
        os.symlink(targets[1], "/tmp/new")
        os.rename("/tmp/new", "/tmp/link")
        return 0

    os.symlink(targets[0], "/tmp/link")
    return turn


def chain_of_links() -> int:
    write("/tmp/one", "1")
    write("/tmp/two", "2")
    turn = link_to("/tmp/one", "/tmp/two")
    os.symlink("/tmp/link", "/tmp/further")
    return statuses(children(turn, lambda: int(Path("/tmp/further").read_text())))


def link_that_leads_out() -> int:
    turn = link_to("/bin/sh", "/nowhere")
    return statuses(children(turn, lambda: is_there("/tmp/link")))


def above_a_link() -> int:
    os.makedirs("/tmp/a/b")
    os.symlink("/tmp/a/b", "/tmp/link")
    return statuses(children(lambda: write("/tmp/a/f"), lambda: is_there("/tmp/link/../f")))


def enters_what_is_made() -> int:
    enters = fails(lambda: os.chdir("/tmp/made"))
    return statuses(children(make(lambda: os.mkdir("/tmp/made")), enters))


def works_where_nothing_is(work: Callable[[], object]) -> int:
    os.mkdir("/tmp/gone")
    os.chdir("/tmp/gone")
    return statuses(children(fails(lambda: os.rmdir("/tmp/gone")), fails(work)))


def rotated() -> int:
    log = os.open("/tmp/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def rotate() -> int:
        os.rename("/tmp/log", "/tmp/log.1")
        old = os.open("/tmp/log.1", os.O_RDONLY)
        return 2 * len(os.read(old, 9)) + len(os.read(old, 9))

    return statuses(children(lambda: os.write(log, b"1") - 1, rotate))


def fifo_that_is_made() -> int:
    def make_and_open() -> int:
        os.mkfifo("/tmp/fifo")
        os.open("/tmp/fifo", os.O_RDWR)
        time.sleep(1)
        return 0

    return statuses(children(fails(lambda: os.open("/tmp/fifo", os.O_RDONLY)), make_and_open))


def position_without_a_name(file: int) -> int:
    os.write(file, b"12")
    os.lseek(file, 0, os.SEEK_SET)

    def read() -> int:
        return int(os.read(file, 1))

    return statuses(children(read, read))


def size_without_a_name() -> int:
    file = os.memfd_create("file")
    grow = make(lambda: os.ftruncate(file, 1))
    return statuses(children(grow, lambda: os.fstat(file).st_size))


def lives_in_proc() -> int:
    (child,) = children(lambda: 0)
    pids = children(lambda: is_there(f"/proc/{child}"))
    return statuses([child]) + statuses(pids)


def program_is_written() -> int:
    return statuses(children(lambda: write("/tmp/module.py"), lambda: is_there("/tmp/module.py")))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (chain_of_links, {1, 2}),
        (link_that_leads_out, {0, 1}),
        (above_a_link, {0, 1}),
        (enters_what_is_made, {0, 1}),
        (lambda: works_where_nothing_is(os.getcwd), {0, 1}),
        (lambda: works_where_nothing_is(lambda: write("file")), {1, 10}),
        (rotated, {0, 1, 2}),
        (fifo_that_is_made, {0, 10}),
        (lambda: position_without_a_name(os.memfd_create("file")), {12, 21}),
        (lambda: position_without_a_name(os.open("/tmp", os.O_TMPFILE | os.O_RDWR)), {12, 21}),
        (size_without_a_name, {0, 1}),
        (lives_in_proc, {0, 1}),
        (program_is_written, {0, 1}),
    ],
)
def test_files(body: Body, found: set[int]) -> None:
    assert outcomes(body) == found


# --- Locks -------------------------------------------------------------------------------------


def differently_locked() -> int:
    cell = mmap.mmap(-1, 4096)
    files = [os.open("/tmp/lock", os.O_CREAT | os.O_RDWR) for _ in range(2)]

    def change() -> int:
        fcntl.flock(files[0], fcntl.LOCK_EX)
        cell[0] = 1
        cell[0] = 2
        fcntl.flock(files[0], fcntl.LOCK_UN)
        return 0

    def look() -> int:
        fcntl.lockf(files[1], fcntl.LOCK_EX)
        return cell[0]

    return statuses(children(change, look))


def asked_for() -> int:
    file = os.open("/tmp/lock", os.O_CREAT | os.O_RDWR)
    whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)

    def hold() -> int:
        fcntl.lockf(file, fcntl.LOCK_EX)
        os.stat("/tmp/lock")
        return 0

    def ask() -> int:
        kind: int
        kind, *_ = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, whole))
        return int(kind != fcntl.F_UNLCK)

    return statuses(children(hold, ask))


def closed_elsewhere() -> int:
    """A lock on a file that is nothing shared, given back by closing it."""

    def hold() -> int:
        file = os.open("/etc/passwd", os.O_RDONLY)
        fcntl.flock(file, fcntl.LOCK_EX)
        os.close(file)
        return is_there("/tmp/done")

    def take() -> int:
        fcntl.flock(os.open("/etc/passwd", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
        write("/tmp/done")
        return 0

    return statuses(children(hold, fails(take)))


@pytest.mark.parametrize(
    ("body", "found"),
    [(differently_locked, {0, 1, 2}), (asked_for, {0, 1}), (closed_elsewhere, {0, 1, 10})],
)
def test_locks(body: Body, found: set[int]) -> None:
    assert outcomes(body) == found


def queue_is_made_smaller() -> int:
    queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)

    def shrink() -> int:
        queue.max_size = 1
        return 0

    def send() -> int:
        try:
            queue.send(b"12", block=False)
        except (sysv_ipc.BusyError, ValueError):
            return 1
        return 0

    found = statuses(children(shrink, send))
    queue.remove()
    return found


def test_a_queue_has_the_room_that_another_gives_it() -> None:
    assert outcomes(queue_is_made_smaller) == {0, 1}
