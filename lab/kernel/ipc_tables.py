"""The IPC objects that exist: the kernel's tables of System V, and the names of POSIX.

The tables show the IPC namespace of whoever opens them, so a sandbox must read its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import posix_ipc

from lab.kernel import libc, sysv
from lab.kernel.ipc_namespace import SHM
from lab.kernel.outside import Thing
from lab.kernel.procfs import printable
from lab.trace import ObjectType

MESSAGE_BYTES = 4096
"""How much of a message that was left in a queue is read for the report."""


Key = tuple[ObjectType, int | str, int]


@dataclass(frozen=True)
class Touch:
    """A process that the kernel remembers with an object, and when it was that process.

    A PID alone says little: others may have had it since.
    """

    pid: int
    second: int
    """Since 1970."""


@dataclass(frozen=True)
class Entry:
    """An IPC object or special file as the kernel lists it."""

    type: ObjectType
    handle: int | str
    """What removes it: the id of System V, the path or the name of POSIX."""
    name: str
    size: int
    owner: int
    creator: Touch | None = None
    """Who made it, where the kernel keeps that (System V segments)."""
    touched_by: tuple[Touch, ...] = ()
    """Whom the kernel remembers as its last users (System V)."""
    device: int = 0
    inode: int = 0

    @property
    def key(self) -> Key:
        """Distinguishes it from a later object of the same name."""
        return (self.type, self.handle, self.inode)

    @property
    def thing(self) -> Thing:
        """As an explanation of a wait names it."""
        if isinstance(self.handle, int):
            return (self.type, self.handle)
        return (self.device, self.inode)


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
    users: tuple[tuple[str, ...], ...] = ()
    """Column of a PID, and those of the times at which it may have been noted; the maker first."""


_TABLES = (
    _Table(
        "shm", ObjectType.SYSV_SHM, "shmid", "size", (("cpid", "ctime"), ("lpid", "atime", "dtime"))
    ),
    _Table("sem", ObjectType.SYSV_SEM, "semid", "nsems"),
    _Table("msg", ObjectType.SYSV_MQ, "msqid", "cbytes", (("lspid", "stime"), ("lrpid", "rtime"))),
)
TABLE_OF = {table.type: table.file for table in _TABLES}
"""For each kind of System V object, its file in /proc/sysvipc."""
_SEMAPHORES_ASKED = 64
"""Of how many semaphores of a set the last user is asked for: each costs a system call."""


def _sysv(table: _Table) -> Iterator[Entry]:
    lines = Path(f"/proc/sysvipc/{table.file}").read_text().splitlines()
    names = lines[0].split()
    for line in lines[1:]:
        row = {name: int(value) for name, value in zip(names, line.split(), strict=True)}
        key, handle, size = row["key"] & 0xFFFFFFFF, row[table.handle], row[table.size]
        users = tuple(
            Touch(row[pid], max(row[when] for when in times)) for pid, *times in table.users
        )
        if table.type is ObjectType.SYSV_SEM:
            # The table of semaphores names nobody; each semaphore remembers its last user. The
            # set knows when it was last used (otime), or else set up (ctime).
            pids = libc.semaphore_users(handle, min(size, _SEMAPHORES_ASKED))
            users = tuple(Touch(pid, max(row["otime"], row["ctime"])) for pid in pids)
        yield Entry(
            table.type,
            handle,
            f"key 0x{key:08x}" if key else f"private, id {handle}",
            size,
            row["uid"],
            users[0] if table.type is ObjectType.SYSV_SHM else None,
            users,
        )


def _posix_memory() -> Iterator[Entry]:
    """Shared memory and semaphores, which glibc keeps as files; a semaphore is "sem.NAME"."""
    try:
        directory = os.open(SHM, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # a machine without it has none of them
    try:
        for name, status in _inside(directory):
            semaphore = name.startswith("sem.")
            kind = ObjectType.POSIX_SEM if semaphore else ObjectType.POSIX_SHM
            if stat.S_ISREG(status.st_mode):
                known_as = "/" + name.removeprefix("sem.")
                yield _file(kind, f"{SHM}/{name}", status, known_as)
            else:  # shm_open makes nothing but files, a program may
                other = _FILES.get(stat.S_IFMT(status.st_mode), ObjectType.TEMP_FILE)
                yield _file(other, f"{SHM}/{name}", status)
    finally:
        os.close(directory)


def _posix_queues(directory: int) -> Iterator[Entry]:
    for name, status in _inside(directory):
        entry = _file(ObjectType.POSIX_MQ, f"/{name}", status)
        # One that its own user may not read is there all the same, only its size is not told.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            descriptor = os.open(name, os.O_RDONLY, dir_fd=directory)
            with os.fdopen(descriptor):
                entry = _queue(f"/{name}", descriptor)
        yield entry


def queue_called(name: str) -> Entry | None:
    """The POSIX queue of this name, also where no directory lists it.

    None if there is none, or none that this user may open.
    """
    if name.count("/") != 1:
        return None
    for access in ({"write": False}, {"read": False}):  # a mode may allow but one of them
        with contextlib.suppress(posix_ipc.Error, OSError, ValueError):
            queue = posix_ipc.MessageQueue(name, **access)
            with contextlib.closing(queue):
                return _queue(name, queue.mqd)
    return None


def _queue(name: str, descriptor: int) -> Entry:
    entry = _file(ObjectType.POSIX_MQ, name, os.fstat(descriptor))
    # It reads as "QSIZE:129 NOTIFY:0 SIGNO:0 NOTIFY_PID:0".
    with contextlib.suppress(OSError):  # open for writing alone
        return replace(entry, size=int(os.pread(descriptor, 80, 0).split()[0].partition(b":")[2]))
    return entry


def _inside(directory: int) -> Iterator[tuple[str, os.stat_result]]:
    """What lies in a directory that others may change, or remove, meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(directory)):
            with contextlib.suppress(FileNotFoundError):
                yield name, os.stat(name, dir_fd=directory, follow_symlinks=False)


