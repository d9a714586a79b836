"""The course of a run: its choices, what each did, and who stood before what at each moment.

A search that reasons about a run wants more than its events. A choice may bring several (a signal
that arrives, a sleeper that wakes), and some of its consequences are no event at all: that a task
is there now, or gone, or stands before something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lab.search.dependence import Footprint, Footprints, process_of
from lab.search.happens_before import Order, Steps
from lab.search.idling import Idling
from lab.search.strategy import Pending, Point
from lab.trace import Action, Blocked, Event, Trace


@dataclass
class Choice:
    """A choice of the run, and what came of it."""

    point: Point
    pending: Pending
    arrived: int
    """At which choice its task had come to stand before this operation."""
    waited: bool
    """Its task had idled for so long that it is taken to have waited."""
    events: tuple[Event, ...] = ()
    certain: Steps = 0
    """What it comes after, whatever it meets."""

    @property
    def event(self) -> Event | Pending:
        """What the task itself did."""
        task = self.pending.process
        return next((event for event in self.events if event.process == task), self.pending)


@dataclass(frozen=True)
class Wanted:
    """A step that might have come earlier than it did."""

    operation: Event | Pending
    footprint: Footprint
    meets: Steps
    certain: Steps
    arrived: int
    waited: bool
    taken: bool
    """It was taken in the run; or else its task stood before it to the end, its own or the run's.
    """


class Course:
    """The present run, as far as it has come."""

    def __init__(self) -> None:
        self.choices: list[Choice] = []
        self.order = Order()
        """Of the choices whose consequences are known."""
        self.idling = Idling()
        self._footprints = Footprints()
        self._arrived: dict[str, int] = {}
        self._standing: Mapping[str, Pending] = {}
        self._killed: list[Wanted] = []

    def take_back(self, point: Point) -> bool:
        """Forget the last choice if the point says that it was none; says whether it was."""
        if self.choices and self.choices[-1].point.step == point.step:
            self.choices.pop()
            return True
        return False

    def choose(self, point: Point, index: int) -> None:
        """A choice was made."""
        pending = point.enabled[index]
        arrived = self._arrived.get(pending.process, 0)
        waited = self.idling.waits(pending.process)
        self.choices.append(Choice(point, pending, arrived, waited))

    def come_to(self, point: Point, meets: Steps | None = None) -> None:
        """Take in what the last choice did.

        Args:
            point: where the run has come to.
            meets: what that choice depends on, if it is known from an earlier run.
        """
        self._absorb(point.happened, standing(point), meets)

    def come_to_end(self, trace: Trace) -> None:
        """Take in what the last choice did, and who waits when the run is over."""
        if self.choices:
            last = self.choices[-1]
            left = standing(last.point)
            del left[last.pending.process]
            left |= {b.process: p for b in trace.blocked if (p := _pending(b)) is not None}
            self._absorb(trace.events[last.point.step :], left, None)

    def wanted(self) -> list[Wanted]:
        """All steps, taken or not, that might come earlier in another run."""
        order = self.order
        taken = [
            Wanted(
                choice.event,
                # Earlier it may have failed, or not have failed.
                order.footprints[index] + self._announced(choice.pending),
                order.meets[index],
                choice.certain,
                choice.arrived,
                choice.waited,
                taken=True,
            )
            for index, choice in enumerate(self.choices[: len(order)])
        ]
        return taken + self._killed + [self._never_taken(p) for p in self._standing.values()]

    def _absorb(
        self, events: Sequence[Event], now: Mapping[str, Pending], meets: Steps | None
    ) -> None:
        if self.choices:
            choice, order = self.choices[-1], self.order
            task = choice.pending.process
            choice.events = tuple(events)
            footprint = self._footprint(choice)
            # Whoever stands elsewhere without having been asked was moved by this step: born by
            # it, woken by it, or let go by the kernel because of it.
            movers = [
                each for each in now if each != task and self._standing.get(each) != now[each]
            ]
            movers += self.idling.follow(events)
            self._killed += [
                replace(killed, meets=killed.meets | 1 << len(order))
                for each, pending in self._standing.items()
                if each != task and each not in now
                for killed in [self._never_taken(pending)]
            ]
            choice.certain = order.before(task, footprint)
            order.append(task, footprint, movers=movers, meets=meets)
            for mover in (task, *movers):
                self._arrived[mover] = len(order)
        self._standing = now

    def _footprint(self, choice: Choice) -> Footprint:
        footprint = Footprint(process_of(choice.pending.process))
        for event in choice.events:
            footprint += self._footprints.follow(event)
        own = (event for event in choice.events if event.process == choice.pending.process)
        if choice.pending.waits and all(event.action is Action.DELIVER for event in own):
            # A signal came first. Whether that breaks a wait depends on there being one.
            footprint += self._announced(choice.pending)
        return footprint

    def _announced(self, pending: Pending) -> Footprint:
        return replace(self._footprints.of(pending), joins="")

    def _never_taken(self, pending: Pending) -> Wanted:
        task, footprint = pending.process, self._footprints.of(pending)
        return Wanted(
            pending,
            footprint,
            self.order.met_by(task, footprint),
            self.order.before(task, footprint),
            self._arrived.get(task, 0),
            self.idling.waits(task),
            taken=False,
        )


def standing(point: Point) -> dict[str, Pending]:
    """Who stands before what."""
    return {pending.process: pending for pending in (*point.enabled, *point.blocked)}


def _pending(blocked: Blocked) -> Pending | None:
    """What a task that waits at the end stands before; None: it is inside a call, and has acted."""
    event = blocked.operation
    if event is None:
        return None
    return Pending(
        event.process,
        event.action,
        event.object,
        event.offset,
        event.size,
        event.also,
        event.waits,
        event.timed,
    )
