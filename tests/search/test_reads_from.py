from __future__ import annotations

import pytest

from lab.search.reads_from import ReadsFrom
from lab.trace import Ending
from tests.search import models
from tests.search.programs import runs_to_first_bug, search
from tests.search.toy import Program, Task, acquire, read, release, run, spawn, wait, write


@pytest.mark.parametrize(
    ("program", "runs"),
    [
        (models.deadlock01(), 2),
        (models.account(), 1),
        (models.twostage(), 5),
        (models.reorder(3), 4),
        (models.reorder(10), 4),
        (models.wronglock(1), 2),
        (models.wronglock(5), 2),
    ],
    ids=[
        "deadlock01",
        "account",
        "twostage",
        "reorder_3",
        "reorder_10",
        "wronglock_1",
        "wronglock_5",
    ],
)
def test_bugs_of_reading_something_new_take_few_runs_however_many_tasks(
    program: Program, runs: int
) -> None:
    assert runs_to_first_bug(program, ReadsFrom()) == runs


def _seen(program: Program, place: str) -> set[int]:
    """The values that were read, in all runs."""
    return {
        event.before[0]
        for each in search(program, ReadsFrom(), most=200)
        for event in each.trace.events
        if event.object == place and event.process == "reader"
    }


def _writer(*values: int) -> Task:
    for value in values:
        yield write("n", value)


def _reader() -> Task:
    yield read("n")


def test_a_read_finds_each_write_and_what_was_there_before() -> None:
    program = Program({"P1": lambda: _writer(1, 2), "reader": _reader, "P2": lambda: _writer(3, 4)})

    assert _seen(program, "n") == {0, 1, 2, 3, 4}


def test_what_must_come_before_is_not_aimed_at() -> None:
    def parent() -> Task:
        yield write("n", 1)
        yield write("n", 2)
        yield spawn("P1", lambda: _writer(3))
        yield wait("P1")
        yield spawn("reader", _reader)

    assert len(search(Program({"P0": parent}), ReadsFrom())) == 1


def test_it_ends_when_there_is_nothing_new_to_be_read() -> None:
    aimed = ReadsFrom()
    search(models.counter(2, 2), aimed, most=100)

    assert not aimed.begin()


def test_a_goal_that_cannot_be_had_does_not_stop_the_run() -> None:
    def holder() -> Task:
        yield acquire("m")
        yield write("n", 1)
        yield write("n", 2)
        yield release("m")

    def guarded_reader() -> Task:
        yield acquire("m")
        yield read("n")
        yield release("m")

    program = Program({"P1": holder, "reader": guarded_reader})
    runs = search(program, ReadsFrom(), most=100)

    assert {each.trace.ending for each in runs} == {Ending.COMPLETED}
    assert _seen(program, "n") == {0, 2}


def test_who_waits_in_a_loop_is_not_waited_for() -> None:
    def spinner() -> Task:
        while not (yield read("flag")):
            pass

    def setter() -> Task:
        yield write("flag", 1)

    program = Program({"P1": spinner, "P2": setter})
    aimed = ReadsFrom()
    for _ in range(20):
        if not aimed.begin():
            break
        trace = run(program, aimed.choose, max_steps=200).trace
        aimed.end(trace)
        assert trace.ending is Ending.COMPLETED
