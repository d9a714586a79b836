"""A counter that lives in a Redis server, and clients that count.

The server runs one command at a time, whoever sends it, so a command is atomic and needs no lock.
But between two commands of one client those of any other may come: what was read may be stale when
it is written back. Either one command does all of it (INCR, a script), or the server is told to
refuse the write if somebody else wrote in between (WATCH), or the clients take a lock.

Each scenario takes a server as its parameter; the lab provides one.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lab import RedisServer, Tally, scenario

if TYPE_CHECKING:
    from redis import Redis

LEASE = 10.0  # seconds
LIMIT = 1000
ADD = """
local value = tonumber(redis.call('GET', KEYS[1]) or 0)
if value < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[1], value + 1)
end
"""

fork = multiprocessing.get_context("fork")


@scenario(expects=["lost-update"])
def get_then_set(
    server: RedisServer, clients: int = 2, increments: int = 3, window: float = 0.01
) -> Tally:
    """Clients read the counter, add 1, and write the sum back.

    An increment is lost when two of them GET the same value before either SETs the next one. The
    fixes let the server add, or have it notice that the value has changed, or keep others out.
    """

    def increment(redis: Redis, counter: str) -> None:
        value = int(redis.get(counter) or 0)
        time.sleep(window)  # work with the value
        redis.set(counter, value + 1)

    return _count(server, increment, clients, increments)


@scenario(fixes="get_then_set")
def incremented(server: RedisServer, clients: int = 2, increments: int = 3) -> Tally:
    """The server itself adds 1, by INCR.

    One command reads and writes, and the server runs one command at a time. No client comes between
    the two, and none holds a value that may be stale.
    """

    def increment(redis: Redis, counter: str) -> None:
        redis.incr(counter)

    return _count(server, increment, clients, increments)


@scenario(fixes="get_then_set")
def watched(
    server: RedisServer, clients: int = 2, increments: int = 3, window: float = 0.01
) -> Tally:
    """A client WATCHes the counter before it reads, and writes in a transaction.

    The server refuses the EXEC if anybody has written to the counter since the WATCH. The client
    then begins again with the new value, so a stale one is never written.
    """
    from redis.exceptions import WatchError

    def increment(redis: Redis, counter: str) -> None:
        with redis.pipeline() as transaction:
            while True:
                transaction.watch(counter)
                value = int(transaction.get(counter) or 0)
                time.sleep(window)  # work with the value
                transaction.multi()
                transaction.set(counter, value + 1)
                try:
                    transaction.execute()
                except WatchError:
                    continue
                return

    return _count(server, increment, clients, increments)


@scenario(fixes="get_then_set")
def scripted(server: RedisServer, clients: int = 2, increments: int = 3) -> Tally:
    """A Lua script reads, adds and writes inside the server.

    A script runs as one command, so nobody comes between its GET and its SET. It does what INCR
    cannot, and here that is to stop at a limit.
    """

    def increment(redis: Redis, counter: str) -> None:
        redis.eval(ADD, 1, counter, LIMIT)

    return _count(server, increment, clients, increments)


@scenario(fixes="get_then_set")
def locked(
    server: RedisServer, clients: int = 2, increments: int = 3, window: float = 0.01
) -> Tally:
    """A lock in the same server is held from before the read until after the write.

    Only its holder reads and writes, so no value is stale. The lock ends if its holder dies, after
    a time that is long against what a holder does.
    """

    def increment(redis: Redis, counter: str) -> None:
        with redis.lock(f"{counter}-lock", timeout=LEASE, sleep=window):
            value = int(redis.get(counter) or 0)
            time.sleep(window)  # work with the value
            redis.set(counter, value + 1)

    return _count(server, increment, clients, increments)


def _count(
    server: RedisServer, increment: Callable[[Redis, str], None], clients: int, increments: int
) -> Tally:
    def client() -> None:
        redis = server.client()
        for _ in range(increments):
            increment(redis, server.key("counter"))

    processes = [fork.Process(target=client) for _ in range(clients)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    counted = server.client().get(server.key("counter"))
    return Tally(clients * increments, int(counted or 0), "increments")
