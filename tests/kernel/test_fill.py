from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
import uuid

import posix_ipc
import pytest

from lab.kernel import fill


def own_address(shared: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(shared))


def test_a_pipe_tells_its_bytes_and_keeps_them() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"three")

    assert fill.unread(os.getpid(), reader) == 5
    assert fill.unread(os.getpid(), writer) == 5
    assert fill.capacity(os.getpid(), reader) == 65536
    assert os.read(reader, 10) == b"three"
    for end in (reader, writer):
        os.close(end)


def test_a_look_opens_no_end_of_a_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    assert fill.unread(os.getpid(), writer) == 0
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    os.close(writer)


def test_a_socket_tells_what_its_end_has_yet_to_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"abc")
        assert fill.unread(os.getpid(), theirs.fileno()) == 3
        assert fill.unread(os.getpid(), ours.fileno()) == 0


def test_a_queue_tells_its_messages_and_its_room() -> None:
    name = f"/lab-{uuid.uuid4().hex}"
    queue = posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=3, max_message_size=8)
    try:
        queue.send("one")
        assert fill.is_queue(os.getpid(), queue.mqd)
        assert fill.queued(os.getpid(), queue.mqd) == (1, 3)
        assert queue.receive(0)[0] == b"one"
    finally:
        queue.close()
        posix_ipc.unlink_message_queue(name)


def test_a_file_is_no_queue() -> None:
    descriptor = os.open(__file__, os.O_RDONLY)
    assert not fill.is_queue(os.getpid(), descriptor)
    assert fill.queued(os.getpid(), descriptor) is None
    os.close(descriptor)


def test_a_semaphore_has_its_value_in_the_low_half_of_a_word() -> None:
    with mmap.mmap(-1, mmap.PAGESIZE) as shared:
        shared[:8] = struct.pack("=II", 7, 2)  # 2 wait
        assert fill.semaphore_value(os.getpid(), own_address(shared)) == 7


def test_what_is_not_there_is_not_known() -> None:
    gone = 1 << 22
    assert fill.unread(gone, 0) is None
    assert fill.capacity(gone, 0) is None
    assert fill.queued(gone, 0) is None
    assert not fill.is_queue(gone, 0)
    assert fill.semaphore_value(gone, 4096) is None
    assert fill.semaphore_value(os.getpid(), 8) is None
