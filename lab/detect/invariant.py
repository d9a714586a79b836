"""Invariant: the program's own check says that something is wrong.

An `assert` that fails in the body is the plainest case: the author wrote down what must hold.
Two more come from what the body returns. *More* updates than were made is no lost update, for
covering a write only ever loses; something was counted twice. And a received message that nobody
sent, or that came more often than it was sent, is neither lost nor torn, but cannot be right.

Not reported: any other exception, which says only that the program failed (`crash`).
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.detect.traffic import compare
from lab.detect.wording import counted, quoted, traceback_lines
from lab.finding import Finding, Kind
from lab.trace import Messages, Tally, Trace


def detect(trace: Trace) -> Iterator[Finding]:
    """At most one finding for the assertion and one for the result."""
    failure = trace.failure
    if failure and failure.is_assertion:
        yield Finding(
            Kind.INVARIANT,
            failure.where or trace.root.name,
            f"An assertion failed{f' at {failure.where}' if failure.where else ''}: "
            f"{failure.message or 'it has no message'}.",
            processes=(trace.root.name,),
            advice="" if failure.message else "Give the assert a message with the values it saw.",
            details=traceback_lines(failure),
        )
    match trace.tally:
        case Tally(expected, actual, what) if actual > expected:
            yield Finding(
                Kind.INVARIANT,
                what,
                f"{actual} {what} came out, {actual - expected} more than the {expected} expected.",
                advice="Look for what is counted twice: a retry after a success, or a start value "
                "that an earlier run left.",
            )
        case Messages() as messages if extra := compare(messages).extra:
            yield Finding(
                Kind.INVARIANT,
                "messages",
                f"{counted(len(extra), 'received item')} nobody sent, or not so often.",
                advice="Look for a message that is delivered twice, and for a receiver that reads "
                "what is not meant for it.",
                details=tuple(quoted(text) for text in extra),
            )
        case _:
            pass
