"""Programs beside a Redis server: a command is one step, a wait is a wait, time is virtual."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from lab.redis_server import RedisServer, lacking
from lab.run.root import Function
from lab.trace import Action, Ending, Event, Trace
from tests.run.control.controlled import explore, run

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"no {'; no '.join(lacking())}")

Body = Callable[[RedisServer], None]


def beside(body: Body) -> Function:
    return Function("program", body, "server")


def forked(*bodies: Callable[[], object]) -> list[int]:
    pids = []
    for body in bodies:
        pid = os.fork()
        if not pid:
            body()
            os._exit(0)
        pids.append(pid)
    return pids


def joined(*bodies: Callable[[], object]) -> None:
    for pid in forked(*bodies):
        os.waitpid(pid, 0)


def busy(seconds: float) -> None:
    """Let real time pass, which a sleep does not."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(10_000))


def commands(trace: Trace) -> list[Event]:
    return [event for event in trace.events if event.object.startswith("redis")]


def told(trace: Trace) -> list[tuple[str, str, str, str]]:
    """Who did what to which key, and the value."""
    return [
        (event.process, event.call, event.object, (event.before or event.after).decode())
        for event in commands(trace)
    ]


def test_a_command_is_one_step_that_has_the_reply() -> None:
    def body(server: RedisServer) -> None:
        client = server.client()
        client.set(server.key("a"), "one")
        client.get(server.key("a"))
        client.get(server.key("b"))
        client.rpush(server.key("list"), "x")
        client.lpop(server.key("list"))

    assert told(run(beside(body))) == [
        ("P0", "SET", "redis:a", "one"),
        ("P0", "GET", "redis:a", "one"),
        ("P0", "GET", "redis:b", "(nil)"),
        ("P0", "RPUSH", "redis:list", "x"),
        ("P0", "LPOP", "redis:list", "x"),
    ]


def test_the_same_choices_make_the_same_run() -> None:
    def body(server: RedisServer) -> None:
        def client() -> None:
            own = server.client()
            own.rpush(server.key("list"), os.getpid())
            with own.lock(server.key("lock"), timeout=10, sleep=0.01):
                own.incr(server.key("counter"))
            own.blpop(server.key("list"))

        joined(client, client)

    traces = explore(beside(body), 8)

    assert {trace.ending for trace in traces} == {Ending.COMPLETED}
    assert {trace.trouble for trace in traces} == {""}


def test_a_refused_command_looks_and_changes_nothing() -> None:
    def body(server: RedisServer) -> None:
        client = server.client()
        client.set(server.key("lock"), "mine", nx=True)
        client.set(server.key("lock"), "mine", nx=True)
        client.delete(server.key("nothing"))
        client.incr(server.key("zero"), 0)

    actions = [event.action for event in commands(run(beside(body)))]
    assert actions == [Action.UPDATE, Action.READ, Action.READ, Action.UPDATE]


def test_who_waits_in_blpop_is_blocked_until_somebody_pushes() -> None:
    def body(server: RedisServer) -> None:
        def waits() -> None:
            os.write(1, server.client().blpop(server.key("jobs"))[1].encode())

        pids = forked(waits)
        time.sleep(5)
        server.client().rpush(server.key("jobs"), "job")
        os.waitpid(pids[0], 0)

    for trace in explore(beside(body), 6):
        assert trace.output == "job"
        assert trace.ending is Ending.COMPLETED


def test_two_clients_that_wait_for_each_other_are_a_deadlock_at_once() -> None:
    def body(server: RedisServer) -> None:
        def talk(mine: str, its: str) -> None:
            client = server.client()
            client.blpop(server.key(mine))
            client.rpush(server.key(its), "hello")

        joined(lambda: talk("ann", "bob"), lambda: talk("bob", "ann"))

    began = time.monotonic()
    trace = run(beside(body))

    assert trace.ending is Ending.STUCK
    assert [(b.process, b.object, b.waits_for) for b in trace.blocked[1:]] == [
        ("P1", "ann", "an element to be pushed"),
        ("P2", "bob", "an element to be pushed"),
    ]
    assert not any(blocked.timed for blocked in trace.blocked)
    assert time.monotonic() - began < 8


def test_the_time_limit_of_a_wait_is_one_of_the_virtual_clock() -> None:
    def body(server: RedisServer) -> None:
        client = server.client()
        began = time.monotonic()
        assert client.blpop([server.key("a"), server.key("b")], timeout=3600) is None
        assert 3600 <= time.monotonic() - began < 3601
        assert client.blmove(server.key("a"), server.key("b"), 0.25) is None

    traces = explore(beside(body), 2)

    assert all(trace.failure is None and not trace.trouble for trace in traces)


