"""What a connection remembers: half a command, and a transaction."""

from __future__ import annotations

from lab.run.control.redis.connection import Connection, Sent
from lab.trace import Action
from tests.run.control.redis.test_wire import sent


def sends(connection: Connection, *texts: str) -> Sent:
    made = connection.sends(b"".join(sent(*text.encode().split()) for text in texts))
    connection.has_sent(made)
    return made


def test_the_call_that_completes_a_command_is_its_step() -> None:
    connection, whole = Connection("c"), sent(b"SET", b"a", b"1")
    first = connection.sends(whole[:9])
    connection.has_sent(first)

    assert first.means.local
    assert connection.sends(whole[9:]).means.keys == (b"a",)


def test_what_was_not_sent_is_not_remembered() -> None:
    connection = Connection("c")
    connection.sends(sent(b"MULTI"))
    assert sends(connection, "GET a").means.name == "GET"


def test_a_transaction_acts_when_it_is_executed() -> None:
    connection = Connection("c")
    assert sends(connection, "WATCH w").means.action is Action.READ
    assert sends(connection, "MULTI", "SET a 1").means.local
    assert sends(connection, "INCR b").means.local
    executed = sends(connection, "EXEC").means

    assert executed.name == "EXEC"
    assert set(executed.keys) == {b"a", b"b", b"w"}
    assert executed.changes
    assert sends(connection, "GET a").means.keys == (b"a",)


def test_a_transaction_that_is_sent_at_once_is_one_step() -> None:
    executed = sends(Connection("c"), "MULTI", "SET a 1", "EXEC").means
    assert (executed.name, executed.action, executed.keys) == ("EXEC", Action.WRITE, (b"a",))


def test_a_command_in_a_transaction_never_waits() -> None:
    assert not sends(Connection("c"), "MULTI", "BLPOP a 0", "EXEC").means.waits


def test_a_transaction_that_is_discarded_touches_nothing() -> None:
    connection = Connection("c")
    sends(connection, "WATCH w")
    assert sends(connection, "MULTI", "SET a 1", "DISCARD").means.local
    assert connection.watched == ()
