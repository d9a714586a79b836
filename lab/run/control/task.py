"""Processes and threads as the controller knows them, and what each will do next."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.kernel import procfs
from lab.kernel.arch import Registers
from lab.kernel.window import Region, Space
from lab.search.strategy import Pending
from lab.trace import Action, Event

if TYPE_CHECKING:
    from lab.run.control.machine import Machine


class Where(enum.Enum):
    """Where a task stands between two steps."""

    READY = enum.auto()
    """Stopped before its next visible operation."""
    IN_KERNEL = enum.auto()
    """It had to enter a call that acts before it blocks, and sleeps in it."""
    GROUP_STOPPED = enum.auto()
    """Stopped by SIGSTOP or its kin, until SIGCONT."""
    ENDING = enum.auto()
    """The first thread of a process has ended, which is told only when the others have."""
    VFORK_PARENT = enum.auto()
    """Held by the kernel until its vfork child has left the common memory."""
    GONE = enum.auto()


CONTINUED = -1
"""In the place of a stopping signal: the process was continued."""


@dataclass(eq=False)
class Process:
    """A process under control."""

    name: str
    host: int
    """PID as this process, the tracer, sees it."""
    pid: int
    """PID as the program sees it."""
    parent: Process | None
    """Who made it."""
    space: Space
    command: str
    started: float
    reaper: Process | None = None
    """Who may wait for it: its parent, and after that one's end a reaper that the program chose."""
    adopted_by: Process | None = None
    """That reaper, also when it has ended itself."""
    children: list[Process] = field(default_factory=list)
    """Those that it may wait for."""
    tasks: list[Task] = field(default_factory=list)
    ended: float | None = None
    reaped: float | None = None
    orphaned: float | None = None
    status: int | None = None
    waitable: bool = False
    """It is a zombie that its parent can wait for."""
    stop_to_report: int = 0
    """A stopping signal that the parent may still wait for with WUNTRACED; or CONTINUED."""
    unawaited: bool = False
    """Its parent ignores SIGCHLD: the kernel reaped it."""
    executed: bool = False
    """It has become another program since its birth."""
    restarting: int = 0
    """The signals after whose handlers the kernel goes on with a wait (SA_RESTART), as a mask."""
    born: int = 0
    """How many threads were ever started in it."""
    undo: dict[tuple[str, int], int] = field(default_factory=dict)
    """What its end would add to semaphores (SEM_UNDO): the set, and the semaphore's number."""

    @property
    def helper(self) -> bool:
        """Multiprocessing's resource tracker or forkserver."""
        return "multiprocessing.resource_tracker" in self.command or (
            "multiprocessing.forkserver" in self.command
        )


@dataclass(eq=False)
class Task:
    """A thread under control."""

    tid: int
    process: Process
    name: str
    machine: Machine
    where: Where = Where.READY
    operation: Operation | None = None
    running: bool = False
    """It has been resumed and not yet waited for."""
    at_call: bool = False
    """It stands before a system call (and not at a fault, or at its birth)."""
    inject: int = 0
    """A signal to deliver when it is resumed."""
    check_signals: bool = False
    """A signal may have been sent to it since the last look."""
    check_alive: bool = False
    """It may have been killed since the last look."""
    entered: Operation | None = None
    """The operation whose call it sleeps in."""
    spins: int = 0
    """Clock readings in a row, while nothing was changed between."""
    spins_since: int = 0
    """The virtual time of the first of them."""

    @property
    def leads(self) -> bool:
        """It is the first of several threads of its process."""
        return self.tid == self.process.host and len(self.process.tasks) > 1

    @property
    def inner(self) -> int:
        """Its thread id, as the program knows it."""
        leader = self.tid == self.process.host
        return self.process.pid if leader else procfs.inner_pid(self.tid)

    @property
    def space(self) -> Space:
        """The address space that it runs in."""
        return self.process.space


@dataclass(frozen=True, slots=True)
class Effect:
    """What an operation did, to be written into its event."""

    before: bytes = b""
    after: bytes = b""
    result: int | None = None
    action: Action | None = None
    """Where it turned out otherwise than announced."""
    no_step: bool = False
    """It would have blocked: nothing has happened, and the task is not enabled after all."""


class Operation(ABC):
    """A visible operation, before it is done. Subclasses are the models of calls and accesses."""

    action: Action = Action.CALL
    call: str = ""
    object: str = ""
    offset: int = 0
    size: int = 0
    deadline: int | None = None
    """Virtual nanosecond at which it gives up, or a sleep ends."""
    is_choice = True
    """Whether another task may be chosen before it."""
    waits_for: str = ""
    """The event that it waits for while it is not ready, for the report."""
    where = ""
    """The line of the program that it is on, where lines are noted."""
    enters = False
    """Its call is let into the kernel, where a pending signal, even an ignored one, breaks it."""
    takes_signals = False
    """It waits for signals: one that is pending ends it, and is not delivered before it."""
    restarts = False
    """What the kernel would do after a signal, to go on with the wait, is for the lab to do."""
    always_restarts = False
    """It never ends for a signal, whatever its handler says."""
    sleeps = False
    """It is a mere sleep: the default order lets everybody else go first."""
    waits = False
    """While it is not ready it waits, without end, and does not fail instead."""
    also: tuple[str, ...] = ()
    """Further objects that it changes."""
    found_at: int | None = None
    """By which of the world's moves it was found where its path leads; None: it has none."""
    opened: Sequence[Region] = ()
    """Mappings that are open for the kernel while its call sleeps there."""

    def ready(self) -> bool:
        """Whether it would not block now."""
        return True

    def on(self) -> tuple[str, ...]:
        """Names of the only processes that could make it ready, where known."""
        return ()

    @abstractmethod
    def perform(self, task: Task) -> Effect:
        """Do it. The task is stopped before it, and is left stopped or resumed (task.running)."""

    def leave(self) -> None:  # noqa: B027  # most have left no trace
        """It is put off for a signal: the task will come back to the call as if never there."""

    def interrupt(self, task: Task) -> Effect:
        """A signal breaks the wait: by default the kernel does that, if the call is made."""
        return self.perform(task)

    def pending(self, task: Task) -> Pending:
        """As a strategy sees it."""
        return Pending(
            task.name,
            self.action,
            self.object,
            self.offset,
            self.size,
            self.also,
            self.waits,
            self.deadline is not None,
        )

    def event(self, task: Task, step: int, time: float, effect: Effect) -> Event:
        """As the trace keeps it."""
        return Event(
            step,
            task.name,
            effect.action or self.action,
            self.call,
            self.object,
            self.offset,
            self.size,
            effect.before,
            effect.after,
            effect.result,
            time=time,
            also=self.also,
            waits=self.waits,
            timed=self.deadline is not None,
        )


class CallOperation(Operation):
    """A system call, at the stop before it is made."""

    def __init__(self, name: str, regs: Registers) -> None:
        self.call = name
        self.regs = regs

    def argument(self, index: int) -> int:
        """An argument as the signed 32-bit number that C passed."""
        value = self.regs.arguments[index] & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value
