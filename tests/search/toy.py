"""A toy machine whose tasks are generators: it drives a strategy exactly as the controller does.

    def add_one() -> Task:
        value = yield read("counter")
        yield write("counter", value + 1)

    run(Program({"A": add_one, "B": add_one}), choose)

Each yield is one visible operation and one step; computation up to the next yield belongs to the
step before it, and so does the end of the task. An operation that would block is not enabled. When
nobody is enabled and somebody is unfinished, the run is stuck. An assertion that fails in a task
is the bug: it ends the run there, as an unhandled failure.

Names follow the lab: tasks are processes, and a spawned one is named by whoever spawns it.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.detect.holds import holds
from lab.search.strategy import Pending, Point
from lab.trace import Action, Blocked, Ending, Event, Failure, Process, Trace

_PATIENT = frozenset({Action.ACQUIRE, Action.SEND, Action.RECEIVE, Action.WAIT})
_AT_ONCE = "at once"


@dataclass(frozen=True)
class Operation:
    """What a task yields: one visible operation on one object."""

    action: Action
    object: str
    value: Any = None
    """What is written, sent or spawned; for an update, the function from old to new."""

    @property
    def waits(self) -> bool:
        return self.action in _PATIENT and self.value != _AT_ONCE


Task = Generator[Operation, Any, None]
Body = Callable[[], Task]


def read(place: str) -> Operation:
    return Operation(Action.READ, place)


def write(place: str, value: int) -> Operation:
    return Operation(Action.WRITE, place, value)


def update(place: str, change: Callable[[int], int]) -> Operation:
    """A locked instruction: it reads and writes, and nothing can come between."""
    return Operation(Action.UPDATE, place, change)


def acquire(semaphore: str) -> Operation:
    """Wait until the semaphore is above 0, and take 1. A lock is a semaphore of 1."""
    return Operation(Action.ACQUIRE, semaphore)


def attempt(semaphore: str) -> Operation:
    """Take 1 if the semaphore is above 0, without waiting; answers whether it was."""
    return Operation(Action.ACQUIRE, semaphore, _AT_ONCE)


def release(semaphore: str) -> Operation:
    return Operation(Action.RELEASE, semaphore)


def send(queue: str, value: Hashable) -> Operation:
    """Append, waiting while the queue is full."""
    return Operation(Action.SEND, queue, value)


def receive(queue: str) -> Operation:
    """Take the first, waiting while the queue is empty."""
    return Operation(Action.RECEIVE, queue)


def spawn(name: str, body: Body) -> Operation:
    return Operation(Action.FORK, name, body)


def wait(name: str) -> Operation:
    """Wait until that task has ended."""
    return Operation(Action.WAIT, name)


@dataclass(frozen=True)
class Program:
    """Tasks that are there from the start, in order of birth, and what they share."""

    tasks: Mapping[str, Body]
    memory: Mapping[str, int] = field(default_factory=dict)
    """Values at the start; a place that is not named holds 0."""
    semaphores: Mapping[str, int] = field(default_factory=dict)
    """Values at the start; one that is not named is 1, a lock."""
    capacities: Mapping[str, int] = field(default_factory=dict)
    """How many messages each queue holds; one that is not named holds 1."""


@dataclass(frozen=True)
class Run:
    """One run, and the state that it ended in."""

    trace: Trace
    memory: Mapping[str, int]
    queues: Mapping[str, tuple[Hashable, ...]]
    choices: tuple[tuple[Point, int], ...]

    @property
    def buggy(self) -> bool:
        """An assertion failed, or nobody could move."""
        return self.trace.ending is Ending.STUCK or self.trace.failure is not None

    @property
    def state(self) -> Hashable:
        """What two runs have in common that ended alike."""
        failure = self.trace.failure.message if self.trace.failure else None
        memory = frozenset((place, value) for place, value in self.memory.items() if value)
        queues = frozenset((name, held) for name, held in self.queues.items() if held)
        return (self.trace.ending, failure, memory, queues)


class Machine:
    """The shared state, the tasks, and what each does next."""

    def __init__(self, program: Program) -> None:
        self.memory = dict(program.memory)
        self.semaphores = dict(program.semaphores)
        self.queues: dict[str, deque[Hashable]] = {}
        self.capacities = program.capacities
        self.next: dict[str, Operation | None] = {}
        """The operation that each task is about to do; None when it has ended. Its order is
        that of birth."""
        self.failure: Failure | None = None
        self._tasks: dict[str, Task] = {}
        for name, body in program.tasks.items():
            self._begin(name, body)

    def enabled(self) -> list[tuple[str, Operation]]:
        return [
            (name, pending)
            for name, pending in self.next.items()
            if pending is not None and self._possible(pending)
        ]

    @property
    def unfinished(self) -> bool:
        return any(pending is not None for pending in self.next.values())

    def step(self, name: str, number: int) -> Event:
        """Let that task do its next operation, and compute up to the one after."""
        pending = self.next[name]
        assert pending is not None
        before, after, answer = self._perform(pending)
        self._go_on(name, answer)
        failed = pending.action is Action.ACQUIRE and not after
        return Event(
            number,
            name,
            Action.READ if failed else pending.action,
            str(pending.action),
            pending.object,
            size=max(len(before), len(after)),
            before=before,
            after=after,
            waits=pending.waits,
        )

    def process(self, name: str) -> Process:
        over = self.next[name] is None
        rank = list(self.next).index(name)
        return Process(name, rank, "", name, 0.0, ended=0.0 if over else None, status=0)

    def blocked(self, events: list[Event]) -> tuple[Blocked, ...]:
        """Who waits for what when nobody can move."""
        holders = holds(events)
        waiting = [(name, pending) for name, pending in self.next.items() if pending is not None]
        return tuple(
            Blocked(
                name,
                str(pending.action),
                pending.object,
                "",
                0.0,
                timed=False,
                on=(pending.object,)
                if pending.action is Action.WAIT
                else tuple(hold.process for hold in holders if hold.object == pending.object),
                operation=Event(
                    -1, name, pending.action, str(pending.action), pending.object, waits=True
                ),
            )
            for name, pending in waiting
        )

    def _possible(self, pending: Operation) -> bool:
        match pending.action:
            case Action.ACQUIRE:
                return self.semaphores.get(pending.object, 1) > 0 or not pending.waits
            case Action.SEND:
                room = self.capacities.get(pending.object, 1)
                return len(self.queues.get(pending.object, ())) < room
            case Action.RECEIVE:
                return bool(self.queues.get(pending.object))
            case Action.WAIT:
                return pending.object in self.next and self.next[pending.object] is None
            case _:
                return True

    def _perform(self, pending: Operation) -> tuple[bytes, bytes, Any]:
        """Before, after, and what the task gets to know."""
        name, value = pending.object, pending.value
        match pending.action:
            case Action.READ | Action.WRITE | Action.UPDATE:
                old = self.memory.get(name, 0)
                if pending.action is Action.READ:
                    return _bytes(old), b"", old
                self.memory[name] = value(old) if pending.action is Action.UPDATE else value
                return _bytes(old), _bytes(self.memory[name]), old
            case Action.SEND:
                self.queues.setdefault(name, deque()).append(value)
                return b"", repr(value).encode(), None
            case Action.RECEIVE:
                message = self.queues[name].popleft()
                return repr(message).encode(), b"", message
            case Action.ACQUIRE | Action.RELEASE:
                old = self.semaphores.get(name, 1)
                if pending.action is Action.ACQUIRE and not old:
                    return _bytes(old), b"", False
                self.semaphores[name] = old + (1 if pending.action is Action.RELEASE else -1)
                return _bytes(old), _bytes(self.semaphores[name]), True
            case Action.FORK:
                self._begin(name, value)
            case _:
                pass  # to have waited changes nothing
        return b"", b"", None

    def _begin(self, name: str, body: Body) -> None:
        assert name not in self.next, f"there is a task {name} already"
        self._tasks[name] = body()
        self.next[name] = None  # its place in the order of birth
        self._go_on(name, None)

    def _go_on(self, name: str, answer: Any) -> None:
        try:
            self.next[name] = self._tasks[name].send(answer)
        except StopIteration:
            self.next[name] = None
        except AssertionError as error:
            self.next[name] = None
            self.failure = Failure("AssertionError", str(error), name, "", is_assertion=True)


def run(program: Program, choose: Callable[[Point], int], max_steps: int = 1000) -> Run:
    """One run of the program, in which `choose` says at each point who moves."""
    machine = Machine(program)
    events: list[Event] = []
    choices: list[tuple[Point, int]] = []
    ending = Ending.COMPLETED
    while machine.unfinished and machine.failure is None:
        enabled = machine.enabled()
        if not enabled:
            ending = Ending.STUCK
            break
        if len(events) == max_steps:
            ending = Ending.ENDLESS
            break
        point = _point(machine, events)
        choice = choose(point)
        choices.append((point, choice))
        events.append(machine.step(enabled[choice][0], len(events)))
    return Run(
        Trace(
            "toy",
            "controlled",
            ending,
            0.0,
            tuple(machine.process(name) for name in machine.next),
            blocked=machine.blocked(events) if ending is Ending.STUCK else (),
            failure=machine.failure,
            events=tuple(events),
        ),
        machine.memory,
        {name: tuple(held) for name, held in machine.queues.items()},
        tuple(choices),
    )


class ToyRunner:
    """The controller's interface over the toy: what an exploring loop is tested with."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def run(
        self, choose: Callable[[Point], int], *, max_steps: int, with_lines: bool = False
    ) -> Trace:
        trace = run(self.program, choose, max_steps).trace
        if not with_lines:
            return trace
        lines = (dataclasses.replace(event, where=f"toy.py:{event.step}") for event in trace.events)
        return dataclasses.replace(trace, events=tuple(lines))


