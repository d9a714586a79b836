"""Who waits for whom in a run that had to be stopped: where `deadlock` and `hang` part.

Each process that sleeps without a time limit belongs to one group at most, so the two detectors
cannot report it twice:

- a *knot*: processes that could only be released by one another;
- a *stall*: processes whose release depends on nobody that is known to be alive;
- and the *followers* of either, who could only be released by those in it. They are named with
  it, for the reader looks for them, but they are not what is wrong.

A run can be late without either: then something in it still moves, and whoever sleeps may only
be waiting for that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lab.detect.naming import stable_name
from lab.detect.wording import born
from lab.trace import Blocked, Ending, Trace

_CHILD_WAITS = frozenset({"wait4", "waitid", "waitpid"})


@dataclass(frozen=True)
class Group:
    """Processes that sleep for one reason, and those who wait for them."""

    causes: tuple[Blocked, ...]
    followers: tuple[Blocked, ...]

    @property
    def processes(self) -> tuple[str, ...]:
        """Logical names, the causes first."""
        return tuple(blocked.process for blocked in (*self.causes, *self.followers))


@dataclass(frozen=True)
class Standstill:
    """Why a run did not end."""

    knots: tuple[Group, ...] = ()
    stalls: tuple[Group, ...] = ()
    moving: tuple[str, ...] = ()
    """Processes alive that do not sleep for good: they compute, or their sleep has a limit."""


def standstill(trace: Trace) -> Standstill:
    """Explain a run that was stuck or late; for any other ending there is nothing to explain.

    A run that the user interrupted, or that was stopped because it made too many processes, was
    still on its way: that somebody slept at that moment proves nothing.
    """
    if trace.ending not in (Ending.STUCK, Ending.TIMED_OUT):
        return Standstill()
    alive = {process.name for process in trace.processes if process.ended is None}
    authors = {process.name for process in trace.processes if not process.helper}
    asleep = {
        blocked.process: blocked
        for blocked in trace.blocked
        if not blocked.timed and blocked.process in authors
    }
    releasers = {name: _releasers(trace, blocked, alive) for name, blocked in asleep.items()}

    knots = _knots(releasers)
    moving = (alive & authors) - asleep.keys()
    if not knots and not moving and trace.ending is Ending.STUCK:
        knots = _all_asleep(asleep)

    taken: set[str] = set()
    knotted = [_group(trace, asleep, releasers, knot, taken) for knot in knots]
    stalls: dict[str, list[str]] = {}
    for name, blocked in asleep.items():
        if name not in taken and not releasers[name]:
            stalls.setdefault(subject_of(blocked), []).append(name)
    stalled = [_group(trace, asleep, releasers, stall, taken) for stall in stalls.values()]
    return Standstill(tuple(knotted), tuple(stalled), born(trace, moving))


def subject_of(blocked: Blocked) -> str:
    """What a process waits for, by a name that the next run gives it too."""
    return stable_name(blocked.object) or blocked.waits_for or blocked.call


def _releasers(trace: Trace, blocked: Blocked, alive: Collection[str]) -> frozenset[str]:
    """The only processes that could release this one; empty if that is nobody, or unknown.

    The sleeper itself is none of them, though it may well hold the other end of its own pipe.
    """
    on: Collection[str] = blocked.on
    if not on and blocked.call in _CHILD_WAITS:
        on = [process.name for process in trace.processes if process.parent == blocked.process]
    return frozenset(on) & frozenset(alive) - {blocked.process}


def _knots(releasers: dict[str, frozenset[str]]) -> list[frozenset[str]]:
    """The knots of the graph of who waits for whom: sets that are left by no edge.

    A cycle alone proves nothing, for any one of a process's releasers would do: each must find
    *all* of its releasers among those who can never be released. Nor is every such cycle a
    cause: one with an edge to another knot would be released when that one is mended.
    """
    closed = {name for name, on in releasers.items() if on}
    while open_ended := {name for name in closed if not releasers[name] <= closed}:
        closed -= open_ended
    reach = {name: _reachable(name, releasers) for name in releasers if name in closed}
    knots = (ahead for ahead in reach.values() if all(reach[name] == ahead for name in ahead))
    return list(dict.fromkeys(knots))


def _reachable(start: str, releasers: dict[str, frozenset[str]]) -> frozenset[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        for name in releasers[ahead.pop()] - found:
            found.add(name)
            ahead.append(name)
    return frozenset(found)


def _all_asleep(asleep: dict[str, Blocked]) -> list[frozenset[str]]:
    """Everybody sleeps, on different things: each could only be woken by another sleeper.

    That is a deadlock by its definition even where the kernel does not tell who would have
    come: the opener of the other end of a FIFO has no name yet. Those who all wait for the
    *same* thing lack someone who was never there, and that is a hang. Waiting for a child's
    exit is no share in it: a parent does nothing else when a child of its hangs.
    """
    sleepers = {b.process: b.object for b in asleep.values() if b.call not in _CHILD_WAITS}
    different = {thing for thing in sleepers.values() if thing}
    return [frozenset(sleepers)] if len(different) > 1 else []


def _group(
    trace: Trace,
    asleep: dict[str, Blocked],
    releasers: dict[str, frozenset[str]],
    causes: Collection[str],
    taken: set[str],
) -> Group:
    taken.update(causes)
    group = set(causes)
    while more := {name for name in asleep.keys() - taken if releasers[name] & group}:
        group |= more
        taken |= more
    followers = group - set(causes)
    return Group(
        tuple(asleep[name] for name in born(trace, causes)),
        tuple(asleep[name] for name in born(trace, followers)),
    )
