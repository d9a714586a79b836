"""What one run left behind: processes, objects, events. The pivot of the lab.

Everything before a `Trace` touches Linux; everything after it (detectors, search, reports) is a
pure function of it. So a trace holds facts, not judgements: *when* a child became a zombie and
when it was reaped, not whether that is a defect.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ObjectType(enum.StrEnum):
    """Kinds of thing that processes share or leave behind, as findings spell them."""

    POSIX_SHM = "posix-shm"
    POSIX_SEM = "posix-sem"
    POSIX_MQ = "posix-mq"
    SYSV_SHM = "sysv-shm"
    SYSV_SEM = "sysv-sem"
    SYSV_MQ = "sysv-mq"
    FIFO = "fifo"
    UNIX_SOCKET = "unix-socket"
    TEMP_FILE = "temp-file"
    FD = "fd"
    LOCK_HELD = "lock-held"


@dataclass(frozen=True)
class Tally:
    """What the body says should have come out and what did: the measure of a lost update."""

    expected: int
    actual: int
    what: str = "updates"


@dataclass(frozen=True)
class Messages:
    """What was sent and what was received, as the body knows it.

    The measure of lost and of torn messages: a received item that is no sent one, but made of
    pieces of them, is torn.
    """

    sent: tuple[str, ...]
    received: tuple[str, ...]


@dataclass(frozen=True)
class Process:
    """One process of the run. Times are seconds since the run began."""

    name: str
    """Logical and stable: "P0" is the root, then in order of birth."""
    pid: int
    """As the program itself sees it."""
    parent: str
    """Logical name of the process that made it, as first seen; "" for the root."""
    command: str
    started: float
    ended: float | None = None
    """When it exited (first seen as a zombie, or gone); None: alive at the end of the run."""
    reaped: float | None = None
    """When its parent waited for it; None: nobody did before the parent or the run ended."""
    orphaned: float | None = None
    """When it was first seen to live on without its parent."""
    status: int | None = None
    """Exit status as `os.waitstatus_to_exitcode` gives it (negative: a signal), where known."""
    helper: bool = False
    """multiprocessing's resource tracker or forkserver: no concern of the program's author."""
    zombie: float | None = None
    """When it could first be waited for, which is later than `ended` by the time that the kernel
    takes to give back its memory: seconds, for a large one. None: at once."""
    reaper: str = ""
    """Who was to wait for it after its parent's end: logical name of an ancestor that had declared
    itself a reaper (PR_SET_CHILD_SUBREAPER). "": nobody of the run, or its parent had not ended."""

    @property
    def awaited_by(self) -> str:
        """Logical name of who was to wait for it: its parent, or who took that one's place."""
        return self.reaper or self.parent


@dataclass(frozen=True)
class SharedObject:
    """An object that the run used or left behind."""

    type: ObjectType
    name: str
    """As its users know it: "/jobs", "key 0x4c", a path."""
    size: int = 0
    """Bytes; for a semaphore set, the number of semaphores; for a queue, the bytes queued."""
    owner: int = 0
    """The user id that owns it."""
    made_by: str = ""
    """Logical name of the process that made it; "" where the kernel does not tell."""
    used_by: tuple[str, ...] = ()
    """Logical names of the processes that were seen to have it open or mapped."""
    left: bool = False
    """It existed when every process of the run had ended."""
    messages: tuple[str, ...] = ()
    """For a queue that was left: the messages still in it, oldest first."""


@dataclass(frozen=True)
class Blocked:
    """A process that sleeps in a system call when the run is stopped."""

    process: str
    call: str
    """The system call: "openat", "semop", "futex"."""
    object: str
    """What it waits for, as its user knows it; "" when that could not be read."""
    waits_for: str
    """The event that would release it: "a reader to open it", "the exit of P2"."""
    since: float
    """Seconds since the run began at which it was first seen there."""
    timed: bool
    """The call has a time limit, or a signal may come: it can go on by itself."""
    on: tuple[str, ...] = ()
    """Logical names of the only processes that could release it, where that is known."""
    where: str = ""
    """"file:line" of the program, where recorded."""
    operation: Event | None = None
    """Of a controlled run: the step that it stands before."""


