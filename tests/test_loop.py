"""The loop over toy tasks: what is reported of each run, and what is told of each finding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.essence import Essence
from lab.finding import Kind
from lab.loop import Plan, replay, search
from lab.search.random import Random
from lab.search.replay import Diverged, Unlike
from lab.search.schedule import Choose, Schedule
from lab.search.strategy import Point
from lab.search.token import Origin, Source, Token
from lab.trace import Action, Ending, Trace
from tests.search.models import counter, deadlock01
from tests.search.toy import Program, Task, ToyRunner, interleavings, read, run, write

ORIGIN = Origin(Source.SCENARIO, ("toy.counter",))


class Listed:
    """Tries every choice at the first point, and the default at all others."""

    def __init__(self, choices: int) -> None:
        self.left = iter(range(choices))
        self.now = 0
        self.seen: list[Trace] = []

    def begin(self) -> bool:
        following = next(self.left, None)
        self.now = following or 0
        return following is not None

    def choose(self, point: Point) -> int:
        return point.default if point.step else self.now

    def end(self, trace: Trace) -> None:
        self.seen.append(trace)


def _search(
    program: Program, plan: Plan | None = None, seed: int = 0
) -> tuple[list[Essence], bool, tuple[str, ...]]:
    runs: list[Essence] = []
    exhausted, notes = search(ToyRunner(program), Random(seed), plan or Plan(), ORIGIN, runs.append)
    return runs, exhausted, notes


def test_it_makes_as_many_runs_as_planned_and_reports_each() -> None:
    runs, exhausted, _ = _search(counter(2, 1), Plan(schedules=7))

    assert len(runs) == 7
    assert not exhausted


@pytest.mark.parametrize("schedules", [3, 4, 99])
def test_it_ends_when_the_strategy_has_nothing_left_and_says_so(schedules: int) -> None:
    strategy, runs = Listed(3), list[Essence]()

    exhausted, _ = search(
        ToyRunner(counter(3, 1, guarded=True)), strategy, Plan(schedules), ORIGIN, runs.append
    )

    assert len(runs) == len(strategy.seen) == 3
    assert exhausted


def test_a_search_that_was_cut_short_is_not_exhausted() -> None:
    exhausted, _ = search(
        ToyRunner(counter(3, 1)), Listed(3), Plan(schedules=2), ORIGIN, lambda _: None
    )

    assert not exhausted


def test_it_stops_at_the_first_finding_if_that_is_wanted() -> None:
    runs, exhausted, _ = _search(counter(), Plan(stop_at_first=True))

    assert [bool(each.findings) for each in runs] == [False] * (len(runs) - 1) + [True]
    assert not exhausted


def test_a_run_of_too_many_steps_is_undecided() -> None:
    runs, _, _ = _search(counter(2, 40), Plan(schedules=1, max_steps=20))

    assert "was ended after 20 steps" in runs[0].undecided


# --- What is told of a finding -------------------------------------------------------------


def _told(runs: list[Essence]) -> Iterator[tuple[Token, Essence]]:
    for each in runs:
        for finding in each.findings:
            if finding.schedule:
                yield Token.read(finding.schedule), each


def test_a_finding_carries_its_schedule_and_its_steps() -> None:
    runs, _, notes = _search(counter(2, 1), Plan(stop_at_first=True))
    (finding,) = runs[-1].findings
    token = Token.read(finding.schedule)

    assert finding.kind is Kind.LOST_UPDATE
    assert token.origin == ORIGIN
    assert [event.action for event in finding.steps] == list(token.actions)
    assert sorted(token.actions) == [Action.READ, Action.READ, Action.WRITE, Action.WRITE]
    assert notes == ()


def test_a_finding_is_told_again_only_by_a_simpler_schedule() -> None:
    runs, _, _ = _search(counter(3, 2), Plan(schedules=200))
    schedules = [token.schedule for token, _ in _told(runs)]

    assert 1 < len(schedules) < 30
    assert schedules == sorted(schedules, reverse=True)
    assert schedules[-1].preemptions == 1


class InTurn:
    """Everybody moves in turn."""

    def begin(self) -> bool:
        return True

    def choose(self, point: Point) -> int:
        return point.step % len(point.enabled)

    def end(self, trace: Trace) -> None:
        assert trace.events


def test_a_long_run_is_kept_up_to_what_follows_the_damage() -> None:
    def late() -> Task:
        for _ in range(1200):
            yield read("other")
        value = yield read("n")
        yield write("n", value + 1)
        for _ in range(1200):
            yield read("other")

    runs: list[Essence] = []
    runner = ToyRunner(Program({"P1": late, "P2": late}))
    search(runner, InTurn(), Plan(schedules=1), ORIGIN, runs.append)
    (finding,) = runs[0].findings

    assert len(finding.steps) == 2000
    assert finding.steps[0].step < finding.key_steps[0]
    assert finding.steps[-1].step == finding.key_steps[-1] + 100


# --- Replay --------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [counter(), deadlock01()])
def test_the_schedule_of_a_finding_shows_it_a_hundred_times_of_a_hundred(program: Program) -> None:
    runs, _, _ = _search(program, Plan(stop_at_first=True))
    finding = next(each for each in runs[-1].findings if each.schedule)
    token = Token.read(finding.schedule)

    for _ in range(100):
        again = replay(ToyRunner(program), token, finding.steps)
        assert finding in again.findings


def test_a_run_of_too_many_steps_is_replayed_to_the_same_bound() -> None:
    runs, _, notes = _search(counter(3, 40), Plan(schedules=1, max_steps=50))
    (finding,) = runs[0].findings

    again = replay(ToyRunner(counter(3, 40)), Token.read(finding.schedule))

    assert again.undecided == runs[0].undecided
    assert notes == ()


def test_a_replay_of_another_program_is_never_an_answer() -> None:
    runs, _, _ = _search(counter(), Plan(stop_at_first=True))
    token = Token.read(runs[-1].findings[0].schedule)

    for other in (counter(3, 4), counter(3, 6), counter(2, 5), counter(guarded=True)):
        with pytest.raises(Diverged):
            replay(ToyRunner(other), token)


def _other_values() -> Program:
    """The counter, counting by twos: the same operations on the same places."""

    def writer() -> Task:
        for _ in range(5):
            value = yield read("n")
            yield write("n", value + 2)

    return Program(dict.fromkeys(["P1", "P2", "P3"], writer))


def test_the_same_choices_with_other_values_are_another_run() -> None:
    runs, _, _ = _search(counter(), Plan(stop_at_first=True))
    (finding,) = runs[-1].findings
    token = Token.read(finding.schedule)

    with pytest.raises(Unlike, match="made the recorded choices, and yet it was another run"):
        replay(ToyRunner(_other_values()), token)
    with pytest.raises(Diverged, match=r"recorded was P\d write n = 1; now there is P\d write n ="):
        replay(ToyRunner(_other_values()), token, finding.steps)


class Forgetful:
    """A runner whose program is another one from some run on."""

    def __init__(self, *programs: Program) -> None:
        self.programs = iter(programs)

    def run(self, choose: Choose, *, max_steps: int) -> Trace:
        return run(next(self.programs), choose, max_steps).trace


def test_a_schedule_that_does_not_lead_there_again_is_noted() -> None:
    runner = Forgetful(counter(), _other_values())
    runs: list[Essence] = []

    _, notes = search(runner, Random(0), Plan(schedules=1), ORIGIN, runs.append)

    assert runs[0].findings
    assert len(notes) == 1
    assert "the schedule of lost-update in n did not lead there again" in notes[0]
    assert "write n = 1" in notes[0]


def test_every_interleaving_is_judged_as_its_end_demands() -> None:
    """Against the truth: a finding exactly where the counter ends short."""
    for each in interleavings(counter(2, 2)):
        chosen = iter([choice for _, choice in each.choices])
        runs: list[Essence] = []
        search(
            ToyRunner(counter(2, 2)),
            Fixed(list(chosen)),
            Plan(schedules=1),
            ORIGIN,
            runs.append,
        )
        assert bool(runs[0].findings) == (each.memory["n"] < 4)


class Fixed:
    """One list of choices, over and over."""

    def __init__(self, choices: list[int]) -> None:
        self.choices = choices

    def begin(self) -> bool:
        return True

    def choose(self, point: Point) -> int:
        return self.choices[point.step]

    def end(self, trace: Trace) -> None:
        assert trace.ending is Ending.COMPLETED


def test_the_default_order_has_the_simplest_schedule() -> None:
    def lose() -> Task:
        value = yield read("n")
        yield write("n", value)
        raise AssertionError

    runs, _, _ = _search(Program({"P1": lose, "P2": lose}), Plan(schedules=50))
    schedules = [token.schedule for token, _ in _told(runs)]

    assert min(schedules) == Schedule()
