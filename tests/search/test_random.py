from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from lab.search.random import Random
from lab.search.strategy import Pending, Point
from lab.trace import Action, Trace
from tests.search import models
from tests.search.toy import Program, run


def _run(strategy: Random, program: Program) -> Trace:
    assert strategy.begin()
    trace = run(program, strategy.choose).trace
    strategy.end(trace)
    return trace


def test_the_same_seed_gives_the_same_runs_and_another_gives_others() -> None:
    def runs(seed: int) -> list[Trace]:
        strategy = Random(seed)
        return [_run(strategy, models.counter()) for _ in range(5)]

    assert runs(1) == runs(1)
    assert runs(1) != runs(2)
    assert len({trace.events for trace in runs(1)}) == 5


def test_a_run_does_not_depend_on_how_much_the_runs_before_it_drew() -> None:
    short, long = Random(7), Random(7)
    for _ in range(3):
        _run(short, models.counter(2, 1))
        _run(long, models.counter(4, 9))

    assert _run(short, models.counter()) == _run(long, models.counter())


def test_seeds_mean_the_same_in_every_process() -> None:
    text = (
        "from lab.search.random import Random; from lab.search.strategy import Pending, Point;"
        "from lab.trace import Action; r = Random(3); r.begin();"
        "p = Point(0, tuple(Pending(str(n), Action.READ, '') for n in range(100)), 0, '');"
        "print([r.choose(p) for _ in range(9)])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", text],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }

    assert len(answers) == 1


def test_each_enabled_task_is_as_likely_as_any_other() -> None:
    strategy = Random(0)
    strategy.begin()
    point = Point(0, tuple(Pending(name, Action.READ, "n") for name in "abcd"), 2, "c")
    drawn = Counter(strategy.choose(point) for _ in range(4000))

    # Binomial with a standard deviation of 27: four of these, for the seed is fixed.
    assert all(abs(drawn[choice] - 1000) < 110 for choice in range(4))


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (models.deadlock01(), 2.0),
        (models.account(), 3.0),
        (models.lazy01(), 3.0),
        (models.reorder(3), 20.2),
        (models.wronglock(3), 2.7),
    ],
    ids=["deadlock01", "account", "lazy01", "reorder_3", "wronglock_3"],
)
def test_it_takes_as_many_schedules_to_the_first_bug_as_the_model_says(
    program: Program, expected: float
) -> None:
    strategy = Random(0)
    runs = round(400 * expected)
    bugs = 0
    for _ in range(runs):
        strategy.begin()
        bugs += run(program, strategy.choose).buggy

    # 400 bugs are expected, give or take 20: within a tenth in 19 of 20 seeds, and this one.
    assert runs / bugs == pytest.approx(expected, rel=0.1)
