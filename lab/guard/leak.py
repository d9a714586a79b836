"""What a test can leave behind, as data."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lab.trace import ObjectType


class Kind(enum.StrEnum):
    """Kinds of what is left, as the allow-list and the JUnit properties spell them."""

    ZOMBIE = "zombie"
    CHILD = "child"
    ORPHAN = "orphan"
    THREAD = "thread"
    SIGNAL_HANDLER = "signal-handler"
    POSIX_SHM = ObjectType.POSIX_SHM.value
    POSIX_SEM = ObjectType.POSIX_SEM.value
    POSIX_MQ = ObjectType.POSIX_MQ.value
    SYSV_SHM = ObjectType.SYSV_SHM.value
    SYSV_SEM = ObjectType.SYSV_SEM.value
    SYSV_MQ = ObjectType.SYSV_MQ.value
    FIFO = ObjectType.FIFO.value
    UNIX_SOCKET = ObjectType.UNIX_SOCKET.value
    TEMP_FILE = ObjectType.TEMP_FILE.value
    FD = ObjectType.FD.value
    LOCK_HELD = ObjectType.LOCK_HELD.value


Key = tuple[Kind, int | str, int]
"""Kind, number or path, and what tells it from a later one: inode, time of birth."""


class Birth(NamedTuple):  # made in a fifth of a dataclass's time, in every guarded session
    """What the process itself told about the making of something."""

    where: str = ""
    """file:line, of the innermost frame that is neither Python's own nor the lab's."""
    owner: str = ""
    """Who made it, if it was not the test: "fixture db (session)", "multiprocessing"."""
    process: str = ""
    """The process that made it; "" for the one that runs the tests."""


_UNKNOWN = Birth()


@dataclass(frozen=True)
class Leak:
    """One thing that is there after a test and was not before it."""

    key: Key
    name: str
    birth: Birth = _UNKNOWN
    note: str = ""
    doubtful: bool = False
    """It appeared during the test, and nothing tells whether the test made it."""
    before: Any = field(default=None, compare=False)
    """Of a signal handler: the one whose place it took."""

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.key[0]

    def __str__(self) -> str:
        said = [f"{self.kind} {self.name}", f"made at {self.birth.where}" * bool(self.birth.where)]
        said += [f"by {self.birth.process}" * bool(self.birth.process), self.note]
        said += [f"of {self.birth.owner}" * bool(self.birth.owner)]
        return ", ".join(part for part in said if part)
