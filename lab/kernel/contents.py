"""What is in an IPC object or a file: read, kept, and put back.

For tests whose objects were made once and are used by many runs: each run is to find them as the
first one did. An object that was removed cannot be put back. Another of the same name would be
another object to whoever has the first one open, so that is an error.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import posix_ipc

from lab.kernel import sysv
from lab.kernel.inherited import MOST
from lab.kernel.ipc_tables import Entry
from lab.trace import ObjectType


@dataclass(frozen=True)
class Contents:
    """An object, and what was in it."""

    entry: Entry
    _kept: Any = field(repr=False)

    @classmethod
    def of(cls, entry: Entry) -> Contents:
        """What is in an object now.

        Raises OSError if it is gone, cannot be read, or is too large to be kept.
        """
        return cls(entry, _read(entry))

    def put_back(self) -> None:
        """Let that be in it again.

        Raises OSError if the object is gone or cannot be written.
        """
        _write(self.entry, self._kept)


def _read(entry: Entry) -> Any:
    match entry.type:
        case ObjectType.SYSV_SEM:
            return _there(entry, sysv.semaphore_values(int(entry.handle)))
        case ObjectType.SYSV_SHM:
            _demand_room(entry, entry.size)
            with sysv.attached(int(entry.handle), entry.size) as memory:
                return bytes(memory)
        case ObjectType.SYSV_MQ:
            return _peek(_SysvQueue(entry))
        case ObjectType.POSIX_MQ:
            return _peek(_PosixQueue(entry))
        case _:
            with _opened(entry, os.O_RDONLY) as file:
                size = os.fstat(file).st_size
                _demand_room(entry, size)
                return os.pread(file, size, 0)


def _write(entry: Entry, kept: Any) -> None:
    match entry.type:
        case ObjectType.SYSV_SEM:
            if _there(entry, sysv.semaphore_values(int(entry.handle))) != kept:
                sysv.set_semaphores(int(entry.handle), kept)
        case ObjectType.SYSV_SHM:
            with sysv.attached(int(entry.handle), entry.size) as memory:
                memory[:] = kept
        case ObjectType.SYSV_MQ:
            _refill(_SysvQueue(entry), kept)
        case ObjectType.POSIX_MQ:
            _refill(_PosixQueue(entry), kept)
        case _:
            with _opened(entry, os.O_RDWR) as file:
                if os.fstat(file).st_size != len(kept):
                    os.ftruncate(file, len(kept))
                if os.pread(file, len(kept), 0) != kept:
                    os.pwrite(file, kept, 0)


def _there(entry: Entry, values: list[int] | None) -> list[int]:
    if values is None:
        raise _gone(entry)
    return values


def _gone(entry: Entry) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "it was removed", entry.name)


def _demand_room(entry: Entry, size: int) -> None:
    if size > MOST:
        raise OSError(errno.EFBIG, f"it holds more than {MOST >> 20} MiB", entry.name)


@contextlib.contextmanager
def _opened(entry: Entry, flags: int) -> Iterator[int]:
    file = os.open(str(entry.handle), flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.fstat(file).st_ino != entry.inode:
            raise _gone(entry)
        yield file
    finally:
        os.close(file)


class _SysvQueue:
    """A queue whose messages carry their types."""

    def __init__(self, entry: Entry) -> None:
        self._id = int(entry.handle)

    def take(self) -> Iterator[tuple[bytes, int]]:
        """Take all messages. Raises OSError."""
        while (message := sysv.take_message(self._id)) is not None:
            yield message

    def put(self, text: bytes, kind: int) -> None:
        """Put one at the end. Raises OSError."""
        sysv.put_message(self._id, text, kind)


class _PosixQueue:
    """A queue whose messages carry their priorities."""

    def __init__(self, entry: Entry) -> None:
        self._name = str(entry.handle)

    def take(self) -> Iterator[tuple[bytes, int]]:
        """Take all messages. Raises OSError."""
        with self._open() as queue, contextlib.suppress(posix_ipc.BusyError):
            while True:
                yield queue.receive(0)

    def put(self, text: bytes, priority: int) -> None:
        """Put one behind those of its priority. Raises OSError."""
        with self._open() as queue:
            queue.send(text, 0, priority)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            queue = posix_ipc.MessageQueue(self._name)
        except posix_ipc.Error as refused:
            raise FileNotFoundError(errno.ENOENT, str(refused), self._name) from refused
        with contextlib.closing(queue):
            yield queue


def _peek(queue: _SysvQueue | _PosixQueue) -> list[tuple[bytes, int]]:
    """Neither kind can be read without being emptied."""
    messages = list(queue.take())
    for message in messages:
        queue.put(*message)
    return messages


def _refill(queue: _SysvQueue | _PosixQueue, messages: list[tuple[bytes, int]]) -> None:
    for _ in queue.take():
        pass
    for message in messages:
        queue.put(*message)
