"""The fixture `race_redis`, as the author of a test suite meets it, with a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lab import redis_server
from lab.redis_server import RedisServer, lacking, taken_by
from lab.run.control import ControlRefusedError
from lab.run.redis_process import Serving, serving
from tests.two_children import BOTH

needs_redis = pytest.mark.skipif(bool(lacking()), reason=f"no {'; no '.join(lacking())}")
STOCK = (
    """
import os
import time

import pytest

from lab import RedisServer
"""
    + BOTH
    + """

@pytest.fixture
def stock(race_redis):
    race_redis.client().set(race_redis.key("stock"), 0)
    return race_redis.key("stock")

"""
)
GET_AND_SET = (
    STOCK
    + """
@pytest.mark.race(schedules=20)
def test_both_add(race_redis, stock):
    def add():
        redis = race_redis.client()
        redis.set(stock, int(redis.get(stock)) + 1)

    both(add)
    assert race_redis.client().get(stock) == "2"
"""
)
INCR = (
    STOCK
    + """
@pytest.mark.race(schedules=20)
def test_both_add(race_redis, stock):
    both(lambda: race_redis.client().incr(stock))
    assert race_redis.client().get(stock) == "2"
"""
)
LOCK = (
    STOCK
    + """
@pytest.mark.race(schedules=3)
@pytest.mark.parametrize("name", ["{}", "lab:{}"])
def test_a_lock_ends_when_its_time_is_over(race_redis, name):
    redis, lock = race_redis.client(), name.format("lock")

    def wait():
        redis = race_redis.client()
        time.sleep(3590)
        assert redis.get(lock) == "mine"
        time.sleep(3600)
        assert redis.get(lock) is None

    redis.set(lock, "mine", ex=3600)
    both(wait)
"""
)
ANOTHER_RUN = (
    STOCK
    + """
@pytest.mark.race(schedules=4)
def test_the_first_to_count(race_redis):
    key = race_redis.key("runs")
    assert race_redis.client().keys(race_redis.key("*")) == []
    both(lambda: race_redis.client().incr(key))


def test_another_finds_nothing_either(race_redis):
    assert race_redis.client().incr(race_redis.key("runs")) == 1
"""
)


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=source)
    return pytester.runpytest("-p", "no:cacheprovider", *options)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """A server that others use as well, named by REDIS_URL."""
    with serving() as other:
        monkeypatch.setenv("REDIS_URL", other.server.url)
        yield other


@needs_redis
@pytest.mark.usefixtures("control")
def test_an_update_lost_between_get_and_set_is_found_and_its_line_to_paste_shows_it(
    pytester: pytest.Pytester,
) -> None:
    result = run(pytester, GET_AND_SET)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["* LOST UPDATE  test_it.py::test_both_add *", "*read stock -> '0'*test_it.py:*"]
    )
    marker = re.search(r"@pytest\.mark\.race\(replay=.*\)", result.stdout.str())
    assert marker
    again = run(pytester, GET_AND_SET.replace("@pytest.mark.race(schedules=20)", marker[0]))
    again.stdout.fnmatch_lines(["* LOST UPDATE *failed, 1 of 1 run*"])


@needs_redis
@pytest.mark.usefixtures("control")
def test_none_is_lost_by_incr(pytester: pytest.Pytester) -> None:
    run(pytester, INCR).assert_outcomes(passed=1)


@needs_redis
@pytest.mark.usefixtures("control")
def test_times_to_live_are_virtual_of_any_key_of_a_server_that_nobody_else_uses(
    pytester: pytest.Pytester,
) -> None:
    run(pytester, LOCK).assert_outcomes(passed=2)


@needs_redis
@pytest.mark.usefixtures("control")
def test_no_run_sees_a_key_of_another(pytester: pytest.Pytester) -> None:
    run(pytester, ANOTHER_RUN).assert_outcomes(passed=2)


@needs_redis
@pytest.mark.usefixtures("control")
def test_of_a_server_that_others_use_a_run_has_its_prefix_and_the_rest_stays(
    pytester: pytest.Pytester, elsewhere: Serving
) -> None:
    theirs = elsewhere.server.client()
    theirs.set("precious", 1)

    run(pytester, ANOTHER_RUN).assert_outcomes(passed=2)

    assert theirs.keys("*") == ["precious"]


@needs_redis
def test_without_control_the_test_has_a_server_too(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ControlRefusedError("ptrace is refused here")

    monkeypatch.setattr("lab.run.control.in_controller", refuse)

    result = run(pytester, INCR)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_both_add ran once and freely, under no control*"])


@needs_redis
def test_a_guarded_test_that_is_not_marked_leaves_nothing(pytester: pytest.Pytester) -> None:
    source = INCR.replace("@pytest.mark.race(schedules=20)\n", "")

    run(pytester, source, "--lab-guard=error").assert_outcomes(passed=1)


@pytest.mark.parametrize("marker", ["@pytest.mark.race(schedules=20)\n", ""])
def test_without_a_server_it_is_skipped_with_the_three_ways_to_one(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.setattr(redis_server, "_CARRIER", "no_such_distribution")

    result = run(pytester, INCR.replace("@pytest.mark.race(schedules=20)\n", marker), "-rs")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*race_redis needs *REDIS_URL*race-lab?redis?*valkey-server or redis-server into PATH*"]
    )


@needs_redis
@pytest.mark.usefixtures("control")
def test_one_that_is_asked_for_too_late_is_told_how(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import pytest

@pytest.mark.race
def test_it(request):
    request.getfixturevalue("race_redis")
""",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*race_redis: a marked test has its server from the beginning*"])


BY_HAND = (
    STOCK
    + """
def get_and_set(server: RedisServer):
    def add():
        redis = server.client()
        redis.set("n", int(redis.get("n") or 0) + 1)

    both(add)
    assert server.client().get("n") == "2"


def test_it_finds(race):
    race.explore(get_and_set, stop_at_first=True, shrinking=0).assert_finds("lost-update")


def test_it_observes(observe):
    assert observe(get_and_set, runs=2).result.runs == 2


@pytest.mark.parametrize("door", ["race", "observe"])
def test_it_takes_one_server_only(request, race_redis, door):
    doors = request.getfixturevalue(door)
    with pytest.raises(ValueError, match="as a parameter: def program.server: RedisServer"):
        (doors.explore if door == "race" else doors)(get_and_set)
"""
)


@needs_redis
@pytest.mark.usefixtures("control")
def test_a_function_that_is_run_by_hand_takes_its_server_as_a_parameter(
    pytester: pytest.Pytester,
) -> None:
    run(pytester, BY_HAND).assert_outcomes(passed=4)


HERE = RedisServer("redis://here")


def test_a_server_is_taken_by_a_parameter_of_that_type_without_a_default() -> None:
    def takes(count: int, server: RedisServer) -> None: ...
    def has(server: RedisServer = HERE) -> None: ...
    def neither(server: NoSuchThing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert [taken_by(each) for each in (takes, has, neither, int)] == ["server", "", "", ""]
