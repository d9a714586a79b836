"""The processes of a run, as the one process sees them to which they all fall: list, reap, end.

No list of processes is exact while they fork and exit. What is exact is that wait() finds no
child any more: whoever lives on without a parent becomes our child, so then nobody is left.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterable
from typing import Protocol

import psutil

from lab.kernel import process_stat, procfs
from lab.run.watch import Watch

_PATIENCE = 5.0
"""Seconds that ended processes have to vanish; one in an uninterruptible sleep may take longer."""
_FREEZING = 0.5
"""Seconds that stopped processes have to stand still."""
_AT_ONCE = 256
"""How many exits are taken before the caller may look at the clock again: a program may make
orphans as fast as they are reaped."""


class Tree(Protocol):
    """How the processes of a run are found and ended."""

    def pids(self) -> Iterable[int]:
        """The PIDs of the run's processes, zombies too. One that is just born may be missing."""

    def kill(self) -> None:
        """Send SIGKILL to all that can be found."""


class PrivateTree:
    """In a PID namespace, for its process 1."""

    def pids(self) -> Iterable[int]:
        """Everything that /proc shows, since it is mounted anew."""
        return (pid for pid in psutil.pids() if pid != 1)

    def kill(self) -> None:
        """In one call, atomic for the kernel: not even a fork bomb gets past it."""
        with contextlib.suppress(ProcessLookupError):  # nobody is left but init
            os.kill(-1, signal.SIGKILL)


class HostTree:
    """Among the machine's processes, for a subreaper."""

    def pids(self) -> Iterable[int]:
        """All descendants."""
        return procfs.descendants(os.getpid())

    def freeze(self) -> None:
        """Stop all that can be found, for a last look at what they have open.

        An object made between that look and the end could not be told from a stranger's.
        """
        deadline = time.monotonic() + _FREEZING
        while time.monotonic() < deadline:
            self._send(signal.SIGSTOP)
            if all(process_stat.state(pid) in "TtZX" for pid in self.pids()):
                return
            time.sleep(0.001)  # a stop of what is no child of ours is told to nobody here

    def kill(self) -> None:
        """Send SIGKILL to all that can be found."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        """Group by group first: that is atomic too, and a fork bomb is rarely more than one."""
        found = list(self.pids())
        groups = set()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                groups.add(os.getpgid(pid))
        for group in groups - {os.getpgrp()}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
        for pid in found:
            # A number that is free again is given out last of all, so this is still the same
            # process. One that changed its user may be out of reach: `end` tells of it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def reap(watch: Watch) -> bool:
    """Take the exits that nobody else takes, and tell the watch; whether any child is left."""
    for _ in range(_AT_ONCE):
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if ended is None:
            return True
        # Look before it is gone: a process too short-lived for the polls is met here.
        seen = watch.meet(ended.si_pid)
        has_waited = process_stat.has_waited(ended.si_pid)
        _, status = os.waitpid(ended.si_pid, 0)
        if seen is not None:
            seen.has_waited = has_waited
            watch.reaped_by_init(seen, os.waitstatus_to_exitcode(status))
    return True


def end(tree: Tree) -> tuple[int, ...]:
    """Kill every process of the run and reap it; returns the PIDs of those that will not go."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        tree.kill()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return ()
        if time.monotonic() > deadline:
            return tuple(tree.pids())
        time.sleep(0.001)  # waitpid has no time limit of its own


def more_than(limit: int, pids: Iterable[int]) -> bool:
    """Whether more processes than so many live.

    Cheap, for it must be faster than a fork bomb: it reads little, and stops when it knows.
    """
    found = list(pids)
    if len(found) <= limit:
        return False
    alive = (pid for pid in found if process_stat.state(pid) not in "ZX")
    return next(itertools.islice(alive, limit, None), None) is not None
