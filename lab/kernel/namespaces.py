"""A private world for a run: IPC, PIDs and mounts of its own, and temporary files that vanish.

What is left in such a world when its processes have ended is exactly what the run leaked, and
the kernel removes it with the world. Everything here is called in a process that is about to
become the sandbox, never in the lab itself: a namespace cannot be left again by an ordinary user.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.kernel.ipc_namespace import SHM, NamespaceError, mount_tables
from lab.kernel.libc import (
    CLONE_NEWIPC,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    mount,
    unmount,
    unshare,
)

PID_CEILING = 4096
"""Highest PID inside a sandbox, where the kernel (6.14 and newer) keeps one per namespace."""


@dataclass(frozen=True)
class PrivateTmp:
    """A temporary directory whose changes go to a layer that dies with the sandbox."""

    path: str
    changes: int
    """Descriptor of the layer's directory: what the run made or changed is in it, alone."""
    original: int
    """Descriptor of the directory under the layer, which the run cannot change."""


@dataclass(frozen=True)
class World:
    """Handles, opened inside, to what the mounts of a sandbox hide from any path."""

    queues: int | None
    """Descriptor of the directory that lists the POSIX message queues; None: it is not ours to
    read, which can be on the host only."""
    tmp: tuple[PrivateTmp, ...]


def leave_host(*, new_user: bool, ipc: bool = True) -> None:
    """Step into new IPC, mount and PID namespaces; the next child will be PID 1.

    Args:
        new_user: make a user namespace first, which is what gives an ordinary user the right.
        ipc: False: stay with the IPC objects of the host.

    Raises NamespaceError.
    """
    try:
        if new_user:
            uid, gid = os.getuid(), os.getgid()
            unshare(CLONE_NEWUSER)
            # Mapped to itself: the program sees the user that it always sees. Writing gid_map
            # unprivileged is allowed only once setgroups is off (user_namespaces(7)).
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        unshare((CLONE_NEWIPC if ipc else 0) | CLONE_NEWNS | CLONE_NEWPID)
    except OSError as refused:
        raise NamespaceError(str(refused)) from refused


def furnish(
    *,
    private_files: bool,
    processes: bool = True,
    ipc: bool = True,
    scratch: Sequence[str] = (),
) -> World:
    """Mount what the namespaces need, and a disposable layer over temporary files.

    Args:
        private_files: cover /tmp and TMPDIR.
        processes: mount /proc too, which only PID 1 can; else it calls `show_processes` later,
            in a mount namespace of its own.
        ipc: False: the IPC namespace is the host's still.
        scratch: further directories to be covered.

    Raises NamespaceError.
    """
    queues = None
    try:
        # Mounts must not travel back to the host, whatever the distribution's default.
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        if processes:
            show_processes()
        if ipc:
            queues = _mount_ipc()
    except OSError as refused:
        raise NamespaceError(str(refused)) from refused
    return World(queues, _private_tmp(scratch) if private_files else ())


def _mount_ipc() -> int:
    # The queue file system may have no mount point, and making one would change the host's /dev.
    # Anywhere will do for a moment, since only the descriptor is kept: the tmpfs for shared memory
    # covers it at once.
    mount("mqueue", SHM, "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    queues = os.open(SHM, os.O_RDONLY | os.O_DIRECTORY)
    mount_tables()
    return queues


def show_processes() -> None:
    """As PID 1: let /proc show this PID namespace, and give it an end.

    Raises OSError.
    """
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _bound_pids()


def _bound_pids() -> None:
    """Give a fork bomb an end that needs no watcher."""
    # Before 6.14 there is one ceiling for the whole machine, and root would lower that, for good.
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or (int(release[1]), int(release[2])) < (6, 14):
        return
    try:
        Path("/proc/sys/kernel/pid_max").write_text(str(PID_CEILING))
    except OSError:
        return  # a machine with very many processors wants more: the watcher's bound remains


def _private_tmp(scratch: Sequence[str]) -> tuple[PrivateTmp, ...]:
    """Cover /tmp and TMPDIR with overlays; a directory where the kernel refuses stays as it is."""
    here = Path.cwd()
    covered: list[PrivateTmp] = []

    def cover(path: str) -> None:
        # E.g. no overlay on this file system: the caller reports fewer layers.
        with contextlib.suppress(OSError):
            covered.append(_cover(path))

    for path in dict.fromkeys(("/tmp", tempfile.gettempdir())):  # the real one
        cover(path)
    # The program's own directory stays writable for real: results belong to its user, even when
    # the project happens to live under /tmp. Not when it is itself a temporary directory.
    paths = [layer.path for layer in covered]
    if str(here) not in paths and any(here.is_relative_to(path) for path in paths):
        original = os.open(".", os.O_PATH | os.O_DIRECTORY)
        mount(f"/proc/self/fd/{original}", str(here), "", MS_BIND | MS_REC)
        os.close(original)
    for path in scratch:
        inside = here in Path(path).parents
        if inside or not any(Path(path).is_relative_to(layer) for layer in paths):
            cover(path)
    os.chdir(here)
    return tuple(covered)


def _cover(path: str) -> PrivateTmp:
    """Lay an overlay over a directory; its upper layer sits in a tmpfs that no path reaches."""
    status = os.stat(path)
    lower = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        mount("lab", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    except OSError:
        os.close(lower)
        raise
    # From here on the directory is hidden: both layers are named by descriptor, and the overlay
    # is mounted on top of the tmpfs that holds its upper one. Nothing is made on the host.
    upper, work = Path(path, "upper"), Path(path, "work")
    upper.mkdir()
    work.mkdir()
    upper.chmod(status.st_mode & 0o7777)
    if os.geteuid() == 0:
        os.chown(upper, status.st_uid, status.st_gid)
    changes = os.open(upper, os.O_RDONLY | os.O_DIRECTORY)
    options = f"lowerdir=/proc/self/fd/{lower},upperdir={upper},workdir={work}"
    try:
        mount("overlay", path, "overlay", MS_NOSUID | MS_NODEV, options + ",userxattr")
    except OSError:
        # In the first user namespace the option is unknown to some kernels, and not needed.
        try:
            mount("overlay", path, "overlay", MS_NOSUID | MS_NODEV, options)
        except OSError:
            os.close(changes)
            os.close(lower)
            unmount(path)
            raise
    return PrivateTmp(path, changes, lower)
