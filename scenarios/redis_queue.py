"""Jobs in the lists of a Redis server, and consumers that take them.

A list hands out each element once, to whoever asks first; that is all it knows. Once an element is
popped, the server has forgotten it, whatever becomes of its consumer. So a consumer that may die
moves the job to a second list, from which somebody puts it back; and a job that may be put back may
be done twice, unless doing it twice is the same as doing it once.

Each scenario takes a server as its parameter; the lab provides one.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from typing import TYPE_CHECKING

from lab import Messages, RedisServer, scenario

if TYPE_CHECKING:
    from redis import Redis

fork = multiprocessing.get_context("fork")


# --- a consumer dies ------------------------------------------------------------------------


@scenario(expects=["message-loss"])
def popped(server: RedisServer, jobs: int = 3, work: float = 0.1) -> Messages:
    """A consumer pops a job and is killed before it has done it.

    The job is in no list any more, and no other consumer will ever see it. The fix moves the job to
    a second list, where it stays until it is done.
    """
    return _with_a_death(server, _pop, jobs, work)


@scenario(fixes="popped")
def moved_aside(server: RedisServer, jobs: int = 3, work: float = 0.1) -> Messages:
    """A job is moved to a second list by LMOVE, and removed from there when it is done.

    It is in one of the two lists at any time, since LMOVE is one command. What a dead consumer has
    left in the second one its successor puts back, so a job may be done twice, but never not at
    all.
    """
    return _with_a_death(server, _move, jobs, work)


def _with_a_death(
    server: RedisServer, consume: Callable[[RedisServer, float], None], jobs: int, work: float
) -> Messages:
    redis = server.client()
    sent = [f"job-{number}" for number in range(jobs)]
    redis.lpush(server.key("jobs"), *sent)
    first = _start(consume, server, work)
    redis.blpop(server.key("begun"))
    first.kill()
    first.join()
    _start(consume, server, work).join()
    return Messages(tuple(sent), tuple(sorted(redis.smembers(server.key("done")))))


def _pop(server: RedisServer, work: float) -> None:
    redis = server.client()
    while job := redis.rpop(server.key("jobs")):
        _do(redis, server, job, work)


def _move(server: RedisServer, work: float) -> None:
    redis = server.client()
    while redis.lmove(server.key("taken"), server.key("jobs"), "LEFT", "RIGHT"):
        pass  # what a dead consumer has left
    while job := redis.lmove(server.key("jobs"), server.key("taken"), "RIGHT", "LEFT"):
        _do(redis, server, job, work)
        redis.lrem(server.key("taken"), 1, job)


def _do(redis: Redis, server: RedisServer, job: str, work: float) -> None:
    redis.rpush(server.key("begun"), job)
    time.sleep(work)  # does the job
    redis.sadd(server.key("done"), job)


# --- consumers that wait ---------------------------------------------------------------------


@scenario(expects=["hang"], may_show=["zombie"], time_limit=2.0)
def counted_then_waited(server: RedisServer, consumers: int = 2, window: float = 0.3) -> None:
    """Consumers look whether there is a job, and then wait for it.

    When two have seen that one job is there (LLEN 1), the first takes it, and the other waits for
    ever in BLPOP. The fix asks for the job itself and is told if there is none.
    """

    def consume() -> None:
        redis = server.client()
        if redis.llen(server.key("jobs")):
            time.sleep(window)  # looks, and comes back to take it
            redis.blpop(server.key("jobs"))

    _consume_one_job(server, consume, consumers)


@scenario(fixes="counted_then_waited")
def popped_or_none(server: RedisServer, consumers: int = 2) -> None:
    """Consumers take a job, if there is one, by a single command.

    LPOP looks and takes at once, so nobody comes between. Where there is nothing it says so and
    does not wait.
    """

    def consume() -> None:
        server.client().lpop(server.key("jobs"))

    _consume_one_job(server, consume, consumers)


def _consume_one_job(server: RedisServer, consume: Callable[[], None], consumers: int) -> None:
    redis = server.client()
    redis.rpush(server.key("jobs"), "the only job")
    processes = [fork.Process(target=consume) for _ in range(consumers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert redis.llen(server.key("jobs")) == 0


# --- a job that is put back ------------------------------------------------------------------


@scenario(expects=["invariant"])
def paid_twice(server: RedisServer, work: float = 0.3, patience: float = 0.05) -> None:
    """A consumer is slow, its job is put back as if it were dead, and both pay the bill.

    From outside a slow consumer looks like a dead one, so any requeue may come too early. The fix
    books under the name of the job, where a second payment finds the first.
    """

    def pay(job: str) -> None:
        server.client().rpush(server.key("payments"), job)

    _requeued(server, pay, work, patience)
    payments = server.client().llen(server.key("payments"))
    assert payments == 1, f"the bill was paid {payments} times"


@scenario(fixes="paid_twice")
def paid_once(server: RedisServer, work: float = 0.3, patience: float = 0.05) -> None:
    """The payment is booked under the name of its job, if there is none there yet.

    HSETNX does nothing where the field exists, so to do the job again changes nothing. Such a job
    is idempotent, and may be put back as often and as early as anybody likes.
    """

    def pay(job: str) -> None:
        server.client().hsetnx(server.key("payments"), job, "100.00")

    _requeued(server, pay, work, patience)
    payments = server.client().hlen(server.key("payments"))
    assert payments == 1, f"the bill was paid {payments} times"


def _requeued(
    server: RedisServer, pay: Callable[[str], None], work: float, patience: float
) -> None:
    def consume(seconds: float) -> None:
        redis = server.client()
        job = redis.lmove(server.key("jobs"), server.key("taken"), "RIGHT", "LEFT")
        if job:
            redis.rpush(server.key("begun"), job)
            time.sleep(seconds)  # does what is to be paid
            pay(job)
            redis.lrem(server.key("taken"), 1, job)

    redis = server.client()
    redis.rpush(server.key("jobs"), "bill-7")
    slow = _start(consume, work)
    redis.blpop(server.key("begun"))
    time.sleep(patience)  # the slow one counts as dead by then
    redis.lmove(server.key("taken"), server.key("jobs"), "RIGHT", "LEFT")
    second = _start(consume, 0.0)
    slow.join()
    second.join()


def _start(target: Callable[..., None], *arguments: object) -> ForkProcess:
    process = fork.Process(target=target, args=arguments)
    process.start()
    return process
