"""Exploring as a caller sees it, over toy tasks: a runner of these stands in for the controller."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest

import lab
from lab.exploration import explore, explored, replay
from lab.finding import Kind, Verdict
from lab.loop import Plan
from lab.run.limits import LabError
from lab.scenario import scenario
from lab.search.named import UnknownStrategy, WrongSetting, strategy
from lab.search.schedule import Choose
from lab.search.strategy import Strategy
from lab.search.token import BadToken, Token
from lab.target import target
from lab.trace import Action, Trace
from tests.search import stand_in
from tests.search.models import counter, deadlock01
from tests.search.toy import Program, Task, ToyRunner, read, write
from tests.test_loop import Abandoning

Control = Callable[..., None]


def body() -> None:
    """What would be run, if the toy were not."""


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    return functools.partial(stand_in.control, monkeypatch)


def test_a_race_is_found_and_told_with_how_it_was_searched(control: Control) -> None:
    control(counter())
    result = lab.explore(body, strategy="random", schedules=20, seed=3)

    assert (result.verdict, result.mode, result.runs) == (Verdict.FAILED, "controlled", 20)
    assert (result.search, result.exhausted) == ("random, seed 3", False)
    assert [finding.kind for finding in result.findings] == [Kind.LOST_UPDATE]
    assert result.findings[0].steps
    assert Token.read(result.findings[0].schedule).schedule.preemptions > 0


def test_a_fix_passes_with_its_scope(control: Control) -> None:
    control(counter(guarded=True))
    result = explore(body, schedules=20)

    assert result.verdict is Verdict.PASSED
    assert "no finding in 20 controlled runs" in result.reason


def test_the_default_strategy_ends_with_a_proof_where_the_program_is_small(
    control: Control,
) -> None:
    control(counter(2, 1, guarded=True))
    result = explore(body, schedules=20, seed=1)

    assert (result.verdict, result.search) == (Verdict.PROVED, "auto, seed 1")
    assert result.runs < 20


def test_auto_knows_how_many_runs_it_may_make(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def made(name: str, **settings: Any) -> Strategy:
        asked.append(settings["schedules"])
        return strategy(name, **settings)

    control(counter())
    monkeypatch.setattr("lab.exploration.strategy_named", made)
    explore(body, schedules=7)

    assert asked == [7]


@pytest.mark.parametrize(
    ("options", "search"),
    [
        ({"strategy": "pct"}, "pct, depth 3, seed 0"),
        ({"strategy": "pct", "depth": 2, "seed": 5}, "pct, depth 2, seed 5"),
        ({"strategy": "bounded", "preemptions": 1}, "bounded, at most 1 preemption"),
        ({"strategy": "dpor"}, "dpor"),
    ],
)
def test_the_result_names_all_that_its_schedules_depend_on(
    options: dict[str, Any], search: str, control: Control
) -> None:
    control(counter())

    assert explore(body, schedules=3, **options).search == search


class InMemory(ToyRunner):
    """Its reads and writes are those of instructions, which alone can be a data race."""

    def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
        trace = super().run(choose, max_steps=max_steps, with_lines=with_lines)
        calls = {Action.READ: "load", Action.WRITE: "store"}
        events = (
            dataclasses.replace(event, call=calls.get(event.action, event.call))
            for event in trace.events
        )
        return dataclasses.replace(trace, events=tuple(events))


def _published() -> Program:
    """A value and a flag: whoever sees the flag sees the value, and nothing orders the two."""

    def writes() -> Task:
        yield write("value", 7)
        yield write("flag", 1)

    def reads() -> Task:
        if (yield read("flag")):
            assert (yield read("value")) == 7

    return Program({"P1": writes, "P2": reads})


def test_a_data_race_is_a_note_that_tells_in_how_many_runs_it_was_seen(control: Control) -> None:
    control(_published(), InMemory)
    result = explore(body, strategy="random", schedules=10)

    assert result.verdict is Verdict.PASSED
    (note,) = (note for note in result.notes if "data race on flag" in note)
    assert note.startswith("data race on flag in 10 of 10 runs: P")
    assert "nothing orders the two" in note


def test_with_strict_races_it_is_a_finding_that_can_be_replayed(control: Control) -> None:
    control(_published(), InMemory)
    result = explore(body, schedules=10, strict_races=True)

    assert {finding.kind for finding in result.findings} == {Kind.DATA_RACE}
    assert result.notes == ()
    finding = result.findings[0]
    assert [f.kind for f in lab.replay(finding, body).findings][:1] == [Kind.DATA_RACE]
    assert lab.replay(finding.schedule, body).findings == ()
    assert lab.replay(finding.schedule, body, strict_races=True).findings


def test_a_data_race_fails_a_scenario_that_expects_one(control: Control) -> None:
    control(_published(), InMemory)

    @scenario(expects=["data-race"])
    def expecting() -> None: ...

    assert explore(expecting, schedules=3).verdict is Verdict.FAILED


def test_under_a_lock_there_is_no_data_race(control: Control) -> None:
    control(counter(guarded=True), InMemory)

    assert explore(body, schedules=10, strict_races=True).findings == ()


def _looks(place: str) -> Task:
    for _ in range(9):
        yield read(place)


class Forgetful(ToyRunner):
    """From its third run on, what runs is another program."""

    runs = 0

    def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
        self.runs += 1
        if self.runs > 2:
            self.program = Program({f"P{n}": functools.partial(_looks, f"n{n}") for n in (1, 2, 3)})
        return super().run(choose, max_steps=max_steps, with_lines=with_lines)


@pytest.mark.parametrize("strategy", ["dpor", "bounded", "auto"])
def test_a_program_that_cannot_be_repeated_is_no_proof_and_no_pass(
    strategy: str, control: Control
) -> None:
    control(counter(3, 2, guarded=True), Forgetful)
    result = explore(body, strategy=strategy, schedules=400)

    assert result.verdict is Verdict.ERROR
    assert "the beginning of a run could not be repeated" in result.reason
    assert "does not depend on the schedule alone" in result.reason


def test_it_stops_where_it_is_told_to(control: Control) -> None:
    control(counter())

    assert explore(body, schedules=200, stop_at_first=True).runs < 20


def test_what_was_abandoned_and_what_was_proved_is_told(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    control(counter(4, 1, guarded=True))
    monkeypatch.setattr("lab.exploration.strategy_named", lambda *_, **__: Abandoning(4))
    result = explore(body)

    assert (result.verdict, result.exhausted, result.runs) == (Verdict.PROVED, True, 2)
    assert result.reason.endswith("; proved for the first choice")
    (note,) = result.notes
    assert note.startswith("2 further runs abandoned on the way")


def test_progress_is_told_run_by_run(control: Control) -> None:
    control(counter())
    told: list[str] = []

    explore(body, strategy="random", schedules=3, progress=told.append)

    name = "tests.test_exploration:body"
    assert len(told) == 3
    for number, text in enumerate(told, start=1):
        assert text.startswith(f"{name}: {number} of 3 schedules, ")
        assert text.endswith("/s, 1 finding")


def test_the_same_seed_gives_the_same_answer(control: Control) -> None:
    control(deadlock01())
    one, same, other = (
        explore(body, strategy="random", schedules=30, seed=seed) for seed in (1, 1, 2)
    )

    assert one.findings == same.findings
    assert one.seen_in == same.seen_in != other.seen_in


def test_a_program_that_spins_is_an_error_that_names_who(control: Control) -> None:
    def spins() -> Task:
        while not (yield read("flag")):
            pass

    control(Program({"P1": spins, "P2": spins}))
    result = explore(body, strategy="random", schedules=2, max_steps=30)

    assert result.verdict is Verdict.ERROR
    assert "run 1 of 2 was ended after 30 steps: P" in result.reason
    assert "again and again read flag -> 0" in result.reason


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"strategy": "luck"}, UnknownStrategy),
        ({"strategy": "dpor", "depth": 3}, WrongSetting),
        ({"strategy": "pct", "depth": 0}, WrongSetting),
        ({"schedules": 0}, ValueError),
        ({"max_steps": 0}, ValueError),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_run(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        explore(body, **arguments)


def test_what_this_machine_lacks_is_an_error_without_a_run() -> None:
    @scenario(expects=["leak"], needs=["no_such_module"])
    def needy() -> None: ...

    result = explore(needy)

    assert (result.verdict, result.runs) == (Verdict.ERROR, 0)
    assert "it needs no_such_module" in result.reason


# --- When it does not come to its end ------------------------------------------------------


def _failing(error: BaseException) -> type[ToyRunner]:
    class Failing(ToyRunner):
        runs = 0

        def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
            self.runs += 1
            if self.runs > 5:
                raise error
            return super().run(choose, max_steps=max_steps, with_lines=with_lines)

    return Failing


def test_ctrl_c_keeps_what_was_found_and_is_passed_on(control: Control) -> None:
    control(counter(), _failing(KeyboardInterrupt()))
    results = explored(target(body), Plan(schedules=100), strategy="random", seed=0)
    result = next(results)

    assert (result.verdict, result.runs) == (Verdict.FAILED, 5)
    assert result.notes == ("stopped by Ctrl-C after 5 of 100 schedules",)
    with pytest.raises(KeyboardInterrupt):
        next(results)
    control(counter(), _failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        explore(body)


def test_a_lab_that_fails_after_a_finding_tells_both(control: Control) -> None:
    control(counter(), _failing(LabError("the sandbox is gone")))
    result = explore(body)

    assert result.verdict is Verdict.FAILED
    assert result.notes == ("the search ended after 5 schedules: the sandbox is gone",)


def test_and_without_one_it_fails(control: Control) -> None:
    control(counter(guarded=True), _failing(LabError("the sandbox is gone")))

    with pytest.raises(LabError, match="the sandbox is gone"):
        explore(body)


# --- Replay --------------------------------------------------------------------------------


def test_a_replay_shows_the_finding_again(control: Control) -> None:
    control(counter())
    found = explore(body, schedules=20).findings[0]

    for again in (lab.replay(found.schedule), lab.replay(found), lab.replay(found, body)):
        assert (again.verdict, again.runs, again.search) == (Verdict.FAILED, 1, "replay")
        assert again.findings[0].summary == found.summary
        assert again.findings[0].schedule == found.schedule


def test_a_replay_of_a_changed_program_is_an_error_with_both_operations(control: Control) -> None:
    control(counter(2, 2))
    found = explore(body, schedules=20).findings[0]
    control(counter(2, 2, guarded=True))
    result = replay(found.schedule)

    assert (result.verdict, result.mode, result.runs) == (Verdict.ERROR, "controlled", 1)
    assert "at step 0: recorded was a read; now there is P" in result.reason
    assert " acquire lock; the program has changed since" in result.reason
    assert result.findings == ()
    with_steps = replay(found)
    assert "at step 0: recorded was P" in with_steps.reason
    assert " read n -> 0; now there is P" in with_steps.reason


def test_with_the_recorded_steps_at_hand_the_values_are_compared_too(control: Control) -> None:
    control(counter())
    found = explore(body, schedules=20).findings[0]
    steps = list(found.steps)
    steps[9] = dataclasses.replace(steps[9], before=b"\x63\0\0\0")
    result = replay(dataclasses.replace(found, steps=tuple(steps)))

    assert result.verdict is Verdict.ERROR
    assert "at step 9: recorded was" in result.reason


def test_a_replay_elsewhere_that_goes_astray_says_where_it_was_made(control: Control) -> None:
    control(counter())
    token = Token.read(explore(body, schedules=20).findings[0].schedule)
    control(counter(2))
    result = replay(str(dataclasses.replace(token, made_on="riscv64 3.99")))

    assert "the token was made on riscv64 3.99, and this is" in result.reason


def test_a_replay_on_another_program_says_whose_the_token_is(control: Control) -> None:
    def other() -> None: ...

    control(counter())
    found = explore(body, schedules=20).findings[0]
    control(counter(2))

    assert "the token belongs to tests.test_exploration:body" in replay(found, other).reason


def test_a_text_that_is_no_token_is_refused() -> None:
    with pytest.raises(BadToken):
        replay("nonsense")
