"""How full a thing is that processes talk through, without touching it.

To open a pipe a second time would wake who waits for its other end, and a message that is read is
gone. So a descriptor is duplicated out of its process (the same open file: no further reader or
writer), asked, and closed at once; and a semaphore is read in the memory of a process that maps
it.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import os
import struct
import sys
import termios
from collections.abc import Iterator

from lab.kernel import procfs
from lab.kernel.pidfd import duplicate_of, pidfd_open

_libc = ctypes.CDLL(None, use_errno=True)
_MQUEUE_MAGIC = 0x19800202


class _QueueAttributes(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_long),
        ("most", ctypes.c_long),
        ("size", ctypes.c_long),
        ("messages", ctypes.c_long),
        ("reserved", ctypes.c_long * 4),
    )


def unread(pid: int, descriptor: int) -> int | None:
    """Bytes that wait in a pipe or socket to be read; None if they may not be counted."""
    with _duplicate(pid, descriptor) as ours:
        if ours is None:
            return None
        count = array.array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(ours, termios.FIONREAD, count)
            return count[0]
    return None


def capacity(pid: int, descriptor: int) -> int | None:
    """Bytes that a pipe holds at most; None if that may not be asked."""
    with _duplicate(pid, descriptor) as ours:
        return None if ours is None else fcntl.fcntl(ours, fcntl.F_GETPIPE_SZ)


def queued(pid: int, descriptor: int) -> tuple[int, int] | None:
    """Messages in a POSIX queue, and how many it takes; None if they may not be counted."""
    with _duplicate(pid, descriptor) as ours:
        attributes = _QueueAttributes()
        if ours is None or _libc.mq_getattr(ours, ctypes.byref(attributes)) < 0:
            return None
        return attributes.messages, attributes.most


def is_queue(pid: int, descriptor: int) -> bool:
    """Whether a descriptor is of a POSIX queue: it looks like a file in all but its file system."""
    statistics = ctypes.create_string_buffer(256)
    path = f"/proc/{pid}/fd/{descriptor}".encode()
    if _libc.statfs(path, statistics) < 0:
        return False
    magic: int = struct.unpack_from("@l", statistics)[0]
    return magic == _MQUEUE_MAGIC


def semaphore_value(pid: int, address: int) -> int | None:
    """The value of a sem_t in the memory of a process; None if it may not be read.

    glibc's layout on 64-bit machines, since 2.21: the value is the low half of one 64-bit word.
    """
    word = procfs.bytes_at(pid, address, 4)
    return None if word is None else int.from_bytes(word, sys.byteorder)


@contextlib.contextmanager
def _duplicate(pid: int, descriptor: int) -> Iterator[int | None]:
    ours = None
    try:
        with _process(pid) as process:
            ours = duplicate_of(process, descriptor)
    except OSError:
        ours = None  # another user's, or forbidden: then it is not known
    try:
        yield ours
    finally:
        if ours is not None:
            os.close(ours)


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    process = pidfd_open(pid)
    try:
        yield process
    finally:
        os.close(process)