def interleavings(program: Program) -> Iterator[Run]:
    """Every run that there is, by trying every choice at every point. For small programs."""
    prefix: list[int] = []
    while True:
        each = run(program, _along(prefix))
        yield each
        prefix = [choice for _, choice in each.choices]
        while prefix and prefix[-1] + 1 == len(each.choices[len(prefix) - 1][0].enabled):
            prefix.pop()
        if not prefix:
            return
        prefix[-1] += 1


def _along(prefix: list[int]) -> Callable[[Point], int]:
    steps = iter(prefix)
    return lambda _: next(steps, 0)


def dependent(one: Event, other: Event) -> bool:
    """Whether swapping two neighbouring steps could matter, without regard to any state."""
    if one.process == other.process:
        return True
    births = {Action.FORK, Action.WAIT}
    if (one.action in births and one.object == other.process) or (
        other.action in births and other.object == one.process
    ):
        return True
    return one.object == other.object and not one.action is other.action is Action.READ


def trace_class(
    events: tuple[Event, ...], related: Callable[[Event, Event], bool] = dependent
) -> Hashable:
    """What all runs have in common that differ only in the order of independent steps.

    Each step by its process and its number in it, with the steps that it must come after: the
    partial order itself, which two runs share exactly if they are the same Mazurkiewicz trace.
    """
    count: dict[str, int] = {}
    names: list[tuple[str, int]] = []
    order: set[tuple[tuple[str, int], tuple[str, int]]] = set()
    for index, event in enumerate(events):
        count[event.process] = count.get(event.process, 0) + 1
        names.append((event.process, count[event.process]))
        order.update(
            (names[earlier], names[index])
            for earlier in range(index)
            if related(events[earlier], event)
        )
    return (frozenset(names), frozenset(order))


def _point(machine: Machine, events: list[Event]) -> Point:
    last = events[-1].process if events else ""
    enabled = [name for name, _ in machine.enabled()]
    pending = {
        name: Pending(name, operation.action, operation.object, waits=operation.waits)
        for name, operation in machine.next.items()
        if operation is not None
    }
    return Point(
        len(events),
        tuple(pending[name] for name in enabled),
        enabled.index(last) if last in enabled else 0,
        last,
        tuple(each for name, each in pending.items() if name not in enabled),
        tuple(events[-1:]),
    )


def _bytes(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)
