"""The server beside a run: who is connected to it, and when it has done what it was told.

It is no part of the run and moves by itself. For the run to depend on nothing but its schedule, a
command has to be one step: when the step is over, the server has read it, done it and replied,
also to those who were waiting for that. How that is known without a guess at how long it takes:

- a socket tells (SIOCOUTQ) whether all that was written to it has been taken: read by the server,
  for a UNIX socket; delivered to its host, for TCP;
- a server runs in one thread, around a poll of all its sockets: in each round it reads and does
  what has come, and before the next round it writes the replies. So when the lab asks it something
  over a connection of its own (PING), what was there before the question is read in the same round
  as the question, at the latest; and when it answers a second question, the round is over, and all
  replies are written. A reply that is written to a UNIX socket is with its reader;
- a command that does not wait has its reply then. If it has not (it was long, or the connection is
  TCP), the lab asks on.

Nothing of this is a sleep; a server that does not come to rest within a bound is an error.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import termios
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lab.run.control.machine import UnexpectedStopError
from lab.run.control.opened import take_duplicate
from lab.run.control.redis.connection import Connection
from lab.run.control.redis.expiry import Expiry
from lab.run.control.redis.wire import NotRespError, Reply, replies
from lab.run.redis_process import Serving
from lab.trace import Action

if TYPE_CHECKING:
    from lab.run.control.task import Task
    from lab.run.control.world import World

_PATIENCE = 5.0
"""Seconds that a server has to do a command: it takes less than a thousandth."""
_ROUNDS = 2
_PORT = 6379
_PEEKED = 1 << 16
_CLOSING = frozenset({Action.CLOSE, Action.EXEC})
SERVER = "redis"
"""All that a server has, as an object of the trace; a key is `redis:KEY`."""


class Store:
    """A server, as one tracer uses it for one run after another."""

    def __init__(self, serving: Serving) -> None:
        import redis

        self._serving, self._errors = serving, redis.RedisError
        self._client = serving.client()
        self._client.ping()
        self._prefix = serving.server.prefix.encode()
        self.address = _address(serving.server.url)
        # A server that nobody else uses is the run's with all its keys.
        self.expiry = Expiry(self._client, "" if serving.own else serving.server.prefix)
        self._connections: dict[int, Connection] = {}
        self._seen = (0, 0)
        self.stirred = False
        """A connection is about to be closed."""

    def begin(self) -> None:
        """Empty it for the next run."""
        self._serving.clear(self._client)
        self.expiry.forget()
        self._connections.clear()
        self._seen = (0, 0)

    def connected(self, inode: int, label: str) -> None:
        """A client has a connection now."""
        self._connections[inode] = Connection(label)

    def connection(self, inode: int) -> Connection | None:
        """The connection that a socket is, if it is one to this server."""
        return self._connections.get(inode)

    @property
    def is_watched(self) -> bool:
        """Whether somebody watches keys."""
        return any(connection.watched for connection in self._connections.values())

    def name(self, key: bytes) -> str:
        """What a key is called in the trace: without the prefix, as the program thinks of it."""
        return f"{SERVER}:{key.removeprefix(self._prefix).decode(errors='backslashreplace')}"

    # -- when it has done what it was told ------------------------------------------------

    def settle(self, world: World, task: Task, descriptor: int, *, replies_now: bool) -> None:
        """Wait until the server has done all that was sent over a connection.

        Args:
            world: the run.
            task: whose connection it is.
            descriptor: the connection.
            replies_now: it has to reply, and not to wait for others first.

        Raises UnexpectedStopError if that takes too long.
        """
        duplicate = take_duplicate(world, task, descriptor)
        if duplicate is None:
            return
        try:
            end, rounds = time.monotonic() + _PATIENCE, 0
            while rounds < _ROUNDS or (replies_now and not _readable(duplicate)):
                taken = not _unread(duplicate)
                self._ask()
                rounds = rounds + 1 if taken else 0
                if time.monotonic() > end:
                    raise UnexpectedStopError(
                        f"the Redis server has not done what {task.name} sent after "
                        f"{_PATIENCE:.0f} s"
                    )
        finally:
            os.close(duplicate)

    def calm(self, world: World) -> None:
        """Let the server see what the last steps have closed.

        Who has died must be in none of its queues when the next element is handed out.
        """
        exits, events = self._seen
        closed = any(event.action in _CLOSING for event in world.events[events:])
        self._seen = (world.exits, len(world.events))
        closed, self.stirred = closed or self.stirred, False
        if self._connections and (closed or world.exits != exits):
            for _ in range(_ROUNDS):
                self._ask()

    def _ask(self) -> None:
        try:
            self._client.ping()
        except self._errors as error:
            raise UnexpectedStopError(f"the Redis server is gone: {error}") from error

    def replied(self, world: World, task: Task, descriptor: int) -> list[Reply]:
        """The replies that a connection has and nobody has read."""
        duplicate = take_duplicate(world, task, descriptor)
        if duplicate is None:
            return []
        with socket.socket(fileno=duplicate) as own:
            try:
                return replies(own.recv(_PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT))
            except (BlockingIOError, NotRespError):
                return []

    # -- waits with a time limit ----------------------------------------------------------

    def waiting(self) -> set[int]:
        """The server's numbers of the clients that wait for an element."""
        return {int(each["id"]) for each in self._client.client_list() if "b" in each["flags"]}

    def end_wait(self, client: int) -> None:
        """The time limit of a wait has come: the server is to answer that there was nothing."""
        self._client.client_unblock(client)
        for _ in range(_ROUNDS):
            self._ask()

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def _address(url: str) -> str:
    """What a server's address is called when a program connects to it."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix:{unquote(parts.path)}"
    return f"inet:{parts.port or _PORT}"


def _unread(descriptor: int) -> int:
    """Bytes that were written to a socket and that its peer has not taken (SIOCOUTQ)."""
    answer = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.TIOCOUTQ, answer)
    return answer[0]


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
