"""Questions asked of a task's descriptors: what they lead to, and whether a call would wait.

The tracer takes a duplicate and asks that, or reads /proc: the task need not move for the question,
and nothing is consumed.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lab.kernel import fdinfo, procfs, signal_sets
from lab.kernel.pidfd import duplicate_of, pidfd_open
from lab.operation import PRINTED
from lab.run.control.machine import UnexpectedStopError
from lab.run.control.task import Task
from lab.run.control.world import World

_PLAIN = ("/dev/", "/memfd:", "/proc/", "anon_inode:")
"""What is no stream, as links in /proc read: most of what a process has open."""
_CLOSES_ON_EXEC = 0o2000000
_EXECUTABLE = 0o111
_TIMEVAL = struct.Struct("=2q")
_SIGNALFD, _EPOLL = "anon_inode:[signalfd]", "anon_inode:[eventpoll]"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a descriptor of a task leads to."""

    target: str
    """As the link in /proc reads."""
    mode: int
    device: int
    inode: int
    identity: str
    """"" when it is nothing that processes of the run share."""


def signed(argument: int) -> int:
    """An argument that is an int in C, out of a register."""
    argument &= 0xFFFFFFFF
    return argument - (1 << 32) if argument >> 31 else argument


def opened_by(world: World, task: Task, descriptor: int) -> Opened | None:
    """What a descriptor of a task leads to; None if it is not open."""
    target = link_of(task, f"fd/{descriptor}")
    if target is None:
        return None
    status = os.stat(f"/proc/{task.tid}/fd/{descriptor}")
    identity = world.names.of(target, status)
    if identity == "eventfd":
        # One inode serves them all, but each has a number of its own.
        number = world.names.label("eventfd", fdinfo.eventfd_id(task.tid, descriptor))
        identity = f"eventfd:{number}"
    return Opened(target, status.st_mode, status.st_dev, status.st_ino, identity)


def inode_of(task: Task, descriptor: int) -> int:
    """By which the kernel tells it apart; unlike `opened_by`, this gives it no name yet."""
    return os.stat(f"/proc/{task.tid}/fd/{descriptor}").st_ino


def link_of(task: Task, name: str) -> str | None:
    """Where a link in a task's /proc leads; None: there is none.

    Raises UnexpectedStopError where a process hides itself: what it does with what it has open is
    then not known, and must not pass for nothing.
    """
    try:
        return os.readlink(f"/proc/{task.tid}/{name}")
    except procfs.VANISHED:
        return None
    except PermissionError:
        raise _hidden(task) from None


def _hidden(task: Task) -> UnexpectedStopError:
    return UnexpectedStopError(
        f"{task.name} hides what it has open (it has other rights than the lab, or is not "
        "dumpable); explore it as root"
    )


def _descriptors(task: Task) -> list[int]:
    """The numbers that a task has open. Raises UnexpectedStopError as `_link` does."""
    try:
        return sorted(map(int, os.listdir(f"/proc/{task.tid}/fd")))
    except PermissionError:
        raise _hidden(task) from None


def target_of(task: Task, descriptor: int) -> str:
    """The path that a descriptor of a task leads to; "" if it is not open."""
    return link_of(task, f"fd/{descriptor}") or ""


def take_duplicate(world: World, task: Task, descriptor: int) -> int | None:
    """A descriptor of the tracer's own for what a task's descriptor leads to.

    None if that is not open. Raises OSError where the question is refused.
    """
    host = task.process.host
    if host not in world.pidfds:
        world.pidfds[host] = pidfd_open(host)
    return duplicate_of(world.pidfds[host], descriptor)


def pollable(world: World, task: Task, descriptor: int, events: int) -> bool:
    """Whether a call on a descriptor would go through at once.

    The tracer takes a duplicate and polls it: the task need not move for the question, and
    nothing is consumed. (A duplicate of a lock must never be *used*, but polling is safe.)
    A descriptor that is not open counts as ready: the call fails at once.
    """
    target = target_of(task, descriptor)
    if target == _SIGNALFD:
        # Polled through a duplicate it would tell of the tracer's signals.
        wanted = fdinfo.mask_of_signalfd(task.tid, descriptor)
        return bool(signal_sets.signals(task.tid).pending & wanted)
    duplicate = take_duplicate(world, task, descriptor)
    if duplicate is None:
        return True
    if target == _EPOLL and any(
        target_of(task, watched) == _SIGNALFD and pollable(world, task, watched, events)
        for watched in watched_by(task, descriptor)
    ):
        os.close(duplicate)
        return True
    try:
        poll = select.poll()
        poll.register(duplicate, events)
        return bool(poll.poll(0))
    finally:
        os.close(duplicate)


def watched_by(task: Task, descriptor: int) -> tuple[int, ...]:
    """The descriptor itself and, if it is an epoll, what that watches."""
    found = [descriptor]
    for number in found:  # grows while it is walked: an epoll may watch another
        if target_of(task, number) == _EPOLL:
            watched = sorted(fdinfo.watched_by_epoll(task.tid, number))
            found += [each for each in watched if each not in found]
    return tuple(found)


