"""The loop over toy tasks: what is reported of each run, and what is told of each finding."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from lab.essence import Essence
from lab.finding import Kind
from lab.loop import Outcome, Plan, replay, search
from lab.search.random import Random
from lab.search.replay import Diverged, Unlike
from lab.search.schedule import Choose, Schedule
from lab.search.strategy import Point, Pruned
from lab.search.token import Origin, Source, Token
from lab.trace import Action, Ending, Trace
from tests.search.models import counter, deadlock01
from tests.search.toy import Program, Task, ToyRunner, interleavings, read, write

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

    scope = "the first choice"

    @property
    def exhausted(self) -> bool:
        return not list(copy.copy(self.left))


class Abandoning(Listed):
    """Abandons every second of them."""

    def choose(self, point: Point) -> int:
        if self.now % 2 and point.step == 2:
            raise Pruned
        return super().choose(point)


class Hopeless(Abandoning):
    """Abandons all of them, and has no end."""

    def begin(self) -> bool:
        self.now = 1
        return True


def _search(
    program: Program, plan: Plan | None = None, seed: int = 0
) -> tuple[list[Essence], Outcome]:
    runs: list[Essence] = []
    outcome = search(ToyRunner(program), Random(seed), plan or Plan(), ORIGIN, runs.append)
    return runs, outcome


def test_it_makes_as_many_runs_as_planned_and_reports_each() -> None:
    runs, outcome = _search(counter(2, 1, guarded=True), Plan(schedules=7))

    assert len(runs) == 7
    assert outcome == Outcome()


@pytest.mark.parametrize("schedules", [3, 4, 99])
def test_it_ends_when_the_strategy_has_nothing_left_and_says_so(schedules: int) -> None:
    strategy, runs = Listed(3), list[Essence]()

    outcome = search(
        ToyRunner(counter(3, 1, guarded=True)), strategy, Plan(schedules), ORIGIN, runs.append
    )

    assert len(runs) == len(strategy.seen) == 3
    assert outcome.proved_for == "the first choice"


def test_a_search_that_was_cut_short_is_not_exhausted() -> None:
    runner = ToyRunner(counter(3, 1))

    assert search(runner, Listed(3), Plan(schedules=2), ORIGIN, lambda _: None) == Outcome()


def test_nor_is_one_that_stopped_at_its_last_run_with_a_finding() -> None:
    runner, plan = ToyRunner(Program({"P1": _fails})), Plan(stop_at_first=True)

    assert not search(runner, Listed(1), plan, ORIGIN, lambda _: None).proved_for


def _fails() -> Task:
    yield write("n", 1)
    raise AssertionError


def test_a_run_that_the_strategy_abandons_is_counted_apart() -> None:
    runs: list[Essence] = []

    outcome = search(
        ToyRunner(counter(5, 1, guarded=True)), Abandoning(5), Plan(3), ORIGIN, runs.append
    )

    assert len(runs) == 3
    assert outcome.pruned == 2
    assert outcome.proved_for == "the first choice"


def test_a_strategy_that_abandons_everything_is_not_waited_for() -> None:
    runs: list[Essence] = []

    outcome = search(ToyRunner(counter()), Hopeless(1), Plan(3), ORIGIN, runs.append)

    assert (runs, outcome.pruned, outcome.proved_for) == ([], 30, "")


def test_it_stops_at_the_first_finding_if_that_is_wanted() -> None:
    runs, outcome = _search(counter(), Plan(stop_at_first=True))

    assert [bool(each.findings) for each in runs] == [False] * (len(runs) - 1) + [True]
    assert not outcome.proved_for


def test_a_run_of_too_many_steps_is_undecided() -> None:
    runs, _ = _search(counter(2, 40), Plan(schedules=1, max_steps=20))

    assert "was ended after 20 steps" in runs[0].undecided


# --- What is told of a finding -------------------------------------------------------------


def _told(runs: list[Essence]) -> Iterator[tuple[Token, Essence]]:
    for each in runs:
        for finding in each.findings:
            if finding.schedule:
                yield Token.read(finding.schedule), each


def test_a_finding_carries_its_schedule_and_its_steps() -> None:
    runs, outcome = _search(counter(2, 1), Plan(stop_at_first=True))
    (finding,) = runs[-1].findings
    token = Token.read(finding.schedule)

    assert finding.kind is Kind.LOST_UPDATE
    assert token.origin == ORIGIN
    assert [event.action for event in finding.steps] == list(token.actions)
    assert sorted(token.actions) == [Action.READ, Action.READ, Action.WRITE, Action.WRITE]
    assert outcome.notes == ()


def test_a_finding_is_told_again_only_by_a_simpler_schedule() -> None:
    runs, _ = _search(counter(3, 2), Plan(schedules=200))
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
    search(runner, InTurn(), Plan(schedules=1, shrinking=0), ORIGIN, runs.append)
    (finding,) = runs[0].findings

    assert len(finding.steps) == 2000
    assert finding.steps[0].step < finding.key_steps[0]
    assert finding.steps[-1].step == finding.key_steps[-1] + 100


# --- Replay --------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [counter(), deadlock01()])
def test_the_schedule_of_a_finding_shows_it_a_hundred_times_of_a_hundred(program: Program) -> None:
    runs, _ = _search(program, Plan(stop_at_first=True))
    finding = next(each for each in runs[-1].findings if each.schedule)
    token = Token.read(finding.schedule)

    for _ in range(100):
        again = replay(ToyRunner(program), token, finding.steps)
        assert finding.summary in [each.summary for each in again.findings]


def test_a_run_of_too_many_steps_is_replayed_to_the_same_bound() -> None:
    runs, outcome = _search(counter(3, 40), Plan(schedules=1, max_steps=50))
    (finding,) = runs[0].findings

    again = replay(ToyRunner(counter(3, 40)), Token.read(finding.schedule))

    assert again.findings[0].summary == finding.summary
    assert "was ended after 50 steps" in again.undecided
    assert outcome.notes == ()


def test_a_replay_of_another_program_is_never_an_answer() -> None:
    runs, _ = _search(counter(), Plan(stop_at_first=True))
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
    runs, _ = _search(counter(), Plan(stop_at_first=True))
    (finding,) = runs[-1].findings
    token = Token.read(finding.schedule)

    with pytest.raises(Unlike, match="made the recorded choices, and yet it was another run"):
        replay(ToyRunner(_other_values()), token)
    with pytest.raises(Diverged, match=r"recorded was P\d write n = 1; now there is P\d write n ="):
        replay(ToyRunner(_other_values()), token, finding.steps)


class Changing:
    """A runner whose program is another one in each run."""

    def __init__(self, *programs: Program) -> None:
        self.programs = iter(programs)

    def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
        return ToyRunner(next(self.programs)).run(
            choose, max_steps=max_steps, with_lines=with_lines
        )


def test_what_was_found_is_told_once_more_with_its_lines() -> None:
    runs, outcome = _search(counter(), Plan(stop_at_first=True, shrinking=0))
    (told,), (first,) = outcome.findings, runs[-1].findings

    assert told.identity == first.identity
    assert told.schedule == first.schedule
    assert [event.where for event in told.steps] == [f"toy.py:{n}" for n in range(30)]


def test_if_to_record_lines_changes_the_run_it_is_told_without() -> None:
    runner = Changing(counter(), _other_values(), counter())

    outcome = search(runner, Random(0), Plan(schedules=1, shrinking=0), ORIGIN, lambda _: None)

    assert outcome.notes == ()
    assert {event.where for event in outcome.findings[0].steps} == {""}


def test_a_schedule_that_does_not_lead_there_again_is_noted() -> None:
    runner = Changing(counter(), _other_values(), _other_values())

    outcome = search(runner, Random(0), Plan(schedules=1, shrinking=0), ORIGIN, lambda _: None)

    (note,) = outcome.notes
    assert "the schedule of lost-update did not lead there again" in note
    assert "write n = 1" in note
    assert outcome.findings == ()


def test_a_replay_is_told_with_its_lines_but_they_do_not_decide() -> None:
    runs, _ = _search(counter(), Plan(stop_at_first=True))
    token = Token.read(runs[-1].findings[0].schedule)

    (told,) = replay(ToyRunner(counter()), token).findings
    (plain,) = replay(Changing(counter(), _other_values()), token).findings

    assert told.steps[0].where == "toy.py:0"
    assert plain.steps[0].where == ""


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

    runs, _ = _search(Program({"P1": lose, "P2": lose}), Plan(schedules=50))
    schedules = [token.schedule for token, _ in _told(runs)]

    assert min(schedules) == Schedule()


# --- Shrinking -----------------------------------------------------------------------------


def test_what_was_found_is_told_by_a_shrunk_schedule_and_how_it_came_to_it() -> None:
    runs, outcome = _search(counter(), Plan(schedules=1))
    (first,), (told,) = runs[0].findings, outcome.findings
    before = Token.read(first.schedule).schedule

    assert Token.read(told.schedule).schedule == Schedule(((1, "P2"),), 1)
    assert told.shrunk is not None
    assert (told.shrunk.before, told.shrunk.after) == (len(before.deviations), 1)
    assert (told.shrunk.preemptions, told.shrunk.complete) == (1, True)
    assert first.shrunk is None


def test_the_runs_of_shrinking_are_not_reported_as_runs_of_the_search() -> None:
    runs, _ = _search(counter(), Plan(schedules=7))

    assert len(runs) == 7


def test_no_more_runs_than_allowed_are_spent_on_a_finding() -> None:
    _, outcome = _search(counter(5, 9), Plan(schedules=1, shrinking=4))
    shrunk = outcome.findings[0].shrunk

    assert shrunk is not None
    assert (shrunk.runs, shrunk.complete) == (4, False)


def test_long_runs_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.shrinking._MOST_STEPS", 200)

    _, outcome = _search(counter(5, 9), Plan(schedules=1))
    shrunk = outcome.findings[0].shrunk

    assert shrunk is not None
    assert (shrunk.runs, shrunk.complete) == (3, False)  # of 90 steps each


def test_a_shrunk_token_replays() -> None:
    _, outcome = _search(counter(), Plan(schedules=1))
    token = Token.read(outcome.findings[0].schedule)

    assert replay(ToyRunner(counter()), token).findings[0].summary == outcome.findings[0].summary


def test_what_only_a_shrinking_run_shows_is_reported_and_shrunk_too() -> None:
    """Found is the overwriting; without the preemption that it took, P2 fails by itself."""

    def plain() -> Task:
        value = yield read("n")
        yield write("n", value + 1)

    def fails() -> Task:
        value = yield read("n")
        yield write("n", value + 1)
        assert not value, "came second"

    runs: list[Essence] = []
    outcome = search(
        ToyRunner(Program({"P1": plain, "P2": fails})),
        Fixed([0, 1, 0, 0]),
        Plan(schedules=1),
        ORIGIN,
        runs.append,
    )

    assert [each.kind for each in runs[0].findings] == [Kind.LOST_UPDATE]
    assert {each.kind for each in outcome.findings} == {Kind.LOST_UPDATE, Kind.INVARIANT}
    assert all(each.shrunk for each in outcome.findings)


def test_a_process_that_spins_in_the_default_order_costs_no_run_of_full_length() -> None:
    def waits() -> Task:
        while not (yield read("flag")):
            pass
        value = yield read("n")
        yield write("n", value + 1)

    def sets() -> Task:
        yield write("flag", 1)
        value = yield read("n")
        yield write("n", value + 1)

    class Measured(ToyRunner):
        longest = 0

        def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
            trace = super().run(choose, max_steps=max_steps, with_lines=with_lines)
            self.longest = max(self.longest, len(trace.events))
            return trace

    runner = Measured(Program({"P1": waits, "P2": sets}))
    plan = Plan(schedules=20, max_steps=5000)
    outcome = search(runner, Random(0), plan, ORIGIN, lambda _: None)

    assert [each.kind for each in outcome.findings] == [Kind.LOST_UPDATE]
    assert runner.longest < 300


def test_it_ends_when_every_kind_that_is_looked_for_was_found() -> None:
    runs, _ = _search(counter(3, 2), Plan(100, until=frozenset({Kind.LOST_UPDATE})))
    more, _ = _search(counter(3, 2), Plan(20, until=frozenset({Kind.LOST_UPDATE, Kind.LEAK})))

    assert len(runs) < 20
    assert runs[-1].findings
    assert len(more) == 20
