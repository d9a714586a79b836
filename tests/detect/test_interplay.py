from __future__ import annotations

import pytest

from lab.detect.interplay import Interplay, interplay
from lab.trace import Action, Event
from tests.detect.events import read, step, update, write

QUEUE = "posix-mq:/jobs"


@pytest.mark.parametrize(
    "events",
    [
        [read("P1", 0), write("P2", 0, 1)],
        [update("P1", 0, 1), update("P2", 1, 2)],
        [write("P1", 0, 1), write("P1.2", 1, 2)],
        [step("P1", Action.SEND, QUEUE), step("P2", Action.RECEIVE, QUEUE)],
        [step("P1", Action.ACQUIRE, "posix-sem:/s"), step("P2", Action.ACQUIRE, "posix-sem:/s")],
        [step("P1", Action.CREATE, "file:/tmp/x"), step("P2", Action.READ, "file:/tmp/x")],
        [step("P1", Action.CREATE, "file:/tmp/x"), step("P2", Action.EXEC, "file:/tmp/x")],
    ],
)
def test_two_that_touch_one_thing_and_change_it_share_an_object(events: list[Event]) -> None:
    assert interplay(events) is Interplay.OBJECTS


@pytest.mark.parametrize(
    "events",
    [
        [step("P1", Action.EXIT, "P1"), step("P0", Action.WAIT, "P1 P2")],
        [step("P0", Action.SIGNAL, "P1"), step("P1", Action.DELIVER, "P1")],
    ],
)
def test_an_exit_that_is_awaited_and_a_signal_are_shared_lives(events: list[Event]) -> None:
    assert interplay(events) is Interplay.LIVES


@pytest.mark.parametrize(
    "events",
    [
        [],
        [write("P1", 0, 1), read("P1", 1)],
        [write("P1", 0, 1), write("P2", 0, 1, object="posix-shm:/m")],
        [read("P1", 0), read("P2", 0)],
        [step("P0", Action.FORK, "P1"), step("P1", Action.START, "P1")],
        [step("P1", Action.SLEEP, ""), step("P2", Action.SLEEP, "")],
        [step("P1", Action.EXIT, "P1"), step("P0", Action.EXIT, "P0")],
        [step("P1", Action.OPEN, "file:/tmp/x"), step("P2", Action.OPEN, "file:/tmp/x")],
    ],
    ids=["nothing", "alone", "apart", "only read", "birth", "sleep", "exit", "only opened"],
)
def test_where_no_order_could_matter_nothing_is_shared(events: list[Event]) -> None:
    assert interplay(events) is Interplay.NONE
