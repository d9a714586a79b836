"""POS, partial order sampling: random priorities for operations, not for tasks.

Each pending operation has a random priority, and the highest goes. After a step, the priorities of
the operations that race with it are drawn again: their order against it is decided, and their order
among each other should not follow from the same numbers. So a partial order is sampled the more
evenly the fewer its races are, and steps that do not matter to one another cost no luck (Yuan,
Yang & Gu, CAV 2018).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from lab.search.dependence import Footprints, dependent

if TYPE_CHECKING:
    from lab.search.strategy import Point
    from lab.trace import Trace


class Pos:
    """Random priorities of operations, without end."""

    independent = True
    """Run k follows from the seed and k alone, see `lab.search.shard`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._run = 0
        self._generator = random.Random()  # noqa: S311  # seeded before the first choice

    def begin(self) -> bool:
        """Always ready: it never knows whether it has seen everything."""
        self._generator.seed(f"{self._seed}:{self._run}")
        self._run += 1
        self._priorities: dict[str, float] = {}
        self._footprints = Footprints()
        return True

    @property
    def which(self) -> int:
        """The number of the run."""
        return self._run

    def pass_over(self) -> None:
        """Nothing is learnt anyway."""

    def choose(self, point: Point) -> int:
        """The operation with the highest priority."""
        for event in point.happened:
            self._footprints.follow(event)
        footprints = {
            pending.process: self._footprints.of(pending)
            for pending in (*point.enabled, *point.blocked)
        }
        for task in footprints:
            if task not in self._priorities:
                self._priorities[task] = self._generator.random()
        highest = max(
            range(len(point.enabled)),
            key=lambda index: self._priorities[point.enabled[index].process],
        )
        chosen = footprints[point.enabled[highest].process]
        for task, footprint in footprints.items():
            if dependent(chosen, footprint):  # itself too: its next operation is another
                del self._priorities[task]
        return highest

    def end(self, trace: Trace) -> None:
        """Nothing is learnt."""
