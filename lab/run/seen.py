"""What the watch knows so far of one process."""

from __future__ import annotations

from dataclasses import dataclass, field

import psutil

from lab.kernel.process_stat import HELPERS
from lab.trace import Process


@dataclass(eq=False)
class Seen:
    """One process. Times are seconds since the run began."""

    name: str
    handle: psutil.Process
    parent: Seen | None
    """The process that made it, as first seen."""
    command: str
    image: str
    """What it executes, as `procfs.image` tells it."""
    started: float
    ended: float | None = None
    zombie: float | None = None
    reaped: float | None = None
    reaper: Seen | None = None
    """Of the program's own, whom it fell to when its parent had ended."""
    outlived_parent: float | None = None
    """When it was first seen alive with init as its parent."""
    orphaned: float | None = None
    status: int | None = None
    has_waited: bool = False
    """It had a child, seen or not."""
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
    def is_leaving(self) -> bool:
        """It runs no more of its code, and nobody can wait for it yet."""
        return self.ended is not None and self.status is None

    @property
    def helper(self) -> bool:
        """Started by multiprocessing for its own needs.

        A process that the forkserver made for the program has the same command line as the
        forkserver, since it was forked from it; a helper is executed, and differs from its parent.
        """
        forked = self.parent is not None and self.parent.command == self.command
        return not forked and any(helper in self.command for helper in HELPERS)

    @property
    def lately_orphaned(self) -> bool:
        """It outlived its parent, but not yet for so long that it counts."""
        return self.outlived_parent is not None and self.orphaned is None

    @property
    def asleep_since(self) -> float | None:
        """Since when no thread of it has moved; None while one runs."""
        if not self.sleeps or any(not sleep for sleep, _ in self.sleeps.values()):
            return None
        return max(since for _, since in self.sleeps.values())

    def told(self, now: float) -> Process:
        """As the trace tells it at the end of the run, which is now."""
        zombie = next((when for when in (self.zombie, self.reaped) if when is not None), now)
        return Process(
            self.name,
            self.pid,
            self.parent.name if self.parent else "",
            self.command,
            self.started,
            self.ended,
            self.reaped,
            self.orphaned,
            self.status,
            self.helper,
            zombie if self.ended is not None else None,
            self.reaper.name if self.reaper else "",
        )
