"""Torn message: a receiver got something that nobody sent, made of pieces of messages.

Pipes, FIFOs and stream sockets carry bytes; where one write ended, the reader cannot see. A
program that takes one read for one message works until two writes come before one read, or until
one does not fit, and then acts on half a message or on two.

Not reported here: an item in which nothing was sent by anybody, or a message that came twice
(`invariant`); and the pieces' owners, which are not lost (`message-loss`).
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.detect.traffic import Torn, compare
from lab.detect.wording import counted, quoted
from lab.finding import Finding, Kind
from lab.trace import Messages, Trace


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding for all torn items of a run."""
    if not isinstance(trace.tally, Messages):
        return
    torn = compare(trace.tally).torn
    if torn:
        sent = trace.tally.sent
        yield Finding(
            Kind.TORN_MESSAGE,
            "messages",
            f"{len(torn)} of {counted(len(trace.tally.received), 'received item')} "
            f"{'is' if len(torn) == 1 else 'are'} no message that was sent, but made of pieces of "
            "messages.",
            advice="Mark the boundaries: a length before each message, or a separator after it, "
            "and read until one is complete.",
            details=tuple(_anatomy(item, sent) for item in torn),
        )


def _anatomy(torn: Torn, sent: tuple[str, ...]) -> str:
    if len(torn.pieces) == 1:
        owner = next(text for text in sent if torn.item in text and torn.item != text)
        return f"{quoted(torn.item)} is a part of {quoted(owner)}"
    parts = [quoted(piece) if piece in sent else f"part {quoted(piece)}" for piece in torn.pieces]
    return f"{quoted(torn.item)} is {' + '.join(parts)}"
