"""What a process has open, by /proc/PID/fd and fdinfo.

A process that is gone, or hides itself, has nothing open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from lab.kernel import procfs


@dataclass(frozen=True)
class Descriptor:
    """An open file descriptor: what it leads to, and in which direction."""

    number: int
    target: str
    """As the link in /proc reads: a path, "pipe:[77]", "/queue"."""
    inode: int
    device: int
    mode: int
    """st_mode of what it leads to."""
    reads: bool
    writes: bool


def descriptors(pid: int) -> Iterator[Descriptor]:
    """The open descriptors of a process that may be looked at."""
    try:
        numbers = sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    except (*procfs.VANISHED, PermissionError):
        return
    for number in numbers:
        found = descriptor(pid, number)
        if found is not None:
            yield found


def descriptor(pid: int, number: int) -> Descriptor | None:
    """One open descriptor of a process; None if it is closed, or hidden from us."""
    path = f"/proc/{pid}/fd/{number}"
    try:
        target, status = os.readlink(path), os.stat(path)
    except (OSError, ValueError):  # ValueError: a negative number out of a register
        return None
    flags = _info(pid, number, "flags")
    access = int(flags, 8) & os.O_ACCMODE if flags else os.O_RDWR
    return Descriptor(
        number,
        target,
        status.st_ino,
        status.st_dev,
        status.st_mode,
        reads=access != os.O_WRONLY,
        writes=access != os.O_RDONLY,
    )


def opened(pid: int) -> frozenset[tuple[int, int]]:
    """Device and inode of everything that a process has open."""
    return frozenset((descriptor.device, descriptor.inode) for descriptor in descriptors(pid))


def holds_lock(pid: int, number: int) -> bool:
    """Whether a process holds a lock of a file through this descriptor (flock, fcntl, OFD).

    From its fdinfo and not from /proc/locks: there stands the PID that took the lock, which may be
    dead while a child holds the lock on through the descriptor that it inherited.
    """
    return "\nlock:" in (procfs.text(pid, f"fdinfo/{number}") or "")


def process_behind(pid: int, number: int) -> int:
    """The PID, as its user knows it, behind a pidfd of a process; 0 if it is none.

    Asked through the user's own /proc view of the descriptor: a pidfd shows the PID in the PID
    namespace of whoever reads, so the innermost one is taken.
    """
    ids = _info(pid, number, "NSpid").split()
    return int(ids[-1]) if ids else 0


def clock_of_timer(pid: int, number: int) -> int:
    """The clock of a timerfd; 1, the monotonic one, if that is not told."""
    return int(_info(pid, number, "clockid") or 1)


def mask_of_signalfd(pid: int, number: int) -> int:
    """The signals that a signalfd tells of, as a mask."""
    return int(_info(pid, number, "sigmask") or "0", 16)


def eventfd_id(pid: int, number: int) -> int:
    """The kernel's number of an eventfd; 0 if it does not tell."""
    return int(_info(pid, number, "eventfd-id") or 0)


def watched_by_epoll(pid: int, number: int) -> tuple[int, ...]:
    """The descriptors that were added to an epoll, by the numbers that they had then."""
    shown = (procfs.text(pid, f"fdinfo/{number}") or "").splitlines()
    return tuple(int(line.split()[1]) for line in shown if line.startswith("tfd:"))


def _info(pid: int, number: int, name: str) -> str:
    return procfs.value(procfs.text(pid, f"fdinfo/{number}"), name)
