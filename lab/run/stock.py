"""Taking stock: which objects a run used and left behind, and whose they are.

In a sandbox with namespaces of its own there is nothing to decide: what is there, the run made.
On the host's tables two things are needed before an object is called a leak of this run: it was
not there before, and a process of this run made it or was seen to use it. Another program's object
is never blamed on a run. What appeared and nothing attributes to anybody is a doubt: it is left
alone, and the run cannot pass.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.kernel import ipc_tables, queue_limit
from lab.kernel.ipc_namespace import SHM
from lab.kernel.ipc_tables import Entry, Key
from lab.kernel.namespaces import World
from lab.kernel.outside import ANY_QUEUE, Thing
from lab.kernel.queue_list import queue_directory
from lab.run.owners import Others, is_ours, maker, users
from lab.run.unlisted import UnlistedQueues
from lab.run.watch import Watch
from lab.trace import ObjectType, SharedObject


@dataclass(frozen=True)
class Stock:
    """What a run used and left, and what appeared beside it."""

    objects: tuple[SharedObject, ...]
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    """What the run may have left: nothing tells whether it did."""


class PrivateStock:
    """In namespaces: everything that is there, the run made."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._trouble = queue_limit.loosen()
        self._seen: dict[Key, Entry] = {}
        # The working directory stays the host's, unless it is itself a covered directory.
        covered = any(layer.path == str(Path.cwd()) for layer in world.tmp)
        self._places = [] if covered else [(_directory("."), str(Path.cwd()))]
        self.tmp = "" if world.tmp else _make_private_tmp()
        """Where no directory can be covered: one to be the run's TMPDIR, else ""."""
        self._before = {entry.key for entry in _special_files(self._places)}
        self.outside: frozenset[Thing] = frozenset()
        """What was there before the run."""

    def look(self) -> None:
        """Note what exists while the run goes on: what is removed in time was used all the same."""
        self._seen.update((entry.key, entry) for entry in self._listing())

    def _listing(self) -> Iterator[Entry]:
        listed = ipc_tables.listing(self._world.queues)
        return (entry for entry in listed if entry.handle != self.tmp)

    def take(self, watch: Watch) -> Stock:
        """List what is left, after every process of the run has ended.

        What is private goes with the namespaces. Only the queues are removed at once: what the
        kernel gives back of their user's limit, it otherwise gives back some time later, and the
        next run would find too little. The working directory may have other users: there a run is
        told by what it was seen to use.
        """
        left = list(self._listing())
        if self.tmp:
            left += _files_below(self.tmp)
        for layer in self._world.tmp:
            left += ipc_tables.files_below(layer.changes, layer.path, layer.original)
        new = [entry for entry in _special_files(self._places) if entry.key not in self._before]
        ours = [entry for entry in new if is_ours(entry, watch)]
        objects = _described(left + ours, self._seen.values(), watch)
        queues = [entry for entry in left if entry.type is ObjectType.POSIX_MQ]
        notes = tuple(_remove(queues + ours))
        remedy = "others use the working directory too; in TMPDIR it would be the run's"
        doubts = tuple(_doubt(entry, remedy) for entry in _unattributed(new, ours))
        return Stock(objects, (self._trouble, *notes) if self._trouble else notes, doubts)


