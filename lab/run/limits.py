"""How long, how many, how apart: what bounds a run, and what the lab says when it cannot run."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.kernel.ipc_tables import Entry


class LabError(Exception):
    """The lab could not do its work. The text says what happened and what to do next."""


@dataclass(frozen=True)
class Surroundings:
    """What was made once, for several runs: a run finds it as the first one did."""

    objects: tuple[Entry, ...] = ()
    """IPC objects of the host. Where there are any, runs stay in the host's IPC namespace."""
    descriptors: frozenset[int] = frozenset()
    """Open in this process, and to be so in the runs."""
    since: float = float("inf")
    """Files of the working directory that were made after this (by the file system's clock, in
    seconds since 1970) and before the first run."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one run, and what it may leave; all times in seconds."""

    seconds: float = 10.0
    """After this the run is ended, whatever it does."""
    processes: int = 256
    """More than these at once end the run: a fork that never stops."""
    stuck_after: float = 0.5
    """A run all of whose processes sleep, without a time limit, for so long is ended."""
    zombie_after: float = 1.0
    """A child that was reaped, but only after so long, counts as a zombie."""
    orphan_after: float = 0.05
    """How long a process may outlive its parent before it counts as an orphan."""
    scratch: tuple[str, ...] = ()
    """Directories that somebody else clears: a file is not left behind there."""
    surroundings: Surroundings = Surroundings()

    def keeps(self, path: str) -> bool:
        """Whether a file may stay where it is."""
        return any(path.startswith(f"{directory}/") for directory in self.scratch)


class Isolation(enum.StrEnum):
    """How a run is kept apart from the machine."""

    AUTO = "auto"
    """Namespaces where the kernel allows them, else snapshots."""
    NAMESPACES = "namespaces"
    """IPC, mount and PID namespaces of its own: what is left there, the run leaked."""
    SNAPSHOTS = "snapshots"
    """The host's own tables, compared before and after: works for any user, knows less."""
