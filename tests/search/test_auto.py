from __future__ import annotations

import pytest

from lab.search.auto import Auto
from lab.search.strategy import Pruned, Systematic
from tests.search import models
from tests.search.programs import random_program, runs_to_first_bug, search, truth
from tests.search.toy import Program, run, trace_class


@pytest.mark.parametrize(
    ("program", "most"),
    [
        (models.account(), 1),
        (models.lazy01(), 1),
        (models.deadlock01(), 2),
        (models.twostage(), 4),
        (models.reorder(3), 6),
        (models.reorder(10), 6),
        (models.wronglock(3), 3),
    ],
    ids=["account", "lazy01", "deadlock01", "twostage", "reorder_3", "reorder_10", "wronglock_3"],
)
def test_shallow_bugs_take_no_more_runs_than_the_best_known_search(
    program: Program, most: int
) -> None:
    assert all(runs_to_first_bug(program, Auto(seed)) <= most for seed in range(5))


def test_a_small_program_is_proved_within_the_runs_that_there_are() -> None:
    auto = Auto(0, schedules=100)
    runs = search(models.counter(3, 2, guarded=True), auto, most=200)

    assert isinstance(auto, Systematic)
    assert auto.exhausted
    assert auto.scope == "every order of dependent steps"
    assert 90 <= len(runs) <= 100


def test_nothing_is_proved_before_every_trace_was_run() -> None:
    for seed in range(20):
        program = random_program(seed)
        true = truth(program, 100)
        if true is None:
            continue
        auto = Auto(seed, schedules=1000)
        runs = search(program, auto)

        assert auto.exhausted
        assert {trace_class(each.trace.events) for each in runs} == true.classes


def test_a_large_program_is_left_to_chance() -> None:
    auto = Auto(0, schedules=60)
    program = models.counter(4, 6)
    orders = set()
    for _ in range(60):
        assert auto.begin()
        try:
            trace = run(program, auto.choose).trace
        except Pruned:
            continue
        auto.end(trace)
        orders.add(tuple(event.process for event in trace.events[:6]))

    assert not auto.exhausted
    # The systematic search alone would change the last steps first, and these never.
    assert len(orders) > 15


def test_the_same_seed_gives_the_same_runs() -> None:
    def runs(seed: int) -> list[object]:
        auto, found = Auto(seed, schedules=40), list[object]()
        for _ in range(40):
            auto.begin()
            trace = run(models.counter(3, 3), auto.choose).trace
            auto.end(trace)
            found.append(trace.events)
        return found

    assert runs(1) == runs(1)
    assert runs(1) != runs(2)


def test_once_it_has_come_to_its_end_it_begins_no_more() -> None:
    auto = Auto(0)
    search(models.counter(2, 1, guarded=True), auto)

    assert [auto.begin() for _ in range(20)] == [False] * 20
    assert auto.exhausted
