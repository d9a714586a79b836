from __future__ import annotations

import pytest

from lab.detect.message_loss import detect
from lab.finding import Kind
from lab.trace import Ending, Messages, ObjectType, SharedObject
from tests.detect.builders import run


def _queue(*messages: str, name: str = "/jobs", size: int | None = None) -> SharedObject:
    queued = sum(map(len, messages)) if size is None else size
    return SharedObject(
        ObjectType.POSIX_MQ, name, size=queued, made_by="P0", left=True, messages=messages
    )


def test_messages_left_in_a_queue_are_lost_with_count_and_text() -> None:
    (finding,) = detect(run(objects=(_queue("red", "green", "blue"),)))

    assert finding.kind is Kind.MESSAGE_LOSS
    assert finding.object == "/jobs"
    assert finding.summary == "3 messages were never received: still in posix-mq /jobs."
    assert finding.details == ("'red'", "'green'", "'blue'")


def test_what_the_body_misses_and_a_queue_holds_is_one_loss() -> None:
    messages = Messages(("red", "green", "blue"), ("red",))

    (finding,) = detect(run(objects=(_queue("green", "blue"),), tally=messages))

    assert finding.object == "/jobs"
    assert "2 messages of 3 sent" in finding.summary


def test_padding_of_a_queued_record_does_not_make_it_another_message() -> None:
    messages = Messages(("green",), ())

    assert len(list(detect(run(objects=(_queue("green\0\0\0"),), tally=messages)))) == 1


def test_what_the_body_misses_and_no_queue_holds_vanished() -> None:
    messages = Messages(("red", "green", "blue", "blue"), ("red",))

    queued, vanished = detect(run(objects=(_queue("blue"),), tally=messages))

    assert queued.details == ("'blue'",)
    assert vanished.object == "messages"
    assert "2 of 4 messages sent were never received" in vanished.summary
    assert sorted(vanished.details) == ["'blue'", "'green'"]


def test_everything_received_is_no_loss() -> None:
    messages = Messages(("red", "blue"), ("blue", "red"))

    assert not list(detect(run(objects=(_queue(),), tally=messages)))


def test_a_queue_that_could_not_be_read_tells_its_bytes() -> None:
    (finding,) = detect(run(objects=(_queue(size=96),)))

    assert "Messages of 96 bytes in all were never received" in finding.summary


def test_how_many_of_those_sent_is_told_only_where_it_was_counted() -> None:
    unread, vanished = detect(run(objects=(_queue(size=96),), tally=Messages(("red",), ())))

    assert "sent" not in unread.summary
    assert "1 of 1 message sent was never received, and no queue holds it" in vanished.summary


def test_pieces_in_torn_items_are_not_lost() -> None:
    messages = Messages(("hello world", "HELLO WORLD"), ("hello worldHELLO WOR", "LD"))

    assert not list(detect(run(tally=messages)))


def test_each_queue_is_a_finding_of_its_own() -> None:
    queues = (_queue("red", name="/a"), _queue("blue", name="/b"))

    assert [finding.object for finding in detect(run(objects=queues))] == ["/a", "/b"]


@pytest.mark.parametrize("ending", [Ending.STUCK, Ending.TIMED_OUT, Ending.INTERRUPTED])
def test_what_is_queued_when_the_run_is_stopped_may_still_have_been_received(
    ending: Ending,
) -> None:
    assert not list(detect(run(objects=(_queue("red"),), ending=ending)))


def test_a_queue_that_was_removed_or_is_empty_holds_none() -> None:
    removed = SharedObject(ObjectType.POSIX_MQ, "/a", size=3)

    assert not list(detect(run(objects=(removed, _queue(name="/b")))))


def test_only_queues_hold_messages() -> None:
    memory = SharedObject(ObjectType.POSIX_SHM, "/m", size=4096, left=True)

    assert not list(detect(run(objects=(memory,))))


def test_a_very_long_message_is_cut() -> None:
    (finding,) = detect(run(objects=(_queue("x" * 5000),)))

    assert len(finding.details[0]) < 100