def time_limit_of(world: World, task: Task, descriptor: int, events: int) -> int:
    """Nanoseconds after which a call on a socket gives up (SO_RCVTIMEO, say); 0: none."""
    duplicate = take_duplicate(world, task, descriptor)
    if duplicate is None:
        return 0
    option = socket.SO_RCVTIMEO if events == select.POLLIN else socket.SO_SNDTIMEO
    with socket.socket(fileno=duplicate) as own:
        seconds, microseconds = _TIMEVAL.unpack(own.getsockopt(socket.SOL_SOCKET, option, 16))
    return int(seconds) * 10**9 + int(microseconds) * 1000


def port_of(world: World, task: Task, descriptor: int) -> int:
    """The port that a socket is bound to; 0 if it has none."""
    duplicate = take_duplicate(world, task, descriptor)
    if duplicate is None:
        return 0
    with socket.socket(fileno=duplicate) as own:
        name = own.getsockname()
    return int(name[1]) if isinstance(name, tuple) else 0


def flags_of(task: Task, descriptor: int) -> int:
    """The status flags of a descriptor: O_NONBLOCK, the access mode."""
    return int(_shown(task, descriptor, "flags"), 8)


def position_of(task: Task, descriptor: int) -> int:
    """Where in a file the next read or write will be."""
    return int(_shown(task, descriptor, "pos"))


def size_of(task: Task, descriptor: int) -> int:
    """How long a file is now, in bytes."""
    return os.stat(f"/proc/{task.tid}/fd/{descriptor}").st_size


def _shown(task: Task, descriptor: int, field: str) -> str:
    """A line of what /proc shows of a descriptor; "0" if that is not open."""
    text = procfs.text(task.tid, f"fdinfo/{descriptor}") or ""
    start = f"{field}:"
    lines = (line for line in text.splitlines() if line.startswith(start))
    return next((line.removeprefix(start).strip() for line in lines), "0")


def holders_of_end(world: World, what: Opened, *, writing: bool) -> tuple[str, ...]:
    """The processes that hold an end of a pipe open."""
    return tuple(
        process.name
        for process in world.processes
        if process.ended is None
        and any(
            (end.inode, end.device) == (what.inode, what.device)
            and (end.writes if writing else end.reads)
            for end in fdinfo.descriptors(process.host)
        )
    )


def closed_by_end(world: World, task: Task, *, by_exec: bool = False) -> tuple[str, ...]:
    """What others may notice to be closed or given back when a process ends, or executes."""
    found = dict.fromkeys(
        thing for (thing, _), change in task.process.undo.items() if change and not by_exec
    )
    closed = closed_by(
        world,
        task,
        lambda number: not by_exec or bool(flags_of(task, number) & _CLOSES_ON_EXEC),
    )
    running = world.names.of_file(link_of(task, "exe") or "")
    ended = [f"running:{running}"] if running else []
    return tuple(found | dict.fromkeys((*closed, *ended)))


def closed_by(world: World, task: Task, closes: Callable[[int], bool]) -> tuple[str, ...]:
    """What others may notice when a task closes all its descriptors that a function names."""
    found: dict[str, None] = {}
    for number in _descriptors(task):
        target = target_of(task, number)
        locks = _locks_on(world, task, number, target)
        if (target.startswith(_PLAIN) and not locks) or not closes(number):
            continue
        what = opened_by(world, task, number)
        found |= dict.fromkeys(locks)
        if what is None or not what.identity:
            continue
        if not stat.S_ISREG(what.mode):
            found[what.identity] = None
        elif busy := keeps_busy(task, number, what):
            found[busy] = None
    return tuple(found)


def keeps_busy(task: Task, number: int, what: Opened) -> str:
    """The program that nobody can execute (ETXTBSY) until a descriptor is closed; "" if none."""
    if not is_program(f"/proc/{task.tid}/fd/{number}", what.mode):
        return ""
    reads = flags_of(task, number) & os.O_ACCMODE == os.O_RDONLY
    return "" if reads else f"written:{what.identity}"


def is_program(path: str, mode: int) -> bool:
    """Whether a file is one that the kernel would execute, or may be, since we cannot read it.

    Its mode alone would not do: what Python's os.open makes is executable by default, and the
    closing of each such file would be a step. What is no program fails, by one error or another.
    """
    if not mode & _EXECUTABLE:
        return False
    try:
        with open(path, "rb", buffering=0) as file:
            return (file.read(4) or b"").startswith((b"\x7fELF", b"#!"))
    except OSError:
        return True


def _locks_on(world: World, task: Task, number: int, target: str) -> tuple[str, ...]:
    """The locks on what is open, if it is a file, that were ever asked for."""
    if not target.startswith("/") or not world.locks.asked_for:
        return ()
    try:
        status = os.stat(f"/proc/{task.tid}/fd/{number}")
    except procfs.VANISHED:
        return ()
    return world.locks_on(status.st_dev, status.st_ino)


def share_positions(world: World, task: Task, numbers: Iterable[int] | None = None) -> None:
    """From now on two processes read and write where the other left off.

    Args:
        world: the run.
        task: whose descriptors these are.
        numbers: those that it sends to another; None, a fork: all.
    """
    for number in _descriptors(task) if numbers is None else numbers:
        if not target_of(task, number).startswith("/"):
            continue
        what = opened_by(world, task, number)
        # What is printed goes to the end, wherever the position is.
        if what is not None and stat.S_ISREG(what.mode) and what.identity not in ("", PRINTED):
            world.names.shared_positions.add(what.identity)
