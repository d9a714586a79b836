"""Auto: a few runs of each kind, then every trace if they seem few enough, else chance.

Small programs are best searched systematically, which ends and then is a proof; in large ones that
never leaves the first corner it comes to. Which of both a program is shows when the search has
begun: so it begins with both in turn, then goes on with what looks better within the number of runs
that it may make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.search.dpor import Dpor
from lab.search.pct import Pct
from lab.search.pos import Pos

if TYPE_CHECKING:
    from lab.search.strategy import Point, Strategy
    from lab.trace import Trace

_TRIALS = 8
"""Runs of the systematic search before its estimate is trusted."""


class Auto:
    """DPOR beside POS and PCT, until it is known which of them suits the program.

    Args:
        seed: where random choices begin.
        schedules: how many runs will be made at most.
    """

    def __init__(self, seed: int, schedules: int = 100) -> None:
        self._left = schedules
        self._systematic, self._pct = Dpor(), Pct(seed)
        self._by_chance: tuple[Strategy, ...] = (Pos(seed), self._pct)
        self._current: Strategy = self._systematic
        self._chances = 0
        self._endless = False
        """There are too many traces."""

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
        if self._chance_comes_next():
            self._current = self._by_chance[self._chances % len(self._by_chance)]
            self._chances += 1
        else:
            self._current = self._systematic
        return self._current.begin()

    def choose(self, point: Point) -> int:
        """As the search whose turn it is."""
        return self._current.choose(point)

    def end(self, trace: Trace) -> None:
        """Let that search learn, and PCT how long runs are."""
        self._left -= 1
        self._current.end(trace)
        if self._current is not self._pct:
            self._pct.end(trace)

    def _chance_comes_next(self) -> bool:
        systematic = self._systematic
        tried = systematic.executions + systematic.redundant
        if not self._endless and tried >= _TRIALS:
            self._endless = systematic.estimate - systematic.executions > self._left
        if self._endless:
            return True
        # The default order and its first reversal come first: many a bug needs no more.
        return 1 < tried < _TRIALS and self._current is systematic
