"""What became of the messages: which are lost, which were torn, which came from nowhere.

One comparison of what was sent with what was received, shared by the detectors, so that a piece
of a message is never called lost by one and torn by another.

Messages are compared as multisets: order is no concern here, copies are. What matches exactly is
delivered. An item that is left over is *torn* if it can be cut into whole messages and pieces of
messages, as a stream reader that knows no boundaries gets them: the end of one, any number of
whole ones, the beginning of another; or one piece out of the middle; or several, where long
messages of several writers were mixed. What cannot be cut so, or is one copy too many of a message
that was delivered, is *extra*. An empty item is what a reader gets at the end of a stream, and
counts as nothing.

Texts alone do not always tell whose piece a piece is. In doubt a message is not called lost: the
run has failed by the torn item already, and a loss that did not happen would mislead.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from lab.trace import Messages

_LEAST = 16
"""Characters of a piece out of the middle, beside others: a shorter one is in many a message by
chance."""


@dataclass(frozen=True)
class Torn:
    """A received item that is no message, and what it is made of."""

    item: str
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Traffic:
    """What did not arrive as it was sent. All empty: everything did."""

    lost: tuple[str, ...]
    torn: tuple[Torn, ...]
    extra: tuple[str, ...]


def compare(messages: Messages) -> Traffic:
    """Compare what was sent with what was received."""
    sent, received = Counter(messages.sent), Counter(filter(None, messages.received))
    missing = sent - received
    torn, extra = [], []
    for item in (received - sent).elements():
        pieces = _cut(item, missing) or (() if item in sent else _cut(item, sent))
        if pieces:
            torn.append(Torn(item, pieces))
        else:
            extra.append(item)
    fragments = [piece for item in torn for piece in item.pieces]
    lost = Counter(
        {
            text: copies - sum(_may_be_of(text, piece, sent) for piece in fragments)
            for text, copies in missing.items()
        }
    )
    return Traffic(tuple((+lost).elements()), tuple(torn), tuple(extra))


def _may_be_of(text: str, piece: str, sent: Collection[str]) -> bool:
    return piece == text or (piece in text and piece not in sent)


def _cut(item: str, sent: Collection[str]) -> tuple[str, ...]:
    """Cut an item into an end, whole messages and a beginning; () if that cannot be done."""
    texts = [text for text in sent if text]
    if any(item in text for text in texts):
        return (item,)
    longest = max(map(len, texts), default=0)
    cuts: dict[int, tuple[str, ...]] = {0: ()}
    """For each place in the item up to which it can be cut: the pieces."""
    for end in range(1, min(longest, len(item) + 1)):
        if any(text[-1] == item[end - 1] and text.endswith(item[:end]) for text in texts):
            cuts[end] = (item[:end],)
    for start in range(len(item)):
        for text in texts if start in cuts else ():
            if item.startswith(text, start):
                cuts.setdefault(start + len(text), (*cuts[start], text))
    # From the back: the more whole messages, the fewer guesses about pieces.
    for start in sorted(cuts, reverse=True):
        rest = item[start:]
        if any(text.startswith(rest) for text in texts):
            return (*cuts[start], rest) if rest else cuts[start]
    return _mixed(item, texts)


def _mixed(item: str, texts: Collection[str]) -> tuple[str, ...]:
    """Cut an item into pieces out of the middle; () if one of them is too short to be known.

    The longest piece first, from the front: whatever is a piece, so is the beginning of it.
    """
    pieces: list[str] = []
    while item:
        lengths = range(1, len(item) + 1)
        length = bisect.bisect_left(
            lengths, 1, key=lambda n: all(item[:n] not in text for text in texts)
        )
        if length < _LEAST:
            return ()
        pieces.append(item[:length])
        item = item[length:]
    return tuple(pieces)