def special_files_in(directory: int, path: str) -> Iterator[Entry]:
    """FIFOs and sockets that lie directly in a directory of the host.

    Ordinary files there are a program's results, and deeper down is too far to walk at each run.

    Args:
        directory: descriptor of the directory.
        path: how its users know it.
    """
    for name, status in _inside(directory):
        kind = _FILES.get(stat.S_IFMT(status.st_mode))
        if kind is not None:
            yield _file(kind, f"{path}/{name}", status)


def files_below(directory: int, path: str, original: int | None = None) -> Iterator[Entry]:
    """Everything in a private directory: FIFOs, sockets, files, and directories that are empty.

    Args:
        directory: descriptor of the directory.
        path: how the program knew it.
        original: descriptor of what the directory was laid over; what is in there is not new, the
            run has only changed it.
    """
    for found, folders, names, at in os.fwalk(".", dir_fd=directory):
        leaves = [*names, *(folder for folder in folders if _is_shut(folder, at))]
        for name in sorted(leaves if folders or names else ["."]):
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
            place = os.path.normpath(f"{found}/{name}")
            # A character device in an overlay's layer is a whiteout: a deletion, not a file.
            if place == "." or stat.S_ISCHR(status.st_mode) or _is_in(place, original):
                continue
            kind = _FILES.get(stat.S_IFMT(status.st_mode), ObjectType.TEMP_FILE)
            with contextlib.suppress(OSError):
                # As its users saw it, through the layer, where it has another inode.
                status = os.stat(f"{path}/{place}", follow_symlinks=False)
            yield _file(kind, f"{path}/{place}", status)


def _is_shut(folder: str, at: int) -> bool:
    """Whether the walk does not enter it: a link to a directory, or one that may not be read."""
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at))
    except OSError:
        return True
    return False


def _is_in(place: str, directory: int | None) -> bool:
    if directory is None:
        return False
    try:
        os.stat(place, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def _file(kind: ObjectType, path: str, status: os.stat_result, known_as: str = "") -> Entry:
    return Entry(
        kind,
        path,
        printable(known_as or path),
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
        while (message := sysv.take_message(entry.handle)) is not None:
            messages.append(message[0][:MESSAGE_BYTES])
    elif entry.type is ObjectType.POSIX_MQ:
        with _posix_errors():
            queue = posix_ipc.MessageQueue(str(entry.handle), read=True, write=False)
        with contextlib.closing(queue), contextlib.suppress(posix_ipc.BusyError):
            while True:
                messages.append(queue.receive(0)[0][:MESSAGE_BYTES])
    return tuple(message.decode(errors="backslashreplace") for message in messages)


def remove(entry: Entry) -> None:
    """Remove an object from the machine; one that is gone already is no error.

    Raises OSError when it is another user's.
    """
    try:
        match entry.type:
            case ObjectType.SYSV_SHM:
                libc.remove_shared_memory(int(entry.handle))
            case ObjectType.SYSV_SEM:
                libc.remove_semaphores(int(entry.handle))
            case ObjectType.SYSV_MQ:
                libc.remove_queue(int(entry.handle))
            case ObjectType.POSIX_MQ:
                with _posix_errors():
                    posix_ipc.unlink_message_queue(str(entry.handle))
            case _:
                _unlink(str(entry.handle))
    except OSError as error:
        if error.errno not in _GONE:
            raise


_GONE = (errno.ENOENT, errno.EINVAL, errno.EIDRM)  # EINVAL: System V has no such id


@contextlib.contextmanager
def _posix_errors() -> Iterator[None]:
    """posix_ipc's own exceptions as what they are."""
    try:
        yield
    except posix_ipc.ExistentialError as gone:
        raise FileNotFoundError(errno.ENOENT, str(gone)) from gone
    except posix_ipc.PermissionsError as denied:
        raise PermissionError(errno.EACCES, str(denied)) from denied


def _unlink(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        os.unlink(path)


def remove_tree(path: str) -> None:
    """Remove a directory and all that is in it, also what the program locked itself out of."""
    os.chmod(path, 0o700)
    for folder, folders, _ in os.walk(path):
        for inner in (f"{folder}/{name}" for name in folders):
            if not os.path.islink(inner):  # chmod would follow it out of here
                os.chmod(inner, 0o700)
    shutil.rmtree(path)
