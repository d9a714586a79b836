"""Shrinking over toys: the answers are held against what trying everything finds."""

from __future__ import annotations

import pytest

from lab.essence import essence
from lab.search.random import Random
from lab.search.schedule import Choose, Recorder, Schedule
from lab.search.shrink import Attempt, Path, Shrunk, shrink
from lab.trace import Trace
from tests.search import models
from tests.search.models import counter, deadlock01, reorder, twostage, wronglock
from tests.search.toy import (
    Program,
    Task,
    acquire,
    attempt,
    interleavings,
    read,
    release,
    run,
    write,
)

SEEDS = range(25)
ENOUGH = 500


def _path(recorder: Recorder, trace: Trace) -> Path | None:
    """The first finding is the one that is wanted: these programs have one each."""
    found = essence(trace).findings
    if not found:
        return None
    order = tuple(each.process for each in recorder.operations(len(trace.events)))
    key_steps = found[0].key_steps
    return Path(recorder.schedule, order, key_steps[-1] if key_steps else len(order))


def _attempts(program: Program) -> Attempt:
    def attempted(choose: Choose) -> Path | None:
        recorder = Recorder(choose)
        return _path(recorder, run(program, recorder).trace)

    return attempted


def _found(program: Program, seed: int) -> Path:
    random = Random(seed)
    attempted = _attempts(program)
    while True:
        random.begin()
        if path := attempted(random.choose):
            return path


def _shrunk(program: Program, seed: int, most: int = ENOUGH) -> Shrunk:
    return shrink(_found(program, seed), _attempts(program), most=most)


def _along(choices: list[int]) -> Choose:
    return lambda point: choices[point.step]


def _simplest(program: Program) -> Schedule:
    """Of all runs that show the finding."""
    attempted = _attempts(program)
    paths = (
        attempted(_along([choice for _, choice in each.choices])) for each in interleavings(program)
    )
    return min(path.schedule for path in paths if path)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_unguarded_counter_ends_at_one_preemption_after_the_first_read(seed: int) -> None:
    shrunk = _shrunk(counter(3, 5), seed)

    assert shrunk.path.schedule == Schedule(((1, "P2"),), 1)
    assert shrunk.complete
    assert shrunk.runs <= 50


@pytest.mark.parametrize(
    "program",
    [counter(2, 2), counter(3, 1), deadlock01(), twostage(), reorder(3), models.account()],
    ids=["counter 2x2", "counter 3x1", "deadlock01", "twostage", "reorder_3", "account"],
)
def test_what_is_left_is_as_simple_as_the_simplest_of_all_runs(program: Program) -> None:
    simplest = _simplest(program)

    for seed in SEEDS:
        assert _shrunk(program, seed).path.schedule.simplicity == simplest.simplicity


def test_a_bug_of_many_processes_needs_no_more_preemptions_than_it_must() -> None:
    for seed in SEEDS:
        assert _shrunk(wronglock(3), seed).path.schedule.preemptions == 1
        assert _shrunk(reorder(5), seed).path.schedule.simplicity == (1, 1, 1, 2)


def test_the_answer_is_a_run_that_shows_the_finding_again() -> None:
    for seed in SEEDS:
        path = _shrunk(wronglock(3), seed).path
        deviations = dict(path.schedule.deviations)

        def again(deviations: dict[int, str] = deviations) -> Choose:
            return lambda point: next(
                (
                    index
                    for index, each in enumerate(point.enabled)
                    if each.process == deviations.get(point.step)
                ),
                point.default,
            )

        assert _attempts(wronglock(3))(again()) == path


def test_it_never_answers_with_more_than_it_was_given() -> None:
    for seed in SEEDS:
        found = _found(counter(3, 5), seed)
        for most in (0, 1, 3, 9):
            shrunk = shrink(found, _attempts(counter(3, 5)), most=most)
            assert shrunk.path.schedule <= found.schedule
            assert shrunk.runs <= most


def test_the_default_order_costs_no_run() -> None:
    found = _attempts(models.account())(lambda point: point.default)

    assert found is not None
    assert shrink(found, _attempts(models.account()), most=ENOUGH).runs == 0


def test_when_the_runs_are_used_up_it_says_so() -> None:
    shrunk = _shrunk(counter(5, 9), 0, most=5)

    assert (shrunk.runs, shrunk.complete) == (5, False)


def test_more_than_one_preemption_is_left_only_where_one_does_not_do() -> None:
    """P1 sets a flag for a moment, in two places: both moments must be met."""

    def moment() -> Task:
        yield write("a", 1)
        yield write("a", 0)
        yield write("b", 1)
        yield write("b", 0)

    def meets() -> Task:
        a = yield read("a")
        b = yield read("b")
        assert not (a and b), "both were met"

    program = Program({"P1": moment, "P2": meets})

    assert _simplest(program).preemptions == 3
    for seed in SEEDS:
        assert _shrunk(program, seed).path.schedule == _simplest(program)


def test_a_program_that_no_longer_shows_it_leaves_the_schedule_as_it_was() -> None:
    found = _found(counter(3, 5), 0)

    assert shrink(found, lambda _: None, most=ENOUGH).path == found


@pytest.mark.parametrize("seed", SEEDS)
def test_who_tries_a_lock_and_is_refused_does_not_confuse_it(seed: int) -> None:
    def tries() -> Task:
        while not (yield attempt("lock")):
            pass
        yield release("lock")
        value = yield read("n")
        yield write("n", value + 1)

    def patient() -> Task:
        yield acquire("lock")
        yield release("lock")
        value = yield read("n")
        yield write("n", value + 1)

    schedule = _shrunk(Program({"P1": tries, "P2": patient}), seed).path.schedule

    assert schedule.simplicity <= (1, 1, 1, 4)
