from __future__ import annotations

import dataclasses

from lab.search.idling import PATIENCE, Idling
from lab.trace import Action, Event

LOOK = Event(0, "P1", Action.READ, "load", "shm:/flag", 0, 4, before=b"\0\0\0\0")
SLEEP = Event(0, "P1", Action.SLEEP, "nanosleep")
CHANGE = Event(0, "P2", Action.WRITE, "store", "shm:/flag", 0, 4, before=b"\0", after=b"\1")


def test_whoever_reads_the_same_again_and_again_waits() -> None:
    idling = Idling()
    idling.follow([LOOK] * PATIENCE)
    assert not idling.waits("P1")

    idling.follow([LOOK])
    assert idling.waits("P1")
    assert not idling.waits("P2")


def test_a_loop_may_have_several_steps() -> None:
    idling = Idling()
    other = dataclasses.replace(LOOK, offset=4)
    idling.follow([LOOK, other, SLEEP] * PATIENCE)

    assert idling.waits("P1")


def test_a_try_that_fails_is_no_progress() -> None:
    idling = Idling()
    refused = Event(0, "P1", Action.READ, "sem_trywait", "sem:/s", 0, 4, b"\0", result=-11)
    held = Event(0, "P1", Action.UPDATE, "update", "shm:/lock", 0, 4, b"\1", b"\1")
    idling.follow([refused, held] * PATIENCE)

    assert idling.waits("P1")


def test_a_new_value_is_something_new() -> None:
    idling = Idling()
    idling.follow([LOOK] * PATIENCE + [dataclasses.replace(LOOK, before=b"\1\0\0\0")])

    assert not idling.waits("P1")
    assert idling.steps("P1") == 0


def test_whoever_changes_something_gets_on() -> None:
    idling = Idling()
    own = dataclasses.replace(CHANGE, process="P1", object="shm:/progress")
    idling.follow([LOOK, own] * (2 * PATIENCE))

    assert not idling.waits("P1")


def test_a_change_of_what_was_read_releases_whoever_waits_for_it() -> None:
    idling = Idling()
    idling.follow([LOOK] * (PATIENCE + 1))
    elsewhere = dataclasses.replace(CHANGE, object="shm:/other")

    assert idling.follow([elsewhere]) == []
    assert idling.waits("P1")
    assert idling.follow([CHANGE]) == ["P1"]
    assert not idling.waits("P1")


def test_who_did_not_wait_is_not_released() -> None:
    idling = Idling()

    assert idling.follow([LOOK, LOOK, CHANGE]) == []
