"""Shards: every n-th run of a search, for strategies whose runs know nothing of one another.

Run k of such a strategy follows from the seed and from k alone. So n shards make between them the
very runs that one search would have made, and whoever puts them in order again gets its answer.
A strategy that learns from its runs cannot be divided so, for it would learn something else: its
runs are foreseen instead (see `lab.search.foresight`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.search.strategy import Point, Strategy
    from lab.trace import Trace


def divisible(strategy: Strategy) -> bool:
    """Whether the strategy says that its runs are independent of one another."""
    return getattr(strategy, "independent", False)


class Shard:
    """The runs `index`, `index + of`, `index + 2 * of`, ... of a strategy.

    Args:
        strategy: one that is divisible, and has made no run yet.
        index: which shard, from 0.
        of: how many there are.
    """

    def __init__(self, strategy: Strategy, index: int, of: int) -> None:
        self._strategy, self._of = strategy, of
        self._skipped = index
        self._next = index
        self.run = -1
        """The number of the run, in the whole search."""

    def begin(self) -> bool:
        """Pass over the runs of the other shards."""
        self.run = self._next
        self._next += self._of
        ready = all(self._strategy.begin() for _ in range(self._skipped + 1))
        self._skipped = self._of - 1
        return ready

    def choose(self, point: Point) -> int:
        """As the strategy does."""
        return self._strategy.choose(point)

    def end(self, trace: Trace) -> None:
        """Nothing is learnt, by anybody."""
