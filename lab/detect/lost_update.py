"""Lost update: fewer updates came out than were made.

Two processes read the same value, each computes from what it read, and the later write covers
the earlier one. Nothing fails at that moment. There are two ways to know of it:

- the body says what should have come out and what did, and that is less. All that a free run can
  show is this sum;
- a controlled run shows the steps: a write that depends on a read that another's write has made
  stale (`lab.detect.stale_write`). With them no sum is needed; and where there is one that falls
  short, or an assertion that failed, they say why.

Not reported here: *more* than expected. No lost update makes a sum too large, so that is a
broken invariant of the program (`invariant`), with another cause and another fix.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.detect.naming import stable_name
from lab.detect.stale_write import StaleWrite, stale_writes
from lab.detect.wording import counted
from lab.finding import Finding, Kind
from lab.operation import through_call, value
from lab.trace import Tally, Trace

_ADVICE = (
    "Hold one semaphore or lock from before each read until after the write that depends on it, "
    "in every process that writes."
)
_DETAILS = 4


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding for each place where updates were lost; or one for the tally alone."""
    short = _shortfall(trace)
    failed = bool(short) or (trace.failure is not None and trace.failure.is_assertion)
    places: dict[tuple[str, int | None], list[StaleWrite]] = {}
    for stale in stale_writes(trace.events):
        if stale.certain or failed:
            offset = None if stale.behind_end else stale.offset
            places.setdefault((stale.read.object, offset), []).append(stale)
    for found in places.values():
        yield _seen(found, short)
    if short and not places and isinstance(trace.tally, Tally):
        yield Finding(Kind.LOST_UPDATE, trace.tally.what, short, advice=_ADVICE)


def _shortfall(trace: Trace) -> str:
    """What the tally says is missing; "" if it says nothing of the kind."""
    tally = trace.tally
    if not isinstance(tally, Tally) or tally.actual >= tally.expected:
        return ""
    lost = tally.expected - tally.actual
    if tally.actual < 0:  # a balance, say: "20 of 15 lost" would be nonsense
        return f"{tally.actual} {tally.what} came out, {lost} fewer than {tally.expected}."
    return f"{lost} of {tally.expected} {tally.what} lost: {tally.actual} came out."


def _seen(found: list[StaleWrite], short: str) -> Finding:
    # The one that takes the fewest steps to show; the others are told after it.
    first = min(found, key=lambda stale: stale.late.step - stale.read.step)
    found = [first, *(stale for stale in found if stale is not first)]
    late, other = first.late.process, first.overwritten.process
    at_offset = first.offset and not first.behind_end
    name = f"{first.read.object}+{first.offset}" if at_offset else first.read.object
    text = through_call(first.read)
    was_read, there, wrote = (
        value(content, text=text) if content else ""
        for content in (first.was_read, first.was_there, first.is_there)
    )
    where, put = (" there", "had put there") if first.behind_end else ("", "wrote")
    told = (
        f"{late} {'found the end of' if first.behind_end else 'read'} {name}"
        f"{was_read and f' = {was_read}'} at step {first.read.step} and wrote"
        f"{wrote and f' {wrote}'}{where} at step {first.late.step}, over the "
        f"{there or 'content'} that {other} {put} at step {first.overwritten.step} and {late} "
        "never saw."
    )
    others = [
        f"also: {stale.late.process} read at step {stale.read.step}, "
        f"{stale.overwritten.process} wrote at step {stale.overwritten.step}, and "
        f"{stale.late.process} wrote over that at step {stale.late.step}"
        for stale in found[1:_DETAILS]
    ]
    if len(found) > _DETAILS:
        others.append(f"and {counted(len(found) - _DETAILS, 'more such write')}")
    return Finding(
        Kind.LOST_UPDATE,
        stable_name(name),
        f"{told} {short}".rstrip(),
        processes=(late, other),
        advice=_ADVICE,
        details=tuple(others),
        key_steps=first.steps,
    )
