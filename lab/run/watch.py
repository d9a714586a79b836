"""The watch over a running tree: who was born, who died, who was reaped by whom, who sleeps.

It polls with psutil, since that works for any user, and it is told of every exit that fell to
init: an exit that reaches init is one that no parent waited for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psutil

from lab.kernel import procfs
from lab.kernel.waiting import Wait, why
from lab.trace import Blocked, Process

_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@dataclass
class Seen:
    """What is known so far of one process."""

    name: str
    handle: psutil.Process
    parent: str
    command: str
    started: float
    ended: float | None = None
    reaped: float | None = None
    outlived_parent: float | None = None
    """When it was first seen with init as its parent."""
    orphaned: float | None = None
    status: int | None = None
    stopped: bool = False
    sleeps: dict[int, tuple[str, float]] = field(default_factory=dict)
    """For each thread: the sleep that it is in, and since when."""

    @property
    def pid(self) -> int:
        """As the sandbox's init sees it."""
        return self.handle.pid

    @property
    def alive(self) -> bool:
        """Not yet seen to have ended."""
        return self.ended is None

    @property
    def helper(self) -> bool:
        """Started by multiprocessing for its own needs."""
        return any(helper in self.command for helper in _HELPERS)

    @property
    def asleep_since(self) -> float | None:
        """Since when no thread of it has moved; None while one runs."""
        if not self.sleeps or any(not sleep for sleep, _ in self.sleeps.values()):
            return None
        return max(since for _, since in self.sleeps.values())


