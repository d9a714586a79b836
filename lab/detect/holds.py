"""Who holds which lock, by the steps of a controlled run.

A semaphore is a lock only by use: somebody acquires it and the same one gives it back. One that a
task releases without holding it carries a signal ("there is an item"), and to have acquired that
holds nobody up; so of such an object there are no holders. A lock whose holder has ended is still
held: that nobody will ever release it is what the reader looks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.operation import short
from lab.trace import Action, Event


@dataclass(frozen=True)
class Hold:
    """A task has acquired a lock and not released it."""

    process: str
    object: str
    offset: int
    """Which semaphore of a set, or where in the shared memory."""
    since: Event
    """The step that acquired it."""

    @property
    def name(self) -> str:
        """The object as its user knows it, and as a `Blocked` names it: without its type."""
        return short(self.object)


def holds(events: Sequence[Event]) -> tuple[Hold, ...]:
    """What is held at the end of the run, in the order in which it was acquired."""
    held: dict[tuple[str, int], list[Event]] = {}
    signals: set[tuple[str, int]] = set()
    for event in events:
        if event.result is not None and event.result < 0:
            continue
        lock = (event.object, event.offset)
        if event.action is Action.ACQUIRE:
            held.setdefault(lock, []).append(event)
        elif event.action is Action.RELEASE:
            own = [each for each in held.get(lock, ()) if each.process == event.process]
            if own:
                held[lock].remove(own[-1])
            else:
                signals.add(lock)
    found = [
        Hold(event.process, *lock, event)
        for lock, acquired in held.items()
        if lock not in signals
        for event in acquired
    ]
    return tuple(sorted(found, key=lambda hold: hold.since.step))
