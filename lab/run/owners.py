"""Whose an object is that appeared on the host: the run's, somebody else's, or nobody can tell.

The kernel keeps the maker of System V segments alone. Of the rest it keeps who used it last, or
nothing, and then what counts is who was seen to have it open. That the user is the same, or that
nobody else is known, proves nothing: other containers can share the IPC namespace unseen.
"""

from __future__ import annotations

import os

import psutil

from lab.kernel import fdinfo, maps, procfs
from lab.kernel.ipc_tables import Entry, Touch
from lab.run.watch import Watch
from lab.trace import ObjectType


def is_ours(entry: Entry, watch: Watch) -> bool:
    """Whether a process of the run made an object, or, where that is not kept, has used it."""
    return bool(maker(entry, watch) if entry.creator else users(entry, watch))


def maker(entry: Entry, watch: Watch) -> str:
    """The process of the run that made it; "" if none did, or that is not kept."""
    return watch.name_at(entry.creator.pid, entry.creator.second) if entry.creator else ""


def users(entry: Entry, watch: Watch) -> tuple[str, ...]:
    """Processes of the run that touched it: as the kernel remembers, and as the watch saw."""
    names = {watch.name_at(touch.pid, touch.second) for touch in entry.touched_by} - {""}
    if entry.type is ObjectType.SYSV_SHM:
        names |= {name for name, _ in watch.users.get((0, int(entry.handle)), ())}
    elif isinstance(entry.handle, str):
        seen = watch.users.get((entry.device, entry.inode), set())
        # A disk gives an inode out again as soon as its file is gone, and only the path tells the
        # files apart. Shared memory has ever new ones; and a semaphore's path is no help, since
        # glibc makes it under another name.
        on_disk = entry.type in _ON_DISK
        names |= {name for name, path in seen if not on_disk or path == entry.handle}
    return tuple(sorted(names, key=lambda name: int(name[1:])))


_ON_DISK = (ObjectType.FIFO, ObjectType.UNIX_SOCKET, ObjectType.TEMP_FILE)


class Others:
    """The processes that are there after all of the run have ended: what they use is not its."""

    def __init__(self) -> None:
        self._open: set[tuple[int, int]] = set()
        self._bound: set[str] = set()
        for pid in psutil.pids():
            self._open |= fdinfo.opened(pid)
            self._open |= {(each.device, each.inode) for each in maps.shared_mappings(pid)}
        self._bound.update(procfs.bound_sockets(os.getpid()).values())

    def have(self, entry: Entry) -> bool:
        """Whether one of them made it, was the last to use it, or has it open."""
        if isinstance(entry.handle, int):
            return any(map(_lives, entry.touched_by))
        return (entry.device, entry.inode) in self._open or entry.handle in self._bound


def _lives(touch: Touch) -> bool:
    try:
        born = psutil.Process(touch.pid).create_time()
    except psutil.Error:
        return False
    return born < touch.second + 1  # the kernel's seconds are cut
