"""When a run is called stuck, and above all when it is not."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from lab.detect import findings
from lab.finding import Kind
from lab.run import worlds
from lab.trace import Blocked, Ending, Tally, Trace
from tests.run.conftest import Sandbox, on_host

QUICK = {"stuck_after": 0.2, "seconds": 20.0}
"""A stuck run is to be noticed long before its time limit, however busy the machine."""
PATIENT = {"stuck_after": 0.1, "seconds": 0.6}
"""What is able to go on gets the time limit and no less."""


def stuck(trace: Trace) -> Blocked:
    """The one process that waits in vain."""
    assert trace.ending is Ending.STUCK
    assert all(not blocked.timed for blocked in trace.blocked)
    (blocked,) = trace.blocked
    return blocked


def make_fifo() -> str:
    path = os.path.join(tempfile.gettempdir(), "door")
    os.mkfifo(path)
    return path


def test_opening_a_fifo_that_nobody_else_opens_is_stuck(sandbox: Sandbox) -> None:
    blocked = stuck(sandbox(lambda: os.open(make_fifo(), os.O_WRONLY), **QUICK))

    assert blocked.object.endswith("/door")
    assert blocked.waits_for == "a reader to open it"


def test_reading_a_pipe_of_which_one_holds_the_writing_end_oneself_is_stuck(
    sandbox: Sandbox,
) -> None:
    def body() -> None:
        reader, _ = os.pipe()
        os.read(reader, 1)

    blocked = stuck(sandbox(body, **QUICK))

    assert (blocked.call, blocked.on) == ("read", ("P0",))


def test_two_who_open_two_fifos_in_opposite_order_are_in_deadlock(sandbox: Sandbox) -> None:
    def body() -> None:
        first, second = (os.path.join(tempfile.gettempdir(), name) for name in ("a", "b"))
        os.mkfifo(first)
        os.mkfifo(second)
        mine, other = (first, second) if os.fork() else (second, first)
        os.open(mine, os.O_RDONLY)
        os.open(other, os.O_WRONLY)

    (finding,) = findings(sandbox(body, **QUICK))

    assert finding.kind is Kind.DEADLOCK


def test_a_parent_that_waits_for_a_stuck_child_is_held_up_by_it(sandbox: Sandbox) -> None:
    def body() -> None:
        child = os.fork()
        if child == 0:
            os.open(make_fifo(), os.O_RDONLY)
        os.waitpid(child, 0)

    trace = sandbox(body, **QUICK)

    assert trace.ending is Ending.STUCK
    parent, child = trace.blocked
    assert (parent.waits_for, parent.on) == ("the exit of P1", ("P1",))
    assert child.waits_for == "a writer to open it"


def test_a_semaphore_that_nobody_releases_is_stuck(sandbox: Sandbox) -> None:
    def body() -> None:
        semaphore = posix_ipc.Semaphore(f"/lab-gate-{os.getpid()}", posix_ipc.O_CREX)
        semaphore.unlink()
        semaphore.acquire()

    assert stuck(sandbox(body, **QUICK)).call == "futex"


def test_two_locks_of_files_in_opposite_order_are_in_deadlock(sandbox: Sandbox) -> None:
    def body() -> None:
        names = [os.path.join(tempfile.gettempdir(), name) for name in ("a", "b")]
        there, back = os.pipe(), os.pipe()
        is_parent = os.fork() > 0
        mine, other = names if is_parent else reversed(names)
        fcntl.flock(os.open(mine, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)
        os.write(there[1] if is_parent else back[1], b"!")
        os.read(back[0] if is_parent else there[0], 1)
        fcntl.flock(os.open(other, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)

    trace = sandbox(body, **QUICK)

    (finding,) = findings(trace)
    assert finding.kind is Kind.DEADLOCK
    assert {(blocked.process, blocked.on) for blocked in trace.blocked} == {
        ("P0", ("P1",)),
        ("P1", ("P0",)),
    }


def test_a_lock_that_lives_on_in_an_inherited_descriptor_names_who_has_that(
    sandbox: Sandbox,
) -> None:
    """/proc/locks names whoever took it, who is dead."""

    def body() -> None:
        path = os.path.join(tempfile.gettempdir(), "lock")
        middle = os.fork()
        if middle == 0:
            fcntl.flock(os.open(path, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)
            if os.fork() == 0:
                signal.pause()
            os._exit(0)
        os.waitpid(middle, 0)
        fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)

    trace = sandbox(body, **QUICK)

    assert trace.ending is Ending.STUCK
    waiting, holding = trace.blocked
    assert (waiting.call, waiting.on) == ("flock", (holding.process,))


def test_pausing_for_a_signal_that_nobody_sends_is_stuck(sandbox: Sandbox) -> None:
    assert stuck(sandbox(signal.pause, **QUICK)).waits_for == "a signal"


# --- What can go on by itself --------------------------------------------------------------


def _sleep() -> None:
    time.sleep(60)


def _select_with_a_limit() -> None:
    reader, _ = os.pipe()
    select.select([reader], [], [], 60)


def _timed_semaphore() -> None:
    semaphore = posix_ipc.Semaphore(f"/lab-gate-{os.getpid()}", posix_ipc.O_CREX)
    semaphore.unlink()
    semaphore.acquire(60)


def _timed_semaphore_set() -> None:
    semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
    less_one, minute = struct.pack("=Hhh", 0, -1, 0), struct.pack("=qq", 60, 0)
    ctypes.CDLL(None).semtimedop(semaphore.id, less_one, ctypes.c_size_t(1), minute)


def _alarm_with_a_handler() -> None:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(60)
    os.read(os.pipe()[0], 1)


def _timer_of_its_own() -> None:
    timer = ctypes.c_void_p()
    assert ctypes.CDLL(None).timer_create(1, None, ctypes.byref(timer)) == 0
    os.read(os.pipe()[0], 1)


def _socket() -> None:
    end, _other = socket.socketpair()
    end.recv(1)


def _terminal() -> None:
    _, inner = os.openpty()
    os.read(inner, 1)


def _device() -> None:
    os.read(ctypes.CDLL(None).timerfd_create(1, 0), 8)


def _timed_thread_beside_one_that_waits() -> None:
    threading.Thread(target=time.sleep, args=(60,)).start()


@pytest.mark.parametrize(
    "wait",
    [
        _sleep,
        _select_with_a_limit,
        _timed_semaphore,
        _timed_semaphore_set,
        _alarm_with_a_handler,
        _timer_of_its_own,
        _socket,
        _terminal,
        _device,
        _timed_thread_beside_one_that_waits,
    ],
)
def test_what_can_go_on_by_itself_has_until_the_time_limit(
    sandbox: Sandbox, wait: Callable[[], None]
) -> None:
    trace = sandbox(wait, **PATIENT)

    assert trace.ending is Ending.TIMED_OUT
    assert [blocked.timed for blocked in trace.blocked] == [True]


def test_one_who_is_waited_for_and_computes_is_not_stuck(sandbox: Sandbox) -> None:
    def body() -> None:
        child = os.fork()
        if child == 0:
            while True:
                pass
        os.waitpid(child, 0)

    assert sandbox(body, **PATIENT).ending is Ending.TIMED_OUT


def test_two_who_hand_something_to_and_fro_are_not_stuck(sandbox: Sandbox) -> None:
    """At each look both may sleep, but never in the same sleep as before."""

    def body() -> None:
        there, back = os.pipe(), os.pipe()
        mine, other = (there[0], back[1]) if os.fork() else (back[0], there[1])
        os.write(there[1], b"!")
        while True:
            os.read(mine, 1)
            time.sleep(0.002)
            os.write(other, b"!")

    assert sandbox(body, **PATIENT).ending is Ending.TIMED_OUT


def test_the_death_of_a_child_is_a_move_of_its_parent(sandbox: Sandbox) -> None:
    """It has slept for long, and the child is dead, but it has yet to wake up and see that."""

    def body() -> Tally:
        for _ in range(30):
            child = os.fork()
            if child == 0:
                time.sleep(0.04)
                os._exit(0)
            os.waitpid(child, 0)
        return Tally(1, 1)

    assert sandbox(body, stuck_after=0.02).ending is Ending.COMPLETED


# --- What somebody outside may end ---------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_pipe_that_was_there_before_may_be_served_from_outside(
    sandbox: Sandbox, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe

    def helper() -> None:
        time.sleep(0.5)
        os.write(writer, b"!")

    def body() -> Tally:
        os.close(writer)
        return Tally(1, len(os.read(reader, 1)))

    thread = threading.Thread(target=helper)
    thread.start()
    trace = sandbox(body, stuck_after=0.05)
    thread.join()

    assert (trace.ending, trace.tally) == (Ending.COMPLETED, Tally(1, 1))


def test_a_fifo_that_was_there_before_may_be_served_from_outside(sandbox: Sandbox) -> None:
    # Not in /tmp, for there a sandbox has its own.
    with tempfile.TemporaryDirectory(prefix="lab-test.", dir="/var/tmp") as place:
        os.chmod(place, 0o755)  # noqa: S103  # for any user
        fifo = Path(place, "old")
        os.mkfifo(fifo, 0o644)

        trace = sandbox(fifo.read_bytes, **PATIENT)

    assert trace.ending is Ending.TIMED_OUT


@pytest.fixture
def locked() -> Iterator[str]:
    """A file that a stranger has locked; not in /tmp, for there a sandbox has its own."""
    with tempfile.TemporaryDirectory(prefix="lab-test.", dir="/var/tmp") as place:
        os.chmod(place, 0o1777)  # noqa: S103  # for any user
        path = os.path.join(place, "lock")
        os.close(os.open(path, os.O_CREAT))
        os.chmod(path, 0o666)  # noqa: S103
        told, tell = os.pipe()
        stranger = worlds.fork()
        if stranger == 0:
            fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
            os.write(tell, b"!")
            signal.pause()
        assert os.read(told, 1) == b"!"
        yield path
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)
        os.close(told)
        os.close(tell)


def test_a_lock_that_a_stranger_holds_may_be_released(sandbox: Sandbox, locked: str) -> None:
    def body() -> None:
        fcntl.flock(os.open(locked, os.O_RDWR), fcntl.LOCK_EX)

    assert sandbox(body, **PATIENT).ending is Ending.TIMED_OUT


def test_a_lock_that_the_lab_holds_too_may_be_released(sandbox: Sandbox, own_tmp: Path) -> None:
    with open(own_tmp / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def body() -> None:
            fcntl.flock(os.open(f"/proc/self/fd/{held.fileno()}", os.O_RDONLY), fcntl.LOCK_EX)

        os.unlink(held.name)
        trace = sandbox(body, **PATIENT)

    assert trace.ending is Ending.TIMED_OUT


@on_host
def test_an_object_of_the_machine_that_was_there_before_may_be_served_from_outside(
    sandbox: Sandbox,
) -> None:
    semaphores = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, mode=0o666)
    queue = posix_ipc.MessageQueue(
        f"/lab-old-{os.getpid()}", posix_ipc.O_CREX, mode=0o666, max_messages=1, max_message_size=8
    )
    gate = posix_ipc.Semaphore(f"/lab-old-{os.getpid()}", posix_ipc.O_CREX, mode=0o666)
    try:
        for wait in (semaphores.acquire, queue.receive, gate.acquire):
            assert sandbox(wait, **PATIENT).ending is Ending.TIMED_OUT
    finally:
        semaphores.remove()
        queue.unlink()
        queue.close()
        gate.unlink()
        gate.close()


def test_shared_memory_inherited_from_the_lab_is_the_runs(sandbox: Sandbox) -> None:
    """A lock that a module makes when it is imported: the lab itself waits for the run."""
    memory = mmap.mmap(-1, 4096)
    libc = ctypes.CDLL(None)
    semaphore = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.sem_init(ctypes.c_void_p(semaphore), 1, 0) == 0

    def body() -> None:
        libc.sem_wait(ctypes.c_void_p(semaphore))

    assert stuck(sandbox(body, **QUICK)).waits_for == "another process to release it"


def test_a_helper_that_is_busy_may_be_about_to_wake_somebody(sandbox: Sandbox) -> None:
    """Such as a forkserver that imports for a second while its client reads from a pipe."""
    script = "multiprocessing.forkserver"  # what makes it one is its command line

    def body() -> Tally:
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        code = f"i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo {script}"
        os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", code)
        answer = os.read(reader, 1)
        os.wait()
        return Tally(1, len(answer))

    trace = sandbox(body, stuck_after=0.01, seconds=60.0)

    assert trace.process("P1").helper
    assert (trace.ending, trace.tally) == (Ending.COMPLETED, Tally(1, 1))
