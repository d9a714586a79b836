"""What is to be drawn of a run, worked out from its steps alone."""

from __future__ import annotations

import pytest

from lab.finding import Finding, Kind
from lab.report.arrows import Arrow
from lab.report.lives import lanes
from lab.report.picture import draw, picture
from lab.report.places import Place, Span
from lab.search.guided import Wait
from lab.search.strategy import Pending
from lab.trace import Action, Event
from tests.detect.events import in_order, read, step, write

FORKED = (step("P0", Action.FORK), step("P1", Action.START, "P1"))
LOSS = in_order(
    step("P0", Action.FORK),
    step("P0", Action.FORK),
    read("P1", 4),
    read("P2", 4),
    write("P2", 4, 5),
    write("P1", 5, 5),
    step("P1", Action.CLOSE, "pipe:1", result=0),
)


def test_the_step_that_does_the_damage_has_a_glyph_of_its_own_and_others_say_what_they_do() -> None:
    finding = Finding(Kind.LOST_UPDATE, "/n", "", key_steps=(2, 4, 5), steps=LOSS)
    marks = picture(finding).marks
    assert [(mark.glyph, mark.role, mark.value) for mark in marks[2:6]] == [
        ("read", "key", "4"),
        ("read", "", "4"),
        ("write", "key", "5"),
        ("lost", "damage", "5"),
    ]
    assert marks[5].text == "write /n = 5"
    assert marks[5].label == "write 5"


def test_what_nobody_else_touches_is_quiet() -> None:
    marks = draw(LOSS).marks
    assert [mark.quiet for mark in marks] == [False] * 6 + [True]


def test_a_thing_holds_its_value_from_step_to_step_and_the_damage_shows_even_without_a_change() -> (
    None
):
    finding = Finding(Kind.LOST_UPDATE, "/n", "", key_steps=(2, 4, 5), steps=LOSS)
    assert picture(finding).places == (
        Place("/n", (Span(2, 4, "4"), Span(4, 5, "5"), Span(5, None, "5", bad=True))),
    )


def test_a_child_is_a_zombie_from_its_exit_until_a_wait_takes_it() -> None:
    events = in_order(
        *FORKED,
        step("P1", Action.EXIT, "P1"),
        step("P0", Action.SLEEP),
        step("P0", Action.WAIT, "P1", call="wait4", result=3),
    )
    root, child = lanes(events)
    assert (child.parent, child.born, child.began, child.ended, child.reaped) == ("P0", 0, 1, 2, 4)
    assert (root.born, root.ended) == (None, None)


def test_a_look_that_finds_no_exit_reaps_nobody() -> None:
    events = in_order(
        *FORKED,
        step("P0", Action.WAIT, "P1", call="wait4", result=0),
        step("P1", Action.EXIT, "P1"),
        step("P0", Action.EXIT, "P0"),
    )
    root, child = lanes(events)
    assert child.reaped is None
    assert root.reaped == root.ended == 4  # the lab is its parent


def test_who_was_killed_ended_with_the_signal() -> None:
    events = in_order(
        *FORKED,
        step("P0", Action.SIGNAL, "P1", call="kill", after=b"\x09"),
        step("P0", Action.WAIT, "P1", call="wait4", result=3),
    )
    drawn = draw(events)
    assert (drawn.lanes[1].ended, drawn.lanes[1].killed) == (2, True)
    assert drawn.marks[2].text == "sends SIGKILL to P1"


def test_a_wait_for_any_child_takes_one_that_has_ended() -> None:
    events = in_order(
        step("P0", Action.FORK),
        step("P0", Action.FORK),
        step("P2", Action.EXIT, "P2"),
        step("P0", Action.WAIT, "P1 P2", call="wait4", result=4),
    )
    assert [lane.reaped for lane in lanes(events)] == [None, None, 3]


def _message(who: str, action: Action, thing: str, data: bytes) -> Event:
    sends = action is Action.SEND
    before, after = (b"", data) if sends else (data, b"")
    return step(who, action, thing, before=before, after=after, result=len(data))


def test_a_message_goes_to_who_received_what_it_says() -> None:
    events = in_order(
        _message("P1", Action.SEND, "posix-mq:/q", b"one"),
        _message("P1", Action.SEND, "posix-mq:/q", b"two"),
        _message("P2", Action.RECEIVE, "posix-mq:/q", b"two"),
        _message("P3", Action.RECEIVE, "posix-mq:/q", b"one"),
    )
    drawn = draw(events)
    assert drawn.arrows == (Arrow("message", 1, 2), Arrow("message", 0, 3))
    assert [span.text for span in drawn.places[0].spans] == [
        "1 queued",
        "2 queued",
        "1 queued",
        "0 queued",
    ]


@pytest.mark.parametrize("thing", ["pipe:1", "socketpair:1"])
def test_bytes_of_a_stream_arrive_in_order_however_they_are_cut(thing: str) -> None:
    events = in_order(
        _message("P1", Action.SEND, thing, b"aaaa"),
        _message("P1", Action.SEND, thing, b"bb"),
        _message("P2", Action.RECEIVE, thing, b"aaa"),
        _message("P2", Action.RECEIVE, thing, b"abb"),
    )
    assert draw(events).arrows == (
        Arrow("message", 0, 2),
        Arrow("message", 0, 3),
        Arrow("message", 1, 3),
    )


def test_what_a_process_says_into_a_socket_it_does_not_hear_itself() -> None:
    events = in_order(
        _message("P1", Action.SEND, "socketpair:1", b"ask"),
        _message("P1", Action.RECEIVE, "socketpair:1", b"answer"),
    )
    assert draw(events).arrows == ()


def test_a_signal_goes_to_its_delivery() -> None:
    events = in_order(
        step("P0", Action.SIGNAL, "P1", call="kill", after=b"\x0a"),
        step("P1", Action.DELIVER, "P1", call="SIGUSR1"),
    )
    assert draw(events).arrows == (Arrow("signal", 0, 1),)


def test_of_a_run_whose_beginning_is_lost_no_births_are_told() -> None:
    events = tuple(in_order(*FORKED))[1:]
    assert [(lane.name, lane.born) for lane in lanes(events)] == [("P1", None)]


def test_a_fix_that_could_not_follow_waits_until_it_goes_on() -> None:
    events = in_order(
        step("P1", Action.ACQUIRE, "posix-sem:/s"),
        step("P1", Action.RELEASE, "posix-sem:/s"),
        step("P2", Action.ACQUIRE, "posix-sem:/s"),
    )
    wait = Wait(1, Pending("P2", Action.ACQUIRE, "posix-sem:/s"))
    (hold,) = draw(events, waits=[wait]).holds
    assert (hold.lane, hold.start, hold.end, hold.text) == (1, 1, 2, "waits to acquire /s")


def test_who_is_in_a_deadlock_waits_for_ever() -> None:
    events = in_order(step("P1", Action.ACQUIRE, "a"), step("P2", Action.ACQUIRE, "b"))
    finding = Finding(Kind.DEADLOCK, "a, b", "", processes=("P1", "P2"), steps=events)
    assert [(hold.lane, hold.end) for hold in picture(finding).holds] == [(0, None), (1, None)]
