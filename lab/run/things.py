"""What the processes of a running tree share, and how full it is."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.kernel import fdinfo, fill, ipc_tables, maps, procfs, sysv
from lab.kernel.ipc_namespace import SHM
from lab.kernel.ipc_tables import Entry
from lab.kernel.waiting import shared_name
from lab.look import Thing
from lab.run.seen import Seen
from lab.trace import Blocked, ObjectType

_SEMAPHORES_SHOWN = 8
_NAMED = frozenset(ObjectType)
_EMPTIED = ("pipe", "socket", ObjectType.FIFO, ObjectType.UNIX_SOCKET)


@dataclass
class _Use:
    """A thing, and who has it how."""

    kind: str
    name: str
    fill: Callable[[], str]
    users: dict[str, str] = field(default_factory=dict)
    """By logical name: "r", "w" or both, for what has two ends; else ""."""

    def told(self) -> Thing:
        filled = self.fill()
        return Thing(
            self.kind,
            self.name,
            filled,
            tuple(self.users),
            tuple(name for name, ends in self.users.items() if "w" in ends),
            tuple(name for name, ends in self.users.items() if "r" in ends),
            any(self.users.values()),
            self.kind in _EMPTIED and filled.startswith("0 "),
        )


_Key = tuple[str | int, int]


def things(alive: Iterable[Seen], blocked: Iterable[Blocked]) -> tuple[Thing, ...]:
    """What several of them have, what has a name that others may open it by, what one waits for.

    Args:
        alive: processes that live.
        blocked: what they wait for.
    """
    uses: dict[_Key, _Use] = {}
    names = {}
    for seen in alive:
        names[seen.pid] = seen.name
        for key, use, ends in (*_mapped(seen), *_opened(seen)):
            known = uses.setdefault(key, use)
            before = known.users.get(seen.name, "")
            known.users[seen.name] = before + "".join(end for end in ends if end not in before)
    waited = {wait.object for wait in blocked}
    for entry in ipc_tables.listing(None):
        if entry.type in (ObjectType.SYSV_SEM, ObjectType.SYSV_MQ):
            users = [names[t.pid] for t in entry.touched_by if t.pid in names]
            users += [wait.process for wait in blocked if wait.object == entry.name]
            if users:
                use = _Use(entry.type, entry.name, _fill_of(entry))
                use.users = dict.fromkeys(sorted(set(users)), "")
                uses[entry.type, int(entry.handle)] = use
    return tuple(
        use.told()
        for use in uses.values()
        if len(use.users) > 1 or use.kind in _NAMED or use.name in waited
    )


def _fill_of(entry: Entry) -> Callable[[], str]:
    handle = int(entry.handle)
    return lambda: _values(handle) if entry.type is ObjectType.SYSV_SEM else _messages(handle)


def _values(array: int) -> str:
    values = sysv.semaphore_values(array)
    if values is None:
        return ""
    shown = " ".join(map(str, values[:_SEMAPHORES_SHOWN]))
    more = len(values) - _SEMAPHORES_SHOWN
    return f"value {shown}{f' and {more} more' if more > 0 else ''}"


def _messages(queue: int) -> str:
    state = sysv.queue_state(queue)
    if state is None:
        return ""
    return f"{state.messages} messages, {state.bytes} of {state.limit} bytes"


def _mapped(seen: Seen) -> Iterator[tuple[_Key, _Use, str]]:
    for mapping in maps.shared_mappings(seen.pid):
        if mapping.path.startswith("/SYSV"):
            key = sysv.key_of("shm", mapping.inode)
            name = f"key 0x{key:08x}" if key else f"private, id {mapping.inode}"
            kind: str = ObjectType.SYSV_SHM
            filled = _attached(mapping.inode)
            yield (kind, mapping.inode), _Use(kind, name, filled), ""
            continue
        semaphore = mapping.path.startswith(f"{SHM}/sem.")
        memory = mapping.path.startswith(f"{SHM}/")
        if not (memory or mapping.writes):
            continue  # a cache of the C library's, say
        kind = ObjectType.POSIX_SHM if memory else "shared memory"
        kind = ObjectType.POSIX_SEM if semaphore else kind
        filled = _value(seen.pid, mapping) if semaphore else _size(mapping)
        use = _Use(kind, shared_name(mapping), filled)
        yield (mapping.device, mapping.inode), use, ""


def _value(pid: int, mapping: maps.Mapping) -> Callable[[], str]:
    def read() -> str:
        value = fill.semaphore_value(pid, mapping.start)
        return "" if value is None else f"value {value}"

    return read


def _size(mapping: maps.Mapping) -> Callable[[], str]:
    return lambda: f"{mapping.end - mapping.start} bytes"


def _attached(segment: int) -> Callable[[], str]:
    def read() -> str:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()
        names = lines[0].split()
        for line in lines[1:]:
            row = dict(zip(names, line.split(), strict=True))
            if int(row["shmid"]) == segment:
                return f"{row['size']} bytes, {row['nattch']} attached"
        return ""

    return read


def _opened(seen: Seen) -> Iterator[tuple[_Key, _Use, str]]:
    bound: dict[int, str] | None = None
    for end in fdinfo.descriptors(seen.pid):
        pid, number = seen.pid, end.number
        name, ends = end.target, "r" * end.reads + "w" * end.writes
        if stat.S_ISFIFO(end.mode):
            kind = ObjectType.FIFO if name.startswith("/") else "pipe"
            use = _Use(kind, name, _pipe(pid, number))
        elif stat.S_ISSOCK(end.mode):
            bound = procfs.bound_sockets(pid) if bound is None else bound
            name = bound.get(end.inode, name)
            kind = ObjectType.UNIX_SOCKET if end.inode in bound else "socket"
            use, ends = _Use(kind, name, _socket(pid, number)), ""
        elif stat.S_ISREG(end.mode) and fill.is_queue(pid, number):
            use, ends = _Use(ObjectType.POSIX_MQ, name, _queue(pid, number)), ""
        elif stat.S_ISREG(end.mode) and fdinfo.holds_lock(pid, number):
            use, ends = _Use("lock", name, lambda: "held"), ""
        else:
            continue
        yield (end.device, end.inode), use, ends


def _pipe(pid: int, number: int) -> Callable[[], str]:
    def read() -> str:
        waiting, most = fill.unread(pid, number), fill.capacity(pid, number)
        return "" if waiting is None or most is None else f"{waiting} of {most} bytes"

    return read


def _socket(pid: int, number: int) -> Callable[[], str]:
    def read() -> str:
        waiting = fill.unread(pid, number)
        return "" if waiting is None else f"{waiting} bytes unread"

    return read


def _queue(pid: int, number: int) -> Callable[[], str]:
    def read() -> str:
        filled = fill.queued(pid, number)
        return "" if filled is None else f"{filled[0]} of {filled[1]} messages"

    return read
