"""What a wider fixture's value leads to is the fixture's; finding that out disturbs nothing."""

from __future__ import annotations

import _thread
import os
import socket
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.guard.holdings import Holdings
from lab.guard.leak import Birth, Kind, Leak
from lab.guard.owners import Owners

POOL, CLIENT = "fixture pool (session)", "fixture client (module)"


class Holds:
    """Leads to something by an attribute, a list and a dictionary."""

    def __init__(self, thing: object = None) -> None:
        self.things: list[object] = [{"it": thing}]


class Lies:
    """It has none of its attributes, and says that it is something else."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)


@pytest.fixture
def owners() -> Owners:
    return Owners()


@pytest.fixture
def holdings(owners: Owners) -> Holdings:
    return Holdings(owners)


def owner(holdings: Holdings, kind: Kind, number: int) -> str:
    (leak,) = holdings.claimed([Leak((kind, number, 0), "it")])
    return leak.birth.owner


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    one, other = socket.socketpair()
    with one, other:
        yield one


@pytest.mark.parametrize("wrapped", [Holds, Lies, lambda it: {"it": [it]}])
def test_a_descriptor_that_the_value_leads_to_is_the_fixtures(
    holdings: Holdings, connection: socket.socket, wrapped: Callable[[object], object]
) -> None:
    holdings.add(POOL, wrapped(connection), None, {})
    assert owner(holdings, Kind.FD, connection.fileno()) == POOL
    assert owner(holdings, Kind.FD, 99_999) == ""
    holdings.drop(POOL)
    assert owner(holdings, Kind.FD, connection.fileno()) == ""


def test_a_file_is_found_below_its_buffers_and_a_closed_one_is_no_descriptor(
    holdings: Holdings, tmp_path: Path
) -> None:
    with (tmp_path / "it").open("w") as file:
        holdings.add(POOL, Holds(file), None, {})
        number = file.fileno()
        assert owner(holdings, Kind.FD, number) == POOL
    assert owner(holdings, Kind.FD, number) == ""


def test_what_the_value_comes_to_lead_to_later_is_the_fixtures(
    holdings: Holdings, connection: socket.socket
) -> None:
    value = Holds()
    holdings.add(POOL, value, None, {})
    assert owner(holdings, Kind.FD, connection.fileno()) == ""
    value.things.append(connection)
    assert owner(holdings, Kind.FD, connection.fileno()) == POOL


@pytest.mark.parametrize("known", [True, False])
def test_a_thread_that_works_for_such_an_object_is_the_fixtures(
    holdings: Holdings, known: bool
) -> None:
    begun, end = threading.Event(), threading.Event()

    class Serves:
        def run(self) -> None:
            begun.set()
            end.wait()

    serves, other = Serves(), Serves()
    if known:
        thread = threading.Thread(target=serves.run)
        thread.start()
        number = thread.native_id or 0
    else:
        number = -_thread.start_new_thread(serves.run, ())
    begun.wait()
    holdings.add(POOL, Holds(other), None, {})
    assert owner(holdings, Kind.THREAD, number) == ""
    holdings.add(CLIENT, Holds(serves), None, {})
    assert owner(holdings, Kind.THREAD, number) == CLIENT
    end.set()
    if known:
        thread.join()


def test_who_claims_it_keeps_it(holdings: Holdings, connection: socket.socket) -> None:
    holdings.add(POOL, connection, None, {})
    claimed = Leak((Kind.FD, connection.fileno(), 0), "it", Birth(owner="multiprocessing"))
    assert holdings.claimed([claimed]) == [claimed]
    one = Leak((Kind.FD, 0, 0), "it")
    assert [leak.birth.owner for leak in holdings.claimed([claimed, one])] == [
        "multiprocessing",
        "",
    ]


def test_modules_classes_and_functions_lead_nowhere(
    holdings: Holdings, connection: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "_everybodys", connection)
    holdings.add(POOL, [owner, Holds, types, __import__(__name__)], None, {})
    assert owner(holdings, Kind.FD, connection.fileno()) == ""


def test_pytests_own_objects_lead_nowhere(
    holdings: Holdings, connection: socket.socket, request: pytest.FixtureRequest
) -> None:
    request.node.keeps = connection
    holdings.add(POOL, [request, request.config], None, {})
    assert owner(holdings, Kind.FD, connection.fileno()) == ""


def test_what_a_set_up_assigned_to_its_class_is_a_value_as_long_as_it_is_there(
    holdings: Holdings, owners: Owners
) -> None:
    class Suite:
        before = Holds()

    variables = dict(vars(Suite))
    Suite.client = Holds()  # type: ignore[attr-defined]
    holdings.add(CLIENT, None, Suite, variables)
    assert owners.of(Suite.client) == CLIENT  # type: ignore[attr-defined]
    assert owners.of(Suite.before) == ""

    seen = weakref.ref(Suite.client)  # type: ignore[attr-defined]
    with os.fdopen(os.open(os.devnull, os.O_RDONLY)) as file:
        Suite.client = Holds(file)  # type: ignore[attr-defined]
        assert seen() is None
        assert owner(holdings, Kind.FD, file.fileno()) == CLIENT


def test_an_object_that_went_leaves_its_id_to_others(holdings: Holdings, owners: Owners) -> None:
    class Value:
        part: Holds | None = Holds()

    value = Value()
    value.part = Holds()
    holdings.add(POOL, value, None, {})
    assert owners.of(value.part) == POOL
    value.part = None
    assert list(owners._owners.values()) == [POOL]
