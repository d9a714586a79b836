"""IPC tables and shared memory of one's own, for a thread that goes on in the world that it was in.

A guarded pytest session reads this module at its start, and nothing else about sandboxes.
"""

from __future__ import annotations

import os

from lab.kernel.libc import (
    CLONE_NEWIPC,
    CLONE_NEWNS,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    mount,
    unshare,
)

SHM = "/dev/shm"
"""glibc's fixed place for shm_open and sem_open."""
_QUEUES = "/dev/mqueue"


class NamespaceError(Exception):
    """The kernel refused a private world; the text says which call, and why."""


def own_tables() -> None:
    """Give the calling thread IPC tables and shared memory of its own, and nothing else.

    A thread that began before stays where it is. An ordinary user is refused: a user namespace
    would be needed first, and none can be had by one thread of several.

    Raises NamespaceError; nothing has changed then for other threads, and what is mounted goes with
    this one.
    """
    try:
        unshare(CLONE_NEWIPC | CLONE_NEWNS)
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        mount_tables()
    except OSError as refused:
        raise NamespaceError(str(refused)) from refused


def mount_tables() -> None:
    """Show the POSIX objects of this IPC namespace where programs look for them."""
    mount("shm", SHM, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    if os.path.isdir(_QUEUES):
        mount("mqueue", _QUEUES, "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC)
