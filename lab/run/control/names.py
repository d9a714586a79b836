"""What the objects of a run are called in its trace.

Names must be the same in every run, whatever its order, or no schedule could be replayed and no two
runs compared. What the kernel numbers as it likes (pipes, sockets, identifiers) goes by who made it
and how many of its kind that process had made: `pipe:2` is the root's second pipe, `pipe:P1.1` the
first of P1. To number by first use will not do: two pipes that are used in the other order would
swap names. What was there before the run has no maker in it: `pipe:inherited-1`.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field

from lab.kernel import sysv
from lab.run.control.anchors import Anchors

_ROOT = "P0"
_MEMFD = "/memfd:"
_DELETED = " (deleted)"
_NO_FILES = ("/dev/", "/proc/", "/sys/")


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
    working: str = ""
    """The working directory: what is changed below it outlives the run."""
    anchors: Anchors = field(default_factory=Anchors)
    linked: dict[tuple[int, int], str] = field(default_factory=dict)
    """Files that were given a second name, by device and inode: they go by the first."""
    shared_positions: set[str] = field(default_factory=set)
    """Files that were open at a fork."""
    _labels: dict[tuple[str, int], str] = field(default_factory=dict)
    _made: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many of a kind a process has made."""

    def make(self, kind: str, inode: int, maker: str) -> str:
        """What a new thing of a kind is told apart by.

        Args:
            kind: the kind.
            inode: what the kernel tells it apart by, perhaps once that of another.
            maker: the process that made it.
        """
        self._made[kind, maker] += 1
        number = self._made[kind, maker]
        label = f"{number}" if maker == _ROOT else f"{maker}.{number}"
        self._labels[kind, inode] = label
        return label

    def label(self, kind: str, inode: int) -> str:
        """What a thing of a kind is told apart by; one that nobody in the run made is inherited."""
        known = self._labels.get((kind, inode))
        if known is None:
            self._made[kind, ""] += 1
            known = self._labels[kind, inode] = f"inherited-{self._made[kind, '']}"
        return known

    @property
    def inherits(self) -> bool:
        """Whether the run used several things of a kind that it did not make.

        They are numbered by first use.
        """
        return any(count > 1 and not maker for (_, maker), count in self._made.items())

    def of(self, target: str, status: os.stat_result) -> str:
        """The name in the trace of what a descriptor or a path leads to; "" for nothing shared."""
        if stat.S_ISFIFO(status.st_mode):
            if target.startswith("/"):
                return f"fifo:{target.removesuffix(_DELETED)}"
            return f"pipe:{self.label('pipe', status.st_ino)}"
        if stat.S_ISSOCK(status.st_mode):
            known = self.sockets.get(status.st_ino)
            return known or f"socket:{self.label('socket', status.st_ino)}"
        if (status.st_dev, status.st_ino) in self.queues:
            return self.queues[status.st_dev, status.st_ino]
        if target.startswith(_MEMFD):
            name = target.removeprefix(_MEMFD).removesuffix(_DELETED)
            label = self.label(f"memfd {name}", status.st_ino)
            return f"memfd:{name}" if label in ("1", "inherited-1") else f"memfd:{name} ({label})"
        if target.startswith("anon_inode:"):
            return target.removeprefix("anon_inode:").strip("[]")
        if stat.S_ISREG(status.st_mode):
            name = self.of_file(target)
            return self.linked.get((status.st_dev, status.st_ino), name) if name else ""
        return ""

    def of_file(self, path: str) -> str:
        """The name in the trace of a file; "" if it lies where nothing is shared."""
        path = path.removesuffix(_DELETED)
        if path.startswith("/dev/shm/"):
            name = path.removeprefix("/dev/shm/")
            if name.startswith("sem."):
                return f"posix-sem:/{name[4:]}"
            return f"posix-shm:/{name}"
        if path.startswith("/dev/mqueue/"):
            return f"posix-mq:/{path.removeprefix('/dev/mqueue/')}"
        if path.endswith(".pyc") or path in self.unshared:
            return ""
        if path.endswith((".py", ".so")) and path.startswith(f"{self.working}/"):
            return ""
        if self.anchors.are_below(path):
            return ""
        if any(path.startswith(place + "/") for place in self.unshared):
            return ""
        if any(path.startswith(place + "/") for place in self.places):
            return f"file:{path}"
        return ""

    def outlives(self, path: str) -> bool:
        """Whether what is changed at a path is there in the next run."""
        if path.startswith(_NO_FILES) or path.endswith(".pyc"):
            return False
        if self.anchors.are_below(path):
            return True
        within = [place for place in self.places if path.startswith(f"{place}/")]
        return max(within, key=len, default=self.working) == self.working

    def ignores(self, path: str) -> bool:
        """Whether what is changed at a path is read by others, and that is no step of theirs."""
        known = path.startswith(_NO_FILES) or path.endswith(".pyc") or self.of_file(path)
        return not known and not self.outlives(path)

    def of_sysv(self, table: str, identifier: int, maker: str = "") -> str:
        """The name in the trace of a System V object: by key, or numbered if it is private.

        Args:
            table: "sem", "shm" or "msg".
            identifier: the kernel's.
            maker: the process that has just made it.
        """
        known = self.sysv.get((table, identifier))
        if known is None:
            key = sysv.key_of(table, identifier)
            kind = {"sem": "sysv-sem", "shm": "sysv-shm", "msg": "sysv-mq"}[table]
            if not key and maker:
                self.make(kind, identifier, maker)
            name = f"key 0x{key:08x}" if key else f"private {self.label(kind, identifier)}"
            known = self.sysv[table, identifier] = f"{kind}:{name}"
        return known

    def is_outside(self, thing: str) -> bool:
        """Whether a socket leads to a service that is no part of the run: nobody in it bound it."""
        return thing.startswith(("inet:", "unix:")) and thing not in self.bound

    def position(self, identity: str) -> tuple[str, ...]:
        """The name in the trace of where a file is read next, if processes share that."""
        return (f"position:{identity}",) if identity in self.shared_positions else ()
