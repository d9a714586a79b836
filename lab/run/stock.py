"""Taking stock: which objects a run used and left behind, and whose they are.

In a sandbox with namespaces of its own there is nothing to decide: what is there, the run made.
On the host's tables two things are needed before an object is called a leak of this run: it was
not there before, and a process of this run made it or was seen to use it. What appeared and
cannot be attributed is told as a note; another program's object is never blamed on a run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.kernel import ipc_tables
from lab.kernel.ipc_tables import Entry, Key
from lab.kernel.namespaces import World
from lab.run.watch import Watch
from lab.trace import ObjectType, SharedObject


@dataclass(frozen=True)
class Stock:
    """What a run used and left, and what appeared beside it."""

    objects: tuple[SharedObject, ...]
    notes: tuple[str, ...] = ()


class PrivateStock:
    """In namespaces: everything that is there, the run made."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: dict[Key, Entry] = {}
        # The working directory stays the host's, unless it is itself a covered directory.
        covered = any(layer.path == str(Path.cwd()) for layer in world.tmp)
        self._place = None if covered else _directory(".")
        self._before = {entry.key for entry in self._in_working_directory()}

    def look(self) -> None:
        """Note what exists while the run goes on: what is removed in time was used all the same."""
        self._seen.update((entry.key, entry) for entry in ipc_tables.listing(self._world.queues))

    def take(self, watch: Watch) -> Stock:
        """List what is left, after every process of the run has ended.

        What is private goes with the namespaces; only the working directory needs cleaning.
        """
        left = list(ipc_tables.listing(self._world.queues))
        for layer in self._world.tmp:
            left += ipc_tables.files_below(layer.changes, layer.path)
        outside = [e for e in self._in_working_directory() if e.key not in self._before]
        objects = _described(left + outside, self._seen.values(), watch)
        for entry in outside:
            ipc_tables.remove(entry)
        return Stock(objects)

    def _in_working_directory(self) -> Iterator[Entry]:
        if self._place is not None:
            yield from ipc_tables.special_files_in(self._place, str(Path.cwd()))


class HostStock:
    """On the host: compare before with after, and ask who made or used what is new."""

    def __init__(self) -> None:
        self.tmp = tempfile.mkdtemp(prefix="lab-")
        """A directory to be the run's TMPDIR: what is in it at the end, the run left."""
        self._queues = _openable("/dev/mqueue")
        paths = dict.fromkeys((tempfile.gettempdir(), "/tmp", str(Path.cwd())))
        self._places = [
            (descriptor, path) for path in paths if (descriptor := _openable(path)) is not None
        ]
        self._before = {entry.key for entry in self._everything()}
        self._seen: dict[Key, Entry] = {}

    def look(self) -> None:
        """Note what is new while the run goes on."""
        self._seen.update((entry.key, entry) for entry in self._new())

    def take(self, watch: Watch) -> Stock:
        """List and remove what the run left; note what cannot be attributed."""
        new = list(self._new())
        ours = [entry for entry in new if _is_ours(entry, watch)]
        private = _directory(self.tmp)
        temporary = list(ipc_tables.files_below(private, self.tmp))
        os.close(private)
        used = [entry for entry in self._seen.values() if _is_ours(entry, watch)]
        objects = _described(ours + temporary, used, watch)
        for entry in ours:
            ipc_tables.remove(entry)
        shutil.rmtree(self.tmp)
        others = [entry for entry in new if entry not in ours and entry.owner == os.getuid()]
        return Stock(objects, tuple(_unattributed(entry) for entry in others))

    def _new(self) -> Iterator[Entry]:
        return (entry for entry in self._everything() if entry.key not in self._before)

    def _everything(self) -> Iterator[Entry]:
        yield from ipc_tables.listing(self._queues)
        for descriptor, path in self._places:
            yield from ipc_tables.special_files_in(descriptor, path)


def _directory(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _openable(path: str) -> int | None:
    with contextlib.suppress(OSError):  # not mounted, or not ours to read: it can list nothing
        return _directory(path)
    return None


def _is_ours(entry: Entry, watch: Watch) -> bool:
    if entry.creator:
        return bool(watch.name_of(entry.creator))
    return bool(_users(entry, watch))


def _users(entry: Entry, watch: Watch) -> tuple[str, ...]:
    """Processes of the run that touched it: as the kernel remembers, and as the watch saw."""
    names = {watch.name_of(pid) for pid in entry.touched_by} - {""}
    place = (entry.device, entry.inode)
    if entry.type is ObjectType.SYSV_SHM:
        place = (0, int(entry.handle))
    names |= watch.users.get(place, set())
    return tuple(sorted(names, key=lambda name: int(name[1:])))


def _described(left: list[Entry], seen: Iterable[Entry], watch: Watch) -> tuple[SharedObject, ...]:
    kept = {entry.key for entry in left}
    gone = [entry for entry in seen if entry.key not in kept]
    return tuple(
        SharedObject(
            entry.type,
            entry.name,
            entry.size,
            entry.owner,
            watch.name_of(entry.creator) if entry.creator else "",
            _users(entry, watch),
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


def _unattributed(entry: Entry) -> str:
    return (
        f"{entry.type} {entry.name} appeared during the run; nothing tells which process made "
        f"it, so it is neither counted nor removed"
    )
