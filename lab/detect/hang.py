"""Hang: a run that had to be stopped because something it waited for never came.

A program that does not end has no result, whatever the rest of it did right. What is wrong is
the wait that nobody will ever end, so the finding is about its object: a FIFO without a reader,
a queue without a sender. Whoever waits for *that* process (a parent in waitpid) is named, but is
no finding of its own: mend the first and the second moves.

Not reported here: processes that wait for one another (`deadlock`), and a wait with a time
limit. Nor, as a finding of its own, a process that was still moving when another sleeps for
good: a parent that polls is the usual case, and it is named in the details. Only a late run in
which nobody sleeps for good is blamed on those that move; and not under control, where each step
costs the lab's time, so that being late proves nothing about the program.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.detect.standstill import Group, Standstill, standstill, subject_of
from lab.detect.wording import labels, seconds, sleep
from lab.finding import Finding, Kind
from lab.trace import Ending, Trace

_BY_CALL = {
    "open": "Open it with O_NONBLOCK and try again until a deadline, or see to it that the other "
    "end is opened also when its process fails.",
    "read": "Close every copy of the writing end that is not used, the reader's own too: only then "
    "does the reader see the end; or wait with a time limit.",
    "flock": "Release the lock on every path, or take it with a time limit.",
}
_BY_CALL["openat"] = _BY_CALL["open"]
_BY_CALL["readv"] = _BY_CALL["read"]
_OTHERWISE = (
    "Give the wait a time limit, and see to it that what it waits for comes also when another "
    "process fails."
)


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding for each object that is waited for in vain; or one for a run merely late."""
    if trace.ending not in (Ending.STUCK, Ending.TIMED_OUT):
        return
    found = standstill(trace)
    for stall in found.stalls:
        yield _stalled(trace, stall, found)
    if not found.stalls and not found.knots and trace.mode != "controlled":
        yield _late(trace, found)


def _stalled(trace: Trace, stall: Group, found: Standstill) -> Finding:
    first = stall.causes[0]
    names = [blocked.process for blocked in stall.causes]
    wait = "wait" if len(names) > 1 else "waits"
    where = f"{first.call} on {first.object}" if first.object else first.call
    event = f" for {first.waits_for}" if first.waits_for else ""
    if trace.mode == "controlled":
        vain = "nobody is left who could bring it"
    else:
        vain = (
            f"nothing came from {seconds(first.since)} until the run was stopped at "
            f"{seconds(trace.seconds)}"
        )
    return Finding(
        Kind.HANG,
        subject_of(first),
        f"{labels(trace, names)} {wait} in {where}{event}; {vain}.",
        processes=stall.processes,
        advice=_BY_CALL.get(first.call, _OTHERWISE),
        details=tuple(_details(trace, stall, found)),
    )


def _details(trace: Trace, stall: Group, found: Standstill) -> Iterator[str]:
    if len(stall.causes) > 1:
        yield from (sleep(trace, blocked) for blocked in stall.causes)
    for blocked in stall.followers:
        yield f"{sleep(trace, blocked)}: held up by this"
    if found.moving:
        yield f"not asleep for good: {labels(trace, found.moving)}"


def _late(trace: Trace, found: Standstill) -> Finding:
    alive = tuple(p.name for p in trace.processes if p.ended is None and not p.helper)
    names = found.moving or alive or (trace.root.name,)
    late = trace.time_limit if trace.ending is Ending.TIMED_OUT else trace.seconds
    return Finding(
        Kind.HANG,
        "the run",
        f"Still running after {late:.3g} s, when it was stopped: {labels(trace, names)}.",
        processes=(*names, *(name for name in alive if name not in names)),
        advice="Bound the loop or the wait; if it only needs more time, give it a longer limit.",
        details=tuple(sleep(trace, blocked) for blocked in trace.blocked),
    )
