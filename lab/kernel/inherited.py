"""Shared memory that this process has mapped already, and hands on to whatever it forks.

A test makes a multiprocessing.Value, and then explores a program that uses it: each process of the
program inherits the mapping, at an address that the program knows. The tracer has inherited it
too, at the same address, so it needs no descriptor to look at it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MOST = 64 << 20
"""Bytes that are kept, to be put back before each run."""


@dataclass(frozen=True)
class Inherited:
    """A writable shared mapping."""

    start: int
    end: int
    offset: int
    device: int
    inode: int
    path: str
    contents: bytes = field(repr=False)
    """As they were when this was noted."""

    def open(self) -> int | None:
        """A descriptor of the mapped file; None if there is none that a program could open."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) == (self.device, self.inode):
            return descriptor
        os.close(descriptor)
        return None

    def restore(self) -> None:
        """Put the contents back."""
        with open_memory() as memory:
            if os.pread(memory.fileno(), len(self.contents), self.start) != self.contents:
                os.pwrite(memory.fileno(), self.contents, self.start)


def mappings() -> tuple[Inherited, ...]:
    """The writable shared mappings of this process.

    Raises MemoryError if they are too large to be kept.
    """
    found = [
        (int(start, 16), int(end, 16), int(offset, 16), _device(device), int(inode), path)
        for start, end, offset, device, inode, path in _SHARED.findall(
            Path("/proc/self/maps").read_text()
        )
        if not path.startswith("/dev/") or path.startswith(("/dev/shm/", "/dev/zero"))
    ]
    total = sum(end - start for start, end, *_ in found)
    if total > MOST:
        raise MemoryError(
            f"{total >> 20} MiB of shared memory were mapped before the run began, and at most "
            f"{MOST >> 20} can be put back before each run; map it in the program itself"
        )
    with open_memory() as memory:
        return tuple(
            Inherited(*each, _contents(memory.fileno(), each[0], each[1])) for each in found
        )


def open_memory() -> BinaryIO:
    """This process's own memory: where a file was cut, it gives an error and no SIGBUS."""
    return open("/proc/self/mem", "r+b", buffering=0)


def _contents(memory: int, start: int, end: int) -> bytes:
    try:
        return os.pread(memory, end - start, start)
    except OSError:
        return b""


def _device(numbers: str) -> int:
    major, minor = (int(number, 16) for number in numbers.split(":"))
    return os.makedev(major, minor)


_SHARED = re.compile(r"^(\w+)-(\w+) .w.s (\w+) (\w+:\w+) (\d+) *(.*)$", re.MULTILINE)
