"""Who made which name in a directory: fanotify, which tells the process with each name.

Root is told of everybody. An ordinary user (Linux 5.13 and newer) is told the PID where it was this
very process, and 0 of all others, which is enough to tell one's own. Nothing else keeps the maker
of shared memory, a semaphore or a FIFO.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

_CLOEXEC, _NONBLOCK, _DIRECTORY_AND_NAME = 0x1, 0x2, 0xC00
_ADD, _ONLY_DIRECTORY = 0x1, 0x8
_CREATE, _MOVED_TO, _DIRECTORIES_TOO = 0x100, 0x80, 0x40000000
_AT_FDCWD = -100
_EVENT = struct.Struct("=IBBHQii")  # length, version, -, its own length, mask, descriptor, PID
_RECORD = struct.Struct("=BxH8xIi")  # type, length, file system, length and type of a handle
_NAMED = 2  # FAN_EVENT_INFO_TYPE_DFID_NAME
_ROOM = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class Creations:
    """Listens to one directory. A descriptor of its own, and nothing that others would notice."""

    def __init__(self, directory: str) -> None:
        """Begin to listen.

        Raises OSError where the kernel or the sandbox refuses, and for file systems that cannot.
        """
        flags = _CLOEXEC | _NONBLOCK | _DIRECTORY_AND_NAME
        self.descriptor = _libc.fanotify_init(ctypes.c_uint(flags), ctypes.c_uint(os.O_RDONLY))
        if self.descriptor < 0:
            raise _error("fanotify_init")
        mask = ctypes.c_uint64(_CREATE | _MOVED_TO | _DIRECTORIES_TOO)
        mark = ctypes.c_uint(_ADD | _ONLY_DIRECTORY)
        path = os.fsencode(directory)
        if _libc.fanotify_mark(self.descriptor, mark, mask, _AT_FDCWD, path) < 0:
            error = _error("fanotify_mark")
            os.close(self.descriptor)
            raise error

    def heard(self) -> Iterator[tuple[str, int]]:
        """Names that were made since the last time, oldest first, each with its maker's PID."""
        with contextlib.suppress(BlockingIOError):
            while True:
                yield from _parsed(os.read(self.descriptor, _ROOM))

    def close(self) -> None:
        """Listen no more."""
        os.close(self.descriptor)


def _parsed(events: bytes) -> Iterator[tuple[str, int]]:
    place = 0
    while place < len(events):
        length, _, _, own, _, _, pid = _EVENT.unpack_from(events, place)
        if length > own:  # an overflow of the queue has no name
            kind, _, handle, _ = _RECORD.unpack_from(events, place + own)
            name = events[place + own + _RECORD.size + handle : place + length]
            if kind == _NAMED:
                yield os.fsdecode(name.partition(b"\0")[0]), pid
        place += length


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
