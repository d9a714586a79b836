"""What memory a process shares with others, by /proc/PID/maps; a process that is gone has none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.kernel import procfs


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


def shared_mappings(pid: int) -> Iterator[Mapping]:
    """The MAP_SHARED and System V mappings of a process."""
    for line in (procfs.text(pid, "maps") or "").splitlines():
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
