"""Lost update: fewer updates came out than were made.

Two processes read the same value, each computes from what it read, and the later write covers
the earlier one. Nothing fails at that moment, so all that a free run can show is the sum: the
body says what should have come out and what did.

Not reported here: *more* than expected. No lost update makes a sum too large, so that is a
broken invariant of the program (`invariant`), with another cause and another fix.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.finding import Finding, Kind
from lab.trace import Tally, Trace


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding if the body's tally falls short."""
    tally = trace.tally
    if not isinstance(tally, Tally) or tally.actual >= tally.expected:
        return
    lost = tally.expected - tally.actual
    if tally.actual >= 0:
        summary = f"{lost} of {tally.expected} {tally.what} lost: {tally.actual} came out."
    else:  # a balance, say: "20 of 15 lost" would be nonsense
        summary = f"{tally.actual} {tally.what} came out, {lost} fewer than {tally.expected}."
    yield Finding(
        Kind.LOST_UPDATE,
        tally.what,
        summary,
        advice="Hold one semaphore or lock from before each read until after the write that "
        "depends on it, in every process that writes.",
    )
