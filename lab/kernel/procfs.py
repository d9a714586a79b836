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


def text(pid: int, name: str) -> str | None:
    """A file of /proc/PID, undecodable bytes escaped; None if the process is gone or hidden."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="backslashreplace")
    except (*VANISHED, PermissionError):
        return None


def exit_status(pid: int) -> int | None:
    """Exit status of a zombie, as os.waitstatus_to_exitcode gives it; None where not shown.

    The last field of /proc/PID/stat; the kernel shows 0 to those who may not trace the process,
    so a caller must be its ancestor or root.
    """
    stat = text(pid, "stat")
    # The command's name, in parentheses, may itself hold blanks and parentheses.
    fields = stat.rpartition(")")[2].split() if stat else []
    if len(fields) < _EXIT_CODE or fields[0] not in "ZX":
        return None
    return os.waitstatus_to_exitcode(int(fields[_EXIT_CODE - 1]))


_EXIT_CODE = 50  # field 52 of stat(5), counted after pid and name


def threads(pid: int) -> tuple[int, ...]:
    """Thread ids of a process."""
    try:
        return tuple(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    except VANISHED:
        return ()


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


def shared_mappings(pid: int) -> Iterator[Mapping]:
    """The MAP_SHARED and System V mappings of a process."""
    for line in (text(pid, "maps") or "").splitlines():
        found = _MAPPING.match(line)
        if found:
            *numbers, inode, path = found.groups()
            start, end, offset, major, minor = (int(number, 16) for number in numbers)
            yield Mapping(start, end, offset, os.makedev(major, minor), int(inode), path)


_MAPPING = re.compile(
    r"([0-9a-f]+)-([0-9a-f]+) ...s ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+)\s*(.*)"
)


def string_at(pid: int, address: int, limit: int = 4096) -> str | None:
    """A NUL-terminated string in the memory of a process; None if it cannot be read."""
    collected = b""
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            while b"\0" not in collected and len(collected) < limit:
                # Never across a page: the next one may not exist.
                collected += memory.read(4096 - (address + len(collected)) % 4096)
    except (OSError, ValueError, OverflowError):
        if not collected:
            return None
    return os.fsdecode(collected.partition(b"\0")[0])


def catches(pid: int, signal_number: int) -> bool:
    """Whether a process has a handler for a signal."""
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)", text(pid, "status") or "", re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (signal_number - 1) & 1)


def last_pid() -> int:
    """The PID that was given out last in this PID namespace."""
    return int(Path("/proc/loadavg").read_text().split()[4])
