"""What a controlled run consists of: its processes, its objects by name, its clock, its record.

Names must be the same in every run, or no schedule could be replayed: what the kernel numbers as
it likes (pipes, sockets, addresses) is numbered here by first appearance.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from lab.kernel import procfs, sysv
from lab.kernel.arch import Registers
from lab.kernel.libc import duplicate_of
from lab.kernel.pidfd import pidfd_open
from lab.kernel.window import SharedMemory, Space
from lab.run.control.machine import Machine
from lab.run.control.task import Effect, Operation, Process, Task, Where
from lab.run.control.timers import Timer
from lab.trace import Action, Event

if TYPE_CHECKING:
    from lab.run.control.calls.futex import Waiter
    from lab.run.control.robust import Held

EPOCH = 1_700_000_000
"""What the virtual clock of the day shows when a run begins (seconds since 1970)."""
UPTIME = 1_000
"""What the monotonic clock shows then."""


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


class OverrunError(Exception):
    """More processes live at once than the bound allows."""


@dataclass
class World:
    """The state of one controlled run."""

    machine: Machine
    places: tuple[str, ...]
    """Directories whose files count as shared: temporary ones, and the working directory."""
    unshared: tuple[str, ...] = ()
    """Directories below them whose files do not: an installation, which nobody changes."""
    most_processes: int = 256
    """How many may live at once."""
    with_lines: bool = False
    """The program notes its lines, and steps are to be marked with them."""
    clock: int = 0
    """Virtual nanoseconds since the run began."""
    tasks: list[Task] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    memories: dict[tuple[str, int, int], SharedMemory] = field(default_factory=dict)
    pidfds: dict[int, int] = field(default_factory=dict)
    timers: list[Timer] = field(default_factory=list)
    made_by: dict[tuple[str, str, int], str] = field(default_factory=dict)
    """Who made which object: the kind of table, the name there, the id."""
    versions: dict[str, int] = field(default_factory=dict)
    """How many steps have touched an object."""
    exits: int = 0
    _numbers: dict[tuple[str, int], int] = field(default_factory=dict)
    queues: dict[tuple[int, int], str] = field(default_factory=dict)
    unlinked_queues: set[tuple[int, int]] = field(default_factory=set)
    sysv: dict[tuple[str, int], str] = field(default_factory=dict)
    sockets: dict[int, str] = field(default_factory=dict)
    ports: dict[int, str] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    """Addresses that a process of the run has taken."""
    waiters: list[Waiter] = field(default_factory=list)
    """Tasks in the queues of futexes, longest waiting first."""
    shared_positions: set[str] = field(default_factory=set)
    """Files that were open at a fork."""
    robust: dict[int, tuple[Held, ...]] = field(default_factory=dict)
    """By thread: the robust locks that it held when it was about to end."""
    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311  # to be repeated, not to be secret
    """What the program's getrandom gives."""

    # -- processes ------------------------------------------------------------------------

    @property
    def alive(self) -> Iterable[Task]:
        """Tasks that have not ended."""
        return (task for task in self.tasks if task.where is not Where.GONE)

    def by_pid(self, pid: int) -> Process | None:
        """The process that the program knows by this PID."""
        for process in reversed(self.processes):
            if process.pid == pid and process.reaped is None:
                return process
        return None

    def by_host(self, host: int) -> Process | None:
        """The process that the tracer knows by this PID."""
        for process in reversed(self.processes):
            if process.host == host:
                return process
        return None

    def signals_may_be_pending(self) -> None:
        """A signal was sent, by somebody to somebody: look before each task's next move."""
        for task in self.alive:
            task.check_signals = task.check_alive = True

    def alarms(self) -> list[int]:
        """The moments at which timers go off."""
        return [timer.deadline for timer in self.timers if timer.deadline]

    def forget_timers(self, process: Process, kind: type[Timer]) -> None:
        """Timers end with their process; some already when it becomes another program."""
        self.timers = [
            timer
            for timer in self.timers
            if timer.process is not process or not isinstance(timer, kind)
        ]

    def sleep_until(self, deadline: int) -> bool:
        """Move the clock to the end of a sleep, or only to the first alarm before it.

        Returns whether an alarm comes first.
        """
        alarm = min(self.alarms(), default=deadline)
        self.clock = max(self.clock, min(alarm, deadline))
        return alarm < deadline

    # -- record ---------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Virtual seconds since the run began."""
        return self.clock / 1e9

    def record(self, task: Task, operation: Operation, effect: Effect) -> None:
        """Write down a step."""
        event = operation.event(task, len(self.events), self.seconds, effect)
        if self.with_lines:
            event = replace(event, where=operation.where)
        self.events.append(event)
        self.versions[operation.object] = self.versions.get(operation.object, 0) + 1

    def version(self, thing: str) -> int:
        """Changes with every step that may have released an object, an exit included."""
        return self.versions.get(thing, 0) + (self.exits << 32)

    def note(self, task: Task, action: Action, call: str, thing: str, result: int | None) -> None:
        """Write down what happens to a task without its doing: a signal, the end of a wait."""
        self.events.append(
            Event(
                len(self.events), task.name, action, call, thing, result=result, time=self.seconds
            )
        )

    def holders(self, thing: str, offset: int) -> tuple[str, ...]:
        """Who has acquired an object more often than released it, by the record."""
        balance: dict[str, int] = {}
        for event in self.events:
            if event.object == thing and event.offset == offset:
                if event.action is Action.ACQUIRE:
                    balance[event.process] = balance.get(event.process, 0) + 1
                elif event.action is Action.RELEASE:
                    balance[event.process] = balance.get(event.process, 0) - 1
        return tuple(name for name, count in balance.items() if count > 0)

    # -- objects --------------------------------------------------------------------------

    def number(self, kind: str, inode: int) -> int:
        """1 for the first of its kind that the run touches, and so on."""
        return self._numbers.setdefault(
            (kind, inode), 1 + sum(1 for known, _ in self._numbers if known == kind)
        )

    def opened(self, task: Task, descriptor: int) -> Opened | None:
        """What a descriptor of a task leads to; None if it is not open."""
        path = f"/proc/{task.tid}/fd/{descriptor}"
        try:
            target, status = os.readlink(path), os.stat(path)
        except OSError:
            return None
        identity = self.identity(target, status)
        if identity == "eventfd":
            # One inode serves them all, but each has a number of its own.
            identity = f"eventfd:{self.number('eventfd', procfs.eventfd_id(task.tid, descriptor))}"
        return Opened(target, status.st_mode, status.st_dev, status.st_ino, identity)

    def identity(self, target: str, status: os.stat_result) -> str:
        """The name in the trace of what a descriptor or a path leads to; "" for nothing shared."""
        if stat.S_ISFIFO(status.st_mode):
            if target.startswith("/"):
                return f"fifo:{target}"
            return f"pipe:{self.number('pipe', status.st_ino)}"
        if stat.S_ISSOCK(status.st_mode):
            known = self.sockets.get(status.st_ino)
            return known or f"socket:{self.number('socket', status.st_ino)}"
        if (status.st_dev, status.st_ino) in self.queues:
            return self.queues[status.st_dev, status.st_ino]
        if target.startswith(_MEMFD):
            name = target.removeprefix(_MEMFD).removesuffix(" (deleted)")
            number = self.number(f"memfd {name}", status.st_ino)
            return f"memfd:{name}" if number == 1 else f"memfd:{name} ({number})"
        if target.startswith("anon_inode:"):
            return target.removeprefix("anon_inode:").strip("[]")
        if stat.S_ISREG(status.st_mode):
            return self.file_identity(target)
        return ""

    def file_identity(self, path: str) -> str:
        """The name in the trace of a file; "" if it lies where nothing is shared."""
        path = path.removesuffix(" (deleted)")
        if path.startswith("/dev/shm/"):
            name = path.removeprefix("/dev/shm/")
            if name.startswith("sem."):
                return f"posix-sem:/{name[4:]}"
            return f"posix-shm:/{name}"
        if path.endswith((".py", ".pyc", ".so")) or path in self.unshared:
            return ""
        if any(path.startswith(place + "/") for place in self.unshared):
            return ""
        if any(path.startswith(place + "/") for place in self.places):
            return f"file:{path}"
        return ""

    def path(self, task: Task, directory: int, address: int) -> str:
        """A path argument, made absolute as the task would resolve it."""
        given = task.space.string(address)
        if given.startswith("/"):
            return os.path.normpath(given)
        base = (
            f"/proc/{task.tid}/cwd"
            if directory == _AT_FDCWD
            else (f"/proc/{task.tid}/fd/{directory}")
        )
        try:
            return os.path.normpath(os.path.join(os.readlink(base), given))
        except OSError:
            return given

    def target(self, task: Task, descriptor: int) -> str:
        """The path that a descriptor of a task leads to; "" if it is not open."""
        try:
            return os.readlink(f"/proc/{task.tid}/fd/{descriptor}")
        except OSError:
            return ""

    @staticmethod
    def status(task: Task, path: str) -> os.stat_result | None:
        """What lies at a path, as the task sees it; None: nothing."""
        try:
            return os.stat(f"/proc/{task.tid}/root{path}")
        except OSError:
            return None

    def has_locks(self, path: str) -> bool:
        """Whether a lock on a file was ever asked for."""
        return f"lock:{path}" in self.versions

    def sysv_identity(self, table: str, identifier: int) -> str:
        """The name in the trace of a System V object: by key, or numbered if it is private."""
        known = self.sysv.get((table, identifier))
        if known is None:
            key = sysv.key_of(table, identifier)
            kind = {"sem": "sysv-sem", "shm": "sysv-shm", "msg": "sysv-mq"}[table]
            name = f"key 0x{key:08x}" if key else f"private {self.number(kind, identifier)}"
            known = self.sysv[table, identifier] = f"{kind}:{name}"
        return known

    def named(self, task: Task, path: str, identity: str) -> None:
        """A file was given a name: glibc makes a semaphore under another one and links it."""
        status = self.status(task, path)
        memory = status and self.memories.get(("file", status.st_dev, status.st_ino))
        if memory:
            memory.identity = identity

    def pollable(self, task: Task, descriptor: int, events: int) -> bool:
        """Whether a call on a descriptor would go through at once.

        The tracer takes a duplicate and polls it: the task need not move for the question, and
        nothing is consumed. (A duplicate of a lock must never be *used*, but polling is safe.)
        A descriptor that is not open counts as ready: the call fails at once.
        """
        target = self.target(task, descriptor)
        if target == _SIGNALFD:
            # Polled through a duplicate it would tell of the tracer's signals.
            wanted = procfs.mask_of_signalfd(task.tid, descriptor)
            return bool(procfs.signals(task.tid).pending & wanted)
        duplicate = self.duplicate(task, descriptor)
        if duplicate is None:
            return True
        if target == _EPOLL and any(
            self.target(task, watched) == _SIGNALFD and self.pollable(task, watched, events)
            for watched in procfs.watched_by_epoll(task.tid, descriptor)
        ):
            os.close(duplicate)
            return True
        try:
            poll = select.poll()
            poll.register(duplicate, events)
            return bool(poll.poll(0))
        finally:
            os.close(duplicate)

    def time_limit(self, task: Task, descriptor: int, events: int) -> int:
        """Nanoseconds after which a call on a socket gives up (SO_RCVTIMEO, say); 0: none."""
        duplicate = self.duplicate(task, descriptor)
        if duplicate is None:
            return 0
        option = socket.SO_RCVTIMEO if events == select.POLLIN else socket.SO_SNDTIMEO
        with socket.socket(fileno=duplicate) as own:
            seconds, microseconds = _TIMEVAL.unpack(own.getsockopt(socket.SOL_SOCKET, option, 16))
        return int(seconds) * 10**9 + int(microseconds) * 1000

    def is_outside(self, thing: str) -> bool:
        """Whether a socket leads to a service that is no part of the run: nobody in it bound it."""
        return thing.startswith(("inet:", "unix:")) and thing not in self.bound

    def port_of(self, task: Task, descriptor: int) -> int:
        """The port that a socket is bound to; 0 if it has none."""
        duplicate = self.duplicate(task, descriptor)
        if duplicate is None:
            return 0
        with socket.socket(fileno=duplicate) as own:
            name = own.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    def flags(self, task: Task, descriptor: int) -> int:
        """The status flags of a descriptor: O_NONBLOCK, the access mode."""
        text = procfs.text(task.tid, f"fdinfo/{descriptor}") or ""
        return next(
            (int(line[6:].strip(), 8) for line in text.splitlines() if line.startswith("flags:")), 0
        )

    def holders_of_end(self, what: Opened, *, writing: bool) -> tuple[str, ...]:
        """The processes that hold an end of a pipe open."""
        return tuple(
            process.name
            for process in self.processes
            if process.ended is None
            and any(
                (end.inode, end.device) == (what.inode, what.device)
                and (end.writes if writing else end.reads)
                for end in procfs.descriptors(process.host)
            )
        )

    def closed_by_end(self, task: Task, *, by_exec: bool = False) -> tuple[str, ...]:
        """What others may notice to be closed or given back when a process ends, or executes."""
        found = dict.fromkeys(
            thing for (thing, _), change in task.process.undo.items() if change and not by_exec
        )
        closed = self.closed_by(
            task,
            lambda number: not by_exec or bool(self.flags(task, number) & _CLOSES_ON_EXEC),
        )
        return tuple(found | dict.fromkeys(closed))

    def closed_by(self, task: Task, closes: Callable[[int], bool]) -> tuple[str, ...]:
        """What others may notice when a task closes all its descriptors that a function names."""
        found: dict[str, None] = {}
        for number in sorted(map(int, os.listdir(f"/proc/{task.tid}/fd"))):
            target = self.target(task, number)
            if (target.startswith(_PLAIN) and not self.has_locks(target)) or not closes(number):
                continue
            what = self.opened(task, number)
            if self.has_locks(target):
                found[f"lock:{target}"] = None
            elif what is not None and not stat.S_ISREG(what.mode) and what.identity:
                found[what.identity] = None
        return tuple(found)

    def share_positions(self, task: Task) -> None:
        """A fork: from now on two processes read and write where the other left off."""
        for number in os.listdir(f"/proc/{task.tid}/fd"):
            target = self.target(task, int(number))
            if target.startswith("/") and (identity := self.file_identity(target)):
                self.shared_positions.add(identity)

    def position(self, identity: str) -> tuple[str, ...]:
        """The name in the trace of where a file is read next, if processes share that."""
        return (f"position:{identity}",) if identity in self.shared_positions else ()

    def duplicate(self, task: Task, descriptor: int) -> int | None:
        """A descriptor of the tracer's own for what a task's descriptor leads to."""
        host = task.process.host
        if host not in self.pidfds:
            self.pidfds[host] = pidfd_open(host)
        return duplicate_of(self.pidfds[host], descriptor)

    def close(self) -> None:
        """Let go of everything that the run made the tracer hold."""
        for memory in self.memories.values():
            memory.close()
        for timer in self.timers:
            timer.close()
        self.timers.clear()
        for descriptor in self.pidfds.values():
            os.close(descriptor)
        self.pidfds.clear()


