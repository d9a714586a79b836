"""What a sleeping thread waits for: the call, the object, the event, and who could bring it.

Read from /proc alone, so it works on a program that runs freely, under whatever user we are.
"""

from __future__ import annotations

import os
import re
import signal
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from lab.kernel import procfs
from lab.kernel.x86_64 import NAMES


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
    call: procfs.Call
    family: Collection[int]
    outside: Collection[int]
    """Inodes of pipes and terminals that lead out of the run: the inherited standard streams."""

    def argument(self, index: int) -> int:
        """An argument as the signed number that C passed."""
        value = self.call.arguments[index] & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    def descriptor(self, index: int = 0) -> procfs.Descriptor | None:
        """The open descriptor that an argument names."""
        return procfs.descriptor(self.pid, self.argument(index))

    def leads_out(self, end: procfs.Descriptor) -> bool:
        """Whether something outside the run may feed or drain what this descriptor leads to."""
        return end.inode in self.outside or not (
            stat.S_ISFIFO(end.mode) or end.target.startswith("/")
        )


def why(pid: int, sleep: str, family: Collection[int], outside: Collection[int]) -> Wait:
    """Explain a sleep that `procfs.sleep_of` returned.

    Args:
        pid: the process.
        sleep: its sleep, as a text.
        family: PIDs of the run's processes.
        outside: inodes of the standard streams that the run inherited.
    """
    call = procfs.call_of(sleep)
    name = NAMES.get(call.number, f"system call {call.number}")
    explain = _EXPLAIN.get(name)
    if explain is None:
        return Wait(name, "", "", timed=True)  # unknown: never claim that it sleeps for ever
    wait = explain(name, Sleeper(pid, call, family, outside))
    if not wait.timed and any(procfs.catches(pid, number) for number in _TIMERS):
        # A handler for a timer's signal: the program has set itself a limit.
        return Wait(wait.call, wait.object, wait.event, timed=True, on=wait.on)
    return wait


_TIMERS = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)


def _open(name: str, sleeper: Sleeper) -> Wait:
    first = 1 if name == "openat" else 0
    path = procfs.string_at(sleeper.pid, sleeper.call.arguments[first]) or ""
    access = sleeper.argument(first + 1) & os.O_ACCMODE
    missing = "reader" if access == os.O_WRONLY else "writer"
    base = Path(f"/proc/{sleeper.pid}/cwd")
    return Wait(name, str(base.readlink() / path), f"a {missing} to open it")


def _read(name: str, sleeper: Sleeper) -> Wait:
    end = sleeper.descriptor()
    if end is None or sleeper.leads_out(end):
        return Wait(name, end.target if end else "", "data", timed=True)
    holders = _holders(sleeper, end, writing=True)
    return Wait(name, end.target, "a writer to write or to close", on=holders)


def _write(name: str, sleeper: Sleeper) -> Wait:
    end = sleeper.descriptor()
    if end is None or sleeper.leads_out(end):
        return Wait(name, end.target if end else "", "room", timed=True)
    return Wait(name, end.target, "a reader to make room", on=_holders(sleeper, end, writing=False))


def _holders(sleeper: Sleeper, end: procfs.Descriptor, *, writing: bool) -> tuple[int, ...]:
    """The processes that hold the other end of a pipe open."""
    return tuple(
        pid
        for pid in sleeper.family
        if any(
            other.inode == end.inode
            and other.device == end.device
            and (other.writes if writing else other.reads)
            for other in procfs.descriptors(pid)
        )
    )


def _wait_for_child(name: str, sleeper: Sleeper) -> Wait:
    # waitid names its child by a type and a number, wait4 by one number.
    which = sleeper.argument(0)
    if name == "waitid":
        which = sleeper.argument(1) if which == os.P_PID else -1
    children = [which] if which > 0 else _children(sleeper)
    return Wait(name, "", "the exit of a child", on=tuple(children))


