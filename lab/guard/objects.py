"""Objects that outlive processes, and whether it was this test that made one.

Where the session has tables of its own, all that appears there is its own. On the machine's tables
others make objects too, and then something has to show that it was the test: that the interpreter
announced it, that the kernel names one of its processes as the maker (fanotify, System V), or that
one has it open. What nothing shows is the test's only if nobody else is there who can have made it:
it was born while the test ran, to this user, of whom no process but the session's own is there, and
no process of a fixture worked meanwhile. Else it is a doubt, which is told and fails nothing.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace

from lab.guard import singletons
from lab.guard.births import Births
from lab.guard.leak import Birth, Kind, Leak
from lab.guard.ledger import Ledger
from lab.guard.look import SHM, TABLES, Look, Looker, is_special, read
from lab.guard.processes import Processes, is_alone, tree

_SYSV = dict(zip(TABLES, (Kind.SYSV_SHM, Kind.SYSV_SEM, Kind.SYSV_MQ), strict=True))
_SOMEBODY = "somebody else"
_REMOVED = 1000
"""The column of permissions, octal digits, begins with 1 for a segment that somebody still has."""
_GRAIN = 0.02
"""Seconds: files are dated by a clock that is some milliseconds late."""


class Objects:
    """Describes what is new in the tables and directories."""

    def __init__(
        self, looker: Looker, births: Births, processes: Processes, ledger: Ledger, *, private: bool
    ) -> None:
        """Begin; `private` says that the tables and shared memory are this session's alone."""
        self._looker, self._births, self._processes = looker, births, processes
        self._ledger, self._private = ledger, private
        self.activity: dict[str, dict[int, int]] = {}
        """What the processes of others had run when the test began."""
        self.strays: frozenset[int] = frozenset()
        """Orphans of the test, which live: no tree leads to them."""
        self._single = False
        """The test was one process from begin to end: what another one made is not its own."""

    def new(self, before: Look, now: Look, since: float) -> Iterator[Leak]:
        """What is there now and was not before; `since` is the time of day when the test began."""
        started = self._births.forks or self._births.programs or now.reaped != before.reaped
        self._single = not (started or before.children or now.children)
        made = self._births.paths | self._ledger.read()
        for table, known, ids in zip(TABLES, before.sysv, now.sysv, strict=True):
            if ids - known:
                yield from self._sysv(table, ids - known, since)
        for name in sorted(now.queues - before.queues):
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=self._looker.queues)
                leak = Leak((Kind.POSIX_MQ, f"/{name}", status.st_ino), f"/{name}")
                # This file system dates by whole seconds.
                yield self._whose(leak, status, status.st_ctime, since, self._private, 1.0)
        for place, old, names in zip(self._looker.places, before.places, now.places, strict=True):
            for name, _ in sorted(names - old):
                yield from self._file(f"{place.path}/{name}", made, since)
        for folder, birth in sorted(self._births.folders.items()):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in filter(is_special, entries):
                    yield from self._file(entry.path, {entry.path: birth} | made, since)

    def _file(self, path: str, made: dict[str, Birth], since: float) -> Iterator[Leak]:
        try:
            status = os.lstat(path)
        except OSError:
            return  # gone
        kind, name = self._kind(path, status.st_mode)
        birth = made.get(path) or made.get(os.path.realpath(path))
        leak = Leak((kind, path, status.st_ino), name, birth or Birth())
        if kind is Kind.UNIX_SOCKET and path in singletons.sockets():
            return
        from lab.kernel.libc import birth_time

        born = birth_time(path) or status.st_ctime
        private = self._private and path.startswith(SHM)
        yield leak if birth else self._whose(leak, status, born, since, private)

    def _kind(self, path: str, mode: int) -> tuple[Kind, str]:
        if stat.S_ISFIFO(mode):
            return Kind.FIFO, path
        if stat.S_ISSOCK(mode):
            return Kind.UNIX_SOCKET, path
        if not stat.S_ISREG(mode) or path in self._births.opened:
            return Kind.TEMP_FILE, path
        name = os.path.basename(path)
        if name.startswith("sem."):
            return Kind.POSIX_SEM, f"/{name.removeprefix('sem.')}"
        return Kind.POSIX_SHM, f"/{name}"

    def _whose(
        self,
        leak: Leak,
        status: os.stat_result,
        born: float,
        since: float,
        private: bool,
        grain: float = 0.0,
    ) -> Leak:
        place = (status.st_dev, status.st_ino)
        maker = self._looker.maker(str(leak.key[1]))
        if maker == os.getpid():
            return leak
        family = tree(os.getpid()) | self.strays
        if maker is not None and maker in family:
            return self._of_child(leak, maker)
        if maker is not None and (owner := self._other({maker}, made=True)):
            return replace(leak, birth=Birth(owner=owner))
        if place in _used_by(os.getpid()):
            return leak
        for pid in sorted(family):
            if place in _used_by(pid):
                return self._of_child(leak, pid)
        return self._nobodys(leak, born, since, status.st_uid, private, grain)

    def _of_child(self, leak: Leak, pid: int) -> Leak:
        owner = self._processes.owners.get(pid, "")
        return replace(leak, birth=Birth(owner=owner, process=f"its child {pid}"))

    def _other(self, pids: set[int], *, made: bool) -> str:
        """Whose it is if not the test's, whose processes these are not; "" if it may be.

        Args:
            pids: of the process that made it, 0 if only that is known that it was not this one; or
                of those who used it last.
            made: the first of these.
        """
        living = [pid for pid in pids if pid and os.path.exists(f"/proc/{pid}")]
        if living:
            return self._processes.owners.get(living[0], _SOMEBODY)
        return (self._who_ran() or _SOMEBODY) if made and self._single else ""

    def _nobodys(
        self, leak: Leak, born: float, since: float, uid: int, private: bool, grain: float
    ) -> Leak:
        """Nothing shows who made it; its date may be early by `grain` seconds."""
        if born + grain < since - _GRAIN or uid != os.geteuid():
            return replace(leak, birth=Birth(owner=_SOMEBODY))
        if owner := self._who_ran():
            return replace(leak, birth=Birth(owner=owner))
        if private or is_alone(self.strays):
            return leak
        return replace(leak, doubtful=True)

    def _who_ran(self) -> str:
        """Whose processes worked while the test ran, such as a fixture's server; "": nobody's."""
        for owner, processes in self._processes.activity().items():
            before = self.activity.get(owner, {})
            if any(spent < 0 or spent != before.get(pid) for pid, spent in processes.items()):
                return owner
        return ""

    def _sysv(self, table: str, ids: frozenset[int], since: float) -> Iterator[Leak]:
        lines = read(f"/proc/sysvipc/{table}").decode().splitlines()
        names = lines[0].split()
        family = {os.getpid()} | tree(os.getpid()) | self.strays
        for line in lines[1:]:
            row = dict(zip(names, map(int, line.split()), strict=True))
            number = int(line.split()[1])
            if number in ids:
                key = row["key"] & 0xFFFFFFFF
                name = f"key 0x{key:08x}, id {number}" if key else f"private, id {number}"
                removed = "removed, and still attached" if row["perms"] >= _REMOVED else ""
                leak = Leak((_SYSV[table], number, row["ctime"]), name, note=removed)
                yield self._whose_sysv(leak, row, family, since)

    def _whose_sysv(self, leak: Leak, row: dict[str, int], family: set[int], since: float) -> Leak:
        pids = {row[name] for name in ("cpid", "lpid", "lspid", "lrpid") if row.get(name)}
        if leak.kind is Kind.SYSV_SEM:
            from lab.kernel.libc import semaphore_users

            pids |= set(semaphore_users(row["semid"], min(row["nsems"], 16)))
        maker = row.get("cpid")
        if maker:
            pids = {maker}  # with a maker, the last user proves nothing
        if os.getpid() in pids:
            return leak
        if ours := sorted(pids & family):
            return self._of_child(leak, ours[0])
        if owner := self._other(pids, made=bool(maker)):
            return replace(leak, birth=Birth(owner=owner))
        dead = f"process {min(pids)}, which has ended" if pids else ""
        leak = replace(leak, birth=Birth(process=dead))
        return self._nobodys(leak, row["ctime"], since, row["uid"], self._private, 1.0)


def _used_by(pid: int) -> set[tuple[int, int]]:
    """Device and inode of all that a process has open or mapped."""
    from lab.kernel import fdinfo, maps

    mapped = {(each.device, each.inode) for each in maps.shared_mappings(pid)}
    return mapped | fdinfo.opened(pid)
