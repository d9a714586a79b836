"""What a sleeping thread waits for: the call, the object, the event, and who could bring it.

Read from /proc alone, so it works on a program that runs freely, under whatever user we are.

One error is worse than any other here: to say that nobody will wake a sleeper whom somebody will.
So a wait counts as `timed`, able to go on by itself, unless everything that could end it is known
to be of the run. What is not understood is timed.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import stat
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from lab.kernel import fdinfo, maps, procfs, signal_sets, sleeping
from lab.kernel.arch import NAMES, SUPPORTED
from lab.kernel.ipc_namespace import SHM
from lab.kernel.outside import ANY_QUEUE, Outside
from lab.trace import ObjectType

_NAMES = NAMES if SUPPORTED else {}
"""Elsewhere the same numbers mean other calls."""


@dataclass(frozen=True)
class Wait:
    """Why a thread sleeps."""

    call: str
    object: str
    event: str
    """What would release it: "a reader to open it"."""
    timed: bool = False
    """It can go on without any process of the run: a time limit, a signal, a terminal."""
    on: tuple[int, ...] = ()
    """PIDs of the only processes that could release it, where that can be known."""


@dataclass(frozen=True)
class Sleeper:
    """A thread asleep in a system call, and the processes among which it sleeps."""

    pid: int
    call: sleeping.Call
    family: Collection[int]
    outside: Outside

    def argument(self, index: int) -> int:
        """An argument as the signed number that C passed."""
        value = self.call.arguments[index] & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    def descriptor(self, index: int = 0) -> fdinfo.Descriptor | None:
        """The open descriptor that an argument names."""
        return fdinfo.descriptor(self.pid, self.argument(index))


def why(pid: int, sleep: str, family: Collection[int], outside: Outside) -> Wait:
    """Explain a sleep that `sleeping.sleep_of` returned.

    Args:
        pid: the process.
        sleep: its sleep, as a text.
        family: PIDs of the run's processes.
        outside: what is shared with processes outside the run.
    """
    call = sleeping.call_of(sleep)
    name = _NAMES.get(call.number, f"system call {call.number}")
    explain = _EXPLAIN.get(name)
    if explain is None:
        return Wait(name, "", "", timed=True)
    wait = explain(name, Sleeper(pid, call, family, outside))
    # With a handler for a timer's signal, or a timer, the program has set itself a limit. (A bare
    # alarm() without a handler cannot be seen from outside.)
    limited = any(signal_sets.catches(pid, number) for number in _TIMERS) or procfs.has_timers(pid)
    return replace(wait, timed=wait.timed or limited)


_TIMERS = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)


def _open(name: str, sleeper: Sleeper) -> Wait:
    at = name == "openat"
    path = procfs.string_at(sleeper.pid, sleeper.call.arguments[int(at)])
    base = f"/proc/{sleeper.pid}/cwd"
    if at and sleeper.argument(0) != _AT_FDCWD:
        base = f"/proc/{sleeper.pid}/fd/{sleeper.argument(0)}"
    try:
        full = str(Path(base).readlink() / (path or ""))
        status = os.stat(full)
    except (OSError, ValueError):
        return Wait(name, path or "", "", timed=True)
    access = sleeper.argument(int(at) + 1) & os.O_ACCMODE
    missing = "reader" if access == os.O_WRONLY else "writer"
    # Other things make an open wait too, a lease or a device; who ends that is not known.
    timed = not stat.S_ISFIFO(status.st_mode) or sleeper.outside.shares_file(full)
    return Wait(name, full, f"a {missing} to open it", timed)


_AT_FDCWD = -100


def _read(name: str, sleeper: Sleeper) -> Wait:
    return _through_pipe(name, sleeper, "a writer to write or to close", writing=True)


def _write(name: str, sleeper: Sleeper) -> Wait:
    return _through_pipe(name, sleeper, "a reader to make room", writing=False)


def _through_pipe(name: str, sleeper: Sleeper, event: str, *, writing: bool) -> Wait:
    end = sleeper.descriptor()
    if end is None:
        return Wait(name, "", event, timed=True)
    return _through_end(name, sleeper, end, event, writing=writing)


def _through_end(
    name: str, sleeper: Sleeper, end: fdinfo.Descriptor, event: str, *, writing: bool
) -> Wait:
    outside = sleeper.outside.shares((end.device, end.inode))
    if end.target.startswith("/"):
        path = f"/proc/{sleeper.pid}/fd/{end.number}"
        outside = outside or sleeper.outside.shares_file(path)
    if outside or not stat.S_ISFIFO(end.mode):  # a terminal, a socket, a disk
        return Wait(name, end.target, "data" if writing else "room", timed=True)
    return Wait(name, end.target, event, on=_holders(sleeper, end, writing=writing))


def _through_socket(event: str) -> Callable[[str, Sleeper], Wait]:
    """Who is at the other end /proc does not tell, so somebody outside may be."""

    def explain(name: str, sleeper: Sleeper) -> Wait:
        end = sleeper.descriptor()
        if end is None:
            return Wait(name, "", event, timed=True)
        path = procfs.bound_sockets(sleeper.pid).get(end.inode, end.target)
        return Wait(name, path, event, timed=True)

    return explain


def _holders(sleeper: Sleeper, end: fdinfo.Descriptor, *, writing: bool) -> tuple[int, ...]:
    """The processes that hold the other end of a pipe open."""
    return tuple(
        pid
        for pid in sleeper.family
        if any(
            other.inode == end.inode
            and other.device == end.device
            and (other.writes if writing else other.reads)
            for other in fdinfo.descriptors(pid)
        )
    )


def _wait_for_child(name: str, sleeper: Sleeper) -> Wait:
    # waitid names its child by a type and a number, wait4 by one number. In a PID namespace of
    # the program's own that number is none of ours.
    which = sleeper.argument(0)
    if name == "waitid":
        which = sleeper.argument(1) if which == os.P_PID else -1
    children = _children(sleeper)
    on = (which,) if which in children else tuple(children)
    return Wait(name, "", "the exit of a child", timed=not on, on=on)


def _children(sleeper: Sleeper) -> list[int]:
    def parent(pid: int) -> int:
        found = re.search(r"^PPid:\s*(\d+)", procfs.text(pid, "status") or "", re.MULTILINE)
        return int(found[1]) if found else 0

    return [pid for pid in sleeper.family if parent(pid) == sleeper.pid]


def _futex(name: str, sleeper: Sleeper) -> Wait:
    address, timeout = sleeper.call.arguments[0], sleeper.call.arguments[3]
    for mapping in maps.shared_mappings(sleeper.pid):
        if mapping.start <= address < mapping.end:
            system_v = mapping.path.startswith("/SYSV")
            device = ObjectType.SYSV_SHM if system_v else mapping.device
            timed = bool(timeout) or sleeper.outside.shares((device, mapping.inode))
            return Wait(name, shared_name(mapping), "another process to release it", timed)
    return Wait(name, "a lock of this process", "another thread", timed=bool(timeout))


def shared_name(mapping: maps.Mapping) -> str:
    """As the object's users know it."""
    path = mapping.path.removesuffix(" (deleted)")
    if not path.startswith(f"{SHM}/"):
        return "anonymous shared memory" if path.startswith("/dev/zero") or not path else path
    name = os.path.basename(path)
    if path != mapping.path:
        # glibc makes a semaphore under another name first, which its maker's mapping keeps.
        with contextlib.suppress(FileNotFoundError):
            files = list(os.scandir(SHM))
            name = next((file.name for file in files if file.inode() == mapping.inode), name)
        if _NEVER_NAMED.fullmatch(name):
            name += " (unlinked)"
    return "/" + name.removeprefix("sem.")


