"""What went from one process to another in a run: forks, exits, signals and messages."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.operation import signal_name
from lab.trace import Action, Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.report.lives import Lane

_STREAMS = ("pipe", "fifo", "socket", "unix", "tcp")
_OWN = ("pipe", "fifo")
"""What a process may well send to itself; a socket pair answers from its other end."""


@dataclass(frozen=True)
class Arrow:
    """What went from one step to another."""

    kind: str
    """"message", "signal", "fork", "reap" or "wake"."""
    start: int
    end: int


def arrows(events: Sequence[Event], lanes: Sequence[Lane]) -> Iterator[Arrow]:
    """Every arrow of a run: of forks and reapings first, then of signals, then of messages."""
    for lane in lanes:
        if lane.born is not None and lane.began != lane.born:
            yield Arrow("fork", lane.born, lane.began)
        if lane.reaped is not None and lane.ended is not None and lane.ended != lane.reaped:
            yield Arrow("reap", lane.ended, lane.reaped)
    yield from _signals(events)
    yield from _messages(events)


def _signals(events: Sequence[Event]) -> Iterator[Arrow]:
    sent: dict[tuple[str, str], int] = {}
    for index, event in enumerate(events):
        if event.action is Action.SIGNAL and event.after:
            sent[event.object, signal_name(event)] = index
        elif event.action is Action.DELIVER:
            # Signals of one kind merge: one delivery may be of several, and the last is told.
            start = sent.pop((event.object, event.call), None)
            if start is not None:
                yield Arrow("signal", start, index)


def _messages(events: Sequence[Event]) -> Iterator[Arrow]:
    """From each send to the receive that took it: whole messages by content, bytes in order."""
    under_way: dict[str, list[tuple[int, bytes, int]]] = defaultdict(list)
    for index, event in enumerate(events):
        waiting = under_way[event.object]
        if event.action is Action.SEND and (event.result is None or event.result >= 0):
            size = event.result or len(event.after) or event.size
            waiting.append((index, event.after, size))
        elif event.action is Action.RECEIVE and event.before:
            others = [
                item
                for item in waiting
                if event.object.startswith(_OWN) or events[item[0]].process != event.process
            ]
            if event.object.startswith(_STREAMS):
                left = event.result or len(event.before)
                for item in others:
                    if left <= 0:
                        break
                    taken = min(left, item[2])
                    left -= taken
                    at = waiting.index(item)
                    waiting[at : at + 1] = (
                        [(item[0], item[1], item[2] - taken)] if taken < item[2] else []
                    )
                    yield Arrow("message", item[0], index)
            elif others:
                same = [item for item in others if item[1] == event.before]
                item = (same or others)[0]
                waiting.remove(item)
                yield Arrow("message", item[0], index)


def wakes(events: Sequence[Event]) -> Iterator[Arrow]:
    """From each release to the acquire that it let through.

    That is one that waits, by a process that has not moved since the release: it stood before it.
    """
    released: dict[str, int] = {}
    moved: dict[str, int] = {}
    for index, event in enumerate(events):
        if event.action is Action.ACQUIRE and event.waits:
            start = released.get(event.object)
            if start is not None and moved.get(event.process, -1) < start:
                yield Arrow("wake", start, index)
        elif event.action is Action.RELEASE:
            released[event.object] = index
        moved[event.process] = index
