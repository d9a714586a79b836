"""The Redis server of a run: one that is started for it, or a part of the keys of REDIS_URL.

    lab ── fork ── keeper ── fork ── server

It is reached by a UNIX socket, in a directory that the sandbox sees as it is: not in /tmp and not
in TMPDIR, for a socket is not found through the layer that a run has over those. A port of the
loopback would be open to every user of the machine, would have to be found free, and would leave a
thousand connections behind in TIME_WAIT; and a byte that is written to a UNIX socket is with its
reader at once, which control relies on.

The keeper is there for the end. It has one end of a pair of sockets whose other end is the lab's.
When that one is closed, because the lab has done or because it was killed, the keeper ends the
server and removes the directory of its socket. If the keeper itself is killed, the server dies with
it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import secrets
import select
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

from lab.kernel import libc
from lab.redis_server import Found, RedisServer, find, lacking
from lab.run.limits import LabError
from lab.run.root import Function, Program, open_descriptors
from lab.run.worlds import fork

if TYPE_CHECKING:
    import redis

_PREFIX = "lab:"
_READY = b"eady to accept connections"
"""What a server logs when it is there: with a capital or a small R, by its version."""
_PATIENCE = 20.0
"""Seconds that a server has to start: it takes hundredths."""
_LONGEST_PATH = 80
"""Bytes of a socket's path that the kernel certainly takes."""


@dataclasses.dataclass(frozen=True)
class Serving:
    """A server at a program's disposal."""

    server: RedisServer
    own: bool
    """It was started for this and has no other users: it may be emptied."""

    def client(self) -> redis.Redis:
        """A connection of the lab's own."""
        import redis

        return redis.Redis.from_url(self.server.url, socket_timeout=_PATIENCE)

    def clear(self, client: redis.Redis) -> None:
        """Remove what a run has left: all of a server of its own, else the keys with its prefix."""
        if self.own:
            client.flushall()
            client.script_flush()
            return
        keys = list(client.scan_iter(match=f"{self.server.prefix}*", count=1000))
        if keys:
            client.delete(*keys)


@contextlib.contextmanager
def served(program: Program) -> Iterator[tuple[Program, Serving | None]]:
    """Have a server while a program needs it.

    Gives the program with its server filled in, and what serves it; None: it wants none.

    Raises LabError where there is none.
    """
    if not isinstance(program, Function) or not program.server:
        yield program, None
        return
    with serving() as found:
        body = functools.partial(program.body, **{program.server: found.server})
        yield dataclasses.replace(program, body=body, server=""), found


@contextlib.contextmanager
def serving() -> Iterator[Serving]:
    """Have a server; what is left under its prefix is removed in the end.

    Raises LabError where there is none.
    """
    import redis

    if missing := lacking():
        raise LabError(f"the program needs {'; and '.join(missing)}")
    found = find()
    assert found is not None
    try:
        with _started(found) as url:
            prefix = _PREFIX if found.program else f"{_PREFIX}{secrets.token_hex(4)}:"
            answer = Serving(RedisServer(url, prefix), own=bool(found.program))
            with answer.client() as client:
                client.ping()
            try:
                yield answer
            finally:
                if not answer.own:
                    with answer.client() as client:
                        answer.clear(client)
    except redis.RedisError as error:
        where = "of REDIS_URL" if found.url else found.program  # the URL may hold a password
        raise LabError(f"the Redis server {where} does not answer: {error}") from error


@contextlib.contextmanager
def _started(found: Found) -> Iterator[str]:
    if found.url:
        yield found.url
        return
    directory = _directory()
    ours, theirs = socket.socketpair()
    try:
        keeper = fork()
    except LabError:
        os.rmdir(directory)
        raise
    if keeper == 0:
        _keep(found.program, directory, theirs, ours)
    theirs.close()
    try:
        with ours:
            _await_start(found.program, ours)
            yield f"unix://{quote(_socket_in(directory))}"
    finally:
        with contextlib.suppress(ChildProcessError):  # the host ignores SIGCHLD
            os.waitpid(keeper, 0)


def _directory() -> str:
    """Make a directory for the socket where no sandbox has a layer.

    Raises LabError.
    """
    layered = [os.path.realpath(path) for path in ("/tmp", tempfile.gettempdir())]
    for place in (os.environ.get("XDG_RUNTIME_DIR", ""), "/var/tmp", "/run", os.getcwd()):
        real = os.path.realpath(place)
        inside = any(os.path.commonpath([real, layer]) == layer for layer in layered)
        if place and not inside and len(os.fsencode(place)) < _LONGEST_PATH:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="lab-redis-", dir=place)
    raise LabError(
        "no directory for a Redis server's socket can be written to: it must lie outside /tmp and "
        "TMPDIR; make /var/tmp writable, or set XDG_RUNTIME_DIR or REDIS_URL"
    )


def _socket_in(directory: str) -> str:
    return os.path.join(directory, "socket")


def _await_start(program: str, keeper: socket.socket) -> None:
    keeper.settimeout(_PATIENCE)
    try:
        said = keeper.recv(1 << 16)
    except TimeoutError:
        said = f"it was not ready after {_PATIENCE:.0f} s".encode()
    if said != b"+":
        raise LabError(f"{program} did not start: {said.decode(errors='replace').strip()}")


# -- the keeper -------------------------------------------------------------------------------


def _keep(program: str, directory: str, lab: socket.socket, other: socket.socket) -> NoReturn:
    """Be the keeper, until the lab hangs up or the server has ended."""
    server = 0
    try:
        os.setsid()  # Ctrl-C at the terminal is the lab's to handle
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        other.close()
        # Whoever waits for the end of a pipe of the lab's must not wait for the keeper too.
        for descriptor in open_descriptors() - {lab.fileno()}:
            os.close(descriptor)
        for standard in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), standard)
        libc.set_name("lab-redis")
        log, written = os.pipe()
        keeper, server = os.getpid(), os.fork()
        if server == 0:
            _become_server(program, directory, written, keeper)
        os.close(written)
        _watch(lab, log)
    finally:  # whatever happens, this process must never run on as a second lab
        if server:
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
        shutil.rmtree(directory, ignore_errors=True)
        os._exit(0)


def _become_server(program: str, directory: str, log: int, keeper: int) -> NoReturn:
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(1)  # it died before that was said
    os.dup2(log, 1)
    os.dup2(log, 2)
    settings = {
        "--port": "0",
        "--unixsocket": _socket_in(directory),
        "--unixsocketperm": "700",
        "--dir": directory,
        "--save": "",
        "--appendonly": "no",
        "--daemonize": "no",
    }
    with contextlib.suppress(OSError):
        os.execv(program, [program, *(word for each in settings.items() for word in each)])
    os._exit(127)


def _watch(lab: socket.socket, log: int) -> None:
    """Tell the lab when the server is there, or why not; read its log, or it would stop there."""
    poll = select.poll()
    poll.register(lab, select.POLLIN)
    poll.register(log, select.POLLIN)
    said, told = b"", False
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if lab.fileno() in ready and not lab.recv(1):
            return
        if log in ready:
            line = os.read(log, 1 << 12)
            if not line:
                lab.sendall(said[-500:] or b"it ended without a word")
                return
            said = b"" if told else said + line
            if _READY in said:
                told, said = True, b""
                lab.sendall(b"+")
