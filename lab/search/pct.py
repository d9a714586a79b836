"""PCT: strict priorities, drawn at random, and d-1 moments at which the highest is made the lowest.

A bug that needs d ordering constraints among n tasks and k steps is hit with a probability of at
least 1/(n·k^(d-1)) in each run, however the rest of the program behaves (Burckhardt, Kothari,
Musuvathi & Nagarakatte, ASPLOS 2010). Most bugs are shallow: d is 2 or 3.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from lab.search.idling import Idling

if TYPE_CHECKING:
    from lab.search.strategy import Point
    from lab.trace import Trace


class Pct:
    """Priorities with `depth` - 1 change points, without end.

    Args:
        seed: where the choices begin.
        depth: how many ordering constraints the bug is thought to need.
        steps: how long a run is, as far as that is known; the longest run seen counts from then
            on.
    """

    def __init__(self, seed: int, depth: int = 3, steps: int = 0) -> None:
        if depth < 1:
            raise ValueError(f"a bug has a depth of 1 or more, not {depth}")
        self._seed, self._depth, self._longest = seed, depth, steps
        self._run = 0
        self._generator = random.Random()  # noqa: S311  # seeded before the first choice

    def begin(self) -> bool:
        """Draw the change points: distinct steps of the run, in no order."""
        self._generator.seed(f"{self._seed}:{self._run}")
        self._run += 1
        steps = range(self._longest)
        points = self._generator.sample(steps, min(self._depth - 1, len(steps)))
        self._changes = {step: -rank for rank, step in enumerate(points, start=1)}
        self._priorities: dict[str, float] = {}
        self._idling = Idling()
        self._taken = 0
        self._lowest = -self._depth
        return True

    @property
    def which(self) -> tuple[int, int]:
        """The number of the run, and for how long a run its change points were drawn."""
        return self._run, self._longest

    def pass_over(self) -> None:
        """As if it had not been longer than the longest."""

    def choose(self, point: Point) -> int:
        """The task with the highest priority; at a change point it is the last time."""
        self._idling.follow(point.happened)
        if self._idling.waits(point.last):
            # Below everybody, and below those who were put there before.
            self._lowest -= 1
            self._priorities[point.last] = self._lowest
            self._idling.forget(point.last)
        for pending in (*point.enabled, *point.blocked):
            # Drawn from [0, 1), a newborn's rank among those without a change is any.
            self._priorities.setdefault(pending.process, self._generator.random())
        highest = max(
            range(len(point.enabled)),
            key=lambda index: self._priorities[point.enabled[index].process],
        )
        if self._taken in self._changes:
            self._priorities[point.enabled[highest].process] = self._changes[self._taken]
        self._taken += 1
        return highest

    def end(self, trace: Trace) -> None:
        """Learn how long runs are."""
        self._longest = max(self._longest, len(trace.events))
