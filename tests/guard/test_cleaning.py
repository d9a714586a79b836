"""What a test left is taken away, and nothing else: each sort once, on the real thing."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from lab.guard.cleaning import clean
from lab.guard.leak import Key, Kind, Leak
from lab.guard.look import children
from lab.guard.processes import started
from tests.forked import in_child


def leak(kind: Kind, what: int | str, which: int = 0, before: object = None) -> Leak:
    key: Key = (kind, what, which)
    return Leak(key, "it", before=before)


def test_a_zombie_is_waited_for() -> None:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert clean(leak(Kind.ZOMBIE, pid, started(pid))) == "waited for"
    assert pid not in children()
    assert clean(leak(Kind.ZOMBIE, pid)) == "waited for"  # by somebody else, meanwhile


FAMILY = "import os; p = os.fork(); p and print(p, flush=True); os.write(1, os.read(0, 1))"


def family() -> tuple[subprocess.Popen[bytes], int]:
    """A process and its child; each answers one byte that it is sent."""
    program = [sys.executable, "-c", FAMILY]
    parent = subprocess.Popen(program, 0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


@pytest.mark.parametrize("kind", [Kind.CHILD, Kind.ORPHAN])
def test_a_process_is_killed_with_all_that_it_started(kind: Kind) -> None:
    parent, child = family()
    end = select.poll()
    end.register(handle := os.pidfd_open(child), select.POLLIN)
    told = clean(leak(kind, parent.pid, started(parent.pid)))
    assert told == ("killed and waited for" if kind is Kind.CHILD else "killed")
    assert parent.communicate()[0] == b""
    end.poll()  # until it has ended
    os.close(handle)


def test_a_process_that_has_the_number_of_one_that_is_gone_lives_and_its_children_too() -> None:
    parent, _ = family()
    assert clean(leak(Kind.ORPHAN, parent.pid, started(parent.pid) - 1)) == "gone already"
    assert parent.communicate(b"..")[0] == b".."
    assert clean(leak(Kind.ORPHAN, parent.pid, 5)) == "gone already"


def test_a_descriptor_keeps_its_number_and_leads_nowhere() -> None:
    with socket.socket() as left:
        assert clean(leak(Kind.FD, left.fileno())) == "leads to /dev/null now"
        assert os.readlink(f"/proc/self/fd/{left.fileno()}") == "/dev/null"
        assert not os.get_inheritable(left.fileno())


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_a_lock_is_given_back(tmp_path: Path, lock: Callable[..., object]) -> None:
    with (tmp_path / "file").open("w") as left:
        lock(left, fcntl.LOCK_EX)
        assert clean(leak(Kind.LOCK_HELD, left.fileno())) == "unlocked"

        def taken() -> bool:
            with (tmp_path / "file").open("w") as other:
                lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True

        assert in_child(taken)


def test_a_handler_makes_room_for_the_one_before() -> None:
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        left = leak(Kind.SIGNAL_HANDLER, signal.SIGUSR2, before=before)
        assert clean(left) == "restored"
        assert signal.getsignal(signal.SIGUSR2) == before
        clean(leak(Kind.SIGNAL_HANDLER, signal.SIGUSR2))  # before it was none of Python's
        assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_thread_stays() -> None:
    assert clean(leak(Kind.THREAD, 1)) == "a thread cannot be ended from outside"


def _posix(kind: Kind) -> Leak:
    name = f"/guard-cleaning-{os.getpid()}"
    if kind is Kind.POSIX_SEM:
        posix_ipc.Semaphore(name, posix_ipc.O_CREX).close()
        return leak(kind, f"/dev/shm/sem.{name[1:]}")
    if kind is Kind.POSIX_MQ:
        posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=1, max_message_size=1).close()
        return leak(kind, name)
    posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=1).close_fd()
    return leak(kind, f"/dev/shm{name}")


def _sysv(kind: Kind) -> Leak:
    if kind is Kind.SYSV_SEM:
        return leak(kind, sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX).id)
    if kind is Kind.SYSV_MQ:
        return leak(kind, sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX).id)
    memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=1)
    memory.detach()
    return leak(kind, memory.id)


@pytest.mark.parametrize(
    ("kind", "make", "gone"),
    [
        (Kind.POSIX_SHM, _posix, FileNotFoundError),
        (Kind.POSIX_SEM, _posix, FileNotFoundError),
        (Kind.POSIX_MQ, _posix, posix_ipc.ExistentialError),
        (Kind.SYSV_SHM, _sysv, sysv_ipc.ExistentialError),
        (Kind.SYSV_SEM, _sysv, sysv_ipc.ExistentialError),
        (Kind.SYSV_MQ, _sysv, sysv_ipc.ExistentialError),
    ],
)
def test_an_object_is_removed_and_one_that_is_gone_is_no_error(
    kind: Kind, make: Callable[[Kind], Leak], gone: type[Exception]
) -> None:
    left = make(kind)
    assert clean(left) == "removed"
    with pytest.raises(gone):
        _use(left)
    assert clean(left) == "removed"


def _use(left: Leak) -> None:
    what = left.key[1]
    match left.kind:
        case Kind.POSIX_MQ:
            posix_ipc.unlink_message_queue(what)
        case Kind.SYSV_SHM:
            sysv_ipc.remove_shared_memory(what)
        case Kind.SYSV_SEM:
            sysv_ipc.remove_semaphore(what)
        case Kind.SYSV_MQ:
            sysv_ipc.remove_message_queue(what)
        case _:
            os.unlink(str(what))


@pytest.mark.parametrize("kind", [Kind.FIFO, Kind.UNIX_SOCKET, Kind.TEMP_FILE])
def test_what_lies_in_a_directory_is_removed(tmp_path: Path, kind: Kind) -> None:
    place = tmp_path / "left"
    if kind is Kind.TEMP_FILE:  # such as a directory in shared memory
        (place / "inner").mkdir(parents=True)
    else:
        os.mkfifo(place)
    assert clean(leak(kind, str(place))) == "removed"
    assert not place.exists()


def test_what_the_kernel_refuses_is_told() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user to whom something is refused")

    def told() -> str:
        return clean(leak(Kind.SYSV_SEM, array))

    array = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX).id
    try:
        assert in_child(told, user="nobody") == "not cleaned: semctl: Operation not permitted"
    finally:
        sysv_ipc.remove_semaphore(array)
