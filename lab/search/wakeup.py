"""Wakeup trees: the beginnings of runs that are still to be made from one point on.

A search that reverses a race knows not only who must move now but how the run must go on for the
reversal to come about: a sequence of steps. Kept as sequences, and not merely as tasks to be tried,
they never lead a run to a point where all that it could do has been done before (Abdulla, Aronis,
Jonsson & Sagonas, "Optimal dynamic partial order reduction", POPL 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.search.dependence import Footprint, dependent
from lab.search.happens_before import Steps, members


@dataclass(frozen=True)
class Beginning:
    """Steps that a run shall begin with."""

    tasks: Sequence[str]
    footprints: Sequence[Footprint]
    past: Sequence[Steps]
    """For each, those of the others that it must come after: bit i for the i-th."""

    def without(self, index: int) -> Beginning:
        """The same, when that step has been taken."""
        low = (1 << index) - 1
        rest = [i for i in range(len(self.tasks)) if i != index]
        return Beginning(
            [self.tasks[i] for i in rest],
            [self.footprints[i] for i in rest],
            [(self.past[i] & low) | (self.past[i] >> index + 1 << index) for i in rest],
        )

    def can_begin(self, task: str, footprint: Footprint) -> int | None:
        """Whether a step of a task can come first, the task's next one with that footprint.

        Returns: its index; -1 if it is none of these, but nothing in them depends on it; None if
        it cannot.
        """
        if task in self.tasks:
            index = self.tasks.index(task)
            return None if self.past[index] else index
        if any(dependent(footprint, other) for other in self.footprints):
            return None
        return -1


@dataclass
class Branch:
    """One step, and what is to follow it."""

    task: str
    footprint: Footprint
    then: list[Branch] = field(default_factory=list)


def insert(tree: list[Branch], beginning: Beginning) -> None:
    """See to it that some run begins in this manner, unless one that is planned does so anyway."""
    while True:
        for branch in tree:
            index = beginning.can_begin(branch.task, branch.footprint)
            if index is not None:
                break
        else:
            for task, footprint in zip(beginning.tasks, beginning.footprints, strict=True):
                tree.append(Branch(task, footprint))
                tree = tree[-1].then
            return
        if not branch.then:
            return
        if index >= 0:
            beginning = beginning.without(index)
        tree = branch.then


def beginning_of(
    tasks: Sequence[str], footprints: Sequence[Footprint], past: Sequence[Steps], chosen: Steps
) -> Beginning:
    """Some steps of a run, in its order, as a beginning of another."""
    places = list(members(chosen))
    renumbered = {place: 1 << index for index, place in enumerate(places)}
    return Beginning(
        [tasks[place] for place in places],
        [footprints[place] for place in places],
        [sum(renumbered[earlier] for earlier in members(past[place] & chosen)) for place in places],
    )
