"""A lock that is a key in a Redis server: whoever sets it, if it is not there, holds it.

The kernel gives back what a dead process held. The server does not: it knows keys and no holders.
So the lock needs a time to live, and with that comes another trouble: it may end while its holder
still works, and does not know. Then two work at once, and no lock can prevent that. What can be
prevented is that one deletes the lock of the other, by a token; and that the late one still writes,
by a number that the store compares: a fencing token.

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

LEASE = 0.2  # seconds that a lock lives
PAUSE = 0.05  # between two tries to get it
TRIES = 12

fork = multiprocessing.get_context("fork")


# --- a holder dies ---------------------------------------------------------------------------


@scenario(expects=["invariant"])
def without_expiry(server: RedisServer, work: float = 0.9) -> None:
    """The holder of a lock is killed, and nobody else ever gets it.

    A key stays until somebody deletes it, and the one who would have done that died while it held
    the lock. The fix gives the lock a time to live.
    """

    def hold(redis: Redis, lock: str) -> None:
        if redis.set(lock, "first", nx=True):
            time.sleep(work)  # works, and is killed meanwhile
            redis.delete(lock)

    _survives_a_death(server, hold)


@scenario(fixes="without_expiry")
def with_expiry(server: RedisServer, work: float = 0.9) -> None:
    """The lock lives for a limited time, which is set in the command that takes it.

    When its holder is dead the server deletes it, and others get it after that time at the latest.
    The time must be longer than any holder needs, and shorter than the others can wait.
    """

    def hold(redis: Redis, lock: str) -> None:
        if redis.set(lock, "first", nx=True, px=_milliseconds(LEASE)):
            time.sleep(work)  # works, and is killed meanwhile

    _survives_a_death(server, hold)


@scenario(expects=["invariant"])
def expiry_afterwards(server: RedisServer, window: float = 0.9) -> None:
    """A client takes the lock by SETNX, and is killed before it gives it a time to live.

    The lock then has none and stays for ever, which takes no more than a death between two
    commands. The fix is one command: SET with NX and PX.
    """

    def hold(redis: Redis, lock: str) -> None:
        if redis.setnx(lock, "first"):
            time.sleep(window)  # is killed meanwhile
            redis.pexpire(lock, _milliseconds(LEASE))

    _survives_a_death(server, hold)


@scenario(fixes="expiry_afterwards")
def expiry_at_once(server: RedisServer, window: float = 0.9) -> None:
    """SET with NX and PX takes the lock and limits its life in one command.

    There is no moment at which the lock is there and would stay. A death before the command leaves
    no lock, and one after it leaves a lock that ends.
    """

    def hold(redis: Redis, lock: str) -> None:
        time.sleep(window / 100)  # comes a little late, as the bug does
        if redis.set(lock, "first", nx=True, px=_milliseconds(LEASE)):
            time.sleep(window)  # is killed meanwhile

    _survives_a_death(server, hold)


def _survives_a_death(server: RedisServer, hold: Callable[[Redis, str], None]) -> None:
    redis, lock = server.client(), server.key("lock")
    first = fork.Process(target=lambda: hold(server.client(), lock))
    first.start()
    while first.is_alive() and not redis.exists(lock):
        time.sleep(PAUSE)  # no command waits for a key to be set
    first.kill()
    first.join()
    assert _acquire(redis, lock, "second", LEASE), "the lock of a dead holder is never free again"


# --- a holder outlives its lock --------------------------------------------------------------


@scenario(expects=["invariant"])
def deletes_anothers(server: RedisServer, work: float = 0.6) -> None:
    """A holder works for longer than its lock lives, and then deletes the lock of the next.

    That one is in the middle of its work and believes to be alone, while a third can take the lock
    now. The fix deletes the lock only if the own token is still in it.
    """

    def release(redis: Redis, lock: str, _token: str) -> str | None:
        deleted: str | None = redis.getdel(lock)  # DEL, which tells what was there
        return deleted

    _outlived(server, release, work)


@scenario(fixes="deletes_anothers")
def deletes_its_own(server: RedisServer, work: float = 0.6) -> None:
    """The holder deletes the lock if its own token is in it, by a script.

    Each holder writes a token of its own into the lock, so whose it is can be seen. To look and to
    delete have to be one step: between two commands the lock may become another's.
    """

    def release(redis: Redis, lock: str, token: str) -> str | None:
        deleted: str | None = redis.eval(RELEASE, 1, lock, token)
        return deleted

    _outlived(server, release, work)


RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('GETDEL', KEYS[1])
end
return nil
"""


