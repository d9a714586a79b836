"""Bounded: every schedule with no preemption, then every one with one, and so on up to a bound.

To leave a task that could go on costs 1; to choose when nobody is left in the middle of something
costs nothing. Most bugs need very few preemptions, and there are far fewer such schedules than
interleavings (Musuvathi & Qadeer, PLDI 2007). The first failure is one with the fewest preemptions
that there is.

A schedule is kept as its deviations from the default order. Each run adds, for every step after
its last deviation, the schedules that deviate there too; so each is run once.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from lab.search.idling import PATIENCE, Idling
from lab.search.replay import Diverged, Unlike, sameness
from lab.search.strategy import Pruned
from lab.trace import Ending

if TYPE_CHECKING:
    from lab.search.strategy import Point
    from lab.trace import Event, Trace

Deviations = tuple[tuple[int, str], ...]
"""Steps, ascending, each with who moves instead of the default."""
Planned = tuple[Deviations, int]
"""With a checksum of the steps before the last of them, as they were when it was planned."""


class Bounded:
    """Iterative preemption bounding.

    Args:
        preemptions: the bound.
    """

    def __init__(self, preemptions: int = 2) -> None:
        if preemptions < 0:
            raise ValueError(f"the bound must be 0 or more, not {preemptions}")
        self.preemptions = preemptions
        self.executions = 0
        """Runs that went to their end, each with another schedule."""
        self.redundant = 0
        """Runs that were abandoned: what they wanted to choose could not be had."""
        self._open: list[list[tuple[Deviations, int]]] = [
            [((), 0)],
            *([] for _ in range(preemptions)),
        ]
        """What is still to be run, by cost."""
        self._deviations: Deviations = ()
        self._over = self._gave_way = self._cut = False

    @property
    def exhausted(self) -> bool:
        """Every schedule within the bound was run."""
        return self._over and not self._cut

    @property
    def scope(self) -> str:
        """What that means."""
        bound = f"at most {self.preemptions} preemption{'s' if self.preemptions > 1 else ''}"
        bound = bound if self.preemptions else "no preemption"
        idle = f"; who idles for {PATIENCE} steps gives way" if self._gave_way else ""
        return f"every schedule with {bound}{idle}"

    def begin(self) -> bool:
        """Take one of the schedules that cost least."""
        for cost, schedules in enumerate(self._open):
            if schedules:
                self._cost, (self._deviations, self._planned) = cost, schedules.pop()
                self._followed = dict(self._deviations)
                self._last = self._deviations[-1][0] if self._deviations else -1
                self._further: dict[int, tuple[int, list[tuple[int, str]]]] = {}
                self._checksum = 0
                self._idling = Idling()
                self._at = -1
                return True
        self._over = True
        return False

    @property
    def which(self) -> Deviations:
        """The deviations that the run begins with."""
        return self._deviations

    def pass_over(self) -> None:
        """As if no schedule deviated from it further: what is open stays open."""

    def choose(self, point: Point) -> int:
        """Who moves by the schedule.

        Raises Pruned where it names a task that turned out to be blocked, and Diverged where it
        names one that is not there, or the program did not repeat the steps before that.
        """
        self._idling.follow(point.happened)
        for event in point.happened:
            self._checksum = _checksum(event, self._checksum)
        if point.step == self._last and self._checksum != self._planned:
            raise Unlike(point.step)
        tried, self._at = self._at == point.step, point.step
        names = [pending.process for pending in point.enabled]
        if point.step in self._followed:
            wanted = self._followed[point.step]
            if wanted in names:
                return names.index(wanted)
            if tried:
                self.redundant += 1
                raise Pruned
            raise Diverged(point.step, f"a step of {wanted}", f"a choice of {' or '.join(names)}")
        default, others, free = self._alternatives(point, names)
        if point.step > self._last:
            cost = self._cost + (0 if free else 1)
            self._further[point.step] = (self._checksum, [(cost, name) for name in others])
        return default

    def _alternatives(self, point: Point, names: list[str]) -> tuple[int, list[str], bool]:
        """The default, who else could move, and whether to let one of these move is free."""
        idle = [name for name in names if self._idling.waits(name)]
        busy = [name for name in names if name not in idle]
        default = names[point.default]
        if not busy:  # nobody is there to change what they wait for
            return point.default, [], True
        if default in busy:
            return point.default, [name for name in busy if name != default], not point.preempts
        self._gave_way = True
        return names.index(busy[0]), busy[1:], True

    def end(self, trace: Trace) -> None:
        """Keep the schedules that deviate from this one at a later step."""
        self.executions += 1
        if trace.ending not in (Ending.COMPLETED, Ending.STUCK):
            self._cut = True
        for step, (checksum, choices) in self._further.items():
            for cost, name in choices:
                if cost <= self.preemptions:
                    self._open[cost].append(((*self._deviations, (step, name)), checksum))


def _checksum(event: Event, before: int) -> int:
    return zlib.crc32(repr(sameness(event)).encode("utf-8", "surrogatepass"), before)
