"""Dependence: which steps of different tasks would do something else in the other order.

Everything systematic rests on it. Two runs that differ only in the order of independent steps are
the same for the program (the same Mazurkiewicz trace), so one of them is enough; a dependence that
is overlooked here is a bug that is "proved" absent. So what is not known is taken for dependent,
and independence needs an argument:

- steps on different objects, or on places of one that do not overlap, do not meet;
- steps that only look may swap; so may a call that failed because of what it saw, for it did
  nothing;
- acquires and releases of one object are always dependent, also where a semaphore has room for
  both: who comes when it has none depends on their order;
- a start depends on its fork alone. Two forks are dependent: the child's name and PID come from
  their order;
- an exit meets who waits for it, or will not wait: its parent's wait and its parent's exit, and a
  child that asks who its parent is. It meets every step of a parent that handles SIGCHLD, and else
  only what may change that. Exits of two children do not meet. It also closes what it has open and
  gives back what it holds;
- two who close a stream do not meet: what others notice is that nobody has it open any more;
- a signal may change what its receiver does next, whatever that is; one to a group, or to all,
  meets everything, for who they are is a question of order too. Its arrival, unless it is
  known that there is a handler, may end the process and close all that it has. The end of a parent
  is a signal to who has asked for one then;
- a file is found by the directories above it, and goes by its first name if it has several; a
  symbolic link is met by who uses it and by who changes it; the list of a directory meets
  everything;
- a sleep is no synchronisation, and meets nothing but what has a time limit: it moves the clock, by
  which that may go through. Sleeps do not meet one another;
- a command to a Redis server is one step, on the keys that it names; one that is not known, or a
  script, meets every key. What it finds may depend on the clock, where a key has a time to live;
- a system call that the lab does not know meets everything;
- threads of one process share memory that is not watched, so their steps always meet.
"""

from __future__ import annotations

import errno
import math
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

from lab.search.strategy import Pending
from lab.trace import Action, Event

_LOOKS = frozenset({Action.READ, Action.OPEN, Action.WAIT, Action.EXEC})
_LIVES = frozenset({Action.START, Action.FORK, Action.EXEC, Action.EXIT, Action.SIGNAL})
_OPENED_BY_LOOKING = ("file:", "posix-shm:", "posix-sem:")
"""What an open that succeeds leaves as it was; it makes a queue, and is half of a FIFO."""
_HELD = ("lock:", "sysv-sem:")
"""What an end gives back, which is more than to close it."""
PROCESSES = "processes"
"""What a signal to a group, or to all, has to do with besides: who they are depends on forks, on
exits and on who has joined or left."""
ADOPTIONS = "adoptions"
"""What is changed by who leaves children behind and by who wants to have them."""
_SIGNAL_DESCRIPTOR = "signalfd"
LINK = "link:"
"""Before the name of a symbolic link that a path led over."""
_CLOCK = "the clock"
_PROCESS = re.compile(r"P\d+")
_EXACT_CALLS = frozenset({"load", "store", "update", "futex", "semop", "semtimedop"})
"""Calls whose offset and size say what they reach. In a file it depends on the position."""
_DID_NOTHING = frozenset(
    {
        -errno.EAGAIN,
        -errno.EEXIST,
        -errno.ENOENT,
        -errno.EACCES,
        -errno.ENXIO,
        -errno.EINTR,
        -errno.ECHILD,
        -errno.ENOMSG,
        -errno.ETIMEDOUT,
        *range(-516, -511),
    }
)
"""Errors after which all is as it was; those above 511 never leave the kernel: it will restart."""
_UNSTOPPABLE = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT})
"""They act on their receiver at once, and not when it moves next."""


