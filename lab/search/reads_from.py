"""Reads-from: each run aims at one read from a write that it has never read from before.

What a program does depends on what its reads find, so a bug that no run has shown yet shows when a
read finds something new. From a run it is known which steps change the place that a read looks at;
any of those that did not have to come before it, or after, is one it might have found. To make it
find that one, the reader is held before its read until the write is done, and then the other
writers are held until it has read. That often takes one run, where chance needs luck at every step.

A goal that is reached leads to further ones, which are tried in addition to it. (The idea of
letting what was read from what lead the search is that of RFF: Wolff, Shi, Duck, Mathur &
Roychoudhury, ASPLOS 2024.)
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.search.happens_before import Clock, clocks, ordered
from lab.search.idling import Idling
from lab.trace import Action, Event

if TYPE_CHECKING:
    from lab.search.strategy import Pending, Point
    from lab.trace import Trace

_LOOKS = frozenset({Action.READ, Action.UPDATE, Action.ACQUIRE, Action.RECEIVE})
_CHANGES = frozenset({Action.WRITE, Action.UPDATE, Action.ACQUIRE, Action.RELEASE, Action.SEND})
_LIVES = frozenset({Action.FORK, Action.START, Action.EXIT, Action.WAIT})

Place = tuple[str, int]


@dataclass(frozen=True, order=True)
class Step:
    """A step by what it is for the program: the n-th of its task at a place, from 0."""

    task: str
    place: Place
    number: int


@dataclass(frozen=True)
class Goal:
    """A read that is to find what a write left; None: what was there before any of them."""

    read: Step
    write: Step | None


class ReadsFrom:
    """Aims at reads from new writes, until there is none left to aim at."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Goal, ...]] = deque([()])
        self._goals: tuple[Goal, ...] = ()
        self._known: set[Goal] = set()
        """Goals that were reached, or at least aimed at."""

    def begin(self) -> bool:
        """Take the next goals."""
        if not self._waiting:
            return False
        self._goals = self._waiting.popleft()
        self._aims = list(self._goals)
        self._counts: Counter[tuple[str, Place]] = Counter()
        self._idling = Idling()
        return True

    @property
    def which(self) -> tuple[Goal, ...]:
        """What the run aims at."""
        return self._goals

    def pass_over(self) -> None:
        """As if it had found nothing new to aim at."""

    def choose(self, point: Point) -> int:
        """The default task, unless a goal wants it to be held or another to go on."""
        for event in point.happened:
            self._note(event)
        held = {pending.process for pending in point.enabled if self._held(pending)}
        held |= {p.process for p in point.enabled if self._idling.waits(p.process)}
        names = [pending.process for pending in point.enabled]
        if self._aims and self._aims[0].write and self._due(self._aims[0]):
            reader = self._aims[0].read.task
            if reader in names and reader not in held:
                return names.index(reader)
        index: int
        for index in (point.default, *range(len(names))):
            if names[index] not in held:
                return index
        self._aims.clear()  # it cannot be had like this
        return point.default

    def end(self, trace: Trace) -> None:
        """See what was read from what, and what might have been."""
        found = _Reads(trace.events)
        self._known.update(found.seen)
        for goal in found.possible():
            if goal not in self._known:
                self._known.add(goal)
                self._waiting.append((*self._goals, goal))

    def _note(self, event: Event) -> None:
        self._idling.follow([event])
        step = Step(event.process, _place(event), self._counts[event.process, _place(event)])
        self._counts[event.process, _place(event)] += 1
        if self._aims and step == self._aims[0].read:
            self._aims.pop(0)

    def _due(self, goal: Goal) -> bool:
        """Whether the write has been done."""
        write = goal.write
        return write is None or self._counts[write.task, write.place] > write.number

    def _held(self, pending: Pending) -> bool:
        if not self._aims:
            return False
        goal, place = self._aims[0], _place(pending)
        if place != goal.read.place:
            return False
        if pending.process == goal.read.task:
            here = self._counts[pending.process, place] == goal.read.number
            return here and not self._due(goal)
        return self._due(goal) and pending.action in _CHANGES


class _Reads:
    """What the reads of a run found, and what else they might have found."""

    def __init__(self, events: Sequence[Event]) -> None:
        counts: Counter[tuple[str, Place]] = Counter()
        lives = [
            event if event.action in _LIVES else dataclasses.replace(event, action=Action.READ)
            for event in events
        ]
        self._events, self._clocks = events, list(clocks(lives))
        self._steps: list[Step] = []
        self._writes: dict[Place, list[int]] = {}
        self._sources: dict[int, int | None] = {}
        for index, event in enumerate(events):
            place = _place(event)
            self._steps.append(Step(event.process, place, counts[event.process, place]))
            counts[event.process, place] += 1
            writes = self._writes.setdefault(place, [])
            if event.action in _LOOKS:
                self._sources[index] = writes[-1] if writes else None
            if event.action in _CHANGES:
                writes.append(index)

    @property
    def seen(self) -> Iterator[Goal]:
        """What was read from what."""
        return (self._goal(read, write) for read, write in self._sources.items())

    def possible(self) -> list[Goal]:
        """What else might be read, the nearest first, in turn for each read."""
        found: list[tuple[int, int, Goal]] = []
        for read in self._sources:
            writes = self._writes[_place(self._events[read])]
            sources = [write for write in writes if self._might(read, write, writes)]
            sources.sort(key=lambda write: abs(write - read))
            goals = [self._goal(read, write) for write in sources]
            if not any(self._before(write, read) for write in writes):
                goals.insert(0, self._goal(read, None))
            found += [(rank, read, goal) for rank, goal in enumerate(goals)]
        return [goal for _, _, goal in sorted(found, key=lambda each: each[:2])]

    def _might(self, read: int, write: int, writes: Sequence[int]) -> bool:
        """Whether a read might find a write of another: as far as births and ends decide."""
        if self._events[read].process == self._events[write].process or self._before(read, write):
            return False
        return not any(self._before(write, w) and self._before(w, read) for w in writes)

    def _before(self, earlier: int, later: int) -> bool:
        event: Event = self._events[earlier]
        clock: Clock = self._clocks[earlier]
        return earlier != later and ordered(event, self._clocks[later], clock)

    def _goal(self, read: int, write: int | None) -> Goal:
        return Goal(self._steps[read], None if write is None else self._steps[write])


def _place(of: Event | Pending) -> Place:
    return (of.object, of.offset)
