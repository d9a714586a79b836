"""Deadlock: processes each of which could only be released by another of them.

That is Tanenbaum's definition, and it is a defect by itself: no time limit and no luck of the
scheduler ends it. It takes one of two proofs, since the kernel does not always tell who could
release a sleeper: a closed cycle of who waits for whom; or a run in which every process sleeps
without a time limit, on at least two different objects.

Not reported here: processes that all wait for one object that nobody serves, or one that waits
alone (`hang`), and any wait with a time limit, for it ends. A parent that waits for the exit of
a deadlocked child is named last: it is held up, but it is not what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.detect.holds import Hold, holds
from lab.detect.naming import stable_name
from lab.detect.standstill import Group, standstill
from lab.detect.wording import labels, listed, sleep
from lab.finding import Finding, Kind
from lab.trace import Trace

_TAKES = ("sem", "futex", "flock", "fcntl", "open")
"""How the calls begin that take something: who waits for data or for an exit takes nothing."""


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding for each set of processes that wait for one another."""
    for knot in standstill(trace).knots:
        things = sorted({stable_name(b.object) for b in knot.causes if b.object})
        held = _held(trace, knot)
        yield Finding(
            Kind.DEADLOCK,
            ", ".join(things) or ", ".join(b.process for b in knot.causes),
            f"{labels(trace, [b.process for b in knot.causes])} sleep for ever: each waits for "
            f"something that only another of them could bring.",
            processes=knot.processes,
            advice=_advice(knot, things),
            details=tuple(_details(trace, knot, held)),
            key_steps=tuple(hold.since.step for hold in held),
        )


def _held(trace: Trace, knot: Group) -> list[Hold]:
    """What each of them holds that another of them waits for, where the steps are known."""
    return [
        hold
        for hold in holds(trace.events)
        if any(blocked.process == hold.process for blocked in knot.causes)
        and any(
            blocked.object in (hold.name, hold.object)
            for blocked in knot.causes
            if blocked.process != hold.process
        )
    ]


def _details(trace: Trace, knot: Group, held: list[Hold]) -> Iterator[str]:
    members = {blocked.process for blocked in knot.causes}
    for blocked in knot.causes:
        others = [name for name in blocked.on if name in members - {blocked.process}]
        only = f"only {listed(others)} could bring it" if others else "all others sleep"
        yield f"{sleep(trace, blocked)}; {only}"
        yield from (
            f"{hold.process} holds {hold.name} since step {hold.since.step}"
            f"{f' ({hold.since.where})' if hold.since.where else ''}"
            for hold in held
            if hold.process == blocked.process
        )
    for blocked in knot.followers:
        yield f"{sleep(trace, blocked)}: held up by this"


def _advice(knot: Group, things: list[str]) -> str:
    if len(things) > 1 and all(blocked.call.startswith(_TAKES) for blocked in knot.causes):
        return (
            f"Let every process take them in the same order, for example {', then '.join(things)}."
        )
    return (
        "Break the cycle: one of them must act before it waits, or wait with a time limit; close "
        "the ends of pipes that a process does not use."
    )
