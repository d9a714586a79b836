"""DPOR: one run of every Mazurkiewicz trace, and so a proof when there is no other.

Optimal dynamic partial order reduction (Abdulla, Aronis, Jonsson & Sagonas, POPL 2014; with
blocking, JACM 2017), by running the program again from its start. After each run it looks for
races: pairs of dependent steps of which the later could have come first. For each it plans a run
that begins as this one did, leaves out the earlier step and all that came after it, and takes the
later one instead. Sleep sets keep it from ways that were gone before.

Blocking makes two things special. An operation that would wait is no step and cannot be chosen, so
a release and the acquire that it made possible are no race: nobody could have acquired before. The
race of that acquire is with the *acquire* before that release, whose holder might have come second.
It is found by going back from a step over those that it depends on, past all that it could not have
come before. And tasks that still wait when the run ends take part with the step that they never
took, for in another order they would have.

What a plan cannot know is whether an operation would have gone through (see `availability`). If it
was wrong the run is abandoned, and counted with the redundant ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lab.operation import operation
from lab.search.availability import Answer, Availability
from lab.search.dependence import Footprint, Footprints, dependent, process_of
from lab.search.happens_before import Order, Steps, members
from lab.search.replay import Diverged
from lab.search.strategy import Pending, Point, Pruned
from lab.search.wakeup import Branch, beginning_of, insert
from lab.trace import Action, Blocked, Ending, Event, Trace


@dataclass
class _Node:
    """A point that the present run has come by, and what is still to be done from there."""

    sleep: dict[str, Footprint]
    """Tasks whose next step was tried from here, or from before with nothing in between that
    depends on it; with what that step had to do with others."""
    tree: list[Branch]
    task: str = ""
    """Who moves here in the present run."""
    then: list[Branch] = field(default_factory=list)
    """What is planned for after that."""
    footprint: Footprint | None = None
    """Of that step, once it was taken."""
    meets: Steps | None = None
    planned: set[tuple[str, ...]] = field(default_factory=set)
    bound: bool = False
    """Only what is planned is to be done here."""


@dataclass
class _Step:
    """A choice of the present run, and what came of it."""

    point: Point
    pending: Pending
    arrived: int
    """At which step its task had come to stand before this operation."""
    events: tuple[Event, ...] = ()
    certain: Steps = 0
    """What it comes after whatever it meets."""


class Dpor:
    """Every trace of the program, once."""

    def __init__(self) -> None:
        self.executions = 0
        """Runs that went to their end; no two of them are the same trace."""
        self.redundant = 0
        """Runs that were abandoned."""
        self._path: list[_Node] = []
        self._begun = self._cut = False
        self._availability = Availability()
        self._reset()

    def _reset(self) -> None:
        self._order, self._footprints = Order(), Footprints()
        self._steps: list[_Step] = []
        self._arrived: dict[str, int] = {}
        self._before: dict[str, Pending] = {}
        self._killed: list[_Wanted] = []
        self._after: list[Steps] = []

    @property
    def exhausted(self) -> bool:
        """Every trace was run."""
        return self._begun and not self._path and not self._cut

    @property
    def scope(self) -> str:
        """What that means."""
        return "every order of dependent steps"

    def begin(self) -> bool:
        """Go back to the last point at which something is planned."""
        self._reset()
        if not self._begun:
            self._begun = True
            return True
        while self._path:
            node = self._path[-1]
            if node.footprint is not None:
                node.sleep[node.task] = node.footprint
            if node.tree:
                node.bound = True
                self._take(node, node.tree.pop(0))
                return True
            self._path.pop()
        return False

    def choose(self, point: Point) -> int:
        """The planned task, or after the last plan the default one that does not sleep.

        Raises Pruned, and Diverged if the program went another way than before.
        """
        taken_back = bool(self._steps) and self._steps[-1].point.step == point.step
        if taken_back:
            self._steps.pop()
        else:
            self._absorb(point.happened, _standing(point))
        depth = len(self._steps)
        if depth == len(self._path):
            self._path.append(self._new_node())
        node = self._path[depth]
        index = _index(point, node.task)
        if index is None:
            if depth + 1 < len(self._path):
                raise Diverged(point.step, f"a step of {node.task}", _choice(point))
            index = self._pick(node, point)
        pending = point.enabled[index]
        self._steps.append(_Step(point, pending, self._arrived.get(node.task, 0)))
        return index

    def end(self, trace: Trace) -> None:
        """Plan the runs in which a race of this one comes out the other way."""
        self.executions += 1
        if trace.ending not in (Ending.COMPLETED, Ending.STUCK):
            self._cut = True
        if self._steps:
            last = self._steps[-1]
            standing = _standing(last.point)
            del standing[last.pending.process]
            standing |= {blocked.process: _pending(blocked) for blocked in trace.blocked}
            self._absorb(trace.events[last.point.step :], standing)
            self._plan(standing)

    # -- following the run ----------------------------------------------------------------

    def _new_node(self) -> _Node:
        if not self._path:
            return _Node({}, [])
        parent = self._path[-1]
        assert parent.footprint is not None
        sleep = {
            task: footprint
            for task, footprint in parent.sleep.items()
            if not dependent(footprint, parent.footprint)
        }
        return _Node(sleep, parent.then, bound=bool(parent.then))

    def _pick(self, node: _Node, point: Point) -> int:
        """Who moves at a point that the search has not been beyond."""
        while node.tree:
            branch = node.tree.pop(0)
            index = _index(point, branch.task)
            if index is not None:
                self._take(node, branch)
                return index
        free = [] if node.bound else self._free(node, point)
        if not free:
            self.redundant += 1
            self._plan(_standing(point))
            raise Pruned
        self._take(node, Branch(point.enabled[free[0]].process, Footprint("")))
        return free[0]

    def _free(self, node: _Node, point: Point) -> list[int]:
        order = [point.default, *range(len(point.enabled))]
        return [index for index in order if point.enabled[index].process not in node.sleep]

    @staticmethod
    def _take(node: _Node, branch: Branch) -> None:
        node.task, node.then = branch.task, branch.then
        node.footprint = node.meets = None

    def _absorb(self, events: Sequence[Event], standing: Mapping[str, Pending]) -> None:
        """Take in what the last choice did, and who stands before what now."""
        if self._steps:
            step, node = self._steps[-1], self._path[len(self._steps) - 1]
            step.events = tuple(events)
            footprint = Footprint(process_of(node.task))
            for event in events:
                footprint += self._footprints.follow(event)
            if step.pending.waits and not any(_is(step.pending, event) for event in events):
                # A signal came first. Whether that breaks a wait depends on there being one.
                footprint += replace(self._footprints.of(step.pending), joins="")
            # Whoever stands elsewhere now without having been asked was moved by this step: born
            # by it, woken by it, or released by the kernel because of it.
            movers = [
                task
                for task, pending in standing.items()
                if task != node.task and self._before.get(task) != pending
            ]
            step.certain = self._order.before(node.task, footprint)
            for task, pending in self._before.items():
                if task != node.task and task not in standing:
                    killed = self._never_taken(pending)
                    self._killed.append(replace(killed, meets=killed.meets | 1 << len(self._order)))
            self._order.append(node.task, footprint, movers=movers, meets=node.meets)
            node.footprint, node.meets = footprint, self._order.meets[-1]
            for mover in (node.task, *movers):
                self._arrived[mover] = len(self._steps)
        self._before = dict(standing)

    # -- planning -------------------------------------------------------------------------

    def _plan(self, waiting: Mapping[str, Pending]) -> None:
        order = self._order
        self._availability.learn((step.point, step.events) for step in self._steps)
        self._after = [order.after(index) for index in range(len(order))]
        for index, step in enumerate(self._steps[: len(order)]):
            own = (event for event in step.events if event.process == step.pending.process)
            wanted = _Wanted(
                next(own, step.pending),
                # Earlier it may have failed, or not have failed.
                order.footprints[index] + replace(self._footprints.of(step.pending), joins=""),
                order.meets[index],
                step.arrived,
                step.certain,
            )
            self._reverse(wanted)
        for pending in waiting.values():
            self._reverse(self._never_taken(pending))
        for wanted in self._killed:
            self._reverse(wanted)

    def _never_taken(self, pending: Pending) -> _Wanted:
        """The step that a task stood before to the end, its own or that of the run."""
        task, footprint = pending.process, self._footprints.of(pending)
        return _Wanted(
            pending,
            footprint,
            self._order.met_by(task, footprint),
            self._arrived.get(task, 0),
            self._order.before(task, footprint),
            taken=False,
        )

    def _reverse(self, wanted: _Wanted) -> None:
        """Plan to take a step before those that it depends on: the latest that it could precede.

        Before any earlier one it comes in the runs that follow from that.
        """
        met, past = wanted.meets & ~wanted.certain, 0
        while met:
            index = met.bit_length() - 1
            met ^= 1 << index
            if past >> index & 1:
                continue
            rest = ((1 << len(self._order)) - 1) >> index << index & ~self._after[index]
            answer = self._answer(wanted, index, rest)
            if answer is not Answer.NO:
                self._insert(index, rest, wanted)
            if answer is Answer.YES:
                past |= self._order.past[index]
            elif fewer := self._undisturbed(wanted, rest):
                # Another may have taken what it waits for, or have closed it.
                self._insert(index, rest & ~fewer, wanted)

    def _undisturbed(self, wanted: _Wanted, rest: Steps) -> Steps:
        """Steps that a waiting one may do better without: those that it need not come after."""
        without = 0
        for index in members(rest & wanted.meets & ~wanted.certain):
            without |= self._after[index]
        return without & rest

    def _answer(self, wanted: _Wanted, index: int, rest: Steps) -> Answer:
        """Whether a step could go through before another and all that came after that."""
        step, task = self._steps[index], wanted.operation.process
        if wanted.footprint.joins:
            return Answer.YES if wanted.taken else Answer.NO
        if wanted.arrived <= index and not rest & wanted.meets:
            known = not wanted.operation.object.startswith(_FOUND_BY_TRYING)
            if known and _index(step.point, task) is not None:
                return Answer.YES
            if any(blocked.process == task for blocked in step.point.blocked):
                return Answer.NO
        things = {wanted.operation.object, *wanted.operation.object.split()}
        before = [
            event
            for earlier in members(rest | (1 << index) - 1)
            for event in self._steps[earlier].events
            if event.object in things or not things.isdisjoint(event.also)
        ]
        instead = next((event for event in step.events if event.object in things), None)
        return self._availability.of(wanted.operation, instead, before)

    def _insert(self, index: int, rest: Steps, wanted: _Wanted) -> None:
        """Plan a run that takes these steps instead of one, and then the wanted one."""
        order, node = self._order, self._path[index]
        last = len(order)
        kept = rest | (1 << index) - 1
        beginning = beginning_of(
            [*order.tasks, wanted.operation.process],
            [*order.footprints, wanted.footprint],
            [*order.past, wanted.certain | order.closed(wanted.meets & kept)],
            rest | 1 << last,
        )
        if tuple(beginning.tasks) in node.planned:
            return
        node.planned.add(tuple(beginning.tasks))
        if all(beginning.can_begin(*asleep) is None for asleep in node.sleep.items()):
            insert(node.tree, beginning)


_FOUND_BY_TRYING = ("lock:", "sysv-mq:")
"""What tasks are taken to be able to have until they are refused."""


@dataclass(frozen=True)
class _Wanted:
    """A step that is to come earlier."""

    operation: Event | Pending
    footprint: Footprint
    meets: Steps
    arrived: int
    certain: Steps
    taken: bool = True
    """It was taken in the run; False: its task stood before it when the run ended."""


def _standing(point: Point) -> dict[str, Pending]:
    """Who stands before what."""
    return {pending.process: pending for pending in (*point.enabled, *point.blocked)}


def _is(pending: Pending, event: Event) -> bool:
    return event.process == pending.process and event.action is not Action.DELIVER


def _pending(blocked: Blocked) -> Pending:
    event = blocked.operation
    if event is None:  # somewhere in the kernel
        return Pending(blocked.process, Action.CALL, "", waits=True)
    return Pending(
        event.process,
        event.action,
        event.object,
        event.offset,
        event.size,
        event.also,
        event.waits,
    )


def _index(point: Point, task: str) -> int | None:
    for index, pending in enumerate(point.enabled):
        if pending.process == task:
            return index
    return None


def _choice(point: Point) -> str:
    return f"a choice of {' or '.join(operation(pending) for pending in point.enabled)}"
