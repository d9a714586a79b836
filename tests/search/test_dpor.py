"""DPOR against brute force: as many runs as there are traces, and all that can come of them."""

from __future__ import annotations

import dataclasses
from math import factorial

import pytest

from lab.search.dpor import Dpor
from lab.search.strategy import Pending, Point, Pruned, Systematic
from lab.trace import Action, Ending, Event
from tests.search import models
from tests.search.programs import random_program, runs_to_first_bug, search, truth
from tests.search.toy import (
    Program,
    Task,
    acquire,
    attempt,
    read,
    receive,
    release,
    run,
    send,
    spawn,
    trace_class,
    wait,
    write,
)

_CHUNKS = 12
_PROGRAMS = 480
_MOST = 200


@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_each_trace_of_a_random_program_is_run_once(chunk: int) -> None:
    counted = 0
    for seed in range(chunk, _PROGRAMS, _CHUNKS):
        program = random_program(seed)
        true = truth(program, _MOST)
        if true is None:
            continue
        counted += 1
        dpor = Dpor()
        runs = search(program, dpor)

        assert {trace_class(each.trace.events) for each in runs} == true.classes, seed
        assert dpor.executions == len(runs) == len(true.classes), seed
        assert {each.state for each in runs} == true.states, seed
        assert dpor.exhausted, seed
    assert counted >= 25  # of each chunk, and so more than 300 of all


@pytest.mark.parametrize(
    ("writers", "increments"), [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1), (2, 4)]
)
def test_a_guarded_counter_has_as_many_runs_as_lock_orders(writers: int, increments: int) -> None:
    dpor = Dpor()
    runs = search(models.counter(writers, increments, guarded=True), dpor)

    assert dpor.executions == factorial(writers * increments) // factorial(increments) ** writers
    assert dpor.redundant == 0
    assert {each.memory["n"] for each in runs} == {writers * increments}


@pytest.mark.parametrize(("writers", "increments", "traces"), [(2, 1, 4), (3, 1, 36), (2, 3, 328)])
def test_a_lock_that_is_tried_first_has_more_traces(
    writers: int, increments: int, traces: int
) -> None:
    def writer() -> Task:
        for _ in range(increments):
            if not (yield attempt("lock")):
                yield acquire("lock")
            value = yield read("n")
            yield write("n", value + 1)
            yield release("lock")

    dpor = Dpor()
    search(Program({f"P{number}": writer for number in range(writers)}), dpor)

    assert (dpor.executions, dpor.redundant) == (traces, 0)


@pytest.mark.parametrize("first", ["producer", "consumer"])
def test_the_order_of_two_holders_of_one_lock_is_reversed(first: str) -> None:
    def producer() -> Task:
        yield acquire("m")
        yield write("made", 1)
        yield release("m")

    def consumer() -> Task:
        yield acquire("m")
        assert (yield read("made"))
        yield release("m")

    bodies = [("producer", producer), ("consumer", consumer)]
    order = bodies if first == "producer" else bodies[::-1]

    assert runs_to_first_bug(Program(dict(order)), Dpor()) <= 2


def test_what_a_task_never_came_to_do_is_tried_first_as_well() -> None:
    def taker() -> Task:
        yield acquire("s")
        yield write("taken", 1)

    def late() -> Task:
        yield write("x", 1)
        yield acquire("s")
        yield write("taken", 2)

    runs = search(Program({"P1": taker, "P2": late}), Dpor())

    assert {each.memory["taken"] for each in runs} == {1, 2}
    assert {each.trace.ending for each in runs} == {Ending.STUCK}


def test_how_much_fits_into_a_queue_is_learnt_once() -> None:
    def sender() -> Task:
        yield send("q", 1)
        yield send("q", 2)

    def receiver() -> Task:
        yield receive("q")
        yield receive("q")

    dpor = Dpor()
    search(Program({"P1": sender, "P2": receiver}), dpor)

    assert dpor.executions == 1
    assert dpor.redundant <= 1


