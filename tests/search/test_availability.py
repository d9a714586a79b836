from __future__ import annotations

import pytest

from lab.search.availability import Answer, Availability
from lab.search.strategy import Pending, Point
from lab.trace import Action, Event
from tests.search.test_dependence import step


def semop(process: str, before: int, after: int, **facts: object) -> Event:
    taken = Action.ACQUIRE if after <= before else Action.RELEASE
    values = {"before": before.to_bytes(4, "little"), "after": after.to_bytes(4, "little")}
    return step(process, taken, "posix-sem:/s", size=4, waits=True, **values, **facts)


def _of(wanted: Event | Pending, instead: Event | None = None, *before: Event) -> Answer:
    return Availability().of(wanted, instead, before)


@pytest.mark.parametrize("action", [Action.READ, Action.WRITE, Action.RELEASE, Action.EXIT])
def test_what_never_waits_can_always_come_earlier(action: Action) -> None:
    assert _of(step("P1", action, "x")) is Answer.YES


def test_nobody_acquires_before_the_release_that_makes_it_possible() -> None:
    assert _of(semop("P2", 1, 0), semop("P1", 0, 1)) is Answer.NO
    assert _of(semop("P2", 2, 1), semop("P1", 1, 2)) is Answer.YES
    assert _of(semop("P2", 1, 0), semop("P1", 1, 0)) is Answer.YES


def test_who_takes_more_needs_more() -> None:
    assert _of(semop("P2", 3, 1), semop("P1", 1, 3)) is Answer.NO
    assert _of(semop("P2", 3, 1), semop("P1", 2, 3)) is Answer.YES


def test_who_waits_for_none_needs_none() -> None:
    assert _of(semop("P2", 0, 0), semop("P1", 1, 0)) is Answer.NO
    assert _of(semop("P2", 0, 0), semop("P1", 0, 1)) is Answer.YES


def test_who_never_acquired_is_taken_to_want_one_where_that_is_sure() -> None:
    posix = Pending("P2", Action.ACQUIRE, "posix-sem:/s", 0, 4, waits=True)
    sysv = Pending("P2", Action.ACQUIRE, "sysv-sem:key 1", 0, 1, waits=True)

    assert _of(posix, semop("P1", 0, 1)) is Answer.NO
    assert _of(sysv, step("P1", Action.RELEASE, "sysv-sem:key 1", before=b"\0")) is Answer.PERHAPS


def test_of_several_semaphores_at_once_nothing_is_known() -> None:
    several = semop("P1", 0, 1)
    assert _of(semop("P2", 1, 0), several) is Answer.NO
    wide = Event(0, "P1", Action.RELEASE, "semop", "posix-sem:/s", 0, 1 << 16, before=b"\0")
    assert _of(semop("P2", 1, 0), wide) is Answer.PERHAPS


def test_who_waits_for_one_of_several_descriptors_may_find_one() -> None:
    poll = step("P2", Action.WAIT, "pipe:1 pipe:2", waits=True)
    children = step("P2", Action.WAIT, "P1 P3", waits=True)
    sent = step("P1", Action.SEND, "pipe:1", result=1)

    assert _of(poll, step("P3", Action.SEND, "pipe:2", result=1), sent) is Answer.PERHAPS
    assert _of(children, step("P3", Action.EXIT, "P3")) is Answer.NO


def test_of_bytes_that_move_unseen_it_is_not_known_how_many_there_are() -> None:
    receive = step("P2", Action.RECEIVE, "pipe:1", waits=True, result=1)
    spliced = step("P1", Action.UPDATE, "pipe:1", call="splice", result=2)
    asleep = step("P1", Action.SEND, "pipe:1", call="write")

    assert _of(receive, receive) is Answer.NO
    assert _of(receive, receive, spliced) is Answer.PERHAPS
    assert _of(receive, receive, asleep) is Answer.PERHAPS
    assert _of(step("P2", Action.UPDATE, "pipe:1", waits=True), spliced) is Answer.PERHAPS