@dataclass(frozen=True, slots=True)
class Touch:
    """A place that a step looks at or changes."""

    thing: str
    start: float = 0
    end: float = math.inf
    changes: bool = True
    closes: bool = False
    """It changes the thing as its like does, in whatever order: it closes it."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """All that a step has to do with others."""

    process: str
    """Whose step it is; threads of a process count as one."""
    touches: tuple[Touch, ...] = ()
    disturbs: tuple[str, ...] = ()
    """Processes that it may make do something else than they were about to."""
    everything: bool = False
    """It may touch anything."""
    joins: str = ""
    """The process that has ended, and whose last step it therefore comes after."""

    def __add__(self, other: Footprint) -> Footprint:
        """What two steps have to do with others that nobody can come between."""
        return Footprint(
            self.process,
            self.touches + other.touches,
            self.disturbs + other.disturbs,
            self.everything or other.everything,
            self.joins or other.joins,
        )


def dependent(one: Footprint, other: Footprint) -> bool:
    """Whether two steps would do something else in the other order."""
    if one.process == other.process or one.everything or other.everything:
        return True
    if other.process in one.disturbs or one.process in other.disturbs:
        return True
    for mine in one.touches:
        for its in other.touches:
            if (
                mine.thing == its.thing
                and (mine.changes or its.changes)
                and not (mine.closes and its.closes)
                and mine.start < its.end
                and its.start < mine.end
            ):
                return True
    return False


@dataclass
class Footprints:
    """Reads the footprints of a run, step by step: some depend on what happened before."""

    _children: dict[str, set[str]] = field(default_factory=dict)
    _parents: dict[str, str] = field(default_factory=dict)
    _handled: dict[str, frozenset[str]] = field(default_factory=dict)
    """The signals for which a process has handlers."""
    _bound: set[str] = field(default_factory=set)
    """Processes to which the end of their parent may send a signal, or that adopt orphans."""
    _births: int = 0

    def follow(self, event: Event) -> Footprint:
        """The footprint of the next step of the run."""
        footprint = self.of(event)
        process = process_of(event.process)
        match event.action:
            case Action.FORK:
                self._births += 0 if event.object else 1
                # Processes are named in order of birth.
                self._born(process, event.object or f"P{self._births}")
            case Action.EXEC:
                self._handled.pop(process, None)
            case Action.WRITE if event.object == process and event.call == "rt_sigaction":
                name, _, what = event.after.decode(errors="replace").partition(" ")
                handled = self._handled.get(process, frozenset())
                self._handled[process] = handled | {name} if what == "handler" else handled - {name}
            case Action.WRITE if event.call == "prctl":
                self._bound.add(process)
            case _:
                pass
        return footprint

    def of(self, step: Event | Pending) -> Footprint:
        """The footprint of a step, were it the next."""
        process, also = process_of(step.process), _further(step)
        idle = step.action is Action.WAIT and not (step.object or step.also)
        if step.action is Action.SLEEP or idle:
            return Footprint(process, (Touch(_CLOCK, closes=True),))
        match step.action:
            case Action.START:
                return Footprint(process)
            case Action.CALL:
                return Footprint(process, everything=True)
            case Action.FORK:
                return Footprint(
                    process, (Touch(life_of(step.object) if step.object else "births"),)
                )
            case Action.EXEC:  # it reads the program, which nobody must have open for writing
                written = (Touch(f"written:{step.object}", changes=False),) if step.object else ()
                # Nor can its parent choose its group after that.
                group = Touch(group_of(process), changes=False)
                return Footprint(process, (*_touches(process, step), *written, *also, group))
            case Action.EXIT:
                return self._exit(process, also)
            case Action.WAIT:
                # Only a wait that waits: a look (WNOHANG) goes through before the end as well.
                alone = step.waits and step.object != process and " " not in step.object
                joins = step.object if alone else ""
                return Footprint(process, self._waited(process, step) + also, joins=joins)
            case Action.SIGNAL:
                return self._sent(process, step)
            case Action.DELIVER:
                known = isinstance(step, Event) and step.call in self._handled.get(process, ())
                return Footprint(process, everything=not known)
            case _:
                return Footprint(process, _touches(process, step) + also)

    def _born(self, parent: str, child: str) -> None:
        self._children.setdefault(parent, set()).add(child)
        self._parents[child] = parent
        self._handled[child] = self._handled.get(parent, frozenset())

    def _exit(self, process: str, also: tuple[Touch, ...]) -> Footprint:
        parent = self._parents.get(process, "")
        orphans = sorted(self._children.get(process, ()))
        touches = (Touch(life_of(process)), *(Touch(life_of(child)) for child in orphans), *also)
        if orphans:
            touches += (Touch(ADOPTIONS, closes=True),)
        disturbs = tuple(child for child in orphans if child in self._bound)
        if "SIGCHLD" in self._handled.get(parent, ()):
            return Footprint(process, touches, (parent, *disturbs))
        ignored = (Touch(_signals(parent), changes=False),) if parent else ()
        return Footprint(process, touches + ignored, disturbs)

    def _waited(self, process: str, step: Event | Pending) -> tuple[Touch, ...]:
        if step.object == process:  # for a signal
            return (Touch(_signals(process)),)
        names = step.object.split()
        if names and all(name in self._parents for name in names):
            adopted = (Touch(ADOPTIONS, changes=False),) if process in self._bound else ()
            return (*(Touch(life_of(name)) for name in names), *adopted)
        if len(names) > 1:  # for one of several descriptors
            signals = (Touch(_signals(process)),) if _SIGNAL_DESCRIPTOR in names else ()
            return (*(Touch(name, changes=False) for name in {*names, step.object}), *signals)
        return _touches(process, step)

    @staticmethod
    def _sent(process: str, step: Event | Pending) -> Footprint:
        number = step.after[0] if isinstance(step, Event) and step.after else None
        if PROCESSES in step.also or number is None or number in _UNSTOPPABLE:
            return Footprint(process, everything=True)
        target = Touch(life_of(step.object), changes=False)
        if number == 0:  # it only asks
            return Footprint(process, (target,))
        return Footprint(process, (target, Touch(_signals(step.object))), (step.object,))


def process_of(task: str) -> str:
    """The process that a task belongs to: "P1.2" is a thread of "P1"."""
    return task.partition(".")[0]


def looks_only(event: Event) -> bool:
    """Whether a step left everything as it was."""
    return event.action not in _LIVES and not _changes(event)


def _further(step: Event | Pending) -> tuple[Touch, ...]:
    """What a step has to do with beside its object."""
    ends = step.action in (Action.EXIT, Action.EXEC)
    also = list[Touch]()
    for thing in step.also:
        name = thing.removeprefix(LINK)
        closes = ends and not thing.startswith(_HELD)
        also.append(Touch(name, changes=name == thing, closes=closes and name == thing))
        also.extend(_directories(*name.split(":", 1)))
    return (*also, Touch(_CLOCK, changes=False)) if step.timed else tuple(also)


def _touches(process: str, step: Event | Pending) -> tuple[Touch, ...]:
    if not step.object:
        # A new object without a name has a number: that comes from the order of making.
        return (Touch("numbers"),) if step.action is Action.CREATE else ()
    if step.object in (process, _SIGNAL_DESCRIPTOR):  # handlers and masks of its own
        return (Touch(_signals(process)),)
    if step.action is Action.READ and _PROCESS.fullmatch(step.object):  # whether it has ended
        return (Touch(life_of(step.object), changes=False),)
    start, end = _extent(step)
    touches = [Touch(step.object, start, end, _changes(step), step.action is Action.CLOSE)]
    kind, _, path = step.object.partition(":")
    if kind == "unix" and path and not path.startswith("@"):
        touches.append(Touch(f"file:{path}", changes=touches[0].changes))
    if kind == "fifo":  # where it is not yet, or not any more, its path is that of a file
        named = step.action in (Action.CREATE, Action.REMOVE)
        touches.append(Touch(f"file:{path}", changes=named and touches[0].changes))
    return (*touches, *_directories(kind, path))


def _directories(kind: str, path: str = "") -> Iterator[Touch]:
    """A file is found by the directories above it, and they are not empty while it is there.

    A key is a part of all that its server has.
    """
    if kind == "redis" and path:
        yield Touch(kind, changes=False)
    if path and not path.startswith("@") and kind in {"file", "fifo", "unix"}:
        parts = path.split("/")  # from the root, or from where the run takes place
        for count in range(1 if parts[0] else 2, len(parts)):
            yield Touch(f"file:{'/'.join(parts[:count])}", changes=False)


def _changes(step: Event | Pending) -> bool:
    if isinstance(step, Event):
        if step.result in _DID_NOTHING:
            return False
        if step.call == "futex" and step.action is Action.READ:
            return True  # it queues up
    if step.action is Action.OPEN:
        return not step.object.startswith(_OPENED_BY_LOOKING)
    return step.action not in _LOOKS


def _extent(step: Event | Pending) -> tuple[float, float]:
    exact = (
        step.call in _EXACT_CALLS or step.call.startswith("sem_")
        if isinstance(step, Event)
        else not step.object.startswith("file:")
    )
    return (step.offset, step.offset + step.size) if exact and step.size else (0, math.inf)


def group_of(process: str) -> str:
    """What stands in the trace for the group and the session that a process is in."""
    return f"group:{process}"


def life_of(process: str) -> str:
    """What is changed by the end of a process, and by who waits for that."""
    return f"the life of {process}"


def _signals(process: str) -> str:
    return f"the signals of {process}"