def test_an_element_that_comes_before_the_time_limit_is_taken() -> None:
    def body(server: RedisServer) -> None:
        def waits() -> None:
            client = server.client()
            assert client.blpop(server.key("jobs"), timeout=10)
            time.sleep(60)  # past the limit, which must be forgotten
            assert client.get(server.key("jobs")) is None

        pids = forked(waits)
        server.client().rpush(server.key("jobs"), "job")
        assert os.waitpid(pids[0], 0)[1] == 0

    trace = run(beside(body))
    assert trace.failure is None
    assert not trace.trouble


def test_a_killed_client_is_in_no_queue_any_more() -> None:
    def body(server: RedisServer) -> None:
        (pid,) = forked(lambda: server.client().blpop(server.key("jobs")))
        client = server.client()
        time.sleep(1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        client.rpush(server.key("jobs"), "job")
        assert client.lpop(server.key("jobs")) in ("job", None)
        os.write(1, b"done")

    for trace in explore(beside(body), 6):
        assert trace.output == "done"


def test_a_key_ends_when_the_virtual_clock_says_so_and_not_before() -> None:
    def body(server: RedisServer) -> None:
        client = server.client()
        client.set(server.key("lease"), "mine", ex=3600)
        time.sleep(3599)
        assert client.get(server.key("lease")) == "mine"
        assert 0 <= client.pttl(server.key("lease")) <= 1000
        time.sleep(1.5)
        assert client.get(server.key("lease")) is None

    traces = explore(beside(body), 1, repeats=3)
    assert all(trace.failure is None and not trace.trouble for trace in traces)


def test_a_short_time_to_live_outlasts_a_slow_machine() -> None:
    """A tenth of a second, and several of them pass for real."""

    def body(server: RedisServer) -> None:
        client = server.client()
        client.set(server.key("lease"), "mine", px=100)
        for _ in range(3):
            busy(0.15)
            assert client.get(server.key("lease")) == "mine"

    trace = run(beside(body))
    assert trace.failure is None
    assert not trace.trouble


def test_what_runs_out_on_the_real_clock_alone_is_an_error_and_no_expiry() -> None:
    def body(server: RedisServer) -> None:
        client = server.client()
        client.set(server.key("lease"), "mine", px=50)
        with client.pipeline() as transaction:
            transaction.watch(server.key("lease"))
            busy(0.4)
            transaction.get(server.key("lease"))

    trace = run(beside(body))
    assert trace.ending is Ending.BROKEN
    assert "the time to live of the key lab:lease ran out on the real clock" in trace.trouble


def test_a_time_of_the_calendar_is_refused() -> None:
    def body(server: RedisServer) -> None:
        server.client().set(server.key("lease"), "mine", exat=int(time.time()) + 10)

    assert "lets a key end at a time of the calendar" in run(beside(body)).trouble


def test_a_transaction_that_somebody_came_between_does_nothing() -> None:
    def body(server: RedisServer) -> None:
        key = server.key("a")
        client = server.client()
        with client.pipeline() as transaction:
            transaction.watch(key)
            server.client().set(key, "other")
            transaction.multi()
            transaction.set(key, "mine")
            with pytest.raises(Exception, match="Watched variable changed"):
                transaction.execute()

    actions = [(event.call, event.action) for event in commands(run(beside(body)))]
    assert actions == [
        ("WATCH", Action.READ),
        ("SET", Action.WRITE),
        ("EXEC", Action.READ),
    ]


def test_a_client_with_a_time_limit_on_its_socket_waits_as_well() -> None:
    def body(server: RedisServer) -> None:
        import redis

        def waits() -> None:
            client = redis.Redis.from_url(server.url, socket_timeout=30)
            assert client.blpop(server.key("jobs"), timeout=20)

        pids = forked(waits)
        time.sleep(5)
        server.client().rpush(server.key("jobs"), "job")
        assert os.waitpid(pids[0], 0)[1] == 0

    for trace in explore(beside(body), 4):
        assert trace.failure is None
        assert not trace.trouble


def test_a_run_finds_an_empty_server() -> None:
    def body(server: RedisServer) -> None:
        client = server.client()
        assert client.dbsize() == 0
        client.set(server.key("left"), 1)

    assert all(trace.failure is None for trace in explore(beside(body), 3))


def test_what_a_key_with_a_time_to_live_holds_depends_on_the_clock() -> None:
    def body(server: RedisServer) -> None:
        client = server.client()
        client.get(server.key("a"))
        client.set(server.key("a"), 1, px=500)
        client.get(server.key("a"))
        time.sleep(1)
        client.get(server.key("a"))
        client.get(server.key("a"))

    timed = [event.timed for event in commands(run(beside(body)))]
    assert timed == [False, True, True, True, False]


def test_a_program_beside_a_server_is_never_proved() -> None:
    def body(server: RedisServer) -> None:
        server.client().get(server.key("a"))

    assert run(beside(body)).unvaried == ("it speaks to a service outside the run",)
