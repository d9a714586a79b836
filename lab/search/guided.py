"""Guided: lead one program through the steps of another, and see where it waits.

A bug and its fix do the same things to the same data, and the fix does some more around them: it
takes a lock, it waits for a message. So the schedule of the bug, which counts steps, means nothing
for the fix; the order in which data are touched does. Whoever touches them next in the bug's run is
moved until it has done so, and where it cannot, something holds it back: there the fix waits. Who
asks again and again for what it does not get waits as well, although it could move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.search.idling import Idling
from lab.search.strategy import Pending, Point
from lab.trace import Event, Trace


@dataclass(frozen=True)
class Wait:
    """A process that should have moved and could not."""

    step: int
    """Before which step."""
    pending: Pending
    """What it stood before."""


class Guided:
    """One run along the steps of another program.

    Args:
        steps: what was done there, in order. Who, how and to what counts, and not with which
            value.
    """

    def __init__(self, steps: Sequence[Event]) -> None:
        self._left = [(event.process, event.action, event.object) for event in steps]
        self.waits: list[Wait] = []
        self._seen: set[str] = set()
        self._begun = False
        self._idling = Idling()

    def begin(self) -> bool:
        """Ready once."""
        self._begun, before = True, self._begun
        return not before

    def choose(self, point: Point) -> int:
        """Who comes next in the other run; where that one cannot move, the next after it."""
        for event in point.happened:
            done = (event.process, event.action, event.object)
            if done in self._left:
                self._left.remove(done)
        self._idling.follow(point.happened)
        enabled = [pending.process for pending in point.enabled]
        blocked = {pending.process: pending for pending in point.blocked}
        self._seen |= {*enabled, *blocked}
        for process, _, _ in self._left:
            if process in enabled and self._idling.waits(process):
                self._note(Wait(point.step, point.enabled[enabled.index(process)]))
                return self._busy(point)
            if process in enabled:
                return enabled.index(process)
            if process in blocked:
                self._note(Wait(point.step, blocked[process]))
                break  # let go on whoever holds it back: the default order does
            if process not in self._seen:
                return self._parent(point)
        return point.default

    def _busy(self, point: Point) -> int:
        """Who may change something: the default, unless it is one that only asks."""
        order = (point.default, *range(len(point.enabled)))
        busy = (i for i in order if not self._idling.waits(point.enabled[i].process))
        return next(busy, point.default)

    def _parent(self, point: Point) -> int:
        """Who may be about to fork a process that is not born yet: one that is not led itself."""
        led = {process for process, _, _ in self._left}
        others = (i for i, each in enumerate(point.enabled) if each.process not in led)
        return next(others, point.default)

    def end(self, trace: Trace) -> None:
        """Nothing is learnt."""

    def _note(self, wait: Wait) -> None:
        """Each wait once, however many steps it lasts."""
        if all(wait.pending != known.pending for known in self.waits):
            self.waits.append(wait)
