from __future__ import annotations

import dataclasses

import pytest

from lab.operation import awaited, happening, operation, place, short, value
from lab.search.strategy import Pending
from lab.trace import Action, Event

READ = Event(3, "P2", Action.READ, "load", "posix-shm:/n", 8, 4, before=b"\x04\0\0\0")


def test_an_operation_reads_the_same_before_and_after_it_happened() -> None:
    pending = Pending("P2", Action.READ, "posix-shm:/n", 8, 4)

    assert operation(READ) == operation(pending) == "P2 read posix-shm:/n+8"


def test_an_operation_on_nothing_is_named_by_what_it_does() -> None:
    assert operation(Pending("P1", Action.START, "")) == "P1 start"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("posix-shm:/n", "/n"),
        ("sysv-sem:key 0x0100", "key 0x0100"),
        ("pipe:1", "pipe:1"),
        ("P2", "P2"),
        ("timerfd", "timerfd"),
    ],
)
def test_a_type_goes_without_saying_where_there_is_a_name(name: str, shown: str) -> None:
    assert short(name) == shown


def test_the_beginning_of_an_object_is_the_object() -> None:
    assert place(dataclasses.replace(READ, offset=0)) == "posix-shm:/n"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "read n -> 4"),
        ({"before": b""}, "read n"),
        ({"action": Action.WRITE, "before": b"\4", "after": b"\5"}, "write n = 5"),
        ({"action": Action.UPDATE, "before": b"\4", "after": b"\5"}, "update n: 4 -> 5"),
        ({"action": Action.SEND, "before": b"", "after": b"hello"}, "send n = 'hello'"),
        ({"action": Action.RECEIVE, "before": b"hello"}, "receive n -> 'hello'"),
        ({"action": Action.RECEIVE, "before": b"1\n"}, "receive n -> '1\\n'"),
        ({"object": "file:/n", "call": "read", "before": b"1"}, "read n -> '1'"),
        ({"object": "file:/n", "call": "load", "before": b"1"}, "read n -> 49"),
        ({"action": Action.ACQUIRE, "before": b"", "result": 0}, "acquire n"),
        ({"action": Action.ACQUIRE, "before": b"", "result": -11}, "acquire n: EAGAIN"),
        ({"action": Action.OPEN, "before": b"", "result": -9999}, "open n: Unknown error 9999"),
    ],
)
def test_what_happened_is_told_with_its_value(changes: dict[str, object], text: str) -> None:
    assert happening(dataclasses.replace(READ, **changes), "n") == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x05", "5"),
        (b"A", "65"),
        (b"AB", "16961"),
        (b"\x01\x02", "513"),
        (b"\x04\0\0\0", "4"),
        (b"\0" * 8, "0"),
        (b"\xff" * 8, "18446744073709551615"),
        (b"ping", "'ping'"),
        (b"job 17\n", "0x6a6f622031370a"),
        (b"done\0\0\0\0", "1701736292"),
        (b"done\0\0", "'done'"),
        (b"x" * 64, f"'{'x' * 40}'..."),
        (b"", "nothing"),
        (b"\x80\x81\x82", "0x808182"),
        (bytes(32), "0x" + "00" * 16 + "..."),
    ],
)
def test_bytes_are_shown_as_their_author_most_likely_meant_them(data: bytes, text: str) -> None:
    assert value(data) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"A", "'A'"),
        (b"10\n", "'10\\n'"),
        (b"job 17\n", "'job 17\\n'"),
        (b"\x05", "5"),
        (b"\0\0\0\x07", "117440512"),
        (b"\x80\x81\x82", "0x808182"),
    ],
)
def test_letters_of_a_text_are_letters_however_few(data: bytes, text: str) -> None:
    assert value(data, text=True) == text


@pytest.mark.parametrize("name", ["pipe:1", "pipe:P1.2", "socket:inherited-1"])
def test_what_has_but_a_number_keeps_its_type(name: str) -> None:
    assert short(name) == name


@pytest.mark.parametrize(
    ("action", "thing", "text"),
    [
        (Action.ACQUIRE, "posix-sem:/lock", "to acquire /lock"),
        (Action.RECEIVE, "pipe:1", "to receive pipe:1"),
        (Action.WAIT, "P1", "for the exit of P1"),
        (Action.WAIT, "P1 P2", "for the exit of P1 or P2"),
        (Action.WAIT, "P0", "for a signal"),
        (Action.WAIT, "", "for its time"),
    ],
)
def test_what_somebody_waits_for_reads_after_waits(action: Action, thing: str, text: str) -> None:
    assert awaited(Pending("P0", action, thing)) == text
