"""What the processes of a controlled run had to do with one another.

Interleavings matter only where two tasks touch one thing and at least one of them changes it. A
run without such a thing has tested nothing, however many processes it had and however often it
was repeated. Ends count as things: that a child's exit and its parent's wait come out right is
what zombies and orphans are about. Births do not, for nothing can come before one.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from lab.trace import Action, Event

_CHANGES_NOTHING = frozenset({Action.READ, Action.OPEN, Action.CLOSE, Action.EXEC})
_BIRTHS = frozenset({Action.FORK, Action.START, Action.SLEEP})
_LIVES = frozenset({Action.EXIT, Action.WAIT, Action.SIGNAL, Action.DELIVER})


class Interplay(enum.IntEnum):
    """How much two tasks shared; a larger one includes the smaller."""

    NONE = 0
    LIVES = 1
    """Only exits, waits and signals."""
    OBJECTS = 2
    """Memory, a file, a queue, a lock: something that both touched and one changed."""


def interplay(events: Sequence[Event]) -> Interplay:
    """How much the tasks of a run shared."""
    users: dict[str, set[str]] = {}
    changed: set[str] = set()
    lives: dict[str, set[str]] = {}
    for event in events:
        if event.action in _BIRTHS:
            continue
        if event.action in _LIVES:
            # What an exit closes besides is no dealing with others: every process inherits some.
            # A wait for any child names all that it might take.
            for name in event.object.split():
                lives.setdefault(name, set()).add(event.process)
            continue
        if event.object:
            users.setdefault(event.object, set()).add(event.process)
            if event.action not in _CHANGES_NOTHING:
                changed.add(event.object)
        for thing in event.also if event.action is not Action.EXEC else ():  # it closes these
            users.setdefault(thing, set()).add(event.process)
            changed.add(thing)
    if any(len(tasks) > 1 and thing in changed for thing, tasks in users.items()):
        return Interplay.OBJECTS
    if any(len(tasks) > 1 for tasks in lives.values()):
        return Interplay.LIVES
    return Interplay.NONE
