from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest

from lab.search.pct import Pct
from lab.search.schedule import Choose
from lab.search.strategy import Point
from lab.trace import Ending, Event
from tests.search import models
from tests.search.programs import runs_to_first_bug
from tests.search.toy import Program, Task, read, run, spawn, write

MODELS = {
    "deadlock01": (models.deadlock01(), 12, 12.0, 6.0),
    "account": (models.account(), 14, 3.0, 3.0),
    "twostage": (models.twostage(), 14, 9.333, 6.067),
    "reorder_3": (models.reorder(3), 8, 24.0, 14.0),
    "reorder_5": (models.reorder(5), 12, 60.0, 33.0),
    "wronglock_3": (models.wronglock(3), 18, 12.0, 7.418),
}
"""Steps, and the schedules to the first bug with d = 2 and 3: what `exactly` says."""


def exactly(program: Program, steps: int, depth: int) -> float:
    """Schedules to the first bug by the definition: all priorities with all change points."""
    tasks = list(program.tasks)
    bugs = runs = 0
    for ranks in permutations(range(len(tasks))):
        for changes in permutations(range(steps), depth - 1):
            priorities = dict(zip(tasks, (depth + rank for rank in ranks), strict=True))
            bugs += run(program, _by_priority(priorities, changes)).buggy
            runs += 1
    return runs / bugs


def _by_priority(priorities: dict[str, int], changes: tuple[int, ...]) -> Choose:
    def choose(point: Point) -> int:
        names = [pending.process for pending in point.enabled]
        highest = max(names, key=priorities.__getitem__)
        if point.step in changes:
            priorities[highest] = -changes.index(point.step)
        return names.index(highest)

    return choose


@pytest.mark.parametrize("name", ["deadlock01", "account", "twostage", "reorder_3"])
def test_the_numbers_here_are_what_the_definition_says(name: str) -> None:
    program, steps, shallow, deep = MODELS[name]

    assert exactly(program, steps, 2) == pytest.approx(shallow, abs=0.001)
    assert exactly(program, steps, 3) == pytest.approx(deep, abs=0.001)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("depth", [2, 3])
def test_it_takes_as_many_schedules_to_the_first_bug_as_the_definition_says(
    name: str, depth: int
) -> None:
    program, steps, shallow, deep = MODELS[name]
    expected = shallow if depth == 2 else deep
    searches = 500 if expected < 20 else 300
    runs = sum(runs_to_first_bug(program, Pct(seed, depth, steps)) for seed in range(searches))

    # The standard deviation of so many is 4.5 and 6 of 100.
    assert runs / searches == pytest.approx(expected, rel=0.1)


def test_with_the_least_depth_nobody_is_preempted() -> None:
    pct = Pct(0, depth=1)
    program = models.counter(3, 3)
    for _ in range(20):
        pct.begin()
        assert run(program, pct.choose).memory["n"] == 9


def test_a_newborn_may_come_in_anywhere() -> None:
    def child() -> Task:
        yield write("n", 1)

    def parent() -> Task:
        yield spawn("P1", child)
        yield spawn("P2", child)
        yield write("n", 0)

    orders: Counter[tuple[str, ...]] = Counter()
    pct = Pct(0, depth=1)
    for _ in range(600):
        pct.begin()
        events = run(Program({"P0": parent}), pct.choose).trace.events
        orders[tuple(event.process for event in events if event.object == "n")] += 1

    # One order for each permutation of priorities; but P1, if it is above P0, runs before there
    # is a P2.
    twice = ("P1", "P2", "P0")
    assert set(orders) == set(permutations(["P0", "P1", "P2"])) - {("P2", "P1", "P0")}
    assert orders.pop(twice) == pytest.approx(200, abs=35)
    assert all(count == pytest.approx(100, abs=30) for count in orders.values())


def test_it_learns_how_long_runs_are() -> None:
    pct, fresh = Pct(0, depth=2), Pct(0, depth=2)
    program = models.counter(2, 2)
    for strategy in (pct, fresh):
        strategy.begin()
    pct.end(run(program, pct.choose).trace)
    outcomes = []
    for strategy in (pct, fresh):
        strategy.begin()
        counts = set()
        for _ in range(60):
            counts.add(run(program, strategy.choose).memory["n"])
            strategy.begin()
        outcomes.append(counts)

    # Without a length there are no change points, and without these no preemption.
    assert outcomes[1] == {4}
    assert outcomes[0] > {4}


def test_a_task_that_spins_does_not_starve_the_one_it_waits_for() -> None:
    def spinner() -> Task:
        while not (yield read("flag")):
            pass

    def setter() -> Task:
        yield write("data", 1)
        yield write("flag", 1)

    program = Program({"P1": spinner, "P2": spinner, "P3": setter})
    pct = Pct(0, depth=3, steps=12)
    for _ in range(50):
        pct.begin()
        trace = run(program, pct.choose, max_steps=100).trace
        pct.end(trace)
        assert trace.ending is Ending.COMPLETED


def test_the_same_seed_gives_the_same_runs() -> None:
    def runs(seed: int) -> list[tuple[Event, ...]]:
        pct, found = Pct(seed), []
        for _ in range(5):
            pct.begin()
            trace = run(models.counter(), pct.choose).trace
            pct.end(trace)
            found.append(trace.events)
        return found

    assert runs(1) == runs(1)
    assert runs(1) != runs(2)


def test_a_depth_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more, not 0"):
        Pct(0, depth=0)
