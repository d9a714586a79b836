"""What the objects of a run are called in its trace.

Names must be the same in every run, or no schedule could be replayed: what the kernel numbers as
it likes (pipes, sockets, identifiers) is numbered here by first appearance.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from lab.kernel import sysv

_MEMFD = "/memfd:"


@dataclass
class Names:
    """The names of one run's objects."""

    places: tuple[str, ...]
    """Directories whose files count as shared: temporary ones, and the working directory."""
    unshared: tuple[str, ...] = ()
    """Directories below them whose files do not: an installation, which nobody changes."""
    queues: dict[tuple[int, int], str] = field(default_factory=dict)
    """POSIX queues by device and inode: their descriptors do not tell their names."""
    unlinked_queues: set[tuple[int, int]] = field(default_factory=set)
    sysv: dict[tuple[str, int], str] = field(default_factory=dict)
    """System V objects by table and id: an id outlives its key."""
    sockets: dict[int, str] = field(default_factory=dict)
    """By inode: both ends of a connection carry one name."""
    ports: dict[int, str] = field(default_factory=dict)
    """Ports that the kernel chose."""
    bound: set[str] = field(default_factory=set)
    """Addresses that a process of the run has taken."""
    shared_positions: set[str] = field(default_factory=set)
    """Files that were open at a fork."""
    _numbers: dict[tuple[str, int], int] = field(default_factory=dict)

    def number(self, kind: str, inode: int) -> int:
        """1 for the first of its kind that the run touches, and so on."""
        return self._numbers.setdefault(
            (kind, inode), 1 + sum(1 for known, _ in self._numbers if known == kind)
        )

    def of(self, target: str, status: os.stat_result) -> str:
        """The name in the trace of what a descriptor or a path leads to; "" for nothing shared."""
        if stat.S_ISFIFO(status.st_mode):
            if target.startswith("/"):
                return f"fifo:{target}"
            return f"pipe:{self.number('pipe', status.st_ino)}"
        if stat.S_ISSOCK(status.st_mode):
            known = self.sockets.get(status.st_ino)
            return known or f"socket:{self.number('socket', status.st_ino)}"
        if (status.st_dev, status.st_ino) in self.queues:
            return self.queues[status.st_dev, status.st_ino]
        if target.startswith(_MEMFD):
            name = target.removeprefix(_MEMFD).removesuffix(" (deleted)")
            number = self.number(f"memfd {name}", status.st_ino)
            return f"memfd:{name}" if number == 1 else f"memfd:{name} ({number})"
        if target.startswith("anon_inode:"):
            return target.removeprefix("anon_inode:").strip("[]")
        if stat.S_ISREG(status.st_mode):
            return self.of_file(target)
        return ""

    def of_file(self, path: str) -> str:
        """The name in the trace of a file; "" if it lies where nothing is shared."""
        path = path.removesuffix(" (deleted)")
        if path.startswith("/dev/shm/"):
            name = path.removeprefix("/dev/shm/")
            if name.startswith("sem."):
                return f"posix-sem:/{name[4:]}"
            return f"posix-shm:/{name}"
        if path.endswith((".py", ".pyc", ".so")) or path in self.unshared:
            return ""
        if any(path.startswith(place + "/") for place in self.unshared):
            return ""
        if any(path.startswith(place + "/") for place in self.places):
            return f"file:{path}"
        return ""

    def of_sysv(self, table: str, identifier: int) -> str:
        """The name in the trace of a System V object: by key, or numbered if it is private."""
        known = self.sysv.get((table, identifier))
        if known is None:
            key = sysv.key_of(table, identifier)
            kind = {"sem": "sysv-sem", "shm": "sysv-shm", "msg": "sysv-mq"}[table]
            name = f"key 0x{key:08x}" if key else f"private {self.number(kind, identifier)}"
            known = self.sysv[table, identifier] = f"{kind}:{name}"
        return known

    def is_outside(self, thing: str) -> bool:
        """Whether a socket leads to a service that is no part of the run: nobody in it bound it."""
        return thing.startswith(("inet:", "unix:")) and thing not in self.bound

    def position(self, identity: str) -> tuple[str, ...]:
        """The name in the trace of where a file is read next, if processes share that."""
        return (f"position:{identity}",) if identity in self.shared_positions else ()
