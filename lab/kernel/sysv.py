"""Values and counts of System V objects in the IPC namespace of this process."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.kernel.libc import check

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.restype = ctypes.c_void_p
_libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_libc.shmdt.argtypes = (ctypes.c_void_p,)
_libc.msgsnd.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_IPC_STAT = 2
_GETALL, _SETALL = 13, 17
_NOWAIT = 0o4000
_REFUSED = ctypes.c_void_p(-1).value


class _Permissions(ctypes.Structure):
    _fields_ = (
        ("key", ctypes.c_int),
        ("uid", ctypes.c_uint),
        ("gid", ctypes.c_uint),
        ("cuid", ctypes.c_uint),
        ("cgid", ctypes.c_uint),
        ("mode", ctypes.c_uint),
        ("seq", ctypes.c_ushort),
        ("pad", ctypes.c_ushort),
        ("reserved", ctypes.c_ulong * 2),
    )


class _SemaphoreSet(ctypes.Structure):
    _fields_ = (
        ("perm", _Permissions),
        ("otime", ctypes.c_ulong),
        ("reserved1", ctypes.c_ulong),
        ("ctime", ctypes.c_ulong),
        ("reserved2", ctypes.c_ulong),
        ("count", ctypes.c_ulong),
        ("reserved3", ctypes.c_ulong * 2),
    )


class _Queue(ctypes.Structure):
    _fields_ = (
        ("perm", _Permissions),
        ("stime", ctypes.c_long),
        ("rtime", ctypes.c_long),
        ("ctime", ctypes.c_long),
        ("bytes", ctypes.c_ulong),
        ("messages", ctypes.c_ulong),
        ("limit", ctypes.c_ulong),
        ("lspid", ctypes.c_int),
        ("lrpid", ctypes.c_int),
        ("reserved", ctypes.c_ulong * 2),
    )


@dataclass(frozen=True, slots=True)
class QueueState:
    """How full a queue is."""

    bytes: int
    messages: int
    limit: int
    """Bytes that it takes at most (msg_qbytes)."""


def semaphore_values(array: int) -> list[int] | None:
    """The values of a semaphore set; None if it does not exist."""
    described = _SemaphoreSet()
    if _libc.semctl(array, 0, _IPC_STAT, ctypes.byref(described)) < 0:
        return None
    values = (ctypes.c_ushort * described.count)()
    if _libc.semctl(array, 0, _GETALL, values) < 0:
        return None
    return list(values)


def set_semaphores(array: int, values: list[int]) -> None:
    """Set the values of a semaphore set. Raises OSError."""
    given = (ctypes.c_ushort * len(values))(*values)
    check(_libc.semctl(array, 0, _SETALL, given), "semctl")


@contextlib.contextmanager
def attached(segment: int, size: int) -> Iterator[memoryview]:
    """The memory of a segment. Raises OSError if it is gone or may not be written."""
    address = _libc.shmat(segment, None, 0)
    if address == _REFUSED:
        check(-1, "shmat")
    memory = memoryview((ctypes.c_char * size).from_address(address)).cast("B")
    try:
        yield memory
    finally:
        memory.release()
        _libc.shmdt(address)


def take_message(queue: int) -> tuple[bytes, int] | None:
    """Take the oldest message of a queue, with its type; None: it is empty.

    By the queue's id, which sysv_ipc cannot do: a private queue has no key to open it by.

    Raises FileNotFoundError if it was removed, else OSError.
    """
    state = queue_state(queue)
    if state is None:
        if ctypes.get_errno() in (errno.EINVAL, errno.EIDRM):
            raise FileNotFoundError(errno.ENOENT, "it was removed")
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    header = ctypes.sizeof(ctypes.c_long)
    buffer = ctypes.create_string_buffer(header + state.bytes)
    length = _libc.msgrcv(queue, buffer, ctypes.c_size_t(state.bytes), ctypes.c_long(0), _NOWAIT)
    if length < 0 and ctypes.get_errno() == errno.ENOMSG:
        return None
    check(length, "msgrcv")
    kind = ctypes.c_long.from_buffer(buffer).value
    return buffer.raw[header : header + length], kind


def put_message(queue: int, text: bytes, kind: int) -> None:
    """Put a message of a type at the end of a queue. Raises OSError."""
    message = bytes(ctypes.c_long(kind)) + text
    check(_libc.msgsnd(queue, message, len(text), _NOWAIT), "msgsnd")


def queue_state(queue: int) -> QueueState | None:
    """How full a queue is; None if it does not exist."""
    described = _Queue()
    if _libc.msgctl(queue, _IPC_STAT, ctypes.byref(described)) < 0:
        return None
    return QueueState(described.bytes, described.messages, described.limit)


def key_of(table: str, identifier: int) -> int:
    """The key of an object ("shm", "sem", "msg"); 0 for a private one or one that is gone."""
    for line in Path(f"/proc/sysvipc/{table}").read_text().splitlines()[1:]:
        key, found = (int(field) for field in line.split()[:2])
        if found == identifier:
            return key & 0xFFFFFFFF
    return 0