def _outlived(
    server: RedisServer, release: Callable[[Redis, str, str], str | None], work: float
) -> None:
    redis, lock = server.client(), server.key("lock")

    def next_holder() -> None:
        own = server.client()
        if _acquire(own, lock, "next", lease=10.0):
            time.sleep(work)  # works with what the lock guards
            own.eval(RELEASE, 1, lock, "next")

    assert _acquire(redis, lock, "slow", LEASE)
    other = fork.Process(target=next_holder)
    other.start()
    time.sleep(work)  # works for longer than the lock lives
    deleted = release(redis, lock, "slow")
    other.join()
    assert deleted != "next", "the slow holder has deleted the lock of the next"


@scenario(expects=["lost-update"])
def writes_late(server: RedisServer, work: float = 0.6) -> Tally:
    """A holder works for longer than its lock lives, and writes over what the next has written.

    What it read was true when it read it; then its lock ended, the next holder read the same and
    wrote, and the late write covers that. The fix lets the store itself refuse a write that comes
    too late, for it is nothing that a lock could see.
    """
    store = server.key("store")

    def add(redis: Redis, seconds: float) -> None:
        if _acquire(redis, server.key("lock"), "holder", LEASE):
            value = int(redis.get(store) or 0)
            redis.rpush(server.key("begun"), value)
            time.sleep(seconds)  # works, perhaps for too long
            redis.set(store, value + 1)

    return _added_by_two(server, add, work)


@scenario(fixes="writes_late")
def fenced(server: RedisServer, work: float = 0.6) -> Tally:
    """With the lock comes a number that only grows, and the store refuses all but the latest.

    It learns the number when a holder reads, and not only when one writes: else two might read the
    same value, and both write. Who is refused has lost its lock, and begins again.
    """
    store, fence = server.key("store"), server.key("fence")

    def add(redis: Redis, seconds: float) -> None:
        while True:
            if not _acquire(redis, server.key("lock"), "holder", LEASE):
                continue
            number = redis.incr(server.key("numbers"))
            value = int(redis.eval(READ, 2, store, fence, number) or 0)
            redis.rpush(server.key("begun"), value)
            time.sleep(seconds)  # works, perhaps for too long
            if redis.eval(WRITE, 2, store, fence, number, value + 1):
                return
            seconds = 0.0  # the second time it knows better

    return _added_by_two(server, add, work)


READ = """
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[2]) or 0) then
    redis.call('SET', KEYS[2], ARGV[1])
end
return redis.call('GET', KEYS[1])
"""
WRITE = """
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or 0) then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


def _added_by_two(server: RedisServer, add: Callable[[Redis, float], None], work: float) -> Tally:
    slow = fork.Process(target=lambda: add(server.client(), work))
    slow.start()
    server.client().blpop(server.key("begun"))
    quick = fork.Process(target=lambda: add(server.client(), 0.0))
    quick.start()
    slow.join()
    quick.join()
    return Tally(2, int(server.client().get(server.key("store")) or 0), "additions")


def _acquire(redis: Redis, lock: str, token: str, lease: float) -> bool:
    """Try for a while; whether it was got."""
    for _ in range(TRIES):
        if redis.set(lock, token, nx=True, px=_milliseconds(lease)):
            return True
        time.sleep(PAUSE)  # no command waits for a lock to go
    return False


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
