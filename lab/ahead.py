"""One search, and many who run for it: what it will ask for is made before it asks.

Why the answer is the same for any number of jobs: a program under control is a function. Given
who moves at each point, it says what the next point is, or that the run is over. A search asks
that function, and nobody but the search decides anything: it alone plans, counts and judges, in
one process and in one order. Whoever makes the runs only records what the function says. When the
search comes to make a run, it is asked at each recorded point who moves; while it chooses as the
recorded run did, the recording is the run. Where it chooses otherwise, the rest is made anew, from
the start along the same choices. So a wrong guess about what it will ask costs time, and what it
sees is what it would have seen alone: the same executions, abandoned runs, findings and verdict.

That is also why a systematic search can be divided at all. The tree of an optimal DPOR cannot be
cut into parts that know nothing of one another, for a race that is found in one plans runs in
another, and sleep sets tell what was done before. Here the tree stays whole.

What it takes is that the program depends on nothing but the schedule; a replay takes that too.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lab.search.foresight import foreseen
from lab.search.replay import Diverged
from lab.search.schedule import Choose, Recorder
from lab.search.strategy import Point, Pruned, Strategy
from lab.trace import Trace

if TYPE_CHECKING:
    from lab.loop import Runner

_FAR = 32
"""Runs to look ahead, for each that can be made at once: more may be guessed wrong."""
_KEPT = 64
"""Recordings that may wait to be asked for, for each run that can be made at once; the oldest are
forgotten."""


@dataclass(frozen=True)
class Job:
    """A run to be made."""

    chooser: bytes
    """Who decides in it: a pickled `Choose`."""
    prefix: tuple[int, ...]
    """The choices that were made before that one is asked."""
    max_steps: int
    with_lines: bool = False


@dataclass(frozen=True)
class Recording:
    """What a program did."""

    points: tuple[Point, ...]
    choices: tuple[int, ...]
    """At these points; there is none at the last if the run was abandoned there."""
    trace: Trace | None
    """None: it was abandoned."""


class Executor(Protocol):
    """Makes runs somewhere, several at once."""

    slots: int
    """How many at once."""

    def submit(self, number: int, job: Job) -> None:
        """Begin to make a run. There must be a free slot."""

    def wait(self) -> tuple[int, Recording]:
        """The next that is ready, with its number.

        Raises LabError where runs cannot be made, or whoever made them is gone.
        """


def perform(runner: Runner, job: Job) -> Recording:
    """Make a run and record it. Raises as the runner does."""
    choose: Choose = pickle.loads(job.chooser)  # noqa: S301  # from the lab that wants the run
    points: list[Point] = []
    choices: list[int] = []

    def recorded(point: Point) -> int:
        points.append(point)
        at = len(choices)
        index = job.prefix[at] if at < len(job.prefix) else choose(point)
        if not 0 <= index < len(point.enabled):
            raise Diverged(point.step, f"choice {index}", f"one of {len(point.enabled)}")
        choices.append(index)
        return index

    trace = None
    # Whoever asked will see the last point too, and say the same or know better.
    with contextlib.suppress(Pruned, Diverged):
        trace = runner.run(recorded, max_steps=job.max_steps, with_lines=job.with_lines)
    return Recording(tuple(points), tuple(choices), trace)


class Ahead:
    """A runner that has the runs of a search made elsewhere, if it can before they are asked for.

    Args:
        executor: makes them.
        strategy: of the search.
    """

    def __init__(self, executor: Executor, strategy: Strategy) -> None:
        self._executor, self._strategy = executor, strategy
        self._recordings: deque[tuple[Hashable, Recording]] = deque(maxlen=_KEPT * executor.slots)
        self._guessed: dict[int, Hashable] = {}
        """Runs that are being made because they were foreseen."""
        self._wanted: dict[int, Recording | None] = {}
        """The run that is being made because it was asked for."""
        self._numbers = itertools.count()
        self._forecast: Iterator[tuple[Hashable, Job]] = iter(())
        self.made = 0
        """Runs that were made in all, wanted or not."""

    def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
        """One run, from what is recorded as far as that goes.

        Raises what the executor and `choose` raise; and Diverged if the program, led along the
        same choices again, came to other tasks.
        """
        matching: list[Recording] = []
        searching = isinstance(choose, Recorder) and choose.chooser == self._strategy.choose
        if searching:
            self._look_ahead(max_steps)
            matching = self._known()
        choices: list[int] = []
        points: list[Point] = []
        while True:
            at = len(choices)
            if not matching:
                chooser = self._strategy.choose if searching else choose
                job = Job(pickle.dumps(chooser), tuple(choices), max_steps, with_lines)
                matching = [self._made(job)]
                _compare(points, matching[0].points)
            recording = matching[0]
            if at == len(recording.points) and recording.trace is not None:
                self._forget(recording)
                return recording.trace
            if at >= len(recording.points):
                raise Diverged(at, "a choice", "a run that was abandoned before it")
            points.append(recording.points[at])
            try:
                choices.append(choose(recording.points[at]))
            except Pruned:
                self._forget(recording)
                raise
            matching = [
                each
                for each in matching
                if at < len(each.choices) and each.choices[at] == choices[at]
            ]

    def _known(self) -> list[Recording]:
        """What is recorded; the very run, if that is being made, is waited for."""
        which = getattr(self._strategy, "which", None)
        while which in self._guessed.values():
            self._take()
        # Its own recording first, then all others: its end may be known from another guess.
        ordered = sorted(self._recordings, key=lambda each: each[0] != which)
        return [recording for _, recording in ordered]

    def _look_ahead(self, max_steps: int) -> None:
        far = itertools.islice(foreseen(self._strategy), _FAR * self._executor.slots)
        self._forecast = (
            (which, Job(pickle.dumps(copy.choose), (), max_steps))
            for which, copy in far
            if which not in self._guessed.values()
            and all(which != known for known, _ in self._recordings)
        )
        # One slot stays free for the run that is asked for, until that is known to be there.
        self._guess(keep=1)

    def _guess(self, keep: int = 0) -> None:
        while self._busy + keep < self._executor.slots:
            guess = next(self._forecast, None)
            if guess is None:
                return
            number = next(self._numbers)
            self._guessed[number] = guess[0]
            self._executor.submit(number, guess[1])

    @property
    def _busy(self) -> int:
        return len(self._guessed) + len(self._wanted)

    def _made(self, job: Job) -> Recording:
        while self._busy >= self._executor.slots:
            self._take(refill=False)
        number = next(self._numbers)
        self._wanted[number] = None
        self._executor.submit(number, job)
        self._guess()
        while self._wanted[number] is None:
            self._take()
        recording = self._wanted.pop(number)
        assert recording is not None
        return recording

    def _take(self, *, refill: bool = True) -> None:
        number, recording = self._executor.wait()
        self.made += 1
        if number in self._wanted:
            self._wanted[number] = recording
        else:
            self._recordings.append((self._guessed.pop(number), recording))
        if refill:
            self._guess()

    def _forget(self, recording: Recording) -> None:
        """It was asked for, and no search asks twice."""
        kept = [each for each in self._recordings if each[1] is not recording]
        self._recordings.clear()
        self._recordings.extend(kept)


def _compare(seen: list[Point], again: tuple[Point, ...]) -> None:
    for before, now in zip(seen, again, strict=False):
        known, found = (
            " or ".join(pending.process for pending in point.enabled) for point in (before, now)
        )
        if known != found:
            raise Diverged(before.step, f"a choice of {known}", f"a choice of {found}")
