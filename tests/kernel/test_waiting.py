"""Why real processes sleep: one test for each call that can be explained."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from lab.detect.naming import stable_name
from lab.kernel import process_stat, procfs, sleeping
from lab.kernel.arch import NAMES
from lab.kernel.libc import file_clock
from lab.kernel.outside import ANY_QUEUE, Outside
from lab.kernel.waiting import Wait, why
from lab.trace import ObjectType
from tests.forked import stranger

NAME = f"/lab-wait-{os.getpid()}"


def asleep(pid: int, *calls: str) -> str:
    """The sleep of a process's first thread, as soon as it is in one of these calls."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        sleep = sleeping.sleep_of(pid, pid)
        if sleep and NAMES[sleeping.call_of(sleep).number] in calls:
            return sleep
        time.sleep(0.001)
    pytest.fail(f"process {pid} never slept in {calls}: {procfs.text(pid, 'syscall')}")


def explain(
    function: Callable[[], object], *calls: str, outside: Outside | None = None, family: int = 0
) -> Wait:
    """Why a child sleeps that calls this function; its PID in the answer is shown as -1."""
    with stranger(function) as pid:
        sleep = asleep(pid, *calls)
        wait = why(pid, sleep, {pid, family} - {0}, outside or Outside())
        return Wait(
            wait.call,
            wait.object,
            wait.event,
            wait.timed,
            tuple(-1 if other == pid else other for other in wait.on),
        )


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = str(tmp_path / "door")
    os.mkfifo(path)
    return path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


# --- FIFOs and pipes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "missing"), [(os.O_RDONLY, "a writer"), (os.O_WRONLY, "a reader")]
)
def test_opening_a_fifo(fifo: str, flags: int, missing: str) -> None:
    wait = explain(lambda: os.open(fifo, flags), "openat", "open")

    assert wait == Wait(wait.call, fifo, f"{missing} to open it")


def test_opening_a_fifo_by_a_path_relative_to_a_descriptor(fifo: str) -> None:
    place = os.open(os.path.dirname(fifo), os.O_RDONLY)
    try:
        wait = explain(lambda: os.open("door", os.O_RDONLY, dir_fd=place), "openat")
    finally:
        os.close(place)

    assert (wait.object, wait.timed) == (fifo, False)


def test_opening_a_fifo_by_a_path_relative_to_the_working_directory(fifo: str) -> None:
    def body() -> None:
        os.chdir(os.path.dirname(fifo))
        os.open("door", os.O_RDONLY)

    assert explain(body, "openat", "open").object == fifo


def test_opening_a_fifo_that_was_there_before(tmp_path: Path) -> None:
    old = str(tmp_path / "old")
    os.mkfifo(old)
    made = time.time()  # files may be dated finer than by the clock, which is late by a tick
    while file_clock() <= made:
        time.sleep(0.001)

    later = Outside(began=file_clock())

    assert explain(lambda: os.open(old, os.O_RDONLY), "openat", outside=later).timed


def test_reading_a_pipe_names_whoever_holds_its_writing_end(pipe: tuple[int, int]) -> None:
    wait = explain(lambda: os.read(pipe[0], 1), "read", family=os.getpid())

    assert (wait.call, wait.event, wait.timed) == ("read", "a writer to write or to close", False)
    assert set(wait.on) == {-1, os.getpid()}


def test_reading_a_pipe_whose_writing_end_one_has_closed(pipe: tuple[int, int]) -> None:
    def body() -> None:
        os.close(pipe[1])
        os.read(pipe[0], 1)

    assert explain(body, "read", family=os.getpid()).on == (os.getpid(),)


def test_writing_to_a_full_pipe(pipe: tuple[int, int]) -> None:
    wait = explain(lambda: os.write(pipe[1], b"x" * (1 << 20)), "write")

    assert (wait.event, wait.timed) == ("a reader to make room", False)
    assert wait.object.startswith("pipe:[")


def test_reading_a_pipe_that_leads_out(pipe: tuple[int, int]) -> None:
    status = os.fstat(pipe[0])
    outside = Outside(frozenset({(status.st_dev, status.st_ino)}))

    assert explain(lambda: os.read(pipe[0], 1), "read", outside=outside).timed


def _poll(*watched: int, limit: int | None = None) -> Callable[[], object]:
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    return lambda: poll.poll(limit)


def test_polling_pipes_names_whoever_holds_a_writing_end(pipe: tuple[int, int]) -> None:
    wait = explain(_poll(pipe[0]), "poll")

    assert wait == Wait("poll", wait.object, "a writer to write or to close", on=(-1,))
    assert wait.object.startswith("pipe:[")


def test_polling_with_a_limit_or_what_leads_out_can_go_on_by_itself(pipe: tuple[int, int]) -> None:
    status = os.fstat(pipe[0])
    outside = Outside(frozenset({(status.st_dev, status.st_ino)}))
    one, other = socket.socketpair()
    with one, other:
        assert explain(_poll(pipe[0], one.fileno()), "poll").timed
    assert explain(_poll(pipe[0], limit=60_000), "poll").timed
    assert explain(_poll(pipe[0]), "poll", outside=outside).timed
    assert explain(_poll(), "poll").timed


