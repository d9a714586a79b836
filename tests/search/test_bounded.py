from __future__ import annotations

import pytest

from lab.search.bounded import Bounded
from lab.search.replay import Diverged
from lab.search.strategy import Pending, Point, Pruned, Systematic
from lab.trace import Action, Ending, Trace
from tests.search import models
from tests.search.programs import random_program, runs_to_first_bug, search, truth
from tests.search.toy import Program, Run, Task, read, run, write


def _preemptions(each: Run) -> int:
    return sum(point.preempts and choice != point.default for point, choice in each.choices)


@pytest.mark.parametrize("bound", [0, 1, 2])
def test_every_schedule_within_the_bound_is_run_once_and_no_other(bound: int) -> None:
    counted = 0
    for seed in range(60):
        program = random_program(seed)
        true = truth(program, 150)
        if true is None:
            continue
        counted += 1
        bounded = Bounded(bound)
        runs = search(program, bounded)
        expected = {each.trace.events for each in true.runs if _preemptions(each) <= bound}

        assert {each.trace.events for each in runs} == expected, seed
        assert len(runs) == bounded.executions == len(expected), seed
        assert bounded.exhausted, seed
    assert counted > 30


def test_fewer_preemptions_come_first() -> None:
    costs = [_preemptions(each) for each in search(models.counter(2, 2), Bounded(3))]

    assert costs == sorted(costs)
    assert set(costs) == {0, 1, 2, 3}


def test_the_first_failure_has_the_fewest_preemptions() -> None:
    program = models.deadlock01()
    bounded = Bounded(2)
    while True:
        bounded.begin()
        each = run(program, bounded.choose)
        bounded.end(each.trace)
        if each.buggy:
            break

    assert _preemptions(each) == 1


@pytest.mark.parametrize(("bound", "found"), [(0, False), (1, True)])
def test_a_lost_update_takes_one_preemption(bound: int, *, found: bool) -> None:
    runs = search(models.counter(2, 1), Bounded(bound))

    assert any(each.memory["n"] == 1 for each in runs) is found


def test_it_finds_what_needs_two() -> None:
    assert runs_to_first_bug(models.reorder(3), Bounded(2)) <= 20


def test_it_says_what_it_has_exhausted() -> None:
    assert Bounded(0).scope == "every schedule with no preemption"
    bounded = Bounded(2)
    assert isinstance(bounded, Systematic)
    assert bounded.scope == "every schedule with at most 2 preemptions"
    assert not bounded.exhausted


def _spinner() -> Task:
    while not (yield read("flag")):
        pass


def _setter() -> Task:
    yield write("flag", 1)


def test_a_task_that_spins_gives_way() -> None:
    bounded = Bounded(1)
    runs = search(Program({"P1": _spinner, "P2": _setter}), bounded)

    assert {each.trace.ending for each in runs} == {Ending.COMPLETED}
    assert bounded.exhausted
    assert "idles" in bounded.scope


def test_a_run_without_end_is_no_proof() -> None:
    bounded = Bounded(0)
    bounded.begin()
    bounded.end(run(Program({"P1": _spinner}), bounded.choose, max_steps=60).trace)

    assert not bounded.begin()
    assert not bounded.exhausted


ONE, OTHER = Pending("P1", Action.ACQUIRE, "lock:/f"), Pending("P2", Action.READ, "n")


def _begun(trace: Trace) -> Bounded:
    """At the run that deviates at the first step, to P2."""
    bounded = Bounded(0)
    bounded.begin()
    bounded.choose(Point(0, (ONE, OTHER), 0, ""))
    bounded.end(trace)
    assert bounded.begin()
    return bounded


def test_a_schedule_whose_choice_turns_out_to_be_blocked_is_abandoned() -> None:
    trace = run(Program({"P1": _setter}), lambda _: 0).trace
    bounded = _begun(trace)
    assert bounded.choose(Point(0, (ONE, OTHER), 0, "")) == 1

    with pytest.raises(Pruned):
        bounded.choose(Point(0, (ONE,), 0, ""))
    assert bounded.redundant == 1


def test_a_schedule_that_cannot_be_followed_is_told() -> None:
    trace = run(Program({"P1": _setter}), lambda _: 0).trace

    with pytest.raises(Diverged, match="recorded was a step of P2"):
        _begun(trace).choose(Point(0, (ONE,), 0, ""))


def test_a_default_that_is_taken_back_leaves_no_schedule_behind() -> None:
    bounded = Bounded(0)
    bounded.begin()
    bounded.choose(Point(0, (ONE, OTHER), 0, ""))
    bounded.choose(Point(0, (OTHER,), 0, ""))
    bounded.end(run(Program({"P1": _setter}), lambda _: 0).trace)

    assert not bounded.begin()


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more, not -1"):
        Bounded(-1)
