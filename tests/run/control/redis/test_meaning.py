"""What commands touch: what is not known touches everything."""

from __future__ import annotations

import pytest

from lab.run.control.redis.meaning import Meaning, meaning, together
from lab.trace import Action


def of(text: str) -> Meaning:
    return meaning(tuple(text.encode().split()))


@pytest.mark.parametrize(
    ("command", "action", "keys"),
    [
        ("GET a", Action.READ, "a"),
        ("get a", Action.READ, "a"),
        ("MGET a b c", Action.READ, "a b c"),
        ("SET a 1", Action.WRITE, "a"),
        ("SET a 1 NX", Action.UPDATE, "a"),
        ("SET a 1 GET", Action.UPDATE, "a"),
        ("MSET a 1 b 2", Action.WRITE, "a b"),
        ("DEL a b", Action.REMOVE, "a b"),
        ("INCRBY a 3", Action.UPDATE, "a"),
        ("RPUSH a x y", Action.SEND, "a"),
        ("LPOP a", Action.RECEIVE, "a"),
        ("LMOVE a b LEFT RIGHT", Action.RECEIVE, "a b"),
        ("BLPOP a b 5", Action.RECEIVE, "a b"),
        ("BLMOVE a b LEFT RIGHT 5", Action.RECEIVE, "a b"),
        ("RENAME a b", Action.UPDATE, "a b"),
    ],
)
def test_a_command_names_its_keys(command: str, action: Action, keys: str) -> None:
    means = of(command)
    assert (means.action, means.keys) == (action, tuple(keys.encode().split()))
    assert not means.everything
    assert not means.local


@pytest.mark.parametrize(
    "command",
    [
        "EVAL return 0 0",
        "EVALSHA abc 1 a",
        "FLUSHALL",
        "KEYS *",
        "NEW.COMMAND a",
        "CLIENT KILL ID 3",
    ],
)
def test_a_command_that_is_not_known_and_a_script_touch_everything(command: str) -> None:
    means = of(command)
    assert means.everything
    assert means.changes


def test_a_script_is_called_by_the_keys_that_it_declares() -> None:
    assert of("EVAL code 2 a b 7").keys == (b"a", b"b")
    assert of("EVALSHA 00ff 0 a").keys == ()
    assert of("EVAL code x a").keys == of("EVAL code").keys == ()


@pytest.mark.parametrize("command", ["HELLO 3", "CLIENT SETINFO LIB-NAME x", "PING", "SELECT 0"])
def test_what_concerns_a_connection_alone_is_no_step(command: str) -> None:
    assert of(command).local


@pytest.mark.parametrize(
    ("command", "lives"),
    [
        ("SET a 1 EX 10", 10_000),
        ("SET a 1 NX PX 250", 250),
        ("SETEX a 2 1", 2000),
        ("PEXPIRE a 30", 30),
        ("GETEX a EX 1", 1000),
    ],
)
def test_a_time_to_live_is_read_where_it_is_stated(command: str, lives: int) -> None:
    means = of(command)
    assert means.lives == ((b"a", lives),)
    assert means.timed


def test_a_value_that_reads_like_an_option_is_none() -> None:
    means = of("SET a PX")
    assert (means.lives, means.timed, means.value) == ((), False, b"PX")


@pytest.mark.parametrize("command", ["EXPIREAT a 99", "SET a 1 EXAT 99", "GETEX a PXAT 99"])
def test_a_time_of_the_calendar_is_noticed(command: str) -> None:
    assert of(command).dated


@pytest.mark.parametrize(
    ("command", "limit"), [("BLPOP a b 5", b"5"), ("BLMOVE a b LEFT RIGHT 7", b"7")]
)
def test_the_word_is_known_that_limits_a_wait(command: str, limit: bytes) -> None:
    assert command.encode().split()[of(command).limit] == limit


def test_commands_that_are_sent_at_once_are_one_step_on_all_their_keys() -> None:
    whole = together([of("PING"), of("GET a"), of("SET b 1"), of("GET a")])
    assert (whole.name, whole.action, whole.keys) == ("GET, SET", Action.UPDATE, (b"a", b"b"))
    assert together([of("PING"), of("GET a")]) == of("GET a")
    assert together([of("GET a"), of("MGET a b")]).action is Action.READ
    assert together([of("GET a"), of("EVAL x 0")]).everything