def test_reading_a_terminal() -> None:
    outer, inner = os.openpty()
    try:
        assert explain(lambda: os.read(inner, 1), "read").timed
    finally:
        os.close(outer)
        os.close(inner)


# --- IPC objects ---------------------------------------------------------------------------


def test_a_posix_semaphore_has_its_name_for_maker_and_user() -> None:
    gate = posix_ipc.Semaphore(NAME, posix_ipc.O_CREX)
    try:
        maker = explain(gate.acquire, "futex")
        user = explain(lambda: posix_ipc.Semaphore(NAME).acquire(), "futex")
    finally:
        gate.unlink()
        gate.close()

    assert maker == user == Wait("futex", NAME, "another process to release it")


def test_a_semaphore_whose_name_is_gone_is_told_so() -> None:
    gate = posix_ipc.Semaphore(NAME, posix_ipc.O_CREX)
    gate.unlink()
    try:
        wait = explain(gate.acquire, "futex")
    finally:
        gate.close()

    assert stable_name(wait.object) == "/* (unlinked)"


def test_a_posix_semaphore_with_a_time_limit() -> None:
    gate = posix_ipc.Semaphore(NAME, posix_ipc.O_CREX)
    gate.unlink()
    try:
        assert explain(lambda: gate.acquire(60), "futex").timed
    finally:
        gate.close()


def test_a_semaphore_in_anonymous_shared_memory() -> None:
    memory = mmap.mmap(-1, 4096)
    libc = ctypes.CDLL(None)
    semaphore = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    assert libc.sem_init(semaphore, 1, 0) == 0

    wait = explain(lambda: libc.sem_wait(semaphore), "futex")

    assert wait == Wait("futex", "anonymous shared memory", "another process to release it")


def test_a_lock_of_a_thread() -> None:
    def body() -> None:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    wait = explain(body, "futex")

    assert (wait.object, wait.event, wait.timed) == (
        "a lock of this process",
        "another thread",
        False,
    )


@pytest.fixture
def semaphores() -> Iterator[sysv_ipc.Semaphore]:
    array = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
    yield array
    array.remove()


def test_a_system_v_semaphore(semaphores: sysv_ipc.Semaphore) -> None:
    wait = explain(semaphores.acquire, "semop", "semtimedop")

    assert (wait.event, wait.timed) == ("another process to release it", False)
    assert wait.object == f"key 0x{semaphores.key & 0xFFFFFFFF:08x}"


def test_a_system_v_semaphore_with_a_time_limit(semaphores: sysv_ipc.Semaphore) -> None:
    less_one, minute = struct.pack("=Hhh", 0, -1, 0), struct.pack("=qq", 60, 0)

    def body() -> None:
        ctypes.CDLL(None).semtimedop(semaphores.id, less_one, ctypes.c_size_t(1), minute)

    assert explain(body, "semtimedop").timed


def test_a_system_v_semaphore_that_was_there_before(semaphores: sysv_ipc.Semaphore) -> None:
    outside = Outside(frozenset({(ObjectType.SYSV_SEM, semaphores.id)}))

    assert explain(semaphores.acquire, "semop", "semtimedop", outside=outside).timed


@pytest.fixture
def queue() -> Iterator[sysv_ipc.MessageQueue]:
    made = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
    yield made
    made.remove()


def test_an_empty_system_v_queue(queue: sysv_ipc.MessageQueue) -> None:
    wait = explain(queue.receive, "msgrcv")

    assert (wait.event, wait.timed) == ("a message", False)
    assert wait.object == f"key 0x{queue.key & 0xFFFFFFFF:08x}"


def test_a_full_system_v_queue(queue: sysv_ipc.MessageQueue) -> None:
    def body() -> None:
        while True:
            queue.send(b"x" * 2000)

    wait = explain(body, "msgsnd")

    assert (wait.event, wait.timed) == ("room in the queue", False)


@pytest.fixture
def posix_queue() -> Iterator[posix_ipc.MessageQueue]:
    made = posix_ipc.MessageQueue(NAME, posix_ipc.O_CREX, max_messages=1, max_message_size=8)
    yield made
    made.unlink()
    made.close()


def test_an_empty_posix_queue(posix_queue: posix_ipc.MessageQueue) -> None:
    wait = explain(posix_queue.receive, "mq_timedreceive")

    assert wait == Wait("mq_timedreceive", NAME, "a message")


def test_a_full_posix_queue(posix_queue: posix_ipc.MessageQueue) -> None:
    posix_queue.send(b"full")

    wait = explain(lambda: posix_queue.send(b"more"), "mq_timedsend")

    assert wait == Wait("mq_timedsend", NAME, "room in the queue")


