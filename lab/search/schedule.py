"""A schedule: where a run left the default order, and how simple that makes it.

The default order never preempts: who moved last goes on while it can, and then the first in order
of birth that can. So a schedule is sparse, a list of the steps at which somebody else moved, and
that is what search, shrink, replay and the corpus all speak: shrinking removes deviations, and
what is left are the switches that matter.

A task may be chosen, turn out to be blocked, and be taken back: the next point then has the same
step. Only the last choice at a step counts, for only that one moved the program.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from lab.search.strategy import Pending, Point

Choose = Callable[[Point], int]
"""Answers who moves: an index into `point.enabled`."""


@functools.total_ordering
@dataclass(frozen=True)
class Schedule:
    """Deviations from the default order, and what they cost. The lesser of two is the simpler."""

    deviations: tuple[tuple[int, str], ...] = ()
    """Steps, ascending, each with the logical name of who moved instead of the default."""
    preemptions: int = 0
    """How many of them left a task that could have gone on: the rest chose among tasks when
    nobody could. It cannot be told from the steps alone, so it is kept."""

    def __post_init__(self) -> None:
        steps = [step for step, _ in self.deviations]
        if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
            raise ValueError(f"the steps of a schedule must ascend; these do not: {steps}")
        if not 0 <= self.preemptions <= len(steps):
            raise ValueError(f"{self.preemptions} preemptions in {len(steps)} deviations")

    @property
    def processes(self) -> int:
        """How many different tasks it moves out of turn."""
        return len({process for _, process in self.deviations})

    @property
    def simplicity(self) -> tuple[int, int, int, int]:
        """What makes it easier to understand than another, the most important first.

        Preemptions, processes, steps at which it says anything, and the last of these: after that
        the program runs by itself.
        """
        last = self.deviations[-1][0] + 1 if self.deviations else 0
        return (self.preemptions, self.processes, len(self.deviations), last)

    def __lt__(self, other: Schedule) -> bool:
        # The deviations last, so that two schedules of equal simplicity have an order too, and a
        # search does not depend on which it met first.
        return (self.simplicity, self.deviations) < (other.simplicity, other.deviations)


class Recorder:
    """Passes points on to a chooser and keeps what it chose: a schedule, once the run is over."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._deviations: dict[int, tuple[str, bool]] = {}
        self._operations: dict[int, Pending] = {}

    def __call__(self, point: Point) -> int:
        """Choose as the wrapped chooser does.

        Raises IndexError if that names a task that is not there.
        """
        choice = self._choose(point)
        if not 0 <= choice < len(point.enabled):
            raise IndexError(f"choice {choice} of {len(point.enabled)} at step {point.step}")
        chosen = point.enabled[choice]
        self._operations[point.step] = chosen
        if choice == point.default:
            self._deviations.pop(point.step, None)
        else:
            self._deviations[point.step] = (chosen.process, point.preempts)
        return choice

    @property
    def chooser(self) -> Choose:
        """Who is asked."""
        return self._choose

    @property
    def schedule(self) -> Schedule:
        """The schedule that repeats these choices."""
        return Schedule(
            tuple((step, process) for step, (process, _) in self._deviations.items()),
            sum(preempted for _, preempted in self._deviations.values()),
        )

    def operations(self, steps: int) -> tuple[Pending, ...]:
        """What was chosen in a run of that many steps, in order.

        Not every step was chosen: a signal that arrives is one too.
        """
        return tuple(chosen for step, chosen in self._operations.items() if step < steps)
