"""What /proc tells of a process beyond psutil: exit status, system call, descriptors, maps.

Every reader returns None or nothing for a process that is gone: it may vanish between two lines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VANISHED = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True)
class Call:
    """A system call in which a thread sleeps: its number and its six arguments."""

    number: int
    arguments: tuple[int, ...]


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


@dataclass(frozen=True)
class Mapping:
    """A mapping of memory that writes reach other processes through."""

    start: int
    end: int
    offset: int
    device: int
    inode: int
    """For a System V segment, its id."""
    path: str
    writes: bool = True
    """Its owner may write there."""


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


def sleep_of(pid: int, thread: int) -> str:
    """What changes as soon as a sleeping thread moves: its call, and its count of switches.

    "" if it runs, is gone, or may not be looked at.
    """
    call = text(pid, f"task/{thread}/syscall")
    if call is None or not call[:1].isdigit():
        return ""
    status = text(pid, f"task/{thread}/status") or ""
    return call + "".join(_SWITCHES.findall(status))


_SWITCHES = re.compile(r"ctxt_switches:\s*(\d+)")


def call_of(sleep: str) -> Call:
    """The system call in a text from `sleep_of`."""
    number, *arguments = sleep.split()[:7]
    return Call(int(number), tuple(int(argument, 16) for argument in arguments))


def descriptors(pid: int) -> Iterator[Descriptor]:
    """The open descriptors of a process that may be looked at."""
    try:
        numbers = sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    except (*VANISHED, PermissionError):
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
    flags = _FLAGS.search(text(pid, f"fdinfo/{number}") or "")
    access = int(flags[1], 8) & os.O_ACCMODE if flags else os.O_RDWR
    return Descriptor(
        number,
        target,
        status.st_ino,
        status.st_dev,
        status.st_mode,
        reads=access != os.O_WRONLY,
        writes=access != os.O_RDONLY,
    )


_FLAGS = re.compile(r"^flags:\s*(\d+)", re.MULTILINE)


def opened(pid: int) -> frozenset[tuple[int, int]]:
    """Device and inode of everything that a process has open."""
    return frozenset((descriptor.device, descriptor.inode) for descriptor in descriptors(pid))


def bound_sockets(pid: int) -> dict[int, str]:
    """Inode and path of the Unix sockets that have one, in the network namespace of a process."""
    found = _BOUND_SOCKET.finditer(text(pid, "net/unix") or "")
    return {int(socket[1]): socket[2] for socket in found}


# After six columns the inode, and a path for some; "@" begins the name of an abstract one.
_BOUND_SOCKET = re.compile(r"^(?:\S+ +){6}(\d+) ([^@\n].*)$", re.MULTILINE)


def holds_lock(pid: int, number: int) -> bool:
    """Whether a process holds a lock of a file through this descriptor (flock, fcntl, OFD).

    From its fdinfo and not from /proc/locks: there stands the PID that took the lock, which may be
    dead while a child holds the lock on through the descriptor that it inherited.
    """
    return "\nlock:" in (text(pid, f"fdinfo/{number}") or "")


def shared_mappings(pid: int) -> Iterator[Mapping]:
    """The MAP_SHARED and System V mappings of a process."""
    for line in (text(pid, "maps") or "").splitlines():
        found = _MAPPING.match(line)
        if found:
            *numbers, inode, path = found.group(1, 2, 4, 5, 6, 7, 8)
            start, end, offset, major, minor = (int(number, 16) for number in numbers)
            yield Mapping(
                start, end, offset, os.makedev(major, minor), int(inode), path, found[3] == "w"
            )


_MAPPING = re.compile(
    r"([0-9a-f]+)-([0-9a-f]+) .(.).s ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+)\s*(.*)"
)


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


def catches(pid: int, signal_number: int) -> bool:
    """Whether a process has a handler for a signal."""
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)", text(pid, "status") or "", re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (signal_number - 1) & 1)


def inner_pid(thread: int) -> int:
    """The id by which a process or thread knows itself, in its own PID namespace."""
    found = re.search(r"^NSpid:\s*(.*)$", text(thread, "status") or "", re.MULTILINE)
    return int(found[1].split()[-1]) if found else thread


def inner_group(pid: int) -> int:
    """The process group of a process, as that process knows it; 0 if it is gone."""
    found = re.search(r"^NSpgid:\s*(.*)$", text(pid, "status") or "", re.MULTILINE)
    return int(found[1].split()[-1]) if found else 0


def parent_of(pid: int) -> int:
    """The PID of a process's parent; 0 if it is gone."""
    found = re.search(r"^PPid:\s*(\d+)", text(pid, "status") or "", re.MULTILINE)
    return int(found[1]) if found else 0


def process_behind(pid: int, descriptor: int) -> int:
    """The PID, as its user knows it, behind a pidfd of a process; 0 if it is none.

    Asked through the user's own /proc view of the descriptor: a pidfd shows the PID in the PID
    namespace of whoever reads, so the innermost one is taken.
    """
    found = re.search(r"^NSpid:\s*(.*)$", text(pid, f"fdinfo/{descriptor}") or "", re.MULTILINE)
    return int(found[1].split()[-1]) if found else 0


def clock_of_timer(pid: int, descriptor: int) -> int:
    """The clock of a timerfd; 1, the monotonic one, if that is not told."""
    found = re.search(r"^clockid:\s*(\d+)", text(pid, f"fdinfo/{descriptor}") or "", re.MULTILINE)
    return int(found[1]) if found else 1


def mask_of_signalfd(pid: int, descriptor: int) -> int:
    """The signals that a signalfd tells of, as a mask."""
    found = re.search(r"^sigmask:\s*(\w+)", text(pid, f"fdinfo/{descriptor}") or "", re.MULTILINE)
    return int(found[1], 16) if found else 0


def eventfd_id(pid: int, descriptor: int) -> int:
    """The kernel's number of an eventfd; 0 if it does not tell."""
    found = re.search(
        r"^eventfd-id:\s*(\d+)", text(pid, f"fdinfo/{descriptor}") or "", re.MULTILINE
    )
    return int(found[1]) if found else 0


def watched_by_epoll(pid: int, descriptor: int) -> tuple[int, ...]:
    """The descriptors that were added to an epoll, by the numbers that they had then."""
    found = re.findall(r"^tfd:\s*(\d+)", text(pid, f"fdinfo/{descriptor}") or "", re.MULTILINE)
    return tuple(map(int, found))


def has_timers(pid: int) -> bool:
    """Whether a process has timers of timer_create (where the kernel tells: CHECKPOINT_RESTORE)."""
    return bool(text(pid, "timers"))


@dataclass(frozen=True, slots=True)
class Signals:
    """The signal sets of a thread, as masks: bit 0 is signal 1."""

    pending: int
    """For the thread or for its process."""
    blocked: int
    ignored: int
    caught: int


def signals(thread: int) -> Signals:
    """The signal sets of a thread; all empty if it is gone."""
    sets = {name: int(value, 16) for name, value in _SETS.findall(text(thread, "status") or "")}
    return Signals(
        sets.get("SigPnd", 0) | sets.get("ShdPnd", 0),
        sets.get("SigBlk", 0),
        sets.get("SigIgn", 0),
        sets.get("SigCgt", 0),
    )


_SETS = re.compile(r"^(SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt):\s*([0-9a-f]+)", re.MULTILINE)
