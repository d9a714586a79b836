"""Search a program again and again, each time to its first bug, in one sandbox.

The loop is that of `lab.loop`, with two differences. It stops at the program's own bug only: the
lab sees lost updates too that the program's assertion does not, and a search that stopped at those
would be compared with other tools that need more. And it does not replay what it has found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.sct.programs import Program
from lab.essence import essence
from lab.finding import Kind
from lab.loop import MOST_STEPS, Runner
from lab.run import control
from lab.run.limits import LabError, Limits
from lab.run.root import Function
from lab.search.named import strategy as strategy_named
from lab.search.strategy import Pruned, Strategy

BUGS = frozenset({Kind.INVARIANT, Kind.DEADLOCK})


@dataclass(frozen=True)
class Search:
    """One search of one program, with one seed."""

    found: bool
    runs: int
    """Up to and including the one that showed the bug. Abandoned runs count: each was begun."""
    stops: int = 0
    """Of traced tasks."""
    seconds: float = 0.0


def searches(program: Program, strategy: str, *, seeds: int, schedules: int) -> list[Search]:
    """Search a program once for each seed.

    Args:
        program: one that has a bug.
        strategy: its name.
        seeds: how many, from 0.
        schedules: after how many runs a search gives up.

    Raises LabError where control is refused or a run could not be judged, UnknownStrategy.
    """
    chosen = [strategy_named(strategy, seed=seed, schedules=schedules) for seed in range(seeds)]

    def work(runner: control.Runner, _report: Callable[[object], None]) -> list[Search]:
        return [_measured(runner, each, schedules) for each in chosen]

    name = program.__name__
    return control.in_controller(work, Function(name, program), Limits())


def _measured(runner: control.Runner, strategy: Strategy, schedules: int) -> Search:
    stops, began = runner.stops, time.monotonic()
    found, runs = to_first_bug(runner, strategy, schedules)
    return Search(found, runs, runner.stops - stops, time.monotonic() - began)


def to_first_bug(runner: Runner, strategy: Strategy, schedules: int) -> tuple[bool, int]:
    """Whether a search found the bug, and after how many runs it ended.

    Raises LabError if a run could not be judged.
    """
    runs = 0
    while runs < schedules and strategy.begin():
        runs += 1
        try:
            trace = runner.run(strategy.choose, max_steps=MOST_STEPS)
        except Pruned:
            continue
        strategy.end(trace)
        run = essence(trace)
        if run.undecided:
            raise LabError(f"run {runs} {run.undecided}")
        if any(finding.kind in BUGS for finding in run.findings):
            return True, runs
    return False, runs
