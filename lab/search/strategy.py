"""The one interface of every strategy: begin a schedule, choose at each step, see the result.

A strategy never touches a process. It is told who could move and answers who does, so a toy
model can drive it in a test exactly as the controller does with real processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from lab.trace import Action, Event, Trace


class Pruned(Exception):  # noqa: N818  # no error: what could come of this run is known already
    """Raised by `choose`: this run can be abandoned, for it would repeat others.

    The strategy has then learnt from it what there is to learn: the next call is `begin`, without
    an `end`, and the run counts for nothing but the time that it took.
    """


@dataclass(frozen=True, slots=True)
class Pending:
    """The operation that a task will perform when it is chosen."""

    process: str
    action: Action
    object: str
    """As in `Event`; "" for an operation that touches nothing shared."""
    offset: int = 0
    size: int = 0
    also: tuple[str, ...] = ()
    """Further objects that it changes, as in `Event`."""
    waits: bool = False
    """It waits until it can go through, and is not enabled before."""
    timed: bool = False
    """It has a time limit, as in `Event`."""


@dataclass(frozen=True, slots=True)
class Point:
    """A moment at which a task must be chosen. Only enabled tasks are in it."""

    step: int
    """How many steps have been taken."""
    enabled: tuple[Pending, ...]
    """In order of birth; never empty."""
    default: int
    """Index of the task that the default order takes: the one that moved last if it still can
    (and does not sleep), else the first that does not sleep, else the earliest sleeper."""
    last: str
    """Who moved last; "" at the first step."""
    blocked: tuple[Pending, ...] = ()
    """What tasks stand before that cannot move now, in order of birth."""
    happened: tuple[Event, ...] = ()
    """The steps since the last point: what was chosen there did, and what followed by itself.
    None, if the choice turned out to be blocked: then it was taken back."""

    @property
    def preempts(self) -> bool:
        """Whether any other choice than the default leaves a task that could go on."""
        return self.enabled[self.default].process == self.last


class Strategy(Protocol):
    """Chooses one schedule after another."""

    def begin(self) -> bool:
        """Make ready for the next run; False: there is nothing left to try."""

    def choose(self, point: Point) -> int:
        """The index, in `point.enabled`, of the task that moves.

        Raises Pruned to abandon the run.
        """

    def end(self, trace: Trace) -> None:
        """Learn from the run that the choices led to."""


@runtime_checkable
class Systematic(Strategy, Protocol):
    """A strategy that can come to an end, and then knows that nothing in its scope was left out."""

    @property
    def exhausted(self) -> bool:
        """Every interleaving in the scope was run, each to its end."""

    @property
    def scope(self) -> str:
        """What was exhausted, in words that follow "proved for": a fix holds that far."""
