from __future__ import annotations

from collections import Counter

import pytest

from lab.search.pos import Pos
from lab.trace import Ending
from tests.search import models
from tests.search.programs import runs_to_first_bug
from tests.search.toy import Program, Task, read, run, trace_class, write


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (models.deadlock01(), 3.0),
        (models.account(), 3.0),
        (models.twostage(), 11.7),
        (models.reorder(3), 10.1),
        (models.reorder(5), 15.7),
        (models.wronglock(3), 2.7),
    ],
    ids=["deadlock01", "account", "twostage", "reorder_3", "reorder_5", "wronglock_3"],
)
def test_it_takes_as_many_schedules_to_the_first_bug_as_the_model_says(
    program: Program, expected: float
) -> None:
    searches = 300
    runs = sum(runs_to_first_bug(program, Pos(seed)) for seed in range(searches))

    # 300 bugs, give or take 17: within a tenth in 19 of 20 seeds, and these.
    assert runs / searches == pytest.approx(expected, rel=0.1)


def test_steps_that_do_not_matter_to_one_another_cost_no_luck() -> None:
    """One race after nine steps of one task: random choice needs 2^9 runs to see both orders."""

    def busy() -> Task:
        for number in range(9):
            yield write(f"mine {number}", 1)
        yield write("n", 1)

    def idle() -> Task:
        yield write("n", 2)

    pos = Pos(0)
    program = Program({"P1": busy, "P2": idle})
    ends: Counter[int] = Counter()
    for _ in range(400):
        pos.begin()
        ends[run(program, pos.choose).memory["n"]] += 1

    # P2 keeps its number until a step races with it: that is last with probability 1 in 11.
    assert ends[2] / 400 > 1 / 20


def test_it_samples_traces_more_evenly_than_interleavings_are_spread() -> None:
    pos = Pos(0)
    program = models.counter(2, 1)
    classes: Counter[object] = Counter()
    for _ in range(400):
        pos.begin()
        classes[trace_class(run(program, pos.choose).trace.events)] += 1

    assert len(classes) == 4
    assert min(classes.values()) > 40


def test_a_task_that_spins_does_not_starve_the_one_it_waits_for() -> None:
    def spinner() -> Task:
        while not (yield read("flag")):
            pass

    def setter() -> Task:
        yield write("flag", 1)

    pos = Pos(0)
    for _ in range(50):
        pos.begin()
        trace = run(Program({"P1": spinner, "P2": setter}), pos.choose, max_steps=200).trace
        assert trace.ending is Ending.COMPLETED


def test_a_run_does_not_depend_on_those_before_it() -> None:
    one, other = Pos(5), Pos(5)
    one.begin()
    other.begin()
    run(models.counter(4, 4), other.choose)
    runs = []
    for strategy in (one, other):
        strategy.begin()
        runs.append(run(models.counter(), strategy.choose).trace)

    assert runs[0] == runs[1]
    assert Pos.independent
