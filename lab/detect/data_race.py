"""Data race: two processes access one place in memory, one of them writes, and nothing orders them.

What orders two accesses is what a program can wait for: a fork, an exit that is waited for, a lock
or semaphore that is handed over, a message, a signal, an atomic instruction. Where none of these
lies between, the other order was possible as well, so the race is seen also in runs whose outcome
was right. That is its use: it needs no luck with the schedule.

It is not in itself wrong, and therefore a note unless a program is declared to show it: a seqlock,
or a flag by which a value is published, is a correct program without such an order.

Plain loads and stores of a place that is elsewhere the target of an atomic instruction are no race:
that is what atomic loads and stores are compiled to. Threads of one process are not told apart, for
their private memory is not watched, and what they synchronise by is mostly there. Calls on files
and queues are no accesses to memory: the kernel does each as a whole.

Vector clocks, of which an access needs only the entry of its own process, its epoch (Flanagan &
Freund, "FastTrack", PLDI 2009).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lab.detect.naming import stable_name
from lab.detect.wording import counted
from lab.finding import Finding, Kind
from lab.operation import happening, short
from lab.search.dependence import process_of
from lab.search.happens_before import Clock, atomic_places, clocks, ordered
from lab.trace import Action, Event, Trace

_ADVICE = (
    "Let both hold one lock around it, or let one wait for what the other does after it; if it is "
    "meant to be so, an atomic instruction says that."
)
_DETAILS = 4


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding for each object with unordered accesses."""
    races: dict[str, list[tuple[Event, Event]]] = {}
    pids = {process.pid: process.name for process in trace.processes}
    for one, other in unordered(trace.events, pids):
        races.setdefault(one.object, []).append((one, other))
    for thing, found in races.items():
        (one, other), *more = found
        details = [f"also: {_told(a)} and {_told(b)}" for a, b in more[: _DETAILS - 1]]
        if len(found) > _DETAILS:
            details.append(f"and {counted(len(found) - _DETAILS, 'more such pair')}")
        yield Finding(
            Kind.DATA_RACE,
            stable_name(thing),
            f"{_told(one)} and {_told(other)}, and nothing orders the two.",
            processes=(process_of(one.process), process_of(other.process)),
            advice=_ADVICE,
            details=tuple(details),
            key_steps=(one.step, other.step),
        )


def unordered(
    events: Sequence[Event], pids: dict[int, str] | None = None
) -> Iterator[tuple[Event, Event]]:
    """Pairs of conflicting accesses that nothing orders, each place of the program once.

    Args:
        events: the steps of a run.
        pids: names of processes by PID.
    """
    atomic = atomic_places(events)
    recent: dict[str, _Recent] = {}
    told: set[tuple[object, ...]] = set()
    for event, clock in zip(events, clocks(events, pids), strict=True):
        if event.call not in ("load", "store") or (event.object, event.offset) in atomic:
            continue
        access = _Access(event, clock)
        for other in recent.setdefault(event.object, _Recent()).before(access):
            if access.races_with(other):
                pair = (other.event.process, event.process, other.event.action, event.offset)
                if pair not in told:
                    told.add(pair)
                    yield other.event, event


class _Recent:
    """The accesses to one object that a later one may race with, by the words that they touch."""

    def __init__(self) -> None:
        self._words: dict[int, list[_Access]] = {}
        self._long: list[_Access] = []
        """Those of so many words that to note them at each would take too long."""

    def before(self, access: _Access) -> list[_Access]:
        """Those that are close to an access, which counts as one of them from then on."""
        start, end = access.event.offset, access.event.offset + max(1, access.event.size)
        words = range(start // _WORD, -(-end // _WORD))
        if len(words) > _LONG:
            found = [*self._long, *(other for group in self._words.values() for other in group)]
            self._long = [*access.left_of(self._long), access]
            return found
        found = list(self._long)
        for word in words:
            group = self._words.get(word, [])
            found += group
            self._words[word] = [*access.left_of(group), access]
        return found


_WORD = 8
_LONG = 8
"""Words."""


@dataclass(frozen=True)
class _Access:
    event: Event
    clock: Clock

    @property
    def writes(self) -> bool:
        return self.event.action is Action.WRITE

    def races_with(self, other: _Access) -> bool:
        """Whether nothing orders an earlier access before this one, and one of them writes."""
        mine, its = self.event, other.event
        return (
            (self.writes or other.writes)
            and process_of(mine.process) != process_of(its.process)
            and mine.offset < its.offset + its.size
            and its.offset < mine.offset + mine.size
            and not ordered(its, self.clock, other.clock)
        )

    def left_of(self, others: Iterable[_Access]) -> Iterator[_Access]:
        """Those whose races are not all races of this one too."""
        return (other for other in others if not self.covers(other))

    def covers(self, other: _Access) -> bool:
        """Whether whatever will race with an earlier access races with this one too."""
        mine, its = self.event, other.event
        inside = mine.offset <= its.offset and its.offset + its.size <= mine.offset + mine.size
        return (
            inside and (self.writes or not other.writes) and ordered(its, self.clock, other.clock)
        )


def _told(event: Event) -> str:
    name = short(event.object) + (f"+{event.offset}" if event.offset else "")
    return f"{event.process}'s {happening(event, name)} at step {event.step}"
