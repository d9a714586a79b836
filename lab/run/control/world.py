"""What a controlled run consists of: its processes, its objects, its clock, its record."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from lab.kernel.arch import Registers
from lab.kernel.window import SharedMemory, Space
from lab.run.control.locks import Locks
from lab.run.control.machine import Machine
from lab.run.control.names import Names
from lab.run.control.task import Effect, Operation, Process, Task, Where
from lab.run.control.timers import Timer
from lab.run.control.unvaried import ATTACHED, OUTSIDE_FILE
from lab.trace import Action, Event

if TYPE_CHECKING:
    from lab.run.control.calls.futex import Waiter
    from lab.run.control.outside_files import OutsideFiles
    from lab.run.control.redis.store import Store
    from lab.run.control.robust import Held

EPOCH = 1_700_000_000
"""What the virtual clock of the day shows when a run begins (seconds since 1970)."""
UPTIME = 1_000
"""What the monotonic clock shows then."""


class OverrunError(Exception):
    """More processes live at once than the bound allows."""


@dataclass
class World:
    """The state of one controlled run."""

    machine: Machine
    names: Names
    locks: Locks = field(default_factory=Locks)
    most_processes: int = 256
    """How many may live at once."""
    outside: OutsideFiles | None = None
    """Keeps what a run changes outside, to be put back."""
    own_ipc: bool = True
    """The IPC namespace is the run's own."""
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
    made: set[tuple[str, int]] = field(default_factory=set)
    """System V objects that the run made: the table, and the id there."""
    versions: dict[str, int] = field(default_factory=dict)
    """How many steps have touched an object."""
    exits: int = 0
    moves: int = 0
    """How often a path may have come to lead elsewhere."""
    readings: Counter[str] = field(default_factory=Counter)
    """How often each task has read a clock."""
    unvaried: dict[str, None] = field(default_factory=dict)
    """What happened that keeps a program from being proved, see `unvaried_in`."""
    attached: dict[int, set[str]] = field(default_factory=dict)
    """Who has attached a segment of System V, or tried to, while others lived; by its id."""
    removers: dict[int, str] = field(default_factory=dict)
    """Who has removed it."""
    waiters: list[Waiter] = field(default_factory=list)
    """Tasks in the queues of futexes, longest waiting first."""
    robust: dict[int, tuple[Held, ...]] = field(default_factory=dict)
    """By thread: the robust locks that it held when it was about to end."""
    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311  # to be repeated, not to be secret
    """What the program's getrandom gives."""
    store: Store | None = None
    """The Redis server beside the run, if there is one."""

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

    def ever(self, pid: int) -> Process | None:
        """The process that the program knew by this PID last, though it may be no more."""
        known = [process for process in self.processes if process.pid == pid]
        return self.by_pid(pid) or (known[-1] if known else None)

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

    def forget_timers(self, process: Process, kind: type[Timer] | None = None) -> None:
        """Timers end with their process; those of one kind when it becomes another program."""
        self.timers = [
            timer
            for timer in self.timers
            if timer.process is not process or (kind and not isinstance(timer, kind))
        ]

    def note_segment(self, segment: int) -> None:
        """A segment was removed, or is attached: where two did that, it is not in every order."""
        remover = self.removers.get(segment)
        if remover is not None and self.attached.get(segment, set()) - {remover}:
            self.unvaried[ATTACHED] = None

    def sleep_until(self, deadline: int) -> bool:
        """Move the clock to the end of a sleep, or only to the first alarm before it.

        Returns whether an alarm comes first.
        """
        alarm = min(self.alarms(), default=deadline)
        self.clock = max(self.clock, min(alarm, deadline))
        return alarm < deadline

    def changes_outside(self, path: str) -> None:
        """A task is about to change what is at a path that the next run finds so."""
        self.unvaried[OUTSIDE_FILE] = None
        if self.outside:
            self.outside.keep(path)

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

    def locks_on(self, device: int, inode: int) -> tuple[str, ...]:
        """The locks on a file that any step ever asked for."""
        return tuple(lock for lock in self.locks.known(device, inode) if lock in self.versions)

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
