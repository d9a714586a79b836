"""A quick look at all that a test could leave: taken before and after each test, so it is cheap.

It only has to tell whether anything is new. What the new is, whose, and where it was made are asked
when there is something, which is hardly ever. An idle look takes about 40 system calls that each
cost a microsecond or two, most of them an fstat for each open descriptor. Numbers alone would not
do: a test that closes descriptor 7 and leaves another as 7 would not be found.
"""

from __future__ import annotations

import contextlib
import operator
import os
import resource
import signal
import stat
import sys
import threading
import time

# The one of the module signal makes each number an enum, at a price.
from _signal import getsignal  # type: ignore[import-not-found]  # no stub
from collections.abc import Iterable
from typing import NamedTuple

from lab.guard.births import Births
from lab.kernel.creations import Creations
from lab.kernel.ipc_counts import sysv_objects

SHM = "/dev/shm"
TABLES = ("shm", "sem", "msg")
_NO_IDS = (frozenset[int](),) * len(TABLES)
_SIGNALS = range(1, signal.NSIG)
_MAKERS = 10_000
"""Paths whose makers are remembered."""
_TICK = 20_000_000
"""Nanoseconds, above the grain in which file systems date a change."""

Names = frozenset[tuple[str, int]]
"""Names in a directory, with inodes."""


Lock = tuple[int, str]
"""The descriptor through which a lock was taken, and the kernel's line about it."""


class Look(NamedTuple):
    """What was there."""

    descriptors: dict[int, tuple[int, int]]
    """Device and inode of each."""
    children: frozenset[int]
    reaped: int
    """Page faults of all children that were waited for: it tells that there was one."""
    threads: frozenset[int]
    """Of Python: by the kernel's id, or for one unknown to threading, minus its ident."""
    handlers: tuple[object, ...]
    locks: frozenset[Lock]
    sysv: tuple[frozenset[int], ...]
    """Ids in each of TABLES."""
    queues: frozenset[str]
    places: tuple[Names, ...]
    """Of each watched directory: in shared memory everything, elsewhere FIFOs and sockets."""


