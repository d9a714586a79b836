"""Whose what an object's methods make is; and that asking for it changes nothing for them."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.guard.owners import Owners

POOL = "fixture pool (session)"


def decorated(method: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(method)
    def outer(*given: object) -> str:
        return method(*given)

    return outer


class Pool:
    """Its methods ask whose they are."""

    owners: Owners

    def asks(self) -> str:
        return self.owners.of_caller(sys._getframe())

    @property
    def asks_as_property(self) -> str:
        return self.owners.of_caller(sys._getframe())

    @decorated
    def asks_within_a_decorator(self) -> str:
        return self.owners.of_caller(sys._getframe())

    @contextmanager
    def asks_in_a_block(self) -> Iterator[str]:
        yield self.owners.of_caller(sys._getframe())


class Inherits(Pool): ...


class Lies:
    """Nothing of it may be asked for."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)


@pytest.fixture
def owners() -> Owners:
    Pool.owners = Owners()
    return Pool.owners


@pytest.mark.parametrize("sort", [Pool, Inherits])
def test_a_method_is_its_objects(owners: Owners, sort: type[Pool]) -> None:
    pool, other = sort(), sort()
    assert owners.add(pool, POOL)
    with pool.asks_in_a_block() as within:
        assert (
            pool.asks() == pool.asks_as_property == pool.asks_within_a_decorator() == within == POOL
        )
    assert other.asks() == other.asks_as_property == ""


def test_the_first_fixture_keeps_its_object(owners: Owners) -> None:
    pool = Pool()
    owners.add(pool, POOL)
    assert not owners.add(pool, "fixture client (module)")
    assert pool.asks() == POOL
    owners.forget(id(pool))
    assert pool.asks() == ""


def test_an_object_is_asked_nothing(owners: Owners) -> None:
    lies = Lies()
    assert owners.add(lies, POOL)
    assert owners.of(lies) == POOL


def test_a_caller_that_is_nobodys_method_keeps_nothing_alive(owners: Owners) -> None:
    class Thing: ...

    class Asks:
        def test(self) -> weakref.ref[Thing]:
            thing = Thing()
            assert owners.of_caller(sys._getframe()) == ""
            seen = weakref.ref(thing)
            del thing
            return seen

    owners.add(Pool(), POOL)
    assert Asks().test()() is None
