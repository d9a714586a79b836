"""The Redis server of a test: what the fixture `race_redis` gives.

A marked test is the root of a tree of processes, run by run, and its server stands beside that
tree: it is started where the tracer is, which takes each command for one step, counts times to live
on the virtual clock and empties the server between two runs. The fixture, which is set up in each
run, hands on what is there. A test that is not marked has a server as long as it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import redis_server
from lab.redis_server import RedisServer

FIXTURE = "race_redis"
GIVEN = pytest.StashKey[RedisServer]()
"""In a run: the server beside it."""


def demanded(item: pytest.Function) -> bool:
    """Whether a test uses the fixture, by itself or through another.

    Skips it where there is no server to be had.
    """
    if FIXTURE not in item.fixturenames:
        return False
    if lacking := redis_server.lacking():
        pytest.skip(f"{FIXTURE} needs {'; and '.join(lacking)}")
    return True


@contextmanager
def server_of(item: pytest.Function) -> Iterator[RedisServer]:
    """The server beside the run in which this is; elsewhere one for the test, if there is one."""
    if given := item.stash.get(GIVEN, None):
        yield given
        return
    if item.get_closest_marker("race"):
        pytest.fail(
            f"{FIXTURE}: a marked test has its server from the beginning; name the fixture among "
            "the arguments of the test, or of a fixture that is named there",
            pytrace=False,
        )
    demanded(item)
    from lab.run.redis_process import serving

    with serving() as found:
        yield found.server


def refuse_by_hand(item: pytest.Item) -> None:
    """Raise ValueError if a test that uses the fixture explores or observes something itself.

    The lab would take the server for a service outside, whose commands are no steps.
    """
    if FIXTURE in getattr(item, "fixturenames", ()):
        raise ValueError(
            f"{FIXTURE} is for the body of a test; a program that the test runs by hand gets a "
            "server of its own as a parameter: def program(server: RedisServer)"
        )