def _children(sleeper: Sleeper) -> list[int]:
    def parent(pid: int) -> int:
        found = re.search(r"^PPid:\s*(\d+)", procfs.text(pid, "status") or "", re.MULTILINE)
        return int(found[1]) if found else 0

    return [pid for pid in sleeper.family if parent(pid) == sleeper.pid]


def _futex(name: str, sleeper: Sleeper) -> Wait:
    address, timeout = sleeper.call.arguments[0], sleeper.call.arguments[3]
    for mapping in procfs.shared_mappings(sleeper.pid):
        if mapping.start <= address < mapping.end:
            what = _shared_name(mapping.path)
            return Wait(name, what, "another process to release it", timed=bool(timeout))
    return Wait(name, "a lock of this process", "another thread", timed=bool(timeout))


def _shared_name(path: str) -> str:
    base = path.removeprefix("/dev/shm/")  # glibc's place for named objects
    if base == path:
        return "anonymous shared memory" if path.startswith("/dev/zero") or not path else path
    return "/" + base.removeprefix("sem.").removesuffix(" (deleted)")


def _sysv(noun: str, event: str, timeout: int | None) -> Callable[[str, Sleeper], Wait]:
    def explain(name: str, sleeper: Sleeper) -> Wait:
        handle = sleeper.argument(0)
        table = {"semaphore set": ("sem", 1), "queue": ("msg", 1)}[noun]
        key = _key_of(table[0], handle)
        timed = timeout is not None and bool(sleeper.call.arguments[timeout])
        return Wait(name, key or f"private, id {handle}", event, timed=timed)

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
        return Wait(
            name, queue.target if queue else "", event, timed=bool(sleeper.call.arguments[4])
        )

    return explain


def _lock(name: str, sleeper: Sleeper) -> Wait:
    file = sleeper.descriptor()
    if name == "fcntl" and sleeper.argument(1) not in _BLOCKING_LOCKS:
        return Wait(name, file.target if file else "", "", timed=True)
    holders = _lock_holders(file.inode) if file else ()
    return Wait(
        name,
        file.target if file else "",
        "the lock's holder to release it",
        on=tuple(pid for pid in holders if pid in sleeper.family),
    )


_BLOCKING_LOCKS = (7, 38)  # F_SETLKW, F_OFD_SETLKW


def _lock_holders(inode: int) -> tuple[int, ...]:
    """PIDs that /proc/locks names as holders; a waiter's line carries an arrow."""
    holders = []
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if "->" not in fields and fields[5].rpartition(":")[2] == str(inode):
            holders.append(int(fields[4]))
    return tuple(holders)


def _poll(timeout: int, *, pointer: bool) -> Callable[[str, Sleeper], Wait]:
    """What poll and its kin watch is not decoded: they count as able to go on by themselves."""

    def explain(name: str, sleeper: Sleeper) -> Wait:
        value = sleeper.call.arguments[timeout] if pointer else sleeper.argument(timeout)
        forever = value == 0 if pointer else value < 0
        what = "an event, without a time limit" if forever else "an event or its time limit"
        return Wait(name, "", what, timed=True)

    return explain


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
    "semop": _sysv("semaphore set", "another process to release it", None),
    "semtimedop": _sysv("semaphore set", "another process to release it", 3),
    "msgrcv": _sysv("queue", "a message", None),
    "msgsnd": _sysv("queue", "room in the queue", None),
    "mq_timedreceive": _posix_queue("a message"),
    "mq_timedsend": _posix_queue("room in the queue"),
    "flock": _lock,
    "fcntl": _lock,
    "poll": _poll(2, pointer=False),
    "ppoll": _poll(2, pointer=True),
    "select": _poll(4, pointer=True),
    "pselect6": _poll(4, pointer=True),
    "epoll_wait": _poll(3, pointer=False),
    "epoll_pwait": _poll(3, pointer=False),
    "pause": _signal,
    "rt_sigsuspend": _signal,
    "rt_sigtimedwait": _signal,
}
