from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.search.random import Random
from lab.search.replay import Diverged, Replay, compare
from lab.search.schedule import Recorder, Schedule
from lab.search.strategy import Pending, Point
from lab.trace import Action, Event, Trace
from tests.search.models import counter
from tests.search.toy import Program, Task, acquire, read, run, write

untimed = settings(deadline=None)


@dataclass
class Recorded:
    trace: Trace
    schedule: Schedule
    operations: tuple[Pending, ...]

    def replay(self) -> Replay:
        return Replay(self.schedule, self.operations)


def _recorded(program: Program, seed: int = 0) -> Recorded:
    strategy = Random(seed)
    strategy.begin()
    recorder = Recorder(strategy.choose)
    trace = run(program, recorder).trace
    return Recorded(trace, recorder.schedule, recorder.operations(len(trace.events)))


def _replayed(program: Program, replay: Replay) -> Trace:
    assert replay.begin()
    trace = run(program, replay.choose).trace
    replay.end(trace)
    return trace


@untimed
@given(st.integers(0, 1000))
def test_a_replay_of_the_same_program_is_the_same_run(seed: int) -> None:
    program = counter(3, 3, guarded=True)
    recorded = _recorded(program, seed)
    actions = [operation.action for operation in recorded.operations]

    for known in ((), recorded.operations, actions):
        again = _replayed(program, Replay(recorded.schedule, known))
        compare(recorded.trace.events, again.events)


def test_a_replay_is_begun_once() -> None:
    replay = Replay(Schedule())

    assert replay.begin()
    assert not replay.begin()


# --- The program has changed ---------------------------------------------------------------


def _two_reads_before(number: int) -> Program:
    """The unguarded counter, whose increment `number` of P2 reads twice."""
    plain = counter().tasks["P1"]

    def changed() -> Task:
        for increment in range(5):
            if increment == number:
                yield read("n")
            value = yield read("n")
            yield write("n", value + 1)

    return Program({"P1": plain, "P2": changed, "P3": plain})


@untimed
@given(st.integers(0, 1000), st.integers(0, 4))
def test_the_first_other_operation_is_told_with_the_recorded_one(seed: int, number: int) -> None:
    recorded = _recorded(counter(), seed)
    writes = [event.step for event in recorded.trace.events if event.process == "P2"][1::2]

    with pytest.raises(Diverged) as raised:
        _replayed(
            _two_reads_before(number),
            recorded.replay(),
        )

    assert raised.value.step == writes[number]
    assert raised.value.recorded == "P2 write n"
    assert raised.value.found == "P2 read n"
    assert str(raised.value) == (
        f"the replay went another way at step {writes[number]}: recorded was P2 write n; "
        "now there is P2 read n"
    )


def test_with_the_actions_alone_the_step_is_found_too() -> None:
    recorded = _recorded(counter())
    actions = [event.action for event in recorded.trace.events]

    with pytest.raises(Diverged, match="recorded was a write; now there is P2 read n"):
        _replayed(_two_reads_before(1), Replay(recorded.schedule, actions))


def test_a_task_that_cannot_move_is_told_with_those_that_can() -> None:
    schedule = Schedule(((0, "P2"), (1, "P1")), 1)
    locked = Program({name: counter(1, 1, guarded=True).tasks["P1"] for name in ("P1", "P2")})

    with pytest.raises(Diverged) as raised:
        _replayed(locked, Replay(schedule))

    assert raised.value.step == 1
    assert raised.value.recorded == "a step of P1"
    assert raised.value.found == "a choice of P2 read n"


def test_a_run_that_ends_early_is_not_the_recorded_one() -> None:
    recorded = _recorded(counter(1, 2))

    with pytest.raises(Diverged) as raised:
        _replayed(counter(1, 1), recorded.replay())

    assert (raised.value.step, raised.value.recorded) == (2, "P1 read n")
    assert raised.value.found == "the end of the run"


def test_a_run_that_goes_on_is_not_the_recorded_one() -> None:
    recorded = _recorded(counter(1, 1))

    with pytest.raises(Diverged) as raised:
        _replayed(counter(1, 2), recorded.replay())

    assert (raised.value.step, raised.value.recorded) == (2, "the end of the run")
    assert raised.value.found == "P1 read n"


def test_the_last_step_is_compared_too() -> None:
    recorded = _recorded(counter(1, 1))

    def other() -> Task:
        yield read("n")
        yield acquire("n")

    with pytest.raises(Diverged, match="at step 1: recorded was P1 write n; now there is P1 acq"):
        _replayed(
            Program({"P1": other}),
            recorded.replay(),
        )


def test_a_choice_that_was_taken_back_is_not_compared() -> None:
    blocked, other = Pending("P1", Action.ACQUIRE, "lock"), Pending("P2", Action.READ, "n")
    replay = Replay(Schedule(), [other])

    assert replay.choose(Point(0, (blocked, other), 0, "")) == 0
    assert replay.choose(Point(0, (other,), 0, "")) == 0
    replay.end(dataclasses.replace(run(counter(1, 1), lambda _: 0).trace, events=(EVENT,)))


# --- Whole runs ----------------------------------------------------------------------------

EVENT = Event(0, "P1", Action.READ, "load", "n", size=4, before=b"\x04\0\0\0")


def test_another_value_is_a_divergence() -> None:
    other = dataclasses.replace(EVENT, before=b"\x05\0\0\0")

    with pytest.raises(Diverged, match="recorded was P1 read n -> 4; now there is P1 read n -> 5"):
        compare([EVENT], [other])


def test_lines_and_times_are_not_compared_nor_are_numbers_that_the_kernel_draws() -> None:
    fork = Event(1, "P0", Action.FORK, "clone", "P1", result=4711)

    compare(
        [EVENT, fork],
        [dataclasses.replace(EVENT, where="a.py:1", time=1.0), dataclasses.replace(fork, result=5)],
    )


def test_that_something_was_printed_is_compared_and_not_what() -> None:
    printed = Event(2, "P1", Action.WRITE, "write", "memfd:lab-output", after=b"at /home/me/a.py")
    elsewhere = dataclasses.replace(printed, after=b"at /tmp/a.py", offset=7, size=12)

    compare([printed], [elsewhere])
    with pytest.raises(Diverged):
        compare([printed], [])
    with pytest.raises(Diverged):
        compare(
            [dataclasses.replace(printed, object="a.log")],
            [dataclasses.replace(elsewhere, object="a.log")],
        )


def test_an_error_is_compared() -> None:
    failed = dataclasses.replace(EVENT, before=b"", result=-11)

    with pytest.raises(Diverged, match="recorded was P1 read n -> 4; now there is P1 read n: EAG"):
        compare([EVENT], [failed])


@pytest.mark.parametrize(("one", "other"), [((EVENT,), ()), ((), (EVENT,))])
def test_runs_of_different_length_differ_where_the_shorter_ends(
    one: tuple[Event, ...], other: tuple[Event, ...]
) -> None:
    with pytest.raises(Diverged, match=r"at step 0:.*the end of the run"):
        compare(one, other)


def test_a_divergence_travels_between_processes() -> None:
    error = Diverged(3, "P1 read n", "P2 read n")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301

    assert (str(again), again.step) == (str(error), 3)
