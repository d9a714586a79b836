from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.detect.holds import holds
from lab.trace import Action, Event
from tests.detect.events import in_order, step
from tests.search.models import deadlock01
from tests.search.toy import interleavings


def _take(process: str, lock: str = "posix-sem:/a", **facts: int) -> Event:
    return step(process, Action.ACQUIRE, lock, **facts)


def _give(process: str, lock: str = "posix-sem:/a", **facts: int) -> Event:
    return step(process, Action.RELEASE, lock, **facts)


def _held(*events: Event) -> list[tuple[str, str, int]]:
    return [(hold.process, hold.object, hold.since.step) for hold in holds(in_order(*events))]


def test_a_lock_is_held_from_the_step_that_acquired_it() -> None:
    assert _held(_take("P1"), _give("P1"), _take("P2")) == [("P2", "posix-sem:/a", 2)]


def test_an_attempt_that_failed_holds_nothing() -> None:
    assert _held(_take("P1", result=-11)) == []


def test_each_semaphore_of_a_set_is_a_lock_of_its_own() -> None:
    (hold,) = holds(in_order(_take("P1", offset=0), _take("P1", offset=1), _give("P1", offset=0)))

    assert hold.offset == 1


def test_a_semaphore_is_held_as_often_as_it_was_acquired() -> None:
    assert _held(_take("P1"), _take("P1"), _take("P2"), _give("P1")) == [
        ("P1", "posix-sem:/a", 0),
        ("P2", "posix-sem:/a", 2),
    ]


def test_who_has_ended_holds_on() -> None:
    assert _held(_take("P1"), step("P1", Action.EXIT, "P1")) == [("P1", "posix-sem:/a", 0)]


def test_what_another_releases_is_a_signal_and_no_lock() -> None:
    items = "posix-sem:/items"

    assert _held(_give("P1", items), _take("P2", items), _take("P2")) == [("P2", "posix-sem:/a", 2)]


def test_two_that_took_two_locks_in_opposite_order_hold_one_each() -> None:
    stuck = [run for run in interleavings(deadlock01()) if run.buggy]

    assert stuck
    for run in stuck:
        assert {(hold.process, hold.object) for hold in holds(run.trace.events)} == {
            ("P1", "a"),
            ("P2", "b"),
        }


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["P1", "P2"]), st.booleans()), max_size=12))
def test_nobody_holds_more_than_what_was_taken_and_not_given_back(
    moves: list[tuple[str, bool]],
) -> None:
    events = in_order(*(_take(name) if takes else _give(name) for name, takes in moves))
    found = holds(events)

    for name in ("P1", "P2"):
        own = [takes for mover, takes in moves if mover == name]
        assert sum(hold.process == name for hold in found) in (
            0,
            sum(own) - (len(own) - sum(own)),
        )
