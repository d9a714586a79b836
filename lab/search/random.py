"""Random: at every point each enabled task is as likely as any other.

The baseline that every cleverer strategy has to beat, and hard to beat on small programs. Its
weakness is depth: to keep one task still for k steps of n others takes luck of (n-1)^k in n^k.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.search.strategy import Point
    from lab.trace import Trace


class Random:
    """Uniform choice, without end."""

    independent = True
    """Run k follows from the seed and k alone, see `lab.search.shard`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._run = 0
        self._generator = random.Random()  # noqa: S311  # seeded before the first choice

    def begin(self) -> bool:
        """Always ready: it never knows whether it has seen everything."""
        # Seeded anew for each run, so that run 97 can be had without the 96 before it, on
        # another machine or in another shard. By text, since seeding with a tuple would use a
        # hash, and hashes differ from process to process.
        self._generator.seed(f"{self._seed}:{self._run}")
        self._run += 1
        return True

    @property
    def which(self) -> int:
        """The number of the run."""
        return self._run

    def pass_over(self) -> None:
        """Nothing is learnt anyway."""

    def choose(self, point: Point) -> int:
        """Any of them."""
        return self._generator.randrange(len(point.enabled))

    def end(self, trace: Trace) -> None:
        """Nothing is learnt."""
