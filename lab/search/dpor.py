"""DPOR: one run of every Mazurkiewicz trace, and so a proof when there is no other.

Optimal dynamic partial order reduction (Abdulla, Aronis, Jonsson & Sagonas, POPL 2014; with
blocking, JACM 2017), by running the program again from its start. After each run it plans others,
in which one of its races comes out the other way (see `reversal`). Plans are kept in wakeup trees,
and sleep sets keep a run from ways that were gone before; so no run that goes to its end is the
same trace as another.

What a plan cannot always know is whether an operation would have gone through (see `availability`).
If it was wrong, the run is abandoned and counted with the redundant ones.

A task that only reads what it has read before is taken to wait for a change when it has done so a
few times, or the traces of a loop that waits for a flag would be without number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.operation import operation
from lab.search.availability import Availability
from lab.search.course import Course
from lab.search.dependence import Footprint, dependent
from lab.search.happens_before import Steps
from lab.search.idling import PATIENCE
from lab.search.replay import Diverged
from lab.search.reversal import Reversals
from lab.search.strategy import Point, Pruned
from lab.search.wakeup import Branch, insert
from lab.trace import Ending, Trace


@dataclass
class _Node:
    """A point that the present run has come by, and what is still to be done from there."""

    sleep: dict[str, Footprint]
    """Tasks whose next step was tried from here, or from before with nothing in between that
    depends on it; with what that step had to do with others."""
    tree: list[Branch]
    """What is planned, beside what the present run does."""
    bound: bool
    """Only what is planned is to be done here."""
    task: str = ""
    """Who moves here in the present run."""
    then: list[Branch] = field(default_factory=list)
    """What is planned for after that."""
    expected: Footprint | None = None
    """Of that step, by what planned it."""
    footprint: Footprint | None = None
    """Of that step, once it was taken."""
    meets: Steps | None = None
    done: int = 0
    """Ways that were gone from here to their end."""
    planned: set[tuple[str, ...]] = field(default_factory=set)
    """What was ever planned from here, for the same race is found again and again."""

    def take(self, task: str, then: list[Branch], expected: Footprint | None = None) -> None:
        """Let the present run go this way."""
        self.task, self.then, self.expected = task, then, expected
        self.footprint = self.meets = None


class Dpor:
    """Every trace of the program, once."""

    def __init__(self) -> None:
        self.executions = 0
        """Runs that went to their end; no two of them are the same trace."""
        self.redundant = 0
        """Runs that were abandoned."""
        self._path: list[_Node] = []
        self._course = Course()
        self._availability = Availability()
        self._begun = self._over = self._cut = self._idled = False

    @property
    def exhausted(self) -> bool:
        """Every trace was run."""
        return self._over and not self._cut

    @property
    def scope(self) -> str:
        """What that means."""
        idle = f"; who idles for {PATIENCE} steps waits for a change" if self._idled else ""
        return f"every order of dependent steps{idle}"

    @property
    def estimate(self) -> int:
        """How many runs there are in all, by what is planned and done; mostly too few.

        As if every way that is still open were as wide as those that are known, which is Knuth's
        estimate of the size of a tree (Mathematics of Computation 29, 1975).
        """
        share, weight = 0.0, 1.0
        for node in self._path:
            ways = node.done + 1 + len(node.tree)
            share += weight * node.done / ways
            weight /= ways
        return round(self.executions / (share + weight))

    def begin(self) -> bool:
        """Go back to the last point at which something is planned."""
        self._course = Course()
        if not self._begun:
            self._begun = True
            return True
        while self._path:
            node = self._path[-1]
            if node.footprint is not None:
                node.sleep[node.task] = node.footprint
                node.done += 1
            if node.tree:
                branch = node.tree.pop(0)
                node.bound = True
                node.take(branch.task, branch.then, branch.footprint)
                return True
            self._path.pop()
        self._over = True
        return False

    @property
    def which(self) -> tuple[str, ...]:
        """The tasks that the run begins with."""
        return tuple(node.task for node in self._path)

    def pass_over(self) -> None:
        """As if the run had taken its planned steps, and no race in it were new."""
        while self._path:
            node = self._path[-1]
            node.footprint = node.footprint or node.expected
            if not node.then or node.footprint is None:
                return
            self._path.append(_after(node, node.footprint))
            branch = self._path[-1].tree.pop(0)
            self._path[-1].take(branch.task, branch.then, branch.footprint)

    def choose(self, point: Point) -> int:
        """The planned task, or after the last plan the default one that does not sleep.

        Raises Pruned, and Diverged if the program went another way than before.
        """
        course = self._course
        if not course.take_back(point):
            self._come_to(point)
        depth = len(course.choices)
        if depth == len(self._path):
            self._path.append(self._next_node())
        node = self._path[depth]
        index = self._possible(node.task, point)
        if index is None:
            if depth + 1 < len(self._path):
                found = " or ".join(operation(pending) for pending in point.enabled)
                raise Diverged(point.step, f"a step of {node.task}", f"a choice of {found}")
            index = self._pick(node, point)
        course.choose(point, index)
        return index

    def end(self, trace: Trace) -> None:
        """Plan the runs in which a race of this one comes out the other way."""
        self.executions += 1
        if trace.ending not in (Ending.COMPLETED, Ending.STUCK):
            self._cut = True
        if self._course.choices:
            self._course.come_to_end(trace)
            self._path[-1].footprint = self._course.order.footprints[-1]
            self._plan()

    def _come_to(self, point: Point) -> None:
        course, order = self._course, self._course.order
        node = self._path[len(course.choices) - 1] if course.choices else None
        course.come_to(point, node.meets if node else None)
        if node:
            if node.footprint not in (None, order.footprints[-1]):
                raise Diverged(
                    course.choices[-1].point.step,
                    f"another step of {node.task}",
                    operation(course.choices[-1].event),
                )
            node.footprint, node.meets = order.footprints[-1], order.meets[-1]

    def _next_node(self) -> _Node:
        if not self._path:
            return _Node({}, [], bound=False)
        return _after(self._path[-1], self._course.order.footprints[-1])

    def _pick(self, node: _Node, point: Point) -> int:
        """Who moves at a point that the search has not been beyond."""
        while node.tree:
            branch = node.tree.pop(0)
            index = self._possible(branch.task, point)
            if index is not None:
                node.take(branch.task, branch.then, branch.footprint)
                return index
        if not node.bound:
            free: int
            for free in (point.default, *range(len(point.enabled))):
                task = point.enabled[free].process
                if task not in node.sleep and self._possible(task, point) is not None:
                    node.take(task, [])
                    return free
        self.redundant += 1
        self._plan()
        raise Pruned

    def _possible(self, task: str, point: Point) -> int | None:
        """The index of a task, unless it cannot move, or only idles where another does not."""
        tasks = [pending.process for pending in point.enabled]
        if task not in tasks:
            return None
        idle = [self._course.idling.waits(each) for each in tasks]
        if self._course.idling.waits(task) and not all(idle):
            self._idled = True
            return None
        return tasks.index(task)

    def _plan(self) -> None:
        for index, beginning in Reversals(self._course, self._availability):
            node, tasks = self._path[index], tuple(beginning.tasks)
            if tasks in node.planned:
                continue
            node.planned.add(tasks)
            if all(beginning.can_begin(*asleep) is None for asleep in node.sleep.items()):
                insert(node.tree, beginning)


def _after(parent: _Node, step: Footprint) -> _Node:
    """What a run comes to by a step."""
    sleep = {
        task: footprint
        for task, footprint in parent.sleep.items()
        if not dependent(footprint, step)
    }
    return _Node(sleep, parent.then, bound=bool(parent.then))