class Action(enum.StrEnum):
    """What a visible operation does to its object."""

    READ = "read"
    WRITE = "write"
    UPDATE = "update"
    """A read and a write that nothing can come between: a locked instruction."""
    ACQUIRE = "acquire"
    RELEASE = "release"
    SEND = "send"
    RECEIVE = "receive"
    OPEN = "open"
    CLOSE = "close"
    CREATE = "create"
    REMOVE = "remove"
    FORK = "fork"
    EXEC = "exec"
    EXIT = "exit"
    WAIT = "wait"
    SIGNAL = "signal"
    """Send a signal."""
    DELIVER = "deliver"
    """A signal reaches its process."""
    SLEEP = "sleep"
    START = "start"
    """A newborn process takes its first step."""
    CALL = "call"
    """A system call that the lab does not know: dependent on everything."""


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a controlled run: a visible operation and the local computation after it."""

    step: int
    process: str
    """Logical name; the second thread of P1 is "P1.2"."""
    action: Action
    call: str
    """The system call, the library function, or "load", "store" and their kin for memory."""
    object: str = ""
    """Identity within the run, the same in every run: "posix-shm:/counter", "pipe:1", "P2"."""
    offset: int = 0
    size: int = 0
    """Bytes, from `offset`."""
    before: bytes = b""
    """What was in the place, for memory up to 64 bytes; what was read, for a call."""
    after: bytes = b""
    """What a write left there; what was sent."""
    result: int | None = None
    """What a call returned; negative: the error's number."""
    where: str = ""
    """"file:line" of the program, where recorded."""
    time: float = 0.0
    """Virtual seconds since the run began."""
    also: tuple[str, ...] = ()
    """Further objects that it changes: what an exit closes, the old name of a renamed file."""
    waits: bool = False
    """It would have waited, had it not been able to go through: it could not have come earlier."""
    timed: bool = False
    """It had a time limit, and the clock decides with the others whether it goes through."""


class Ending(enum.StrEnum):
    """How the run came to its end."""

    COMPLETED = "completed"
    """The root process ended by itself."""
    STUCK = "stuck"
    """Nobody can move: every process sleeps in a call without a time limit. (In a free run: for
    longer than a limit.)"""
    TIMED_OUT = "timed-out"
    """The time limit was reached."""
    OVERRUN = "overrun"
    """More processes at once than the bound allows."""
    ENDLESS = "endless"
    """A controlled run took more steps than the bound allows."""
    INTERRUPTED = "interrupted"
    """The user stopped it."""
    BROKEN = "broken"
    """The sandbox itself failed; `trouble` says how."""


@dataclass(frozen=True)
class Failure:
    """An exception that left the body."""

    type: str
    message: str
    where: str
    """The last line of the program's own code: "scenarios/counter.py:31"."""
    traceback: str
    is_assertion: bool


@dataclass(frozen=True)
class Trace:
    """One run, as data."""

    scenario: str
    mode: str
    ending: Ending
    seconds: float
    processes: tuple[Process, ...]
    """The root first, then in order of birth."""
    objects: tuple[SharedObject, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    """Processes asleep in a system call when a stuck or late run was stopped."""
    tally: Tally | Messages | None = None
    failure: Failure | None = None
    output: str = ""
    trouble: str = ""
    notes: tuple[str, ...] = ()
    """Facts that a reader should know and that belong to no object."""
    processes_started: int = 0
    """How many processes were ever started, seen or not (exact in a PID namespace)."""
    zombie_limit: float = 1.0
    """Seconds after which an exited child counts as a zombie although it was reaped later."""
    time_limit: float = 10.0
    process_limit: int = 256
    isolation: str = ""
    events: tuple[Event, ...] = ()
    """The steps of a controlled run, in order; empty for a free one."""
    unvaried: tuple[str, ...] = ()
    """Of a controlled run: what the program may depend on beside the order of its steps, so that
    every order of them would still be no proof. Each follows "for"."""
    doubts: tuple[str, ...] = ()
    """What the run may have left, where nothing tells whether it did: it cannot pass."""

    @property
    def root(self) -> Process:
        """The process that ran the body."""
        return self.processes[0]

    def process(self, name: str) -> Process:
        """The process with that logical name.

        Raises KeyError if there is none.
        """
        for process in self.processes:
            if process.name == name:
                return process
        raise KeyError(name)
