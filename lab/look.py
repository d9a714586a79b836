"""What one look at running processes shows: a run in the middle, and how full its objects are."""

from __future__ import annotations

from dataclasses import dataclass

from lab.trace import Trace


@dataclass(frozen=True)
class Thing:
    """Something that processes share, as it is at this moment."""

    kind: str
    """As findings spell it ("posix-sem", "fifo"), or "pipe", "socket", "lock", "shared memory"."""
    name: str
    """As its users know it, and as `Blocked.object` names it."""
    fill: str
    """How full it is: "10 of 10 messages", "value 0"; "" where that cannot be read."""
    users: tuple[str, ...] = ()
    """Logical names of the processes that have it."""
    writers: tuple[str, ...] = ()
    """Of what has two ends, those who have the one to write to."""
    readers: tuple[str, ...] = ()
    flows: bool = False
    """It has two ends."""
    empty: bool = False
    """A pipe or socket with nothing in it."""


@dataclass(frozen=True)
class Look:
    """A tree of processes at one moment."""

    trace: Trace
    """The run as far as it has come; its ending is STUCK when nobody in it can move any more."""
    things: tuple[Thing, ...] = ()
    states: tuple[tuple[str, str], ...] = ()
    """For each process that is alive, by its logical name: "runs", "sleeps", "stopped"."""
    lines: tuple[tuple[str, str], ...] = ()
    """Where a process stands in its source: "counter.py:31 in add", where that can be read."""
    unmoved: float | None = None
    """Seconds for which nobody has moved; None: somebody does."""
    notes: tuple[str, ...] = ()
    """What could not be seen, and what would let it be seen."""

    @property
    def over(self) -> bool:
        """Nobody is left."""
        return all(process.reaped is not None for process in self.trace.processes)
