"""Values and counts of System V objects in the IPC namespace of this process."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_IPC_STAT = 2
_GETALL = 13


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
