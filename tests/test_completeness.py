"""Completeness: what some order of the steps leads to, a search that comes to its end has met.

Each program here has two outcomes or more, by the order of two steps whose conflict is easily
overlooked. Were it overlooked, the search would make one run and call that a proof.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import signal
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import sysv_ipc

from lab import Tally
from tests.run.control.conftest import Compile, compiled
from tests.run.control.controlled import proved

__all__ = ["compiled"]
pytestmark = pytest.mark.usefixtures("control")
Body = Callable[[], int]
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG, SFD_NONBLOCK = 1, 0o4000


def outcomes(body: Body) -> set[float]:
    """What a body returns, over all the runs of a search that has come to its end."""
    dpor, traces = proved(lambda: Tally(0, body()))
    assert dpor.exhausted
    return {trace.tally.actual for trace in traces if isinstance(trace.tally, Tally)}


def children(*works: Body) -> list[int]:
    """Let each be done by a child, which ends with what it returns."""
    found = []
    for work in works:
        child = os.fork()
        if child == 0:
            os._exit(work())
        found.append(child)
    return found


def statuses(pids: Iterable[int]) -> int:
    """With what children ended, one decimal each; 9 if by a signal."""
    number = 0
    for pid in pids:
        status = os.waitpid(pid, 0)[1]
        number = number * 10 + (9 if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status))
    return number


def both(one: Body, other: Body) -> set[float]:
    """The outcomes of two children beside one another, whoever is born first."""
    found = outcomes(lambda: statuses(children(one, other)))
    swapped = outcomes(lambda: statuses(reversed(children(other, one))))
    assert found == swapped
    return found


def is_there(path: str) -> int:
    return int(os.path.exists(path))


# --- Processes and signals ---------------------------------------------------------------------


def group_killed() -> int:
    cell = mmap.mmap(-1, 4096)

    def write() -> int:
        cell[0] = 1
        return 0

    pids = children(write, lambda: 0)
    block(signal.SIGTERM)
    os.kill(0, signal.SIGTERM)
    return statuses(pids) + 100 * cell[0]


def probed(number: int) -> int:
    (probe,) = victim = children(lambda: 0)

    def send() -> int:
        time.sleep(1)
        try:
            os.kill(victim[0], number)
        except ProcessLookupError:
            return 1
        return 0

    (probe,) = children(send)
    statuses(victim)
    return statuses([probe])


def put_into_a_group() -> int:
    pids = children(lambda: int(os.getpgrp() == os.getpid()))
    os.setpgid(pids[0], pids[0])
    return statuses(pids)


def put_into_a_group_too_late() -> int:
    def execute() -> int:
        os.execv("/bin/true", ["true"])

    pids = children(execute)
    try:
        os.setpgid(pids[0], pids[0])
    except PermissionError:
        return 1 + statuses(pids)
    return statuses(pids)


def waits_for_its_group() -> int:
    def leave() -> int:
        os.setpgid(0, 0)
        return 0

    pids = children(leave)
    time.sleep(1)
    try:
        os.waitpid(0, os.WNOHANG)
    except ChildProcessError:
        return 1 + statuses(pids)
    return 0


def nobody_to_wait_for() -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    children(lambda: 0)
    time.sleep(1)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 1
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, 0)
    return 0


def dies_with_its_parent() -> int:
    reader, writer = os.pipe()

    def parent() -> int:
        if os.fork() == 0:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os.write(writer, b"1")
            os._exit(0)
        return 0

    pids = children(parent)
    os.close(writer)
    return len(os.read(reader, 1)) + statuses(pids)


def block(number: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])


def child_is_pending() -> int:
    block(signal.SIGCHLD)
    pids = children(lambda: 0)
    time.sleep(1)
    return len(signal.sigpending()) + statuses(pids)


def child_in_a_descriptor() -> int:
    block(signal.SIGCHLD)
    mask = (ctypes.c_uint64 * 1)(1 << signal.SIGCHLD - 1)
    descriptor = LIBC.signalfd(-1, mask, SFD_NONBLOCK)
    pids = children(lambda: 0)
    time.sleep(1)
    try:
        return len(os.read(descriptor, 128)) // 128 + statuses(pids)
    except BlockingIOError:
        return statuses(pids)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (group_killed, {90, 99, 100, 109, 190, 199}),
        (lambda: probed(0), {0, 1}),
        (lambda: probed(signal.SIGTERM), {0, 1}),
        (put_into_a_group, {0, 1}),
        (put_into_a_group_too_late, {0, 1}),
        (waits_for_its_group, {0, 1}),
        (nobody_to_wait_for, {0, 1}),
        (dies_with_its_parent, {0, 1}),
        (child_is_pending, {0, 1}),
        (child_in_a_descriptor, {0, 1}),
    ],
    ids=[
        "a signal to a group",
        "a question after who was waited for",
        "a signal to who was waited for",
        "a group that the parent chooses",
        "a group that comes after an exec",
        "a wait for a group",
        "a wait for who was not to be waited for",
        "a signal at the parent's end",
        "a pending signal",
        "a signal in a descriptor",
    ],
)
def test_processes(body: Body, found: set[int]) -> None:
    assert outcomes(body) == found


def test_a_robust_mutex_is_left_by_the_end_of_its_holder(compiled: Compile) -> None:
    program = compiled(
        """
        #include <errno.h>
        #include <pthread.h>
        #include <sys/mman.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main() {
            pthread_mutexattr_t how;
            pthread_mutex_t *lock = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            pthread_mutexattr_init(&how);
            pthread_mutexattr_setpshared(&how, 1);
            pthread_mutexattr_setrobust(&how, 1);
            pthread_mutex_init(lock, &how);
            if (!fork()) { pthread_mutex_lock(lock); _exit(0); }
            int answer = pthread_mutex_trylock(lock);
            wait(0);
            return answer == EBUSY ? 1 : answer == EOWNERDEAD ? 2 : 0;
        }
        """
    )
    dpor, traces = proved(program)

    assert dpor.exhausted
    assert {trace.root.status for trace in traces} == {1, 2, None}  # the child waits for ever


def test_a_wake_that_changes_a_second_word_is_seen_by_who_reads_that(compiled: Compile) -> None:
    program = compiled(
        """
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main() {
            volatile int *words = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            int set_to_one = 1 << 12;
            if (!fork()) { syscall(SYS_futex, words, 5, 0, 0, words + 8, set_to_one); _exit(0); }
            if (!fork()) _exit(words[8]);
            wait(0);
            wait(0);
            return 0;
        }
        """
    )
    dpor, traces = proved(program)

    assert dpor.exhausted
    assert {trace.processes[2].status for trace in traces} == {0, 1}


# --- Pipes and waiting for several -------------------------------------------------------------


def first_of_two() -> int:
    """Which pipes had something: 1, 2, or 3 for both."""
    one, other = os.pipe(), os.pipe()
    pids = children(*(lambda pipe=pipe: os.write(pipe[1], b"1") - 1 for pipe in (one, other)))
    time.sleep(1)
    poll = select.epoll()
    poll.register(one[0], select.EPOLLIN)
    poll.register(other[0], select.EPOLLIN)
    ready = [descriptor for descriptor, _ in poll.poll()]
    statuses(pids)
    return (one[0] in ready) + 2 * (other[0] in ready)


def spliced() -> int:
    reader, writer = os.pipe()
    full = os.memfd_create("full")
    os.write(full, b"12")

    def read() -> int:
        return int(os.read(reader, 1))

    pids = children(read, read)
    os.splice(full, writer, 2, offset_src=0)
    return statuses(pids)


def more_than_a_pipe_holds() -> int:
    reader, writer = os.pipe()

    def read() -> int:
        return os.read(reader, 40_000)[0] - ord("0")

    pids = children(read, read)
    os.write(writer, b"1" * 40_000 + b"2" * 40_000)
    return statuses(pids)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (first_of_two, {1, 2, 3}),
        (spliced, {12, 21}),
        (more_than_a_pipe_holds, {12, 21}),
    ],
    ids=["epoll", "splice", "a write that sleeps"],
)
def test_pipes(body: Body, found: set[int]) -> None:
    assert outcomes(body) == found


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
