from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import posix_ipc
import psutil
import pytest
import sysv_ipc

from lab.look import Thing
from lab.run.seen import Seen
from lab.run.things import things
from lab.trace import Blocked


def me(name: str = "P0") -> Seen:
    return Seen(name, psutil.Process(), None, "", "", 0.0)


def found(kind: str, *waited: str) -> list[Thing]:
    blocked = [Blocked("P0", "", name, "", 0.0, timed=False) for name in waited]
    return [thing for thing in things([me()], blocked) if thing.kind == kind]


@pytest.fixture
def name() -> str:
    return f"/lab-{uuid.uuid4().hex}"


@contextlib.contextmanager
def pipe(content: bytes = b"") -> Iterator[tuple[int, int, str]]:
    reader, writer = os.pipe()
    os.write(writer, content)
    try:
        yield reader, writer, os.readlink(f"/proc/self/fd/{reader}")
    finally:
        os.close(reader)
        os.close(writer)


def test_a_pipe_that_is_waited_for_is_shown_with_its_ends_and_its_bytes() -> None:
    with pipe(b"abc") as (_, _, target):
        (thing,) = (thing for thing in found("pipe", target) if thing.name == target)
    assert thing == Thing("pipe", target, "3 of 65536 bytes", ("P0",), ("P0",), ("P0",), flows=True)


def test_a_pipe_of_one_process_alone_is_not_shown_unless_it_is_waited_for() -> None:
    with pipe() as (_, _, target):
        assert target not in [thing.name for thing in found("pipe")]
        (thing,) = (thing for thing in found("pipe", target) if thing.name == target)
        assert thing.empty


def test_a_socket_tells_what_has_yet_to_be_read_and_a_bound_one_its_path(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"four", path)
            (thing,) = (thing for thing in found("unix-socket") if thing.name == path)
    assert thing.fill == "4 bytes unread"


def test_a_posix_semaphore_tells_its_value_and_a_queue_its_messages(name: str) -> None:
    semaphore = posix_ipc.Semaphore(name, posix_ipc.O_CREX, initial_value=5)
    queue = posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=2, max_message_size=8)
    try:
        queue.send("one")
        (value,) = (thing for thing in found("posix-sem") if thing.name == name)
        (messages,) = (thing for thing in found("posix-mq") if thing.name == name)
    finally:
        queue.close()
        queue.unlink()
        semaphore.unlink()
        semaphore.close()
    assert (value.fill, messages.fill) == ("value 5", "1 of 2 messages")


def test_objects_of_system_v_are_of_whom_the_kernel_remembers_or_who_waits() -> None:
    semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=0)
    queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
    memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=4096)
    try:
        semaphore.release()
        queue.send("hello")
        values = [thing.fill for thing in found("sysv-sem")]
        queues = [thing.fill for thing in found("sysv-mq")]
        segments = [thing.fill for thing in found("sysv-shm")]
    finally:
        memory.detach()
        for thing in (semaphore, queue, memory):
            thing.remove()
    assert "value 1" in values
    assert any(fill.startswith("1 messages, 5 of ") for fill in queues)
    assert "4096 bytes, 1 attached" in segments


def test_shared_memory_is_shown_where_two_have_it_and_by_its_name(name: str) -> None:
    memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=8192)
    try:
        with mmap.mmap(memory.fd, 8192), mmap.mmap(-1, 4096):
            named = [thing for thing in things([me()], []) if thing.name == name]
            both = things([me(), me("P1")], [])
            alone = [thing for thing in things([me()], []) if thing.kind == "shared memory"]
    finally:
        memory.close_fd()
        memory.unlink()
    assert [(thing.kind, thing.fill) for thing in named] == [("posix-shm", "8192 bytes")]
    assert ("P0", "P1") in [thing.users for thing in both if thing.kind == "shared memory"]
    assert not alone


def test_a_locked_file_is_shown_by_whom_it_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as file:
        assert not found("lock", str(path))
        fcntl.flock(file, fcntl.LOCK_EX)
        (thing,) = (thing for thing in found("lock", str(path)) if thing.name == str(path))
    assert (thing.fill, thing.users) == ("held", ("P0",))
