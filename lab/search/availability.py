"""Availability: whether an operation could have gone through before a step that it followed.

To try another order of two steps, a search must know that the later one could have come first.
Reads and writes always can. Whoever takes something must find it there, and that can mostly be
told from the record: how much a semaphore held is in its events, and a message is there when more
were sent than received. Where it cannot be told the answer is "perhaps": the search tries, and a
run is lost if it was wrong.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence

from lab.search.strategy import Pending, Point
from lab.trace import Action, Event

_MAY_WAIT = frozenset({Action.ACQUIRE, Action.RECEIVE, Action.SEND, Action.WAIT, Action.CALL})
_STREAMS = ("pipe:", "fifo:")
_MESSAGES = ("posix-mq:", "sysv-mq:")
_COUNTED = ("posix-mq:",)
"""Queues whose room is a number of messages, whatever their sizes."""
_PROCESS = re.compile(r"P\d+")
_ONE = 8
"""Bytes of a semaphore, at most: what reaches further acts on several of a set at once."""


class Answer(enum.Enum):
    """Whether an operation could have gone through."""

    NO = enum.auto()
    PERHAPS = enum.auto()
    YES = enum.auto()


class Availability:
    """What is known of the things that tasks wait for; of the room in queues it learns."""

    def __init__(self) -> None:
        self._fits: dict[str, int] = {}
        """For each queue, the most messages beside which one more was seen to fit."""
        self._full: dict[str, int] = {}
        """For each queue, the fewest messages at which a sender was seen to wait."""

    def learn(self, run: Iterable[tuple[Point, Sequence[Event]]]) -> None:
        """See in a run, told by its points and what happened after each, what fitted and where."""
        held: dict[str, int] = {}
        for point, events in run:
            for pending in point.blocked:
                if pending.action is Action.SEND:
                    now = held.get(pending.object, 0)
                    self._full[pending.object] = min(now, self._full.get(pending.object, now))
            for event in events:
                before = held.get(event.object, 0)
                held[event.object] = before + _messages([event])
                if held[event.object] > before:
                    self._fits[event.object] = max(before, self._fits.get(event.object, 0))

    def of(
        self,
        wanted: Event | Pending,
        instead: Event | None,
        before: Sequence[Event],
        later: Sequence[Event] = (),
    ) -> Answer:
        """Whether an operation could have gone through.

        Args:
            wanted: the operation; where it took place later, as it did then.
            instead: the step on the same thing that took place at the moment in question, if
                that is known.
            before: the steps on it until that moment.
            later: the steps on it that would come, or might, after that.
        """
        if wanted.action not in _MAY_WAIT and not wanted.waits:
            return Answer.YES
        if not wanted.waits:
            return Answer.PERHAPS  # it would have failed instead, and that is a step as well
        match wanted.action:
            case Action.ACQUIRE if wanted.object.startswith("lock:"):
                return _locked(wanted, before)
            case Action.ACQUIRE if instead is not None:
                return _acquired(wanted, instead)
            case Action.RECEIVE:
                return _received(wanted, before, later)
            case Action.SEND if wanted.object.startswith(_COUNTED) or _plain(wanted):
                return self._sent(wanted, before)
            case Action.WAIT if all(map(_PROCESS.fullmatch, wanted.object.split())):
                return _ended(before) if " " in wanted.object else Answer.PERHAPS
            case _:
                return Answer.PERHAPS

    def _sent(self, wanted: Event | Pending, before: Sequence[Event]) -> Answer:
        held = _messages(before)
        if held >= self._full.get(wanted.object, held + 1):
            return Answer.NO
        return Answer.YES if held <= self._fits.get(wanted.object, -1) else Answer.PERHAPS


def _acquired(wanted: Event | Pending, instead: Event) -> Answer:
    same = (wanted.object, wanted.offset) == (instead.object, instead.offset)
    if not (same and instead.before) or max(wanted.size, instead.size) > _ONE:
        return Answer.PERHAPS
    if isinstance(wanted, Event) and wanted.before:
        taken = _number(wanted.before) - _number(wanted.after)
    elif wanted.object.startswith("sysv-sem:"):
        return Answer.PERHAPS  # it may take more than one, or wait for none
    else:
        taken = 1
    held = _number(instead.before)
    return Answer.YES if (held >= taken if taken > 0 else held == 0) else Answer.NO


def _locked(wanted: Event | Pending, before: Sequence[Event]) -> Answer:
    """Locks of files, exclusive or shared, as their events tell in `after`."""
    holders: dict[str, bytes] = {}
    for event in before:
        if event.action is Action.ACQUIRE:
            holders[event.process] = event.after
        elif event.process in holders:
            del holders[event.process]
        elif event.action is not Action.READ:
            return Answer.PERHAPS  # by somebody who shares the open file with a holder
    modes = {mode for process, mode in holders.items() if process != wanted.process}
    if not modes:
        return Answer.PERHAPS  # of another part of the file, it may be
    exclusive = b"exclusive" in {*modes, wanted.after if isinstance(wanted, Event) else b""}
    return Answer.NO if exclusive and not wanted.size else Answer.PERHAPS


def _received(wanted: Event | Pending, before: Sequence[Event], later: Sequence[Event]) -> Answer:
    # Nothing comes from a stream that is empty, unless all who might send have closed it. A FIFO
    # can be opened again; but whoever is still to send into a pipe has it open.
    if wanted.object.startswith(_STREAMS) and any(map(_moves_unseen, before)):
        return Answer.PERHAPS
    closed = any(event.action in (Action.CLOSE, Action.EXIT, Action.EXEC) for event in before)
    is_open = wanted.object.startswith("pipe:") and any(e.action is Action.SEND for e in later)
    if wanted.object.startswith(_STREAMS) and (is_open or not closed):
        held = _bytes(before)
    elif wanted.object.startswith(_MESSAGES) or _plain(wanted):
        held = _messages(before)
    else:
        return Answer.PERHAPS
    if held <= 0:
        return Answer.NO
    by_type = wanted.object.startswith("sysv-mq:")
    return Answer.PERHAPS if by_type else Answer.YES


def _moves_unseen(event: Event) -> bool:
    """Whether a step moved bytes of a stream, and how many is not known.

    Who splices does not say which way; who sleeps in a write has sent a part of it.
    """
    asleep = event.action is Action.SEND and event.result is None
    return asleep or event.action is Action.UPDATE


def _ended(before: Sequence[Event]) -> Answer:
    """Waiting for one of several children."""
    if any(event.action is Action.EXIT for event in before):
        return Answer.YES
    stopped = any(event.action is Action.SIGNAL for event in before)
    return Answer.PERHAPS if stopped else Answer.NO


def _messages(before: Sequence[Event]) -> int:
    done = [event for event in before if event.result is None or event.result >= 0]
    received = sum(event.action is Action.RECEIVE for event in done)
    return sum(event.action is Action.SEND for event in done) - received


def _bytes(before: Sequence[Event]) -> int:
    sent = sum(max(0, e.result or 0) for e in before if e.action is Action.SEND)
    return sent - sum(max(0, e.result or 0) for e in before if e.action is Action.RECEIVE)


def _plain(wanted: Event | Pending) -> bool:
    """A queue of a model, which holds messages and nothing else."""
    return ":" not in wanted.object


def _number(value: bytes) -> int:
    return int.from_bytes(value, "little")
