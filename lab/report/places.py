"""What each thing held from one step to the next: values, messages under way, who has a lock."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.operation import short, through_call, value
from lab.report.lives import is_process
from lab.report.style import cut
from lab.trace import Action, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 6
"""Things that are drawn: those of the steps that conflict, then those with the most users."""
_TEXT = 24
_QUEUES = ("posix-mq", "sysv-mq")
_CHANGES = frozenset({Action.WRITE, Action.UPDATE, Action.ACQUIRE, Action.RELEASE})
_SHOWS = _CHANGES | {Action.READ}


@dataclass(frozen=True)
class Span:
    """What a thing held from one step on."""

    start: int
    end: int | None
    """The index of the step with which that ended; None: it lasted."""
    text: str
    bad: bool = False
    """The step that does the damage made it so."""


@dataclass(frozen=True)
class Place:
    """A thing, or a part of one, over the whole run."""

    name: str
    spans: tuple[Span, ...]


def places(
    events: Sequence[Event], *, keys: Sequence[int] = (), damage: int | None = None
) -> tuple[Place, ...]:
    """What the things held that more than one process touches.

    Args:
        events: the steps.
        keys: indices of those that conflict; what they touch comes first.
        damage: the index of the one that does the damage.
    """
    touched: dict[tuple[str, int], list[int]] = defaultdict(list)
    users: dict[tuple[str, int], set[str]] = defaultdict(set)
    for index, event in enumerate(events):
        # What is done to a process is in its own lane.
        if (
            event.object
            and not is_process(event.object)
            and (event.result is None or event.result >= 0)
        ):
            key = (event.object, 0 if _is_queue(event) else event.offset)
            touched[key].append(index)
            users[key].add(event.process)
    first = [(events[i].object, events[i].offset) for i in keys]
    shared = sorted(
        (key for key, by in users.items() if len(by) > 1 or key in first),
        key=lambda key: (key not in first, -len(users[key]), touched[key][0]),
    )
    drawn = [(key, _drawn(events, touched[key], damage)) for key in shared]
    kept = [(key, spans) for key, spans in drawn if spans][:_MOST]
    names = Counter(_name(key) for key, _ in kept)
    return tuple(
        Place(_name(key) if names[_name(key)] == 1 else _name(key, whole=True), spans)
        for key, spans in kept
    )


def _name(key: tuple[str, int], *, whole: bool = False) -> str:
    thing, offset = key
    name = thing.removeprefix("posix-").removeprefix("sysv-") if whole else short(thing)
    return f"{name}+{offset}" if offset else name


def _drawn(events: Sequence[Event], at: Sequence[int], damage: int | None) -> tuple[Span, ...]:
    own = [(index, events[index]) for index in at]
    states = _depths(own) if any(_is_queue(e) for _, e in own) else _values(own) or _holders(own)
    changed = [
        state
        for n, state in enumerate(states)
        # The damage shows even where it leaves the same value: two increments, and one of them.
        if not n or state[1] != states[n - 1][1] or state[0] == damage
    ]
    ends = [*(start for start, _ in changed[1:]), None]
    return tuple(
        Span(start, end, cut(text, _TEXT), bad=start == damage)
        for (start, text), end in zip(changed, ends, strict=False)
    )


def _is_queue(event: Event) -> bool:
    return event.object.startswith(_QUEUES) or event.action in (Action.SEND, Action.RECEIVE)


def _values(own: Sequence[tuple[int, Event]]) -> list[tuple[int, str]]:
    states = []
    for index, event in own:
        if event.action not in _SHOWS:
            continue
        held = event.before if event.action is Action.READ else event.after
        if held:
            states.append((index, value(held, text=through_call(event))))
    return states


def _depths(own: Sequence[tuple[int, Event]]) -> list[tuple[int, str]]:
    """How much is under way: messages in a queue, bytes in a stream."""
    states: list[tuple[int, str]] = []
    depth = 0
    for index, event in own:
        stream = not event.object.startswith(_QUEUES)
        if event.action is Action.SEND:
            depth += (event.result or len(event.after)) if stream else 1
        elif event.action is Action.RECEIVE and (event.before or event.result):
            depth -= (event.result or len(event.before)) if stream else 1
        else:
            continue
        # Less than nothing: what came from before the first step that was kept.
        depth = max(depth, 0)
        states.append((index, f"{depth} B" if stream else f"{depth} queued"))
    return states


def _holders(own: Sequence[tuple[int, Event]]) -> list[tuple[int, str]]:
    """Who holds a lock that has no value of its own."""
    states = []
    for index, event in own:
        if event.action is Action.ACQUIRE:
            states.append((index, event.process))
        elif event.action is Action.RELEASE:
            states.append((index, "free"))
    return states
