"""The life of each process of a run: its fork, its first and last step, its exit, its reaping."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.trace import Action, Event

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_HUES = 6
"""Colours there are; the root's is the first."""


@dataclass(frozen=True)
class Lane:
    """One process or thread, from its birth to the moment at which nothing is left of it."""

    name: str
    parent: str
    born: int | None
    """The fork that made it; None: before the first step kept."""
    began: int
    """Its first step."""
    last: int
    """Its last step."""
    ended: int | None
    """Its exit, or the signal that killed it; None: it was alive at the end."""
    reaped: int | None
    """The wait that took its exit; None: nobody's. In between it is a zombie."""
    hue: int = 0
    """Its colour: that of its process, in every run."""
    killed: bool = False
    stuck: bool = False
    """It waits for what never comes."""
    minor: bool = False
    """It has no part in the finding."""


def lanes(
    events: Sequence[Event], *, concerned: Collection[str] = (), stuck: Collection[str] = ()
) -> tuple[Lane, ...]:
    """A lane for each process and thread, in the order of their births.

    Args:
        events: the steps.
        concerned: those that have a part in what is shown; empty: all of them.
        stuck: those that wait for what never comes.
    """
    births = _births(events)
    names = sorted({event.process for event in events} | set(births), key=birth)
    steps: dict[str, list[int]] = defaultdict(list)
    for index, event in enumerate(events):
        steps[event.process].append(index)
    exits, reaped = _ends(events)
    return tuple(
        Lane(
            name,
            parent,
            born,
            own[0],
            max(own[-1], end or 0),
            end,
            # The root's parent is the lab, which does not leave it; and no thread is a zombie.
            reaped.get(name, end if not parent or "." in name else None),
            hue=(birth(name) or (0,))[0] % _HUES,
            killed=end is not None and events[end].action is Action.SIGNAL,
            stuck=name in stuck and end is None,
            minor=bool(concerned) and name not in concerned,
        )
        for name in names
        for born in [births.get(name)]
        for parent in ["" if born is None else events[born].process]
        for own in [steps[name] or [born or 0]]
        for end in [exits.get(name)]
    )


def birth(name: str) -> tuple[int, ...]:
    """What sorts the names of processes and threads by their birth."""
    return tuple(
        int(part) for part in name.lstrip("P").split(".") if part.isascii() and part.isdigit()
    )


def is_process(name: str) -> bool:
    """Whether an object is a process, as "P2" is."""
    return name[:1] == "P" and bool(birth(name)) and ":" not in name


def _births(events: Sequence[Event]) -> dict[str, int]:
    """The fork that each process came from; a thread's names it, a process' counts it."""
    found: dict[str, int] = {}
    count = 0
    # Of a run whose beginning was cut off, the first births are not known; nor is their number.
    whole = bool(events) and events[0].step == 0
    for index, event in enumerate(events):
        if event.action is Action.FORK and whole:
            count += 0 if event.object else 1
            found[event.object or f"P{count}"] = index
    return found


def _ends(events: Sequence[Event]) -> tuple[dict[str, int], dict[str, int]]:
    """With which step each process ended, and which wait took its exit."""
    signals: dict[str, int] = {}
    exits: dict[str, int] = {}
    reaped: dict[str, int] = {}
    for index, event in enumerate(events):
        if event.action is Action.EXIT:
            exits[event.object or event.process] = index
        elif event.action is Action.SIGNAL:
            signals[event.object] = index
        elif event.action is Action.WAIT and not _looked(event):
            children = [name for name in event.object.split() if is_process(name)]
            left = [name for name in children if name not in reaped and name != event.process]
            ended = [name for name in left if name in exits] or left[:1]
            if ended:
                reaped[min(ended, key=lambda name: exits.get(name, index))] = index
    for name, index in reaped.items():
        # Who was killed takes no last step.
        exits.setdefault(name, signals.get(name, index))
    return exits, reaped


def _looked(event: Event) -> bool:
    """A wait that took nobody's exit."""
    return event.result is None or event.result < 0 or (event.call == "wait4" and not event.result)
