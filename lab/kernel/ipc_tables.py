"""The IPC objects that exist: the kernel's tables of System V, and the names of POSIX.

The tables show the IPC namespace of whoever opens them, so a sandbox must read its own.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import posix_ipc

from lab.kernel import libc
from lab.kernel.namespaces import SHM
from lab.trace import ObjectType

MESSAGE_BYTES = 4096
"""How much of a message that was left in a queue is read for the report."""


Key = tuple[ObjectType, int | str, int]


@dataclass(frozen=True)
class Entry:
    """An IPC object or special file as the kernel lists it."""

    type: ObjectType
    handle: int | str
    """What removes it: the id of System V, the path or the name of POSIX."""
    name: str
    size: int
    owner: int
    creator: int = 0
    """PID of the process that made it, where the kernel keeps it (System V segments); else 0."""
    touched_by: tuple[int, ...] = ()
    """PIDs that the kernel remembers as its last users (System V)."""
    device: int = 0
    inode: int = 0

    @property
    def key(self) -> Key:
        """Distinguishes it from a later object of the same name."""
        return (self.type, self.handle, self.inode)


def listing(queues: int | None) -> Iterator[Entry]:
    """Every IPC object of the namespaces that this process lives in.

    Args:
        queues: descriptor of the mounted queue file system; None leaves POSIX queues out.
    """
    for table in _TABLES:
        yield from _sysv(table)
    yield from _posix_memory()
    if queues is not None:
        yield from _posix_queues(queues)


@dataclass(frozen=True)
class _Table:
    """A file of /proc/sysvipc, and the columns in it that matter here."""

    file: str
    type: ObjectType
    handle: str
    size: str
    creator: str = ""
    users: tuple[str, ...] = ()


_TABLES = (
    _Table("shm", ObjectType.SYSV_SHM, "shmid", "size", "cpid", ("cpid", "lpid")),
    _Table("sem", ObjectType.SYSV_SEM, "semid", "nsems"),
    _Table("msg", ObjectType.SYSV_MQ, "msqid", "cbytes", users=("lspid", "lrpid")),
)


def _sysv(table: _Table) -> Iterator[Entry]:
    lines = Path(f"/proc/sysvipc/{table.file}").read_text().splitlines()
    names = lines[0].split()
    for line in lines[1:]:
        row = {name: int(value) for name, value in zip(names, line.split(), strict=True)}
        key, handle, size = row["key"] & 0xFFFFFFFF, row[table.handle], row[table.size]
        users = tuple(row[column] for column in table.users)
        if table.type is ObjectType.SYSV_SEM:
            # The table of semaphores names nobody; each semaphore remembers its last user.
            users = libc.semaphore_users(handle, size)
        yield Entry(
            table.type,
            handle,
            f"key 0x{key:08x}" if key else f"private, id {handle}",
            size,
            row["uid"],
            row.get(table.creator, 0),
            users,
        )


def _posix_memory() -> Iterator[Entry]:
    """Shared memory and semaphores, which glibc keeps as files; a semaphore is "sem.NAME"."""
    with contextlib.suppress(FileNotFoundError):  # a machine without /dev/shm has none
        for item in sorted(os.scandir(SHM), key=lambda item: item.name):
            try:
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            semaphore = item.name.startswith("sem.")
            yield Entry(
                ObjectType.POSIX_SEM if semaphore else ObjectType.POSIX_SHM,
                item.path,
                "/" + item.name.removeprefix("sem."),
                status.st_size,
                status.st_uid,
                device=status.st_dev,
                inode=status.st_ino,
            )


def _posix_queues(directory: int) -> Iterator[Entry]:
    for name in sorted(os.listdir(directory)):
        try:
            status = os.stat(name, dir_fd=directory)
            descriptor = os.open(name, os.O_RDONLY, dir_fd=directory)
        except (FileNotFoundError, PermissionError):
            continue
        with os.fdopen(descriptor) as queue:  # reads "QSIZE:129 NOTIFY:0 SIGNO:0 NOTIFY_PID:0"
            size = int(queue.read().split()[0].partition(":")[2])
        yield Entry(
            ObjectType.POSIX_MQ,
            "/" + name,
            "/" + name,
            size,
            status.st_uid,
            device=status.st_dev,
            inode=status.st_ino,
        )


def special_files_in(directory: int, path: str) -> Iterator[Entry]:
    """FIFOs and sockets that lie directly in a directory of the host.

    Ordinary files there are a program's results, and deeper down is too far to walk at each run.

    Args:
        directory: descriptor of the directory.
        path: how its users know it.
    """
    for name in sorted(os.listdir(directory)):
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        kind = _FILES.get(stat.S_IFMT(status.st_mode))
        if kind is not None:
            yield _file(kind, f"{path}/{name}", status)


def files_below(directory: int, path: str) -> Iterator[Entry]:
    """Everything in a private directory: FIFOs, sockets, files, and directories that are empty.

    Args:
        directory: descriptor of the directory.
        path: how the program knew it.
    """
    for found, folders, names, at in os.fwalk(".", dir_fd=directory):
        for name in sorted(names if folders or names else ["."]):
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
            # A character device in an overlay's layer is a whiteout: a deletion, not a file.
            if (found, name) == (".", ".") or stat.S_ISCHR(status.st_mode):
                continue
            kind = _FILES.get(stat.S_IFMT(status.st_mode), ObjectType.TEMP_FILE)
            yield _file(kind, os.path.normpath(f"{path}/{found}/{name}"), status)


def _file(kind: ObjectType, path: str, status: os.stat_result) -> Entry:
    return Entry(
        kind,
        path,
        path,
        status.st_size,
        status.st_uid,
        device=status.st_dev,
        inode=status.st_ino,
    )


_FILES = {stat.S_IFIFO: ObjectType.FIFO, stat.S_IFSOCK: ObjectType.UNIX_SOCKET}


def waiting_messages(entry: Entry) -> tuple[str, ...]:
    """The messages in a queue, oldest first. They are taken out of it: only for one left behind.

    Undecodable bytes are shown as escapes; each message is cut at MESSAGE_BYTES.
    """
    messages = []
    if entry.type is ObjectType.SYSV_MQ and isinstance(entry.handle, int):
        while (message := libc.receive_without_waiting(entry.handle, MESSAGE_BYTES)) is not None:
            messages.append(message)
    elif entry.type is ObjectType.POSIX_MQ:
        queue = posix_ipc.MessageQueue(entry.name, read=True, write=False)
        with contextlib.closing(queue), contextlib.suppress(posix_ipc.BusyError):
            while True:
                messages.append(queue.receive(0)[0][:MESSAGE_BYTES])
    return tuple(message.decode(errors="backslashreplace") for message in messages)


def remove(entry: Entry) -> None:
    """Remove an object from the machine; one that is gone already is no error."""
    with contextlib.suppress(FileNotFoundError, posix_ipc.ExistentialError):
        match entry.type:
            case ObjectType.SYSV_SHM:
                libc.remove_shared_memory(int(entry.handle))
            case ObjectType.SYSV_SEM:
                libc.remove_semaphores(int(entry.handle))
            case ObjectType.SYSV_MQ:
                libc.remove_queue(int(entry.handle))
            case ObjectType.POSIX_MQ:
                posix_ipc.unlink_message_queue(entry.name)
            case _:
                os.unlink(str(entry.handle))