def test_a_posix_queue_with_a_time_limit(posix_queue: posix_ipc.MessageQueue) -> None:
    assert explain(lambda: posix_queue.receive(60), "mq_timedreceive").timed


def test_a_posix_queue_where_the_machine_lists_none(posix_queue: posix_ipc.MessageQueue) -> None:
    outside = Outside(frozenset({ANY_QUEUE}))

    assert explain(posix_queue.receive, "mq_timedreceive", outside=outside).timed


# --- Locks of files ------------------------------------------------------------------------


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A file whose locks this process holds."""
    path = tmp_path / "lock"
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield path


def _flock(path: Path) -> None:
    fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)


def _lockf(path: Path) -> None:
    fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX)


def _open_file_description_lock(path: Path) -> None:
    wanted = struct.pack("=hh4xqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    fcntl.fcntl(os.open(path, os.O_RDWR), _F_OFD_SETLKW, wanted)


_F_OFD_SETLKW = 38


@pytest.mark.parametrize(
    ("lock", "call"),
    [(_flock, "flock"), (_lockf, "fcntl"), (_open_file_description_lock, "fcntl")],
)
def test_a_lock_of_a_file_names_its_holder(
    locked: Path, lock: Callable[[Path], None], call: str
) -> None:
    wait = explain(lambda: lock(locked), call, family=os.getpid())

    assert (wait.call, wait.object) == (call, str(locked))
    assert os.getpid() in wait.on
    assert not wait.timed


def test_a_lock_of_a_file_that_a_stranger_holds(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    told, tell = os.pipe()

    def hold() -> None:
        _flock(path)
        os.write(tell, b"!")
        signal.pause()

    with stranger(hold):
        os.read(told, 1)
        wait = explain(lambda: _flock(path), "flock")
    os.close(told)
    os.close(tell)

    assert (wait.timed, wait.on) == (True, ())


# --- Processes and signals -----------------------------------------------------------------


def _child_that_sleeps() -> int:
    child = os.fork()
    if child == 0:
        signal.pause()
    return child


def test_waiting_for_one_child_names_it() -> None:
    def body() -> None:
        _child_that_sleeps()
        os.waitpid(_child_that_sleeps(), 0)

    _check_children(body, "wait4", expected=lambda children: children[1:])


def test_waiting_for_any_child_names_all() -> None:
    def body() -> None:
        _child_that_sleeps()
        _child_that_sleeps()
        os.wait()

    _check_children(body, "wait4", expected=lambda children: children)


def test_waitid_names_its_child() -> None:
    def body() -> None:
        _child_that_sleeps()
        os.waitid(os.P_PID, _child_that_sleeps(), os.WEXITED)

    _check_children(body, "waitid", expected=lambda children: children[1:])


def _check_children(
    body: Callable[[], None], call: str, *, expected: Callable[[list[int]], list[int]]
) -> None:
    with stranger(body) as pid:
        sleep = asleep(pid, call)
        children = sorted(procfs.descendants(pid))
        wait = why(pid, sleep, [pid, *children], Outside())
        for child in children:
            os.kill(child, signal.SIGKILL)

    assert (wait.call, wait.event, wait.timed) == (call, "the exit of a child", False)
    assert sorted(wait.on) == expected(children)


@pytest.mark.parametrize(
    ("pause", "call"),
    [
        (signal.pause, "pause"),
        (lambda: signal.sigwait({signal.SIGUSR1}), "rt_sigtimedwait"),
    ],
)
def test_waiting_for_a_signal(pause: Callable[[], object], call: str) -> None:
    wait = explain(pause, call)

    assert (wait.event, wait.timed) == ("a signal", False)


def test_waiting_for_a_signal_with_a_time_limit() -> None:
    assert explain(lambda: signal.sigtimedwait({signal.SIGUSR1}, 60), "rt_sigtimedwait").timed


# --- What is not understood ----------------------------------------------------------------


def test_a_sleep() -> None:
    assert explain(lambda: time.sleep(60), "clock_nanosleep") == Wait(
        "clock_nanosleep", "", "", timed=True
    )


def test_a_call_of_no_name() -> None:
    wait = why(os.getpid(), "9999 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0", [os.getpid()], Outside())

    assert wait == Wait("system call 9999", "", "", timed=True)


@pytest.mark.parametrize(
    "call",
    sorted(
        {
            "read",
            "write",
            "openat",
            "flock",
            "fcntl",
            "futex",
            "wait4",
            "waitid",
            "mq_timedreceive",
            "semop",
        }
    ),
)
def test_a_process_that_is_gone_meanwhile_is_never_stuck(call: str) -> None:
    with stranger(signal.pause) as pid:
        asleep(pid, "pause")
    numbers = {name: number for number, name in NAMES.items()}
    wait = why(pid, f"{numbers[call]} 0x3 0x4 0x5 0x6 0x7 0x8 0x9 0xa", [pid], Outside())

    assert process_stat.state(pid) == "X"
    assert wait.timed or call in ("futex", "semop")  # they name no descriptor and no process
