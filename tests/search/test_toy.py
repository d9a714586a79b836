"""The toy is what every strategy is counted on, so it is counted itself."""

from __future__ import annotations

from math import comb, factorial

import pytest

from lab.trace import Action, Ending
from tests.search import models
from tests.search.toy import (
    Program,
    Run,
    Task,
    acquire,
    interleavings,
    read,
    receive,
    release,
    run,
    send,
    spawn,
    trace_class,
    update,
    wait,
    write,
)


def _first(program: Program) -> Run:
    return run(program, lambda point: point.default)


def test_every_interleaving_of_independent_tasks_is_run_once() -> None:
    def writer(place: str) -> Task:
        yield write(place, 1)
        yield write(place, 2)

    program = Program({"P1": lambda: writer("a"), "P2": lambda: writer("b")})
    runs = list(interleavings(program))

    assert len({each.trace.events for each in runs}) == len(runs) == comb(4, 2)
    assert len({trace_class(each.trace.events) for each in runs}) == 1
    assert len({each.state for each in runs}) == 1


@pytest.mark.parametrize(("writers", "increments"), [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2)])
def test_a_guarded_counter_has_as_many_traces_as_lock_orders(writers: int, increments: int) -> None:
    runs = list(interleavings(models.counter(writers, increments, guarded=True)))
    orders = factorial(writers * increments) // factorial(increments) ** writers

    assert len({trace_class(each.trace.events) for each in runs}) == orders
    assert {each.memory["n"] for each in runs} == {writers * increments}


def test_an_unguarded_counter_loses_updates_in_some_interleavings_and_not_in_others() -> None:
    runs = list(interleavings(models.counter(2, 2)))

    assert {each.memory["n"] for each in runs} == {2, 3, 4}
    assert sum(each.memory["n"] == 4 for each in runs) == comb(4, 2)


def test_an_update_is_one_step() -> None:
    def adder() -> Task:
        yield update("n", lambda value: value + 1)

    runs = list(interleavings(Program(dict.fromkeys(["P1", "P2", "P3"], adder))))

    assert len(runs) == 6
    assert {each.memory["n"] for each in runs} == {3}


def test_opposite_lock_orders_are_stuck_in_some_runs() -> None:
    endings = {each.trace.ending for each in interleavings(models.deadlock01())}

    assert endings == {Ending.COMPLETED, Ending.STUCK}


def test_a_full_queue_blocks_its_sender_and_an_empty_one_its_receiver() -> None:
    received: list[object] = []

    def producer() -> Task:
        for number in range(3):
            yield send("q", number)

    def consumer() -> Task:
        first = yield receive("q")
        second = yield receive("q")
        received.append((first, second))

    program = Program({"P1": producer, "P2": consumer}, capacities={"q": 2})
    lengths = set()
    for each in interleavings(program):
        held = 0
        for event in each.trace.events:
            held += 1 if event.action is Action.SEND else -1
            lengths.add(held)
        assert each.queues["q"] == (2,)

    assert lengths == {0, 1, 2}
    assert set(received) == {(0, 1)}


def test_a_semaphore_lets_in_as_many_as_it_counts() -> None:
    def visitor() -> Task:
        yield acquire("room")
        inside = yield update("inside", lambda value: value + 1)
        yield update("most", lambda most: max(most, inside + 1))
        yield update("inside", lambda value: value - 1)
        yield release("room")

    visitors = dict.fromkeys(["P1", "P2", "P3"], visitor)
    runs = interleavings(Program(visitors, semaphores={"room": 2}))

    assert {each.memory["most"] for each in runs} == {1, 2}


def test_a_spawned_task_runs_beside_its_parent_until_it_is_awaited() -> None:
    def child() -> Task:
        yield write("n", 2)

    def parent() -> Task:
        yield spawn("P1", child)
        yield write("n", 1)
        yield wait("P1")
        assert (yield read("n")) == 2

    runs = list(interleavings(Program({"P0": parent})))

    assert [process.name for process in runs[0].trace.processes] == ["P0", "P1"]
    assert sorted(each.buggy for each in runs) == [False, True]


def test_an_assertion_ends_the_run_with_the_step_that_it_follows() -> None:
    def fails() -> Task:
        if not (yield read("n")):
            raise AssertionError("n is 0")
        yield write("n", 1)

    failed = _first(Program({"P1": fails}))

    assert failed.buggy
    assert failed.trace.failure is not None
    assert failed.trace.failure.message == "n is 0"
    assert len(failed.trace.events) == 1


def test_a_task_that_spins_is_stopped_by_the_bound() -> None:
    def spins() -> Task:
        while not (yield read("flag")):
            pass

    endless = run(Program({"P1": spins}), lambda _: 0, max_steps=9)

    assert endless.trace.ending is Ending.ENDLESS
    assert len(endless.trace.events) == 9


def test_events_carry_the_values_that_were_read_and_written() -> None:
    events = _first(models.counter(1, 2)).trace.events

    assert [(event.before[0], event.after[:1]) for event in events] == [
        (0, b""),
        (0, b"\1"),
        (1, b""),
        (1, b"\2"),
    ]


def test_a_point_names_the_default_as_the_controller_does() -> None:
    points = [point for point, _ in run(models.counter(2, 1), lambda p: len(p.enabled) - 1).choices]

    assert [(point.step, point.last, point.default) for point in points] == [
        (0, "", 0),
        (1, "P2", 1),
        (2, "P2", 0),
        (3, "P1", 0),
    ]
    assert [point.preempts for point in points] == [False, True, False, True]