def test_who_would_fail_instead_of_waiting_may_come_at_any_time() -> None:
    tries = step("P2", Action.ACQUIRE, "posix-sem:/s", call="sem_trywait")

    assert _of(tries, semop("P1", 0, 1)) is Answer.PERHAPS


def test_a_message_is_there_when_more_were_sent_than_received() -> None:
    sent = step("P1", Action.SEND, "posix-mq:/q")
    received = step("P2", Action.RECEIVE, "posix-mq:/q", waits=True)

    assert _of(received) is Answer.NO
    assert _of(received, None, sent) is Answer.YES
    assert _of(received, None, sent, received) is Answer.NO
    failed = step("P1", Action.SEND, "posix-mq:/q", result=-11)
    assert _of(received, None, failed) is Answer.NO


def test_which_type_a_message_has_is_not_known() -> None:
    sent = step("P1", Action.SEND, "sysv-mq:key 1")
    received = step("P2", Action.RECEIVE, "sysv-mq:key 1", waits=True)

    assert _of(received) is Answer.NO
    assert _of(received, None, sent) is Answer.PERHAPS


def test_a_pipe_holds_the_bytes_that_were_sent_and_not_received() -> None:
    received = step("P2", Action.RECEIVE, "pipe:1", result=3, waits=True)
    sent = step("P1", Action.SEND, "pipe:1", result=5)

    assert _of(received) is Answer.NO
    assert _of(received, None, sent, received) is Answer.YES
    assert _of(received, None, sent, received, received) is Answer.NO
    closed = step("P1", Action.CLOSE, "pipe:1")
    assert _of(received, None, closed) is Answer.PERHAPS
    assert Availability().of(received, None, [closed], later=[sent]) is Answer.NO


def test_what_comes_from_outside_is_not_known() -> None:
    assert _of(step("P1", Action.RECEIVE, "inet:6379", waits=True)) is Answer.PERHAPS


def test_a_queue_is_full_where_a_sender_was_seen_to_wait() -> None:
    availability = Availability()
    sent = step("P1", Action.SEND, "posix-mq:/q", waits=True)
    waits = Pending("P2", Action.SEND, "posix-mq:/q", waits=True)
    assert availability.of(sent, None, [sent]) is Answer.PERHAPS

    free = Point(0, (waits,), 0, "")
    full = Point(2, (Pending("P3", Action.RECEIVE, "posix-mq:/q"),), 0, "", (waits,))
    availability.learn([(free, (sent, sent)), (full, ())])

    assert availability.of(sent, None, [sent]) is Answer.YES
    assert availability.of(sent, None, [sent, sent]) is Answer.NO
    other = step("P1", Action.SEND, "posix-mq:/r", waits=True)
    assert availability.of(other, None, [other]) is Answer.PERHAPS


def test_an_exclusive_lock_excludes_and_a_shared_one_does_not() -> None:
    def lock(process: str, mode: bytes) -> Event:
        return step(process, Action.ACQUIRE, "lock:/f", call="flock", after=mode, waits=True)

    mine, its = lock("P2", b"exclusive"), lock("P1", b"exclusive")
    unlock = step("P1", Action.RELEASE, "lock:/f")
    assert _of(mine, None, its) is Answer.NO
    assert _of(mine, None, its, unlock) is Answer.PERHAPS
    assert _of(lock("P2", b"shared"), None, its) is Answer.NO
    assert _of(lock("P2", b"shared"), None, lock("P1", b"shared")) is Answer.PERHAPS
    shares = step("P3", Action.RELEASE, "lock:/f")
    assert _of(mine, None, its, shares) is Answer.PERHAPS


def test_one_of_several_children_can_be_waited_for_when_one_has_ended() -> None:
    waits = step("P0", Action.WAIT, "P1 P2", waits=True)

    assert _of(waits) is Answer.NO
    assert _of(waits, None, step("P2", Action.EXIT, "P2")) is Answer.YES
    stopped = step("P0", Action.SIGNAL, "P1", after=b"\x13")
    assert _of(waits, None, stopped) is Answer.PERHAPS
