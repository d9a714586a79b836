"""What /proc tells of a process beyond psutil, and how it is read.

Every reader returns None or nothing for a process that is gone: it may vanish between two lines.
This module is read at the start of every guarded pytest session, so it imports and makes little.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

VANISHED = (FileNotFoundError, ProcessLookupError)


def printable(name: str) -> str:
    """A name as the kernel gave it, with what is no UTF-8 escaped, so that it can be printed."""
    return os.fsencode(name).decode(errors="backslashreplace")


def text(pid: int, name: str) -> str | None:
    """A file of /proc/PID, undecodable bytes escaped; None if the process is gone or hidden."""
    try:
        # Not by pathlib: it interns every part of a path, and PIDs come anew with each process.
        with open(f"/proc/{pid}/{name}", errors="backslashreplace") as file:
            return file.read()
    except (*VANISHED, PermissionError):
        return None


def value(shown: str | None, name: str) -> str:
    """What stands behind a name and a colon, on a line of its own; "" if nothing does."""
    _, found, rest = f"\n{shown or ''}".partition(f"\n{name}:")
    return rest.partition("\n")[0].strip() if found else ""


def threads(pid: int) -> tuple[int, ...]:
    """Thread ids of a process."""
    try:
        return tuple(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    except VANISHED:
        return ()


def descendants(ancestor: int) -> list[int]:
    """PIDs of the children of a process, their children, and so on.

    A list and no proof: one whose parent or sibling ends meanwhile may be missing in it.
    """
    if not _LISTS_CHILDREN:
        import psutil  # dear to import, and hardly any kernel needs it here

        return [child.pid for child in psutil.Process(ancestor).children(recursive=True)]
    found = [ancestor]
    for pid in found:  # grows while it is walked
        for thread in threads(pid):
            found += map(int, (text(pid, f"task/{thread}/children") or "").split())
    return found[1:]


# With it the look at a tree costs by the size of the tree, and not of the machine.
_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()  # CONFIG_PROC_CHILDREN


def parent_of(pid: int) -> int:
    """The PID of a process's parent; 0 if it is gone."""
    return int(value(text(pid, "status"), "PPid") or 0)


def inner_pid(thread: int) -> int:
    """The id by which a process or thread knows itself, in its own PID namespace."""
    ids = value(text(thread, "status"), "NSpid").split()
    return int(ids[-1]) if ids else thread


def inner_group(pid: int) -> int:
    """The process group of a process, as that process knows it; 0 if it is gone."""
    ids = value(text(pid, "status"), "NSpgid").split()
    return int(ids[-1]) if ids else 0


def bound_sockets(pid: int) -> dict[int, str]:
    """Inode and path of the Unix sockets that have one, in the network namespace of a process."""
    found = re.findall(_BOUND_SOCKET, text(pid, "net/unix") or "", re.MULTILINE)
    return {int(inode): path for inode, path in found}


_BOUND_SOCKET = r"^(?:\S+ +){6}(\d+) ([^@\n].*)$"
"""After six columns the inode, and a path for some; "@" begins the name of an abstract one."""


def string_at(pid: int, address: int, limit: int = 4096) -> str | None:
    """A NUL-terminated string in the memory of a process; None if it cannot be read."""
    collected = b""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            while b"\0" not in collected and len(collected) < limit:
                # Never across a page: the next one may not exist.
                collected += memory.read(4096 - (address + len(collected)) % 4096)
    except (OSError, ValueError, OverflowError):
        if not collected:
            return None
    return os.fsdecode(collected.partition(b"\0")[0])


def bytes_at(pid: int, address: int, size: int) -> bytes | None:
    """So many bytes of the memory of a process; None if they cannot be read."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            found = memory.read(size)
    except (OSError, ValueError, OverflowError):
        return None
    return found if len(found) == size else None


def has_timers(pid: int) -> bool:
    """Whether a process has timers of timer_create (where the kernel tells: CHECKPOINT_RESTORE)."""
    return bool(text(pid, "timers"))
