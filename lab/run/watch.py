"""The watch over a running tree: who was born, who died, who was reaped by whom, who sleeps.

It polls with psutil, since that works for any user, and it is told of every exit that fell to
init: an exit that reaches init is one that no parent waited for.

Between two looks the order of events is unknown. So all that one look finds bears one time, and
whatever proves that a parent is dead dates its death too: a child is then never earlier than its
parent by the order in which a list was walked, and nobody is blamed for a zombie by chance.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable

import psutil

from lab.kernel import fdinfo, maps, process_stat, procfs, sleeping
from lab.kernel.outside import Outside
from lab.kernel.waiting import Wait, why
from lab.run.seen import Seen
from lab.trace import Blocked, Process


class Watch:
    """Watches the processes of a run: for the sandbox's init, its descendants."""

    def __init__(
        self,
        pids: Callable[[], Iterable[int]],
        *,
        orphan_after: float,
        outside: Outside | None = None,
        heirs: frozenset[int] | None = None,
    ) -> None:
        """Begin to watch. The first process that is met counts as the root.

        Args:
            pids: the PIDs of the run's processes at this moment.
            orphan_after: seconds after which one that outlived its parent is an orphan.
            outside: what is shared with processes outside the run.
            heirs: PIDs of those to whom a process may fall when its parent ends; by default this
                process alone.
        """
        self._heirs = heirs or frozenset({os.getpid()})
        self._began = time.monotonic()
        self._epoch = time.time()
        self._pids = pids
        self._orphan_after = orphan_after
        self._outside = outside or Outside()
        self._seen: list[Seen] = []
        self._current: dict[int, Seen] = {}
        self._last_change = 0.0
        self._lately_dead: list[Seen] = []
        self.users: dict[tuple[int, int], set[tuple[str, str]]] = {}
        """Who was seen to have a file open or mapped, by device and inode; and by which path,
        for an inode is given out again as soon as its file is gone. (A System V segment is a file
        of a file system of the kernel's own, with its id for an inode: device 0 stands for it.)"""

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
        """Processes not seen to have ended, in order of birth."""
        return [seen for seen in self._current.values() if seen.alive]

    @property
    def present(self) -> int:
        """How many processes take a place in the process table, zombies too."""
        return len(self._current)

    def name_of(self, pid: int) -> str:
        """The logical name of the process that has, or last had, this PID; "" if unseen."""
        if pid in self._current:
            return self._current[pid].name
        return next((seen.name for seen in reversed(self._seen) if seen.pid == pid), "")

    def name_at(self, pid: int, second: int) -> str:
        """The logical name of the process that had this PID at that second since 1970; or ""."""
        when = second - self._epoch
        for seen in reversed(self._seen):
            # The kernel's seconds are cut, and a process was there before it was seen.
            if seen.pid == pid and seen.started - 2 < when < (seen.ended or self.now) + 1:
                return seen.name
        return ""

    def look(self) -> None:
        """Take in births, deaths and changes of parent since the last look."""
        present = set(self._pids())
        now = self.now
        # Those known first, then the newcomers: a newcomer whose parent has died since the last
        # look is then matched with a death that is known. Each known one is asked for by itself,
        # for the list may lack it, or have another process under its number.
        for seen in list(self._current.values()):
            if seen.handle.is_running():
                self._update(seen, now)
            else:
                self._gone(seen, now)
        for pid in sorted(present - self._current.keys()):
            newcomer = self._greet(pid, now)
            if newcomer is not None:
                self._update(newcomer, now)
        self._lately_dead.clear()

    def meet(self, pid: int) -> Seen | None:
        """What is known of the process with this PID; None if it is gone already."""
        known = self._current.get(pid)
        if known is not None:
            if known.handle.is_running():
                return known
            self._gone(known, self.now)  # its PID was given out again
        return self._greet(pid, self.now)

    def _greet(self, pid: int, now: float) -> Seen | None:
        try:
            handle = psutil.Process(pid)
            parent = self._current.get(handle.ppid()) or self._lost_parent()
        except psutil.Error:
            return None
        # Until it executes something else it is what its parent is.
        command = parent.command if parent else process_stat.command(pid)
        image = parent.image if parent else process_stat.image(pid)
        seen = Seen(f"P{len(self._seen)}", handle, parent, command, image, now)
        self._seen.append(seen)
        self._current[pid] = seen
        self._last_change = now
        return seen

    def reaped_by_init(self, seen: Seen, status: int) -> None:
        """Init has waited for it: no other process did, and none can any more."""
        now = self.now
        self._parent_is_dead(seen, now)
        seen.status = status
        if seen is self.root or seen.outlived_parent is not None or seen.ended is None:
            # The root is init's own child. And whoever was alive after its parent died has init
            # for a parent: that one did its duty, there was no zombie. Nor is one that nobody saw
            # dead before: it may have ended a moment after its parent as well as before.
            seen.reaped = now
        self._ends(seen, now)
        self._leaves(seen, now)

    def look_at_objects(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Note who has which object open or mapped.

        Args:
            go_on: asked before each process. A look at the memory of one that forks may take long.
        """
        for seen in self.alive:
            if not go_on():
                return
            for mapping in maps.shared_mappings(seen.pid):
                device = 0 if mapping.path.startswith("/SYSV") else mapping.device
                user = (seen.name, mapping.path)
                self.users.setdefault((device, mapping.inode), set()).add(user)
            sockets: dict[int, str] = {}
            for descriptor in fdinfo.descriptors(seen.pid):
                place, path = (descriptor.device, descriptor.inode), descriptor.target
                if stat.S_ISSOCK(descriptor.mode):
                    sockets = sockets or procfs.bound_sockets(seen.pid)
                    file = _bound_file(seen.pid, sockets.get(descriptor.inode))
                    place, path = file or (place, path)
                self.users.setdefault(place, set()).add((seen.name, path))

    def look_at_sleeps(self) -> float | None:
        """Note who sleeps; returns for how long nothing has moved in the whole run, or None.

        From the end of one look to the beginning of another: what lies between is certain, however
        long the looks take. A death counts as a move: it may be what a sleeper waits for, and it
        has yet to wake up.
        """
        now = self.now
        for seen in self.alive:
            sleeps = {}
            for thread in procfs.threads(seen.pid):
                sleep = "stopped" if seen.stopped else sleeping.sleep_of(seen.pid, thread)
                before, since = seen.sleeps.get(thread, ("", now))
                sleeps[thread] = (sleep, since if sleep and sleep == before else self.now)
            seen.sleeps = sleeps
        # A helper that sleeps is idle; one that moves may be about to wake somebody. So is one that
        # is leaving: who waits for it, or for the end of a pipe that it held, has yet to be woken.
        asleep = [seen.asleep_since for seen in self.alive]
        leaving = any(seen.is_leaving for seen in self._current.values())
        if not asleep or None in asleep or leaving:
            return None
        return now - max(self._last_change, *(since for since in asleep if since is not None))

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

    @property
    def started(self) -> int:
        """At least so many processes there were, those too that came and went unseen."""
        parents = {seen.parent for seen in self._seen}
        unseen = sum(seen.has_waited and seen not in parents for seen in self._seen)
        return len(self._seen) + unseen

    def processes(self) -> tuple[Process, ...]:
        """Everything seen, as the trace tells it."""
        now = self.now
        return tuple(seen.told(now) for seen in self._seen)

    def _telling_wait(self, seen: Seen, family: list[int]) -> Wait:
        """Of several threads, the wait that tells most: a timed one, else one on a shared thing."""
        if seen.stopped:
            return Wait("stopped", "", "SIGCONT")
        waits = [why(seen.pid, sleep, family, self._outside) for sleep, _ in seen.sleeps.values()]
        timed = [wait for wait in waits if wait.timed]
        shared = [wait for wait in waits if wait.event != "another thread"]
        return (timed or shared or waits)[0]

    def _update(self, seen: Seen, now: float) -> None:
        if seen.ended is not None and seen.status is not None:
            return  # a zombie whose status is known has nothing more to tell
        try:
            with seen.handle.oneshot():
                status, parent = seen.handle.status(), seen.handle.ppid()
        except psutil.Error:
            return  # gone since the list was made: the next look notices
        ending = process_stat.is_ending(seen.pid)
        seen.stopped = status == psutil.STATUS_STOPPED
        image = process_stat.image(seen.pid)
        if image not in ("", seen.image):
            seen.image, seen.command = image, process_stat.command(seen.pid) or seen.command
        if parent in self._heirs and seen is not self.root:
            self._outlived_its_parent(seen, now, alive=not ending)
        elif seen.parent is not None and parent != seen.parent.pid:
            seen.reaper = self._current.get(parent, seen.reaper)
        if ending:
            self._has_ended(seen, now)

    def _has_ended(self, seen: Seen, now: float) -> None:
        seen.status = process_stat.exit_status(seen.pid)
        if seen.status is not None:
            seen.zombie = now
        if seen.ended is not None:
            return
        self._ends(seen, now)
        # A parent that is on its way out can wait no more. Who was first is not known, so neither.
        if seen.parent is not None and process_stat.is_ending(seen.parent.pid):
            self._ends(seen.parent, now)

    def _outlived_its_parent(self, seen: Seen, now: float, *, alive: bool) -> None:
        self._parent_is_dead(seen, now)
        if not alive:
            return
        if seen.outlived_parent is None:
            seen.outlived_parent = now
        if now - seen.outlived_parent >= self._orphan_after and not seen.helper:
            seen.orphaned = seen.outlived_parent

    def _gone(self, seen: Seen, now: float) -> None:
        """It left the process table without init: its parent waited for it, or ignores exits."""
        self._ends(seen, now)
        seen.reaped = now
        self._leaves(seen, now)

    def _ends(self, seen: Seen, now: float) -> None:
        if seen.ended is None:
            seen.ended = self._last_change = now
            self._lately_dead.append(seen)

    def _leaves(self, seen: Seen, now: float) -> None:
        self._last_change = now
        self._current.pop(seen.pid, None)

    def _parent_is_dead(self, seen: Seen, now: float) -> None:
        """The kernel gives a process to init only when its parent has ended."""
        if seen.parent is not None:
            self._ends(seen.parent, now)

    def _lost_parent(self) -> Seen | None:
        """The parent of a newcomer that has fallen to init: whoever alone died since last time."""
        return self._lately_dead[0] if len(self._lately_dead) == 1 else None


def _bound_file(pid: int, path: str | None) -> tuple[tuple[int, int], str] | None:
    """The file of a Unix socket, which may be bound by a path relative to its process."""
    try:
        full = os.path.realpath(os.path.join(os.readlink(f"/proc/{pid}/cwd"), path or ""))
        status = os.stat(full)
    except OSError:
        return None
    return ((status.st_dev, status.st_ino), full) if path else None