_NEVER_NAMED = re.compile(r"sem\.[A-Za-z0-9]{6}")
"""What glibc calls a semaphore that it makes; to its user the name means nothing."""


def _sysv(
    kind: ObjectType, table: str, event: str, timeout: int | None = None
) -> Callable[[str, Sleeper], Wait]:
    def explain(name: str, sleeper: Sleeper) -> Wait:
        handle = sleeper.argument(0)
        timed = timeout is not None and bool(sleeper.call.arguments[timeout])
        key = _key_of(table, handle) or f"private, id {handle}"
        return Wait(name, key, event, timed or sleeper.outside.shares((kind, handle)))

    return explain


def _key_of(table: str, handle: int) -> str:
    for line in Path(f"/proc/sysvipc/{table}").read_text().splitlines()[1:]:
        key, identifier = (int(field) for field in line.split()[:2])
        if identifier == handle and key:
            return f"key 0x{key & 0xFFFFFFFF:08x}"
    return ""


def _posix_queue(event: str) -> Callable[[str, Sleeper], Wait]:
    def explain(name: str, sleeper: Sleeper) -> Wait:
        queue = sleeper.descriptor()
        if queue is None:
            return Wait(name, "", event, timed=True)
        outside = any(map(sleeper.outside.shares, ((queue.device, queue.inode), ANY_QUEUE)))
        timed = bool(sleeper.call.arguments[4]) or outside
        return Wait(name, queue.target, event, timed)

    return explain


