"""What the fixtures of a session made and its tests under control are to find: their surroundings.

A fixture that many tests share may make a queue, and the test's runs open it by name: then they
must stay in the IPC namespace in which it is. So, in sessions with tests under control, the IPC
tables are compared before and after each wider fixture. What a fixture of the test's own makes is
made in each run, and is no concern here; unless the test explores something by hand, by the
fixture `race`, for then its own fixtures are set up once too.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from lab.kernel import fdinfo, ipc_tables, maps, procfs
from lab.kernel.ipc_tables import Entry, Key
from lab.kernel.libc import file_clock
from lab.kernel.queue_list import queue_directory
from lab.run.limits import Surroundings
from lab.run.root import open_descriptors

_WATCH = pytest.StashKey["Watch"]()


def watch(config: pytest.Config) -> None:
    """Watch the fixtures of a session from now on."""
    config.stash[_WATCH] = Watch(alone=not hasattr(config, "workerinput"))
    config.pluginmanager.register(config.stash[_WATCH], "lab-surroundings")


def surroundings(config: pytest.Config) -> Surroundings:
    """What was made so far and is still there."""
    watching = config.stash.get(_WATCH, None)
    return watching.surroundings() if watching else Surroundings()


class Watch:
    """Compares the IPC tables before and after each fixture whose objects several runs use."""

    def __init__(self, *, alone: bool) -> None:
        """Begin.

        Args:
            alone: there are no other workers of pytest-xdist.
        """
        self._alone, self._process = alone, os.getpid()
        self._since = file_clock()
        self._queues = queue_directory()
        self._made: dict[Key, Entry] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Note what the fixture makes."""
        if os.getpid() != self._process:
            return (yield)  # in a run, whose objects are its own
        if fixturedef.scope == "function" and "race" not in request.fixturenames:
            return (yield)
        before = {entry.key for entry in self._present()}
        try:
            return (yield)
        finally:
            new = [entry for entry in self._present() if entry.key not in before]
            if new:
                ours = _Ours()
                self._made.update(
                    (entry.key, entry) for entry in new if ours.made(entry, unless_told=self._alone)
                )

    def pytest_unconfigure(self) -> None:
        """Let go of the queues' directory."""
        if self._queues is not None and os.getpid() == self._process:
            os.close(self._queues)

    def surroundings(self) -> Surroundings:
        """What was made so far and is still there."""
        there = {entry.key: entry for entry in self._present()} if self._made else {}
        kept = tuple(there[key] for key in self._made if key in there)
        return Surroundings(kept, since=self._since)

    def _present(self) -> Iterator[Entry]:
        for entry in ipc_tables.listing(self._queues):
            if entry.owner == os.getuid():
                yield entry
        if self._queues is None:  # nobody lists them to this user: those that it has open
            yield from _queues_open()


class _Ours:
    """Whether this process, or one that it started, made what is new."""

    def __init__(self) -> None:
        self._family = {os.getpid(), *procfs.descendants(os.getpid())}
        self._open = set(fdinfo.opened(os.getpid()))
        self._open |= {(each.device, each.inode) for each in maps.shared_mappings(os.getpid())}

    def made(self, entry: Entry, *, unless_told: bool) -> bool:
        """By what the kernel keeps; `unless_told` is the answer where it keeps nothing."""
        users = {touch.pid for touch in entry.touched_by if touch.pid}
        if entry.creator:
            return entry.creator.pid in self._family
        if users:
            return bool(users & self._family)
        return (entry.device, entry.inode) in self._open or unless_told


def _queues_open() -> Iterator[Entry]:
    for descriptor in open_descriptors():
        queue = ipc_tables.queue_called(os.readlink(f"/proc/self/fd/{descriptor}"))
        if queue and queue.inode == os.fstat(descriptor).st_ino:
            yield queue
