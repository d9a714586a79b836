"""The default order: who goes on unless the search says otherwise."""

from __future__ import annotations

from collections import Counter

from lab.run.control.machine import UnexpectedStopError
from lab.run.control.task import Operation, Task
from lab.trace import Action, Event

_CHANGES_NOTHING = frozenset({Action.READ, Action.WAIT, Action.OPEN})
_PATIENCE = 16
"""How often a task may look at the same thing, and do nothing else, before it is said to spin."""


class DefaultOrder:
    """Who moved last goes on if it can, then the first that does not sleep.

    Where all sleep, the one that wakes first. A task that spins, for what only another could
    change, gives way to the next one: the order would starve that one for ever.
    """

    def __init__(self) -> None:
        self.last = ""
        """The task that moved last."""
        self._vain: Counter[tuple[str, str, int]] = Counter()
        """What it has done since it, or somebody, last changed something."""
        self._spins = False

    def first(self, enabled: list[Task]) -> int:
        """The index of the task that goes on."""
        awake = [i for i, task in enumerate(enabled) if not operation_of(task).sleeps]
        if self._spins and len(awake) > 1:
            after = next((i for i, t in enumerate(enabled) if t.name == self.last), -1)
            return min(awake, key=lambda i: (i <= after, i))
        for index in awake:
            if enabled[index].name == self.last:
                return index
        if awake:
            return awake[0]
        return min(range(len(enabled)), key=lambda i: (operation_of(enabled[i]).deadline or 0, i))

    def moved(self, task: Task, event: Event) -> None:
        """A task has made a step."""
        if event.action not in _CHANGES_NOTHING:
            task.spins = 0
        if task.name != self.last or event.action not in _CHANGES_NOTHING:
            self._vain.clear()
        place = (event.call, event.object, event.offset)
        self._vain[place] += 1
        self._spins = self._vain[place] > _PATIENCE
        self.last = task.name


def operation_of(task: Task) -> Operation:
    """What a task stands before. Raises UnexpectedStopError if that is nothing."""
    if task.operation is None:
        raise UnexpectedStopError(f"{task.name} has no operation")
    return task.operation