def test_a_task_is_awaited_only_after_its_end() -> None:
    def child() -> Task:
        yield write("n", 1)
        yield write("n", 2)

    def parent() -> Task:
        yield spawn("P1", child)
        yield read("n")
        yield wait("P1")
        yield read("n")

    dpor = Dpor()
    runs = search(Program({"P0": parent}), dpor)

    assert len(runs) == 3
    assert dpor.redundant == 0


def _waits_for_flag() -> Task:
    while not (yield read("flag")):
        pass
    assert (yield read("data"))


def test_a_loop_that_waits_for_a_flag_has_an_end() -> None:
    def publisher() -> Task:
        yield write("data", 1)
        yield write("flag", 1)

    dpor = Dpor()
    runs = search(Program({"P1": _waits_for_flag, "P2": publisher}), dpor)

    assert dpor.exhausted
    assert "idles" in dpor.scope
    assert not any(each.buggy for each in runs)


def test_a_flag_that_is_set_too_early_is_found_behind_a_loop() -> None:
    def hasty() -> Task:
        yield write("flag", 1)
        yield write("data", 1)

    assert runs_to_first_bug(Program({"P1": _waits_for_flag, "P2": hasty}), Dpor()) <= 25


def test_a_run_without_end_is_no_proof() -> None:
    def forever() -> Task:
        while True:
            yield read("flag")

    dpor = Dpor()
    assert dpor.begin()
    dpor.end(run(Program({"P1": forever}), dpor.choose, max_steps=50).trace)

    assert not dpor.begin()
    assert not dpor.exhausted


def test_it_is_exhausted_when_it_says_so_and_not_before() -> None:
    dpor = Dpor()
    said = [dpor.exhausted]
    while dpor.begin():
        said.append(dpor.exhausted)
        dpor.end(run(models.counter(2, 1), dpor.choose).trace)
        said.append(dpor.exhausted)

    assert isinstance(dpor, Systematic)
    assert not any(said)
    assert dpor.exhausted
    assert dpor.scope == "every order of dependent steps"


def test_its_estimate_is_right_in_the_end_and_not_absurd_before() -> None:
    dpor, estimates = Dpor(), []
    program = models.counter(3, 2, guarded=True)
    while dpor.begin():
        dpor.end(run(program, dpor.choose).trace)
        estimates.append(dpor.estimate)

    assert estimates[-1] == 90
    assert all(20 < estimate < 200 for estimate in estimates[9:])


def test_a_choice_that_is_taken_back_is_made_again_without_that_task() -> None:
    one, other = Pending("P1", Action.ACQUIRE, "lock:/f"), Pending("P2", Action.READ, "n")
    dpor = Dpor()
    dpor.begin()

    assert dpor.choose(Point(0, (one, other), 0, "")) == 0
    assert dpor.choose(Point(0, (other,), 0, "", (one,))) == 0


def test_a_plan_that_cannot_be_followed_is_abandoned() -> None:
    """Whether the descriptor was ready before the other's step is not in the record."""
    dpor = Dpor()
    dpor.begin()
    send_, write_ = Pending("P1", Action.SEND, "pipe:1"), Pending("P2", Action.WRITE, "x")
    poll = Pending("P2", Action.WAIT, "pipe:1", waits=True)
    sent = Event(0, "P1", Action.SEND, "write", "pipe:1", result=1)
    written = Event(1, "P2", Action.WRITE, "store", "x")
    polled = Event(2, "P2", Action.WAIT, "poll", "pipe:1", result=1, waits=True)
    dpor.choose(Point(0, (send_, write_), 0, ""))
    dpor.choose(Point(1, (write_,), 0, "P1", (), (sent,)))
    dpor.choose(Point(2, (poll,), 0, "P2", (), (written,)))
    empty = run(Program({}), lambda _: 0).trace
    dpor.end(dataclasses.replace(empty, events=(sent, written, polled)))

    assert dpor.begin()
    assert dpor.choose(Point(0, (send_, write_), 0, "")) == 1
    with pytest.raises(Pruned):
        dpor.choose(Point(1, (send_,), 0, "P2", (poll,), (dataclasses.replace(written, step=0),)))
    assert (dpor.executions, dpor.redundant) == (1, 1)
    assert not dpor.begin()
    assert dpor.exhausted
