"""Auto: what is quick to try first, then every trace if they seem few enough, else chance.

Small programs are best searched systematically, which ends and then is a proof; in large ones that
never leaves the first corner it comes to. Which of both a program is shows when the search has
begun. And a bug in either is mostly found sooner by aiming at reads that find something new. So a
search begins with both in turn, and then goes on with what looks better within the number of runs
that it may make.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from lab.search.dpor import Dpor
from lab.search.foresight import Foreseeable
from lab.search.pct import Pct
from lab.search.pos import Pos
from lab.search.reads_from import ReadsFrom

if TYPE_CHECKING:
    from lab.search.strategy import Point
    from lab.trace import Trace

_OPENING = "sasaasaassssss"
"""Systematic and aimed runs; after that the estimate of how many traces there are is trusted."""


class Auto:
    """DPOR beside aimed and random runs, until it is known which of them suits the program.

    Args:
        seed: where random choices begin.
        schedules: how many runs will be made at most.
    """

    def __init__(self, seed: int, schedules: int = 100) -> None:
        self._left = schedules
        self._systematic, self._aimed, self._pct = Dpor(), ReadsFrom(), Pct(seed)
        self._opening = list(_OPENING)
        self._others: tuple[Foreseeable, ...] = (self._aimed, Pos(seed), self._aimed, self._pct)
        self._turns = 0
        self._current: Foreseeable = self._systematic
        self._first = True
        self._too_many = self._over = False

    @property
    def exhausted(self) -> bool:
        """The systematic search has come to its end."""
        return self._systematic.exhausted

    @property
    def scope(self) -> str:
        """What that means."""
        return self._systematic.scope

    def begin(self) -> bool:
        """Decide which search makes the next run; False when every trace was run."""
        while not self._over:
            self._current = self._next()
            if self._current.begin():
                return True
            # The others have no end, or one that says nothing.
            self._over = self._current is self._systematic
        return False

    @property
    def which(self) -> Hashable:
        """Whose turn it is, and which of its runs."""
        return (type(self._current).__name__, self._current.which)

    def pass_over(self) -> None:
        """As that search does."""
        self._left -= 1
        self._current.pass_over()

    def choose(self, point: Point) -> int:
        """As the search whose turn it is."""
        return self._current.choose(point)

    def end(self, trace: Trace) -> None:
        """Let that search learn, and PCT how long runs are."""
        self._left -= 1
        self._current.end(trace)
        if self._current is not self._pct:
            self._pct.end(trace)
        if self._first:
            # The default order, which is where the aimed search begins as well.
            self._first = False
            self._aimed.begin()
            self._aimed.end(trace)

    def _next(self) -> Foreseeable:
        if self._opening:
            return self._systematic if self._opening.pop(0) == "s" else self._aimed
        missing = self._systematic.estimate - self._systematic.executions
        self._too_many |= missing > self._left
        # With runs to spare, others in between may find sooner what is there. The estimate grows
        # while the search goes on, so there must be many.
        to_spare = missing * 10 <= self._left and self._current is self._systematic
        if not (self._too_many or to_spare):
            return self._systematic
        self._turns += 1
        return self._others[(self._turns - 1) % len(self._others)]