def _lock(name: str, sleeper: Sleeper) -> Wait:
    file = sleeper.descriptor()
    if file is None or (name == "fcntl" and sleeper.argument(1) not in _BLOCKING_LOCKS):
        return Wait(name, file.target if file else "", "", timed=True)
    holders = _lock_holders(sleeper, file)
    # Without one of the run's a stranger holds it; and what was open before, the lab has open too.
    outside = not holders or sleeper.outside.shares((file.device, file.inode))
    return Wait(name, file.target, "the lock's holder to release it", timed=outside, on=holders)


_BLOCKING_LOCKS = (7, 38)  # F_SETLKW, F_OFD_SETLKW


def _lock_holders(sleeper: Sleeper, file: fdinfo.Descriptor) -> tuple[int, ...]:
    """The processes of the run through whose descriptors the file is locked."""
    return tuple(
        pid
        for pid in sleeper.family
        if any(
            other.inode == file.inode
            and other.device == file.device
            and fdinfo.holds_lock(pid, other.number)
            for other in fdinfo.descriptors(pid)
        )
    )


def _poll(
    timeout: int, *, pointer: bool, watched: Callable[[str, Sleeper], Wait | None] | None = None
) -> Callable[[str, Sleeper], Wait]:
    """What is watched is decoded for poll and pipes; else it may come from anywhere."""

    def explain(name: str, sleeper: Sleeper) -> Wait:
        value = sleeper.call.arguments[timeout] if pointer else sleeper.argument(timeout)
        forever = value == 0 if pointer else value < 0
        known = watched(name, sleeper) if forever and watched else None
        what = "an event, without a time limit" if forever else "an event or its time limit"
        return known or Wait(name, "", what, timed=True)

    return explain


def _polled_pipes(name: str, sleeper: Sleeper) -> Wait | None:
    """The wait of a poll; None if anything that it watches is no pipe between the run's own."""
    address, number = sleeper.call.arguments[:2]
    entries = procfs.bytes_at(sleeper.pid, address, number * _POLLFD.size)
    on: dict[int, None] = {}
    things: dict[str, None] = {}
    for descriptor, events, _ in _POLLFD.iter_unpack(entries or b""):
        end = fdinfo.descriptor(sleeper.pid, descriptor)
        if descriptor < 0 or events & select.POLLOUT or end is None:
            return None
        wait = _through_end(name, sleeper, end, "", writing=True)
        if wait.timed:
            return None
        things[end.target] = None
        on.update(dict.fromkeys(wait.on))
    event = "a writer to write or to close"
    return Wait(name, ", ".join(things), event, on=tuple(on)) if things else None


_POLLFD = struct.Struct("=ihh")


def _signal(name: str, sleeper: Sleeper) -> Wait:
    timed = name == "rt_sigtimedwait" and bool(sleeper.call.arguments[2])
    return Wait(name, "", "a signal", timed=timed)


_EXPLAIN: dict[str, Callable[[str, Sleeper], Wait]] = {
    "open": _open,
    "openat": _open,
    "read": _read,
    "readv": _read,
    "write": _write,
    "writev": _write,
    "wait4": _wait_for_child,
    "waitid": _wait_for_child,
    "futex": _futex,
    "semop": _sysv(ObjectType.SYSV_SEM, "sem", "another process to release it"),
    "semtimedop": _sysv(ObjectType.SYSV_SEM, "sem", "another process to release it", timeout=3),
    "msgrcv": _sysv(ObjectType.SYSV_MQ, "msg", "a message"),
    "msgsnd": _sysv(ObjectType.SYSV_MQ, "msg", "room in the queue"),
    "mq_timedreceive": _posix_queue("a message"),
    "mq_timedsend": _posix_queue("room in the queue"),
    "flock": _lock,
    "fcntl": _lock,
    "recvfrom": _through_socket("data"),
    "recvmsg": _through_socket("data"),
    "sendto": _through_socket("room"),
    "sendmsg": _through_socket("room"),
    "accept": _through_socket("a client"),
    "accept4": _through_socket("a client"),
    "poll": _poll(2, pointer=False, watched=_polled_pipes),
    "ppoll": _poll(2, pointer=True, watched=_polled_pipes),
    "select": _poll(4, pointer=True),
    "pselect6": _poll(4, pointer=True),
    "epoll_wait": _poll(3, pointer=False),
    "epoll_pwait": _poll(3, pointer=False),
    "pause": _signal,
    "rt_sigsuspend": _signal,
    "rt_sigtimedwait": _signal,
}