Model = Callable[[World, Task, str, Registers], Operation | None]
"""What a system call means: given the stop before it, the visible operation; or None, where it
touches nothing shared and goes on, or has been answered on the spot."""


def leaders_last(tasks: Iterable[Task]) -> list[Task]:
    """In an order in which their ends can be waited for.

    The kernel keeps the end of a process's first thread back until all others are gone.
    """
    return sorted(tasks, key=lambda task: task.tid == task.process.host)


def spaces_of(tasks: Iterable[Task]) -> list[tuple[Space, Task]]:
    """Each address space once, with a task that can act in it."""
    seen: dict[int, tuple[Space, Task]] = {}
    for task in tasks:
        if task.where is not Where.GONE:
            best = seen.get(task.space.serial)
            if best is None or best[1].where is not Where.READY:
                seen[task.space.serial] = (task.space, task)
    return list(seen.values())


_PLAIN = ("/dev/", "/memfd:", "/proc/", "anon_inode:")
"""What is no stream, as links in /proc read: most of what a process has open."""
_CLOSES_ON_EXEC = 0o2000000
_AT_FDCWD = -100
_MEMFD = "/memfd:"
_TIMEVAL = struct.Struct("=2q")
_SIGNALFD, _EPOLL = "anon_inode:[signalfd]", "anon_inode:[eventpoll]"
