"""What a run may have in common with processes outside it, and which could therefore wake it."""

from __future__ import annotations

from dataclasses import dataclass

from lab.kernel.libc import birth_time
from lab.trace import ObjectType

Thing = tuple[ObjectType | int, int]
"""A file by device and inode, or a System V object by type and id."""


ANY_QUEUE: Thing = (ObjectType.POSIX_MQ, 0)
"""Stands for the POSIX queues of a machine that does not list them."""


@dataclass(frozen=True)
class Outside:
    """What processes outside the run may have in common with it: all that was there before."""

    things: frozenset[Thing] = frozenset()
    began: float = 0.0
    """When the run began, by CLOCK_REALTIME_COARSE, by which files are dated."""

    def shares(self, thing: Thing) -> bool:
        """Whether it was there before the run."""
        return thing in self.things

    def shares_file(self, path: str) -> bool:
        """Whether this file was; one whose birth the file system does not tell counts so."""
        born = birth_time(path)
        return born is None or born < self.began
