"""Happens-before: which steps of a run had to come in the order in which they came.

Two orders, for two questions. The *dependence order* answers "which runs are the same run?": every
two dependent steps are ordered as they happened. Search lives on it. The *synchronisation order*
answers "what made the program wait?": forks, exits that are waited for, locks, messages and signals
order steps, and two accesses to memory do not. Two accesses that it leaves unordered are a data
race, however well this run came out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lab.search.dependence import Footprint, Touch, process_of
from lab.trace import Action, Event

Steps = int
"""A set of steps: bit i for step i. A search intersects thousands of these in each run."""


class Order:
    """The dependence order of the steps of a run, as far as it has come."""

    def __init__(self) -> None:
        self.footprints: list[Footprint] = []
        self.tasks: list[str] = []
        self.past: list[Steps] = []
        """For each step, those that it comes after."""
        self.meets: list[Steps] = []
        """For each step, the earlier ones of other tasks that it depends on."""
        self._known: dict[str, Steps] = {}
        self._ends: dict[str, Steps] = {}
        self._index = _Index()

    def __len__(self) -> int:
        return len(self.past)

    def append(
        self,
        task: str,
        footprint: Footprint,
        *,
        movers: Iterable[str] = (),
        meets: Steps | None = None,
    ) -> None:
        """One more step.

        Args:
            task: who took it.
            footprint: what it had to do with others.
            movers: other tasks that went on in it, without being asked.
            meets: what it depends on, if that is known already.
        """
        this = 1 << len(self)
        past = self.before(task, footprint)
        if meets is None:
            meets = self.met_by(task, footprint)
        past |= self.closed(meets & ~past)
        self._index.add(this, task, footprint)
        self.footprints.append(footprint)
        self.tasks.append(task)
        self.past.append(past)
        self.meets.append(meets)
        for mover in (task, *movers):
            self._known[mover] = self._known.get(mover, 0) | past | this
            process = process_of(mover)
            self._ends[process] = self._ends.get(process, 0) | past | this

    def before(self, task: str, footprint: Footprint) -> Steps:
        """What the next step of a task comes after in any case, whatever it meets."""
        return self._known.get(task, 0) | self._ends.get(footprint.joins, 0)

    def met_by(self, task: str, footprint: Footprint) -> Steps:
        """The steps of other tasks that the next one of this task depends on."""
        return self._index.met_by(task, footprint)

    def closed(self, steps: Steps) -> Steps:
        """Steps, and all that these come after."""
        closed = 0
        while steps:
            latest = steps.bit_length() - 1
            closed |= self.past[latest] | 1 << latest
            steps &= ~closed
        return closed

    def after(self, step: int) -> Steps:
        """A step, and all that come after it."""
        after = 1 << step
        for later in range(step + 1, len(self)):
            if self.past[later] & after:
                after |= 1 << later
        return after


class _Index:
    """The steps of a run by what they touch: `dependent`, asked of all of them at once."""

    def __init__(self) -> None:
        self._all = self._wild = 0
        self._tasks: dict[str, Steps] = {}
        self._processes: dict[str, Steps] = {}
        self._disturbing: dict[str, Steps] = {}
        self._touching: dict[str, dict[tuple[float, float], list[Steps]]] = {}
        """For each thing and part of it, the steps that look at it, close it, change it."""

    def add(self, step: Steps, task: str, footprint: Footprint) -> None:
        self._all |= step
        self._wild |= step if footprint.everything else 0
        self._tasks[task] = self._tasks.get(task, 0) | step
        self._processes[footprint.process] = self._processes.get(footprint.process, 0) | step
        for process in footprint.disturbs:
            self._disturbing[process] = self._disturbing.get(process, 0) | step
        for touch in footprint.touches:
            parts = self._touching.setdefault(touch.thing, {})
            parts.setdefault((touch.start, touch.end), [0, 0, 0])[_kind(touch)] |= step

    def met_by(self, task: str, footprint: Footprint) -> Steps:
        met = self._all if footprint.everything else self._wild
        met |= self._processes.get(footprint.process, 0)
        met |= self._disturbing.get(footprint.process, 0)
        for process in footprint.disturbs:
            met |= self._processes.get(process, 0)
        for touch in footprint.touches:
            for (start, end), kinds in self._touching.get(touch.thing, {}).items():
                if touch.start < end and start < touch.end:
                    for kind, steps in enumerate(kinds):
                        # Who only looks, or only closes, does not meet the like.
                        met |= steps if kind != _kind(touch) or kind == _CHANGES else 0
        return met & ~self._tasks.get(task, 0)


_CHANGES = 2


def _kind(touch: Touch) -> int:
    return 1 if touch.closes else _CHANGES if touch.changes else 0


def members(steps: Steps) -> Iterator[int]:
    """The steps of a set, in order."""
    while steps:
        least = steps & -steps
        yield least.bit_length() - 1
        steps ^= least


Clock = Mapping[str, int]
"""For each process, how many of its steps are known to have come before."""

_GIVES = frozenset({Action.RELEASE, Action.SEND, Action.CLOSE, Action.CREATE, Action.UPDATE})
_TAKES = frozenset({Action.ACQUIRE, Action.RECEIVE, Action.OPEN, Action.WAIT, Action.UPDATE})
_WHOLE = -1


def clocks(events: Sequence[Event], pids: Mapping[int, str] | None = None) -> Iterator[Clock]:
    """The vector clock of each step, in the synchronisation order.

    A place that is ever the target of an atomic instruction is taken for a lock or a flag that
    others wait for, and plain loads and stores of it for what atomic ones are compiled to.

    Args:
        events: the steps of a run.
        pids: names of processes by the PIDs that waits return, for waits for any child.
    """
    atomic = atomic_places(events)
    known = _Known(pids or {})
    for event in events:
        yield known.follow(event, atomic=(event.object, event.offset) in atomic)


def atomic_places(events: Iterable[Event]) -> set[tuple[str, int]]:
    """Objects and offsets that are ever the target of an atomic instruction."""
    return {
        (event.object, event.offset)
        for event in events
        # A copy from one shared place to another is one step, and atomic at neither.
        if event.action is Action.UPDATE and event.call != "copy"
    }


def ordered(earlier: Event, later: Clock, clock: Clock) -> bool:
    """Whether a step had to come before the one with the clock `later`.

    Args:
        earlier: the step.
        later: the clock of the other one.
        clock: the clock of `earlier`.
    """
    process = process_of(earlier.process)
    return later.get(process, 0) >= clock[process]


class _Known:
    """What each process, and each thing through which they speak, has heard of."""

    def __init__(self, pids: Mapping[int, str]) -> None:
        self._pids = pids
        self._processes: dict[str, dict[str, int]] = {}
        self._things: dict[str, dict[int, dict[str, int]]] = {}
        self._parents: dict[str, str] = {}
        self._births = 0

    def follow(self, event: Event, *, atomic: bool) -> Clock:
        process = process_of(event.process)
        mine = self._processes.setdefault(process, {})
        mine[process] = mine.get(process, 0) + 1
        failed = event.result is not None and event.result < 0
        if not failed:
            self._hear(event, process, mine, atomic=atomic)
        clock = mine.copy()
        if not failed:
            self._tell(event, process, clock, atomic=atomic)
        return clock

    def _hear(self, event: Event, process: str, mine: dict[str, int], *, atomic: bool) -> None:
        if event.action is Action.WAIT and event.object != process:
            for child in self._ended(event):
                _join(mine, self._processes.get(child, {}))
        if event.action is Action.DELIVER or event.object == process:
            _join(mine, self._thing(_signals(process)).get(_WHOLE, {}))
        if _is(event, _TAKES) or (atomic and event.action is Action.READ):
            thing = self._thing(event.object)
            for place, clock in thing.items():
                if place in (_place(event), _WHOLE) or _place(event) == _WHOLE:
                    _join(mine, clock)

    def _tell(self, event: Event, process: str, clock: Clock, *, atomic: bool) -> None:
        if event.action is Action.FORK:
            self._births += 0 if event.object else 1
            child = event.object or f"P{self._births}"
            self._parents[child] = process
            _join(self._processes.setdefault(child, {}), clock)
        elif event.action is Action.SIGNAL:
            for receiver in event.object.split():
                self._give(_signals(receiver), _WHOLE, clock)
        elif event.action is Action.EXIT:
            self._give(_signals(self._parents.get(process, "")), _WHOLE, clock)
        elif _is(event, _GIVES) or (atomic and event.action is Action.WRITE):
            self._give(event.object, _place(event), clock)
        for thing in event.also:
            self._give(thing, _WHOLE, clock)

    def _ended(self, event: Event) -> Sequence[str]:
        if event.call == "wait4" and event.result == 0:  # a look (WNOHANG) that found none
            return ()
        names = event.object.split()
        taken = self._pids.get(event.result or 0)
        return (taken,) if len(names) > 1 and taken else names

    def _thing(self, name: str) -> dict[int, dict[str, int]]:
        return self._things.setdefault(name, {})

    def _give(self, name: str, place: int, clock: Clock) -> None:
        _join(self._thing(name).setdefault(place, {}), clock)


def _join(clock: dict[str, int], other: Clock) -> None:
    for process, count in other.items():
        if clock.get(process, 0) < count:
            clock[process] = count


def _is(event: Event, actions: frozenset[Action]) -> bool:
    return event.action in actions and event.call != "copy"


def _place(event: Event) -> int:
    """Semaphores of one set, and words of one page, have nothing to do with one another."""
    return event.offset if 0 < event.size <= 8 else _WHOLE  # noqa: PLR2004  # a machine word


def _signals(process: str) -> str:
    return f"the signals of {process}"