class Looker:
    """Looks. It remembers what cannot have changed."""

    def __init__(self, births: Births, places: tuple[str, ...], queues: int | None = None) -> None:
        """Begin.

        Args:
            births: what the interpreter announces, among it that a lock was taken.
            places: directories to watch beside that of shared memory.
            queues: a descriptor of the directory of POSIX queues, None where nobody lists them.
        """
        self.places = tuple(_Place(path) for path in (SHM, *places))
        self._names = tuple(place() for place in self.places)
        self._news = _listen(SHM, *places)
        self._makers: dict[str, int] = {}
        """Who made what is or was there, since the beginning."""
        self.queues = queues
        self._births = births
        self._held: frozenset[Lock] = frozenset()
        self._tables = {name: (b"", frozenset[int]()) for name in TABLES}

    def __call__(self) -> Look:
        """Look."""
        held = descriptors()
        return Look(
            held,
            children(),
            resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt,
            threads(),
            tuple(map(getsignal, _SIGNALS)),
            self._locks(held),
            tuple(map(self._ids, TABLES)) if sysv_objects() else _NO_IDS,
            self._queues(),
            self._in_places(),
        )

    def maker(self, path: str) -> int | None:
        """The PID that made a path; 0: another process than this; None: nothing tells."""
        return self._makers.get(path)

    def close(self) -> None:
        """Look no more."""
        if self._news is not None:
            self._news.close()
        if self.queues is not None:
            os.close(self.queues)

    def _locks(self, descriptors: Iterable[int]) -> frozenset[Lock]:
        # Not from /proc/locks: for it the kernel stops all who lock or unlock, which can take it
        # some milliseconds.
        if self._births.locks:
            self._births.locks = False
            self._held = frozenset(lock for each in descriptors for lock in locks_through(each))
        return self._held

    def _ids(self, table: str) -> frozenset[int]:
        before, ids = self._tables[table]
        text = read(f"/proc/sysvipc/{table}")
        if text != before:
            ids = frozenset(int(line.split(None, 2)[1]) for line in text.splitlines()[1:])
            self._tables[table] = text, ids
        return ids

    def _in_places(self) -> tuple[Names, ...]:
        before, self._names = self._names, tuple(place() for place in self.places)
        # As long as nothing was listed anew, nothing was heard. What is new must be drained soon:
        # the kernel keeps so many names, and drops the next.
        if self._news is not None and any(map(operator.is_not, before, self._names)):
            self._makers.update(self._news.heard())
            if len(self._makers) > _MAKERS:
                self._makers = dict(list(self._makers.items())[_MAKERS // 2 :])
        return self._names

    def _queues(self) -> frozenset[str]:
        if self.queues is None:
            return frozenset()
        return frozenset(os.listdir(self.queues))


class _Place:
    """A watched directory, which is listed again only if it may have changed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._changed = self._listed = 0
        self._names: Names = frozenset()

    def __call__(self) -> Names:
        try:
            changed = os.stat(self.path).st_mtime_ns
            # What changes within the same tick as the change before it has the same date.
            if changed != self._changed or self._listed - changed < _TICK:
                self._listed, self._changed = int(date() * 1e9), changed
                self._names = self._list()
        except OSError:
            self._names = frozenset()  # a machine without it, or a directory that went
        return self._names

    def _list(self) -> Names:
        everything = self.path == SHM
        with os.scandir(self.path) as entries:
            return frozenset(
                (entry.name, entry.inode()) for entry in entries if everything or is_special(entry)
            )


def _listen(*paths: str) -> Creations | None:
    with contextlib.suppress(OSError):  # many containers refuse it, some file systems cannot
        return Creations(paths)
    return None


def is_special(entry: os.DirEntry[str]) -> bool:
    """Whether it is a FIFO or a socket."""
    if entry.is_symlink() or entry.is_dir() or entry.is_file():
        return False  # of these the kernel tells without being asked once more
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return False  # gone
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def descriptors() -> dict[int, tuple[int, int]]:
    """Device and inode behind each open descriptor but the three standard ones.

    Those are redirected again and again by whoever captures output.
    """
    found = {}
    for name in os.listdir("/proc/self/fd"):
        if name not in ("0", "1", "2"):
            try:
                status = os.fstat(int(name))
            except OSError:
                continue  # the listing's own
            found[int(name)] = (status.st_dev, status.st_ino)
    return found


def locks_through(descriptor: int) -> list[Lock]:
    """The locks that this process took through a descriptor."""
    try:
        lines = read(f"/proc/self/fdinfo/{descriptor}").decode().splitlines()
    except OSError:
        return []  # closed
    # After "lock:" and a number that changes.
    return [(descriptor, line.split(None, 2)[2]) for line in lines if line.startswith("lock:")]


def children() -> frozenset[int]:
    """PIDs of this process's children, dead ones that nobody waited for too."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()  # the usual answer, for one system call
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        try:
            found.update(map(int, read(f"/proc/self/task/{thread}/children").split()))
        except FileNotFoundError:
            if not os.path.exists(f"/proc/self/task/{thread}"):
                continue
            import psutil  # a kernel without CONFIG_PROC_CHILDREN

            return frozenset(child.pid for child in psutil.Process().children())
    return frozenset(found)


def threads() -> frozenset[int]:
    """Threads of Python that run."""
    known = [each for each in threading.enumerate() if not isinstance(each, threading._DummyThread)]
    found = {each.native_id or 0 for each in known}
    # What the module _thread started, threading does not know.
    raw = sys._current_frames().keys() - {each.ident for each in known}
    return frozenset(found | {-ident for ident in raw})


def date() -> float:
    """The time of day; not time.time(), for which tests like to put another."""
    return time.clock_gettime(time.CLOCK_REALTIME)


def tasks() -> int:
    """How many threads this process has, of whatever kind."""
    return os.stat("/proc/self/task").st_nlink - 2


def read(path: str) -> bytes:
    """A file of /proc. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        text = b""
        while more := os.read(descriptor, 65536):  # the kernel may give a page at a time
            text += more
        return text
    finally:
        os.close(descriptor)
