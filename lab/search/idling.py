"""Idling: who goes round and round and neither changes anything nor sees anything new.

A loop that waits for a flag by reading it takes a step in each round. To a strategy that prefers
one task to another it looks like work, and whoever would set the flag never moves. So strategies
ask here who only waits, and let others go first.
"""

from __future__ import annotations

from collections.abc import Iterable

from lab.search.dependence import looks_only
from lab.trace import Action, Event

PATIENCE = 8
"""Steps that a task may idle before it is taken to wait for a change. It is no more than a guess: a
program may well look at a thing a few times for reasons of its own."""

Seen = tuple[str, str, int, bytes, int | None]


class Idling:
    """Follows a run and counts, for each task, the steps that brought it nothing new."""

    def __init__(self) -> None:
        self._rounds: dict[str, int] = {}
        self._seen: dict[str, set[Seen]] = {}

    def steps(self, task: str) -> int:
        """How many steps in a row a task has idled."""
        return self._rounds.get(task, 0)

    def waits(self, task: str) -> bool:
        """Whether a task has idled for so long that it must be waiting."""
        return self.steps(task) >= PATIENCE

    def follow(self, happened: Iterable[Event]) -> list[str]:
        """Take in what happened; returns the tasks that waited and have something new to see."""
        released = []
        for event in happened:
            seen = self._seen.setdefault(event.process, set())
            if _changes_nothing(event):
                look = (event.call, event.object, event.offset, event.before, event.result)
                idles = look in seen
                self._rounds[event.process] = self.steps(event.process) + 1 if idles else 0
                seen.add(look)
                continue
            self.forget(event.process)
            for task, looks in self._seen.items():
                if task != event.process and any(
                    thing in (event.object, *event.also) for _, thing, *_ in looks
                ):
                    if self.waits(task):
                        released.append(task)
                    self.forget(task)
        return released

    def forget(self, task: str) -> None:
        """Whatever a task does next counts as new."""
        self._rounds[task] = 0
        self._seen.setdefault(task, set()).clear()


def _changes_nothing(event: Event) -> bool:
    if event.action is Action.UPDATE:  # as of a lock that is held
        return bool(event.after) and event.before == event.after
    return event.action is Action.SLEEP or looks_only(event)
