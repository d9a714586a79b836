"""Completeness: what some order of the steps leads to, a search that comes to its end has met.

Each program here has two outcomes or more, by the order of two steps whose conflict is easily
overlooked. Were it overlooked, the search would make one run and call that a proof.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import select
import signal
import time

import pytest

from tests.every_order import Body, children, outcomes, statuses
from tests.run.control.conftest import Compile, compiled
from tests.run.control.controlled import proved

__all__ = ["compiled"]
pytestmark = pytest.mark.usefixtures("control")
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG, SFD_NONBLOCK = 1, 0o4000


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
