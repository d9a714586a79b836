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
import threading
from collections.abc import Iterable, Iterator

_CLOEXEC, _NONBLOCK, _DIRECTORY_AND_NAME = 0x1, 0x2, 0xC00
_ADD, _ONLY_DIRECTORY = 0x1, 0x8
_CREATE, _MOVED_TO, _DIRECTORIES_TOO = 0x100, 0x80, 0x40000000
_AT_FDCWD, _FOLLOW = -100, 0x400
_EVENT = struct.Struct("=IBBHQii")  # length, version, -, its own length, mask, descriptor, PID
_RECORD = struct.Struct("=BxH8sIi")  # type, length, file system, length and type of a handle
_NAMED = 2  # FAN_EVENT_INFO_TYPE_DFID_NAME
_ROOM = 1 << 16
_HANDLE = struct.Struct("=Ii")
_LONGEST_HANDLE = 128
_STATFS = slice(56, 64)  # where struct statfs has the id of the file system, with 64-bit longs

_libc = ctypes.CDLL(None, use_errno=True)


class Creations:
    """Listens to some directories. A descriptor of its own, and nothing that others would notice.

    One for all of them: the end of each makes its closer wait, see `close`.
    """

    def __init__(self, directories: Iterable[str]) -> None:
        """Begin to listen. What lies on a file system that cannot is left out.

        Raises OSError where the kernel or the sandbox refuses, and where nothing is left.
        """
        flags = _CLOEXEC | _NONBLOCK | _DIRECTORY_AND_NAME
        self.descriptor = _libc.fanotify_init(ctypes.c_uint(flags), ctypes.c_uint(os.O_RDONLY))
        if self.descriptor < 0:
            raise _error("fanotify_init")
        self._places: dict[bytes, str] = {}
        """The directories, each by its file system and its handle there."""
        refused = OSError("no directory to listen to")
        for directory in directories:
            try:
                self._places[self._mark(directory)] = directory
            except OSError as error:
                refused = error
        if not self._places:
            os.close(self.descriptor)
            raise refused

    def _mark(self, directory: str) -> bytes:
        mask = ctypes.c_uint64(_CREATE | _MOVED_TO | _DIRECTORIES_TOO)
        mark = ctypes.c_uint(_ADD | _ONLY_DIRECTORY)
        path = os.fsencode(directory)
        if _libc.fanotify_mark(self.descriptor, mark, mask, _AT_FDCWD, path) < 0:
            raise _error("fanotify_mark")
        return _identity(path)

    def heard(self) -> Iterator[tuple[str, int]]:
        """Paths that were made since the last time, oldest first, each with its maker's PID."""
        with contextlib.suppress(BlockingIOError):
            while True:
                for place, name, pid in _parsed(os.read(self.descriptor, _ROOM)):
                    if place in self._places:
                        yield f"{self._places[place]}/{name}", pid

    def close(self) -> None:
        """Listen no more.

        The kernel lets whoever closes the last descriptor wait until no other processor can still
        be in a list that named it (fsnotify_wait_marks_destroyed), here some 20 ms. So a thread of
        its own closes it meanwhile; the end of the process waits for the rest.
        """
        closing, self.descriptor = self.descriptor, -1
        if closing >= 0:
            threading.Thread(target=os.close, args=(closing,), daemon=True).start()


def _identity(path: bytes) -> bytes:
    """What events have in place of a directory's path. Raises OSError."""
    handle = ctypes.create_string_buffer(_HANDLE.size + _LONGEST_HANDLE)
    _HANDLE.pack_into(handle, 0, _LONGEST_HANDLE, 0)
    mount, file_system = ctypes.c_int(), ctypes.create_string_buffer(256)
    where = (_AT_FDCWD, path, handle, ctypes.byref(mount), _FOLLOW)
    if _libc.name_to_handle_at(*where) < 0:
        raise _error("name_to_handle_at")
    if _libc.statfs(path, file_system) < 0:
        raise _error("statfs")
    length, kind = _HANDLE.unpack_from(handle)
    return _key(file_system.raw[_STATFS], kind, handle.raw[_HANDLE.size :][:length])


def _key(file_system: bytes, kind: int, handle: bytes) -> bytes:
    return file_system + kind.to_bytes(4, "little", signed=True) + handle


def _parsed(events: bytes) -> Iterator[tuple[bytes, str, int]]:
    """Of each event: which directory, the name there, the PID."""
    place = 0
    while place < len(events):
        length, _, _, own, _, _, pid = _EVENT.unpack_from(events, place)
        if length > own:  # an overflow of the queue has no name
            kind, _, system, size, sort = _RECORD.unpack_from(events, place + own)
            start = place + own + _RECORD.size
            handle, name = events[start : start + size], events[start + size : place + length]
            if kind == _NAMED:
                yield _key(system, sort, handle), os.fsdecode(name.partition(b"\0")[0]), pid
        place += length


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