class HostStock:
    """On the host: compare before with after, and ask who made or used what is new."""

    def __init__(self) -> None:
        self._queues = queue_directory()
        self._unlisted = UnlistedQueues() if self._queues is None else None
        # Real paths, as the kernel shows them where a process has such a file open.
        paths = map(os.path.realpath, (tempfile.gettempdir(), "/tmp", "."))
        self._places = [
            (descriptor, path)
            for path in dict.fromkeys(paths)
            if (descriptor := _openable(path)) is not None
        ]
        before = list(self._everything())
        self._before = {entry.key for entry in before}
        self._seen: dict[Key, Entry] = {}
        unlisted = {ANY_QUEUE} if self._unlisted else set()
        self.outside: frozenset[Thing] = frozenset(entry.thing for entry in before) | unlisted
        """What was there before the run."""
        # Last of all: nothing can fail from here on and leave it behind.
        self.tmp = tempfile.mkdtemp(prefix="lab-")
        """A directory to be the run's TMPDIR: what is in it at the end, the run left."""

    def look(self) -> None:
        """Note what is new while the run goes on."""
        self._seen.update((entry.key, entry) for entry in self._new())

    def take(self, watch: Watch) -> Stock:
        """List and remove what the run left; doubt what cannot be attributed."""
        new = list(self._new())
        ours = [entry for entry in new if is_ours(entry, watch)]
        doubted = list(_unattributed(new, ours))
        if doubted:
            others = Others()
            doubted = [entry for entry in doubted if not others.have(entry)]
        if self._unlisted:
            ours += self._unlisted.left(watch)
        temporary = _files_below(self.tmp)
        used = [entry for entry in self._seen.values() if is_ours(entry, watch)]
        objects = _described(ours + temporary, used, watch)
        notes = tuple(_remove(ours))
        remedy = "with namespaces it would be known: `lab doctor` tells how to get them"
        doubts = [_doubt(entry, remedy) for entry in doubted]
        if self._unlisted:
            doubts += self._unlisted.doubts()
        ipc_tables.remove_tree(self.tmp)
        return Stock(objects, notes, tuple(doubts))

    def _new(self) -> Iterator[Entry]:
        return (entry for entry in self._everything() if entry.key not in self._before)

    def _everything(self) -> Iterator[Entry]:
        yield from ipc_tables.listing(self._queues)
        yield from _special_files(self._places)


def _special_files(places: list[tuple[int, str]]) -> Iterator[Entry]:
    for directory, path in places:
        yield from ipc_tables.special_files_in(directory, path)


def _make_private_tmp() -> str:
    """In the world's own shared memory, with which it vanishes."""
    path = os.path.join(SHM, "lab-tmp")
    os.mkdir(path)
    return path


def _files_below(path: str) -> list[Entry]:
    directory = _directory(path)
    try:
        return list(ipc_tables.files_below(directory, path))
    finally:
        os.close(directory)


def _directory(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _openable(path: str) -> int | None:
    with contextlib.suppress(OSError):  # not mounted, or not ours to read: it can list nothing
        return _directory(path)
    return None


def _described(left: list[Entry], seen: Iterable[Entry], watch: Watch) -> tuple[SharedObject, ...]:
    kept = {entry.key for entry in left}
    gone = [entry for entry in seen if entry.key not in kept]
    return tuple(
        SharedObject(
            entry.type,
            entry.name,
            entry.size,
            entry.owner,
            maker(entry, watch),
            users(entry, watch),
            left=entry.key in kept,
            messages=_messages(entry) if entry.key in kept else (),
        )
        for entry in left + gone
    )


def _messages(entry: Entry) -> tuple[str, ...]:
    try:
        return ipc_tables.waiting_messages(entry)
    except OSError as refused:  # e.g. a queue whose mode denies reading to its own user
        return (f"(unreadable: {refused.strerror})",) if entry.size else ()


def _remove(entries: Iterable[Entry]) -> Iterator[str]:
    """Remove objects of the run; a note for each that resists."""
    for entry in entries:
        try:
            ipc_tables.remove(entry)
        except OSError as refused:
            yield f"{entry.type} {entry.name} could not be removed: {refused.strerror}"


def _unattributed(new: Iterable[Entry], ours: list[Entry]) -> Iterator[Entry]:
    """What a process of the run may have made all the same; another user's it cannot be."""
    known = {entry.key for entry in ours}
    return (entry for entry in new if entry.key not in known and entry.owner == os.getuid())


def _doubt(entry: Entry, remedy: str) -> str:
    who = (
        f"it was made by process {entry.creator.pid}, which has ended and was not seen"
        if entry.creator
        else "nothing tells which process made it"
    )
    return (
        f"{entry.type} {entry.name} appeared during the run, and {who}, so it is neither counted "
        f"nor removed ({remedy})"
    )
