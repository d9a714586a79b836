"""Shrink: from a schedule that shows a finding to the few switches that matter.

A random schedule switches at every other step, and nobody can read it. Of what shows the same
finding the simplest is wanted, in the order that `Schedule` has: fewest preemptions first. No rule
of logic tells whether a simpler schedule still shows it, so each candidate is run. Candidates come
from two views of the same run:

- Its deviations from the default order. Those after the damage are cut off, then chunks are left
  out, ever smaller ones (delta debugging), then what is left is moved to earlier steps.
- Its blocks: who moved, and for how many steps in a row. A block is moved to the next or the last
  one of the same process, over all that lies between, and a block is let run on for as long as it
  can: each takes away a switch or makes a preemption of none. (Jalbert & Sen, FSE 2010, move whole
  blocks since commuting one pair of steps hardly ever makes anything simpler.)

A candidate is followed loosely, for the program may do something else than before: who should move
and cannot is passed over. What counts is the schedule that the run had in the end.

It is a local search: nothing simpler is left among the candidates of its answer. Where more than
one preemption is left, it also tries every single one, since that is what most bugs need; so an
answer with two preemptions means that one was not enough, if the runs sufficed to try.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lab.search.schedule import Choose, Schedule
from lab.search.strategy import Point

Deviations = tuple[tuple[int, str], ...]
Blocks = tuple[tuple[str, int], ...]
"""Who moves, and for how many steps: `_UNTIL_IT_CANNOT` has no number."""
_UNTIL_IT_CANNOT = 0
_NEAR = 6


@dataclass(frozen=True)
class Path:
    """One run that shows the finding, as far as shrinking needs to know it."""

    schedule: Schedule
    order: tuple[str, ...]
    """Who was chosen, step by step."""
    damage: int
    """The step that completed it: no deviation after it can matter."""


class Spent(Exception):  # noqa: N818  # no error: so it was agreed
    """No more runs may be made."""


Attempt = Callable[[Choose], Path | None]
"""Runs the program once; None, if the finding did not come back. May raise Spent."""


@dataclass(frozen=True)
class Shrunk:
    """What came of it."""

    path: Path
    """The simplest that was met."""
    runs: int
    complete: bool
    """It ended since none of its candidates was simpler, and not since the runs were used up."""


def shrink(found: Path, attempt: Attempt, *, most: int) -> Shrunk:
    """The simplest run around the one that was found.

    Args:
        found: a run that shows the finding.
        attempt: tries another.
        most: runs that may be made.
    """
    shrinker = _Shrinker(found, attempt, most)
    complete = shrinker.shrink()
    return Shrunk(shrinker.best, shrinker.runs, complete)


class _Shrinker:
    def __init__(self, found: Path, attempt: Attempt, most: int) -> None:
        self.best = found
        self.runs = 0
        self._attempt, self._most = attempt, most
        self._tried: set[Deviations | Blocks] = {found.schedule.deviations}

    def shrink(self) -> bool:
        """Go on until nothing helps; False: until the runs were used up."""
        passes = (self._cut, self._leave_out, self._join, self._run_on, self._swap, self._earlier)
        try:
            before = None
            while before is not self.best:
                before = self.best
                for each in passes:
                    each()
                if before is self.best:
                    self._single()
        except Spent:
            return False
        return True

    # -- passes ---------------------------------------------------------------------------

    def _cut(self) -> None:
        """The default order from some step on, as early as that can be."""
        deviations = self.best.schedule.deviations
        self._try(tuple(each for each in deviations if each[0] <= self.best.damage))
        deviations = self.best.schedule.deviations
        low, high = 0, len(deviations)
        while low < high:
            middle = (low + high) // 2
            if self._try(deviations[:middle]):
                high = middle
            else:
                low = middle + 1

    def _leave_out(self) -> None:
        """Fewer deviations: large chunks first, then ever smaller ones."""
        size = len(self.best.schedule.deviations) // 2
        while size:
            start = 0
            while start < len(deviations := self.best.schedule.deviations):
                if not self._try(deviations[:start] + deviations[start + size :]):
                    start += size
            size //= 2

    def _join(self) -> None:
        """A switch less: a block beside another of its process."""
        self._first_of(_joined)

    def _run_on(self) -> None:
        """A switch as late as it can be, where it is no preemption."""
        self._first_of(_run_on)

    def _swap(self) -> None:
        """The same with two processes in each other's place: alike ones have an order of birth."""
        processes = tuple(dict.fromkeys(self.best.order))
        for one, other in itertools.combinations(processes, 2):
            deviations = self.best.schedule.deviations
            if not {one, other}.isdisjoint(process for _, process in deviations):
                names = {one: other, other: one}
                self._try(tuple((step, names.get(who, who)) for step, who in deviations))

    def _earlier(self) -> None:
        """The same switches after fewer steps of the program."""
        index = 0
        while index < len(deviations := self.best.schedule.deviations):
            after = deviations[index - 1][0] + 1 if index else 0
            gap = deviations[index][0] - after
            if not any(self._try(_moved(deviations, index, by)) for by in _falling(gap)):
                index += 1

    def _single(self) -> None:
        """One preemption alone, wherever it may be."""
        if self.best.schedule.preemptions <= 1:
            return
        processes = sorted(set(self.best.order))
        for step, process in itertools.product(range(self.best.damage), processes):
            if self._try(((step, process),)):
                return

    def _first_of(self, candidates: Callable[[Blocks], Iterator[Blocks]]) -> None:
        """Take the first that is simpler, and begin again with what it led to."""
        # A single deviation: all that could be simpler is the default order, which was tried.
        while len(self.best.schedule.deviations) > 1 and any(
            self._try_blocks(each) for each in candidates(_blocks(self.best.order))
        ):
            pass

    # -- candidates -----------------------------------------------------------------------

    def _try(self, deviations: Deviations) -> bool:
        return self._run(deviations, Loosely(deviations))

    def _try_blocks(self, blocks: Blocks) -> bool:
        return self._run(blocks, _InBlocks(blocks))

    def _run(self, candidate: Deviations | Blocks, choose: Choose) -> bool:
        """Whether a candidate shows the finding with a simpler schedule; then it is the best."""
        # The default order itself: nothing is simpler.
        if candidate in self._tried or not self.best.schedule.deviations:
            return False
        if self.runs == self._most:
            raise Spent
        self._tried.add(candidate)
        path = self._attempt(choose)
        self.runs += 1
        if path is None or not path.schedule < self.best.schedule:
            return False
        self.best = path
        self._tried.add(path.schedule.deviations)
        return True


