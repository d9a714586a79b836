"""One search led ahead: whatever was foreseen, the answer is that of a search alone."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import random
from collections.abc import Callable

import pytest

from lab.ahead import Ahead, Job, Recording, perform
from lab.essence import Essence
from lab.exploration import explore, explored
from lab.finding import Verdict
from lab.loop import Outcome, Plan, search
from lab.search.dpor import Dpor
from lab.search.foresight import foreseen
from lab.search.named import NAMES, strategy
from lab.search.replay import Diverged
from lab.search.schedule import Choose
from lab.search.shrink import Loosely
from lab.search.strategy import Pending, Point, Strategy
from lab.search.token import Origin, Source
from lab.target import target
from lab.trace import Action, Trace
from tests.search import stand_in
from tests.search.models import counter, deadlock01, twostage, wronglock
from tests.search.toy import Program, Task, ToyRunner, read, write
from tests.test_sharding import failing

ORIGIN = Origin(Source.FUNCTION, ("toy:body",))


class Somewhere:
    """Makes runs when somebody waits, and hands them out in an order of its own."""

    def __init__(self, program: Program, slots: int, seed: int) -> None:
        self.slots = slots
        self._order = random.Random(seed)  # noqa: S311  # any order will do
        self._runner = ToyRunner(program)
        self._jobs: list[tuple[int, Job]] = []

    def submit(self, number: int, job: Job) -> None:
        assert len(self._jobs) < self.slots
        self._jobs.append((number, job))

    def wait(self) -> tuple[int, Recording]:
        number, job = self._jobs.pop(self._order.randrange(len(self._jobs)))
        recording: Recording = pickle.loads(pickle.dumps(perform(self._runner, job)))  # noqa: S301
        return number, recording


Seen = tuple[Outcome, list[Essence], list[tuple[str, ...]]]


class Watched(ToyRunner):
    """Keeps the order of the steps of every run of the search."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.orders: list[tuple[str, ...]] = []

    def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
        trace = super().run(choose, max_steps=max_steps, with_lines=with_lines)
        self.orders.append(tuple(event.process for event in trace.events))
        return trace


def _alone(program: Program, by: Strategy, plan: Plan) -> Seen:
    runner, runs = Watched(program), list[Essence]()
    return search(runner, by, plan, ORIGIN, runs.append), runs, runner.orders


def _ahead(program: Program, by: Strategy, plan: Plan, slots: int) -> Seen:
    orders: list[tuple[str, ...]] = []

    class WatchedAhead(Ahead):
        def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
            trace = super().run(choose, max_steps=max_steps, with_lines=with_lines)
            orders.append(tuple(event.process for event in trace.events))
            return trace

    runner = WatchedAhead(Somewhere(program, slots, slots), by)
    runs: list[Essence] = []
    return search(runner, by, plan, ORIGIN, runs.append), runs, orders


PROGRAMS: dict[str, Callable[[], Program]] = {
    "counter": lambda: counter(2, 2),
    "guarded": lambda: counter(3, 2, guarded=True),
    "deadlock01": deadlock01,
    "twostage": twostage,
    "wronglock": lambda: wronglock(2),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_the_same_runs_in_the_same_order_for_any_number_of_slots(
    program: Callable[[], Program], name: str
) -> None:
    plan = Plan(schedules=30, shrinking=5)
    alone = _alone(program(), strategy(name, seed=3, schedules=30), plan)

    for slots in (1, 3):
        assert _ahead(program(), strategy(name, seed=3, schedules=30), plan, slots) == alone


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize(("tasks", "times", "traces"), [(3, 2, 90), (2, 3, 20)])
def test_optimal_dpor_makes_every_trace_once_whoever_runs_it(
    tasks: int, times: int, traces: int, slots: int
) -> None:
    by = Dpor()
    program = counter(tasks, times, guarded=True)
    outcome, runs, orders = _ahead(program, by, Plan(schedules=10_000), slots)

    assert (by.executions, by.exhausted, len(runs)) == (traces, True, traces)
    assert len(set(orders)) == traces
    assert outcome.proved_for == by.scope


def test_most_runs_of_a_systematic_search_are_foreseen_rightly() -> None:
    """Or nothing would be gained: runs that are made in vain are few."""
    by = Dpor()
    runner = Ahead(Somewhere(counter(3, 2, guarded=True), 4, 1), by)
    search(runner, by, Plan(schedules=10_000), ORIGIN, lambda _: None)

    assert runner.made <= 90 * 1.2


def test_foresight_leaves_the_search_as_it_is() -> None:
    by = Dpor()
    _alone(counter(), by, Plan(schedules=3, shrinking=0))
    by.begin()
    before = pickle.dumps(by)
    guessed = [which for which, _ in itertools.islice(foreseen(by), 10)]

    assert pickle.dumps(by) == before
    assert guessed
    assert len(set(guessed)) == len(guessed)


def test_a_program_that_comes_to_other_tasks_by_the_same_choices_is_noticed() -> None:
    def point(step: int, *tasks: str) -> Point:
        return Point(step, tuple(Pending(task, Action.READ, "x") for task in tasks), 0, "")

    answers = [
        Recording((point(0, "A", "B"), point(1, "A")), (0,), None),
        Recording((point(0, "A", "C"), point(1, "A")), (0, 0), None),
    ]

    class Fickle(Somewhere):
        def wait(self) -> tuple[int, Recording]:
            return self._jobs.pop()[0], answers.pop(0)

    runner = Ahead(Fickle(counter(), 1, 0), Dpor())
    with pytest.raises(Diverged, match="a choice of A or B"):
        runner.run(Loosely(()), max_steps=9)


@pytest.mark.parametrize("name", ["dpor", "bounded", "pct", "auto"])
def test_an_exploration_gives_one_answer_for_any_number_of_jobs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.control(monkeypatch, counter(2, 2))

    def body() -> None:
        """The toy is run instead."""

    alone, *others = (
        dataclasses.replace(explore(body, strategy=name, jobs=jobs), seconds=0.0)
        for jobs in (1, 2, 3)
    )

    assert alone.verdict is Verdict.FAILED
    assert others == [alone] * 2


def test_a_run_without_a_choice_is_a_run_too() -> None:
    def nothing() -> Task:
        return
        yield

    _, runs, _ = _ahead(Program({"A": nothing}), Dpor(), Plan(), 2)

    assert len(runs) == 1


def test_a_task_that_reads_in_a_loop_is_no_trouble() -> None:
    def waiter() -> Task:
        while not (yield read("flag")):
            pass

    def setter() -> Task:
        yield write("flag", 1)

    program = Program({"W": waiter, "S": setter})
    alone = _alone(program, Dpor(), Plan(max_steps=50))

    assert _ahead(program, Dpor(), Plan(max_steps=50), 3) == alone


@pytest.mark.parametrize("name", ["dpor", "bounded", "pct", "auto"])
def test_ctrl_c_keeps_what_was_counted_and_proves_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six runs are begun; what was made ahead and not asked for yet is not counted."""
    stand_in.control(monkeypatch, counter(2, 2, guarded=True), failing(KeyboardInterrupt()))

    def body() -> None:
        """The toy is run instead."""

    results = explored(target(body), Plan(), strategy=name, seed=0, jobs=2)
    result = next(results)

    assert result.verdict is Verdict.PASSED
    assert 1 <= result.runs <= 5
    assert result.notes == (f"stopped by Ctrl-C after {result.runs} of 100 schedules",)
    with pytest.raises(KeyboardInterrupt):
        next(results)
