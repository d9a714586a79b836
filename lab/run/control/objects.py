"""Which IPC objects a controlled run made, and which it is to find as the run before it did.

In a namespace of its own, all that is there a run made. Tests whose wider fixtures made objects
stay on the host, where these are: its tables are then the machine's, so a run is held to what the
tracer saw it make, and what it changed of the fixtures' objects is put back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from lab.kernel import ipc_tables
from lab.kernel.contents import Contents
from lab.kernel.ipc_tables import Entry
from lab.run.control.world import World
from lab.run.limits import LabError
from lab.run.root import open_descriptors
from lab.trace import Action, ObjectType

_REMEDY = "make it in a fixture of function scope, which each run has for itself"
_SHARED = "it uses IPC objects of wider fixtures, which processes outside the run can reach"


class PrivateObjects:
    """Those of a namespace of the runs' own."""

    descriptors: frozenset[int] = frozenset()
    queues: dict[tuple[int, int], str] = {}  # noqa: RUF012  # of none, and never written to

    def __init__(self, queues: int | None) -> None:
        self._queues = queues

    def made(self, world: World) -> list[Entry]:  # noqa: ARG002  # what is there it made
        """What the run made and has not removed."""
        return list(ipc_tables.listing(self._queues))

    def put_back(self, world: World) -> tuple[str, ...]:  # noqa: ARG002  # nothing was there before
        """Undo what the run did to what was there before; what could not be undone."""
        return ()


class HostObjects:
    """Those of the host, some of which wider fixtures made for all runs."""

    def __init__(self, queues: int | None, fixtures: Sequence[Entry]) -> None:
        """Keep what is in the fixtures' objects now.

        Raises LabError if that cannot be.
        """
        self._queues = queues
        self._before = {entry.key for entry in ipc_tables.listing(queues)}
        self._lost: dict[str, None] = {}
        try:
            self._contents = [Contents.of(entry) for entry in fixtures]
        except OSError as refused:
            raise LabError(
                f"{refused.filename}, which a wider fixture made, cannot be kept to be put back "
                f"after each run: {refused.strerror}; {_REMEDY}"
            ) from refused
        self.descriptors = frozenset(_leading_to(fixtures))
        """Of this process, which a run may use as the fixture would."""
        self.queues = {
            (entry.device, entry.inode): f"{entry.type}:{entry.name}"
            for entry in fixtures
            if entry.type is ObjectType.POSIX_MQ
        }
        """POSIX queues by device and inode, as traces name them."""

    def made(self, world: World) -> list[Entry]:
        """What the run made and has not removed: the tracer saw it do so."""
        names = {event.object for event in world.events if event.action is Action.CREATE}
        return [
            entry
            for entry in ipc_tables.listing(self._queues)
            if entry.key not in self._before
            and (f"{entry.type}:{entry.name}" in names or _system_v(entry) in world.made)
        ]

    def put_back(self, world: World) -> tuple[str, ...]:
        """Undo what the run did to what was there before; what could not be undone.

        Only what the run used: of the rest, others may be at work with it.
        """
        for contents in self._contents:
            entry = contents.entry
            if not _name(world, entry) & world.versions.keys():
                continue
            world.unvaried[_SHARED] = None
            try:
                contents.put_back()
            except OSError as refused:
                self._lost[
                    f"{entry.type} {entry.name} was made by a wider fixture and cannot be put back "
                    f"as this run found it ({refused.strerror}); {_REMEDY}"
                ] = None
        return tuple(self._lost)


def _system_v(entry: Entry) -> tuple[str, int] | None:
    table = ipc_tables.TABLE_OF.get(entry.type)
    return (table, int(entry.handle)) if table else None


def _name(world: World, entry: Entry) -> set[str]:
    """As the run's events name it."""
    identifier = _system_v(entry)
    if identifier is None:
        return {f"{entry.type}:{entry.name}"}
    return {world.names.sysv[identifier]} if identifier in world.names.sysv else set()


def _leading_to(fixtures: Iterable[Entry]) -> Iterable[int]:
    places = {(entry.device, entry.inode) for entry in fixtures if entry.inode}
    for descriptor in open_descriptors():
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in places:
            yield descriptor