class Loosely:
    """Leaves the default order at the given steps, where it can; elsewhere it keeps to it."""

    def __init__(self, deviations: Deviations) -> None:
        self._deviations = dict(deviations)

    def __call__(self, point: Point) -> int:
        """Who moves."""
        return _index(point, self._deviations.get(point.step, ""))


class _InBlocks:
    """Moves in the given blocks, and in the default order after them."""

    def __init__(self, blocks: Blocks) -> None:
        self._left = list(reversed(blocks))
        self._taken = 0
        self._step = -1

    def __call__(self, point: Point) -> int:
        # At the same step as before: who was chosen turned out to be blocked.
        refused, self._step = point.step == self._step, point.step
        enabled = {pending.process for pending in point.enabled}
        while self._left:
            process, steps = self._left[-1]
            if process in enabled and not refused and (not steps or self._taken < steps):
                self._taken += 1
                return _index(point, process)
            self._left.pop()
            self._taken, refused = 0, False
        return point.default


def _index(point: Point, process: str) -> int:
    for index, pending in enumerate(point.enabled):
        if pending.process == process:
            return index
    return point.default


def _blocks(order: Sequence[str]) -> Blocks:
    return tuple((process, len(list(steps))) for process, steps in itertools.groupby(order))


def _joined(blocks: Blocks) -> Iterator[Blocks]:
    """Each block before the next of its process, and behind the last: the rest moves over."""
    for later in reversed(range(len(blocks))):
        process, steps = blocks[later]
        earlier = next((i for i in reversed(range(later)) if blocks[i][0] == process), None)
        if earlier is None:
            continue
        between, rest = blocks[earlier + 1 : later], blocks[later + 1 :]
        one = ((process, blocks[earlier][1] + steps),)
        yield _normal(blocks[:earlier] + one + between + rest)
        yield _normal(blocks[:earlier] + between + one + rest)


def _run_on(blocks: Blocks) -> Iterator[Blocks]:
    """Each block until it cannot go on; what its process did later is then done already."""
    for index, (process, _) in enumerate(blocks):
        rest = (block for block in blocks[index + 1 :])
        yield (*blocks[:index], (process, _UNTIL_IT_CANNOT), *rest)


def _normal(blocks: Blocks) -> Blocks:
    """Neighbouring blocks of one process as one."""
    return tuple(
        (process, sum(steps for _, steps in group))
        for process, group in itertools.groupby(blocks, key=lambda block: block[0])
    )


def _moved(deviations: Deviations, index: int, by: int) -> Deviations:
    """From one deviation on, all of them that many steps earlier."""
    moved = ((step - by, process) for step, process in deviations[index:])
    return (*deviations[:index], *moved)


def _falling(most: int) -> Iterator[int]:
    """Distances, the farthest first, and each half of the one before; of the near ones, all."""
    while most > _NEAR:
        yield most
        most //= 2
    yield from range(most, 0, -1)