class Watch:
    """Watches the descendants of this process, which is the sandbox's init."""

    def __init__(
        self,
        root: int,
        *,
        pids: Callable[[], Iterable[int]],
        orphan_after: float,
        outside: frozenset[int],
    ) -> None:
        """Begin to watch.

        Args:
            root: PID of the root process.
            pids: the PIDs of the run's processes at this moment.
            orphan_after: seconds after which one that outlived its parent is an orphan.
            outside: inodes of the standard streams that lead out of the run.
        """
        self._began = time.monotonic()
        self._pids = pids
        self._orphan_after = orphan_after
        self._outside = outside
        self._seen: list[Seen] = []
        self._current: dict[int, Seen] = {}
        self.users: dict[tuple[int, int], set[str]] = {}
        """Who was seen to have a file open or mapped, by device and inode. (A System V segment
        is a file of a file system of the kernel's own, with its id for an inode.)"""
        self.meet(root)

    @property
    def now(self) -> float:
        """Seconds since the watch began."""
        return time.monotonic() - self._began

    @property
    def root(self) -> Seen:
        """The root process."""
        return self._seen[0]

    @property
    def alive(self) -> list[Seen]:
        """Processes not seen to have ended."""
        return [seen for seen in self._seen if seen.alive]

    def name_of(self, pid: int) -> str:
        """The logical name of the process that has, or last had, this PID; "" if unseen."""
        return next((seen.name for seen in reversed(self._seen) if seen.pid == pid), "")

    def look(self) -> None:
        """Take in births, deaths and changes of parent since the last look."""
        present = set(self._pids())
        for pid in sorted(present):
            seen = self._current.get(pid)
            if seen is not None and not seen.handle.is_running():
                self._gone(seen)  # the PID was given out again
                seen = None
            seen = seen or self.meet(pid)
            if seen is not None:
                self._update(seen)
        for pid in self._current.keys() - present:
            self._gone(self._current[pid])

    def meet(self, pid: int) -> Seen | None:
        """What is known of the process with this PID; None if it is gone already."""
        known = self._current.get(pid)
        if known is not None:
            return known
        parent, command = None, "(ended before it was seen)"
        try:
            handle = psutil.Process(pid)
            with handle.oneshot():
                parent = self._current.get(handle.ppid())
                command = " ".join(handle.cmdline()) or handle.name()
        except psutil.ZombieProcess:
            pass  # it has a parent and no command any more
        except psutil.NoSuchProcess:
            return None
        if parent is None and self._seen:
            # Init is its parent by now, so the parent that it had is one of those that died.
            dead = [seen for seen in self._seen if not seen.alive]
            parent = dead[-1] if dead else None
        seen = Seen(f"P{len(self._seen)}", handle, parent.name if parent else "", command, self.now)
        self._seen.append(seen)
        self._current[pid] = seen
        return seen

    def reaped_by_init(self, pid: int, status: int) -> None:
        """Init has waited for `pid`: no other process did, and none can any more."""
        seen = self.meet(pid)
        if seen is None:
            return
        now = self.now
        if seen.ended is None:
            seen.ended = now
        seen.status = status
        if seen is self.root or seen.outlived_parent is not None:
            # The root is init's own child. And whoever was alive after its parent died has init
            # for a parent: that one did its duty, there was no zombie.
            seen.reaped = now
        self._current.pop(pid, None)

    def look_at_objects(self) -> None:
        """Note who has which object open or mapped."""
        for seen in self.alive:
            for mapping in procfs.shared_mappings(seen.pid):
                device = 0 if mapping.path.startswith("/SYSV") else mapping.device
                self.users.setdefault((device, mapping.inode), set()).add(seen.name)
            for descriptor in procfs.descriptors(seen.pid):
                place = (descriptor.device, descriptor.inode)
                self.users.setdefault(place, set()).add(seen.name)

    def look_at_sleeps(self) -> float | None:
        """Note who sleeps; returns since when the whole run has been asleep, or None."""
        now = self.now
        for seen in self.alive:
            sleeps = {}
            for thread in procfs.threads(seen.pid):
                sleep = "stopped" if seen.stopped else procfs.sleep_of(seen.pid, thread)
                before, since = seen.sleeps.get(thread, ("", now))
                sleeps[thread] = (sleep, since if sleep and sleep == before else now)
            seen.sleeps = sleeps
        asleep = [seen.asleep_since for seen in self.alive if not seen.helper]
        if not asleep or None in asleep:
            return None
        return max(since for since in asleep if since is not None)

    def blocked(self) -> tuple[Blocked, ...]:
        """Every sleeping process, with what it waits for."""
        family = [seen.pid for seen in self.alive]
        found = []
        for seen in self.alive:
            since = seen.asleep_since
            if since is None or seen.helper:
                continue
            wait = self._telling_wait(seen, family)
            on = tuple(name for pid in wait.on if (name := self.name_of(pid)))
            event = (
                f"the exit of {' or '.join(on)}"
                if wait.event == "the exit of a child" and on
                else wait.event
            )
            found.append(
                Blocked(seen.name, wait.call, wait.object, event, since, timed=wait.timed, on=on)
            )
        return tuple(found)

    def processes(self) -> tuple[Process, ...]:
        """Everything seen, as the trace tells it."""
        return tuple(
            Process(
                seen.name,
                seen.pid,
                seen.parent,
                seen.command,
                seen.started,
                seen.ended,
                seen.reaped,
                seen.orphaned,
                seen.status,
                seen.helper,
            )
            for seen in self._seen
        )

    def _telling_wait(self, seen: Seen, family: list[int]) -> Wait:
        """Of several threads, the wait that tells most: a timed one, else one on a shared thing."""
        if seen.stopped:
            return Wait("stopped", "", "SIGCONT")
        waits = [why(seen.pid, sleep, family, self._outside) for sleep, _ in seen.sleeps.values()]
        timed = [wait for wait in waits if wait.timed]
        shared = [wait for wait in waits if wait.event != "another thread"]
        return (timed or shared or waits)[0]

    def _update(self, seen: Seen) -> None:
        try:
            with seen.handle.oneshot():
                status, parent = seen.handle.status(), seen.handle.ppid()
                if status != psutil.STATUS_ZOMBIE:
                    seen.command = " ".join(seen.handle.cmdline()) or seen.command
        except psutil.NoSuchProcess:
            return  # gone since the list was made: the next look notices
        now = self.now
        seen.stopped = status == psutil.STATUS_STOPPED
        if status == psutil.STATUS_ZOMBIE:
            if seen.ended is None:
                seen.ended = now
                seen.status = procfs.exit_status(seen.pid)
        elif parent == os.getpid() and seen is not self.root:
            if seen.outlived_parent is None:
                seen.outlived_parent = now
            if now - seen.outlived_parent >= self._orphan_after and not seen.helper:
                seen.orphaned = seen.outlived_parent

    def _gone(self, seen: Seen) -> None:
        """It left the process table without init: its parent waited for it, or ignores exits."""
        now = self.now
        if seen.ended is None:
            seen.ended = now
        seen.reaped = now
        self._current.pop(seen.pid, None)
