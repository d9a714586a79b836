"""Foresight: which runs a search will probably make after the one that it is at.

To make runs at the same time, somebody must know them before the search asks for them. A copy of
the search is told that the run which was begun has been made and has shown nothing new, and is
asked for the next; and so on. What a run does show may prove that wrong, and then the search asks
for another run than was foreseen. So this is a guess, which may cost time and never an answer.
"""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Iterator
from typing import Protocol, runtime_checkable

from lab.search.strategy import Strategy


@runtime_checkable
class Foreseeable(Strategy, Protocol):
    """A strategy that can tell its runs apart before they are made."""

    @property
    def which(self) -> Hashable:
        """What makes the run that was begun another than the rest; the same in every copy."""

    def pass_over(self) -> None:
        """Take the run that was begun as made, though nothing was learnt from it."""


def foreseen(strategy: Strategy) -> Iterator[tuple[Hashable, Foreseeable]]:
    """The next runs of a search that has begun one, each with a copy that has begun that.

    The copy is changed when the next one is asked for. None, if the strategy tells no runs apart.
    """
    if not isinstance(strategy, Foreseeable):
        return
    copy: Foreseeable = pickle.loads(pickle.dumps(strategy))  # noqa: S301  # just made
    copy.pass_over()
    while copy.begin():
        yield copy.which, copy
        copy.pass_over()
