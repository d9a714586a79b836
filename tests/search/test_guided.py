"""Leading a fix along the steps of its bug."""

from __future__ import annotations

from lab.search.guided import Guided
from lab.search.schedule import Recorder
from lab.trace import Action, Event
from tests.search.models import counter, deadlock01
from tests.search.toy import Program, Task, acquire, read, release, run, spawn, write


def _one_preemption() -> tuple[Event, ...]:
    """P1 reads, P2 adds one, P1 writes."""
    order = iter(["P1", "P2", "P2", "P1"])
    return run(counter(2, 1), lambda point: _of(next(order), point)).trace.events


def _of(process: str, point: object) -> int:
    names = [each.process for each in point.enabled]  # type: ignore[attr-defined]
    return names.index(process)


def test_a_program_follows_its_own_steps() -> None:
    steps = _one_preemption()
    again = run(counter(2, 1), Guided(steps).choose)

    assert [event.process for event in again.trace.events] == ["P1", "P2", "P2", "P1"]
    assert again.memory["n"] == 1


def test_the_fix_waits_where_the_bug_went_on() -> None:
    guided = Guided(_one_preemption())
    fixed = run(counter(2, 1, guarded=True), guided.choose)
    (wait,) = guided.waits

    assert fixed.memory["n"] == 2
    assert (wait.pending.process, wait.pending.action, wait.pending.object) == (
        "P2",
        Action.ACQUIRE,
        "lock",
    )
    assert [event.process for event in fixed.trace.events[: wait.step]] == ["P1", "P1"]


def test_a_deadlock_is_led_into_and_its_fix_waits() -> None:
    def taking(*locks: str) -> Task:
        for lock in locks:
            yield acquire(lock)
        for lock in locks:
            yield release(lock)

    order = iter(["P1", "P2"])
    stuck = run(deadlock01(), lambda point: _of(next(order), point)).trace
    guided = Guided(stuck.events)
    fixed = run(
        Program({"P1": lambda: taking("a", "b"), "P2": lambda: taking("a", "b")}), guided.choose
    )

    assert [event.object for event in stuck.events] == ["a", "b"]
    assert not fixed.buggy
    assert {wait.pending.process for wait in guided.waits} == {"P2"}
    assert guided.waits[0].pending.object == "a"


def test_who_is_not_born_yet_is_waited_for_and_not_passed_over() -> None:
    def adds() -> Task:
        value = yield read("n")
        yield write("n", value + 1)

    def parent() -> Task:
        yield spawn("P1", adds)
        yield spawn("P2", adds)

    steps = [event for event in _one_preemption() if event.process == "P2"]
    events = run(Program({"P0": parent}), Guided(steps).choose).trace.events

    assert [event.process for event in events] == ["P0", "P0", "P2", "P2", "P1", "P1"]


def test_who_forks_the_next_goes_on_before_those_that_are_there() -> None:
    def adds() -> Task:
        value = yield read("n")
        yield write("n", value + 1)

    def parent() -> Task:
        yield spawn("P1", adds)
        yield write("ready", 1)
        yield spawn("P2", adds)

    events = run(Program({"P0": parent}), Guided(_one_preemption()).choose).trace.events

    assert [event.process for event in events if event.object == "n"] == ["P1", "P2", "P2", "P1"]


def test_each_wait_is_told_once_however_long_it_lasts() -> None:
    guided = Guided(_one_preemption() * 3)
    run(counter(2, 3, guarded=True), guided.choose)

    assert len({wait.pending for wait in guided.waits}) == len(guided.waits)


def test_it_chooses_like_any_strategy() -> None:
    guided = Guided(_one_preemption())
    recorder = Recorder(guided.choose)

    assert guided.begin()
    guided.end(run(counter(2, 1), recorder).trace)
    assert not guided.begin()
    assert recorder.schedule.preemptions == 1


def test_who_asks_in_vain_again_and_again_waits_and_lets_others_go_on() -> None:
    def asking() -> Task:
        while (yield read("flag")) == 0:
            pass
        yield write("n", 1)

    def telling() -> Task:
        yield read("n")
        yield write("flag", 1)

    steps = [Event(0, "P1", Action.WRITE, "write", "n"), Event(1, "P2", Action.READ, "read", "n")]
    guided = Guided(steps)
    run(Program({"P1": asking, "P2": telling}), guided.choose)

    assert [(wait.pending.process, wait.pending.object) for wait in guided.waits] == [
        ("P1", "flag")
    ]
