"""Sockets between processes of one machine: a stream, and a name in the file system.

A stream socket carries bytes, as a pipe does: what was sent in two calls may come in one, and
where the one ended is forgotten. A name that a server binds is a file, and closing the socket
leaves it: it says that somebody once listened there, not that anybody does. A socket of datagrams
or of packets keeps messages apart, and a name without a file ends with its socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab import Messages, scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkProcess

NOTES = ("open door 1", "open door 2")
LENGTH = struct.Struct("!H")  # two bytes, the high one first
REPORTS = tuple(f"measurement {number}" for number in range(1, 7))
REPORT = 1000  # bytes, whatever it says
END = b"end"

fork = multiprocessing.get_context("fork")


# --- Two messages, one stream --------------------------------------------------------------


@scenario(expects=["torn-message"])
def stream_taken_for_messages(work: float = 0.03) -> Messages:
    """Two messages come out of one `recv`, run together.

    It happens when both were sent before the receiver looked, because a stream keeps no boundaries
    between them. The fixes send the length ahead, or take a socket that keeps them.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return _exchange(ours, theirs, lambda note: note, _receive_what_is_there, work)


@scenario(fixes="stream_taken_for_messages")
def length_ahead(work: float = 0.03) -> Messages:
    """Each message is sent with its length ahead, and the receiver takes exactly that much.

    That suffices because the receiver then knows where a message ends, however the bytes come. A
    buffered file reads on until it has what it was asked for, which a `recv` does not.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return _exchange(
        ours, theirs, lambda note: LENGTH.pack(len(note)) + note, _receive_framed, work
    )


@scenario(fixes="stream_taken_for_messages")
def packets(work: float = 0.03) -> Messages:
    """A socket of the type SOCK_SEQPACKET takes the place of the stream.

    That suffices because the kernel then gives out one packet at each `recv`, as it was sent. What
    does not fit into the buffer of the receiver is cut off, so the buffer has to be large enough.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return _exchange(ours, theirs, lambda note: note, _receive_what_is_there, work)


def _exchange(
    ours: socket.socket,
    theirs: socket.socket,
    framed: Callable[[bytes], bytes],
    receive: Callable[[socket.socket], list[str]],
    work: float,
) -> Messages:
    def send() -> None:
        ours.close()
        for note in NOTES:
            theirs.sendall(framed(note.encode()))

    sender = _start(send)
    theirs.close()
    time.sleep(work)  # the receiver is late
    with ours:
        received = receive(ours)
    sender.join()
    return Messages(NOTES, tuple(received))


def _receive_what_is_there(stream: socket.socket) -> list[str]:
    received = []
    while piece := stream.recv(100):
        received.append(piece.decode())
    return received


def _receive_framed(stream: socket.socket) -> list[str]:
    received = []
    with stream.makefile("rb") as file:
        while header := file.read(LENGTH.size):
            (length,) = LENGTH.unpack(header)
            received.append(file.read(length).decode())
    return received


# --- A name that stays ---------------------------------------------------------------------


@scenario(expects=["invariant"])
def stale_socket_file(life: float = 0.05) -> None:
    """A server does not start, because the name of its socket is in use, by nobody.

    It happens when an earlier one was killed and could not unlink the file. The fix takes a name
    that is no file.
    """
    with tempfile.TemporaryDirectory() as directory:
        _kill_and_start_anew(str(Path(directory, "server.socket")), life)


@scenario(fixes="stale_socket_file")
def abstract_name(life: float = 0.05) -> None:
    """The server binds an abstract name, which begins with a zero byte.

    That suffices because such a name ends with the socket, whatever becomes of the process. Linux
    alone has them, and no permissions of a directory guard them.
    """
    _kill_and_start_anew("\0lab-server", life)


def _kill_and_start_anew(name: str, life: float) -> None:
    told, serving = os.pipe()

    def serve() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                listener.bind(name)
            except OSError as error:
                sys.exit(f"the server cannot start: {error}")
            listener.listen()
            os.write(serving, b"serving")
            time.sleep(life)  # it serves

    first = _start(serve)
    os.read(told, 100)
    first.kill()
    first.join()
    second = _start(serve)
    second.join()
    assert second.exitcode == 0, "the server did not start"


# --- Two servers, one name -----------------------------------------------------------------


@scenario(expects=["invariant"])
def looked_then_bound(work: float = 0.05) -> None:
    """Two servers run, and nobody reaches the first: the second has taken its name.

    It happens when both find that nobody answers under an old name, and one removes the name when
    the other has already bound it anew. The fix lets one at a time look and bind.
    """
    with tempfile.TemporaryDirectory() as directory:
        name = str(Path(directory, "server.socket"))
        _start_two(name, lambda: _bind_if_nobody_answers(name, work))


@scenario(fixes="looked_then_bound")
def bound_under_lock(work: float = 0.05) -> None:
    """Each server holds a lock on a file while it looks whether somebody answers, and binds.

    That suffices because the second looks only when the first listens already. The lock is on a
    file of its own, for the name itself is removed.
    """
    with tempfile.TemporaryDirectory() as directory:
        name = str(Path(directory, "server.socket"))

        def start() -> socket.socket | None:
            with open(f"{name}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return _bind_if_nobody_answers(name, work)

        _start_two(name, start)


def _bind_if_nobody_answers(name: str, work: float) -> socket.socket | None:
    with socket.socket(socket.AF_UNIX) as client:
        if client.connect_ex(name) == 0:
            return None  # another serves already
    time.sleep(work)  # reads its configuration
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(name)
    except OSError:
        return None
    listener.listen()
    return listener


def _start_two(name: str, start: Callable[[], socket.socket | None]) -> None:
    socket.socket(socket.AF_UNIX).bind(name)  # of a server that is gone
    told, tell = os.pipe()
    until, enough = os.pipe()

    def serve() -> None:
        os.close(enough)
        listener = start()
        os.write(tell, b"y" if listener else b"n")
        os.read(until, 1)

    servers = [_start(serve) for _ in range(2)]
    started = os.read(told, 1) + os.read(told, 1)
    os.close(enough)
    for server in servers:
        server.join()
    assert started.count(b"y") == 1, f"{started.count(b'y')} servers run"


# --- A reader who is late ------------------------------------------------------------------


@scenario(expects=["message-loss"])
def dropped_when_full(work: float = 0.05) -> Messages:
    """Of the measurements that are sent, the last never arrive.

    It happens when the receiver is busy and the socket is full, for the sender, who must not be
    held up, then drops what it has. The fix lets the sender wait.
    """
    return _measure(socket.MSG_DONTWAIT, work)


@scenario(fixes="dropped_when_full")
def waits_for_room(work: float = 0.05) -> Messages:
    """The sender waits until there is room.

    That suffices because a datagram between processes of one machine is lost nowhere else. Over a
    network it may be, and then only an answer tells that it has arrived.
    """
    return _measure(0, work)


def _measure(flags: int, work: float) -> Messages:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * REPORT)

    def send() -> None:
        for report in REPORTS:
            with contextlib.suppress(BlockingIOError):
                theirs.send(report.encode().ljust(REPORT), flags)
        theirs.send(END)

    sender = _start(send)
    received = []
    while (report := ours.recv(REPORT)) != END:
        received.append(report.decode().rstrip())
        time.sleep(work)  # keeps it
    sender.join()
    return Messages(REPORTS, tuple(received))


# --- A helper for each client --------------------------------------------------------------


@scenario(expects=["zombie"], may_show=["orphan"])
def helper_for_each_client(work: float = 0.05) -> None:
    """Each client that was served leaves a zombie.

    It happens because the server forks a helper for each and goes on to the next, and nobody waits
    for the helpers. The fix waits, without being held up, before each next client.
    """
    _serve(lambda _: None, work)


@scenario(fixes="helper_for_each_client")
def helpers_reaped(work: float = 0.05) -> None:
    """Before it goes on, the server takes the exits of all helpers that have ended.

    That suffices because no more zombies than those of one round are left then, and in the end the
    server waits for the rest. It waits for its helpers alone: other children are others' business.
    """

    def reap(helpers: list[int]) -> None:
        helpers[:] = [helper for helper in helpers if os.waitpid(helper, os.WNOHANG)[0] == 0]

    for helper in _serve(reap, work):
        os.waitpid(helper, 0)


def _serve(before_each: Callable[[list[int]], None], work: float) -> list[int]:
    helpers: list[int] = []
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        name = str(Path(directory, "server.socket"))
        listener.bind(name)
        listener.listen()
        clients = [_start(_ask, name) for _ in range(2)]
        for _ in clients:
            before_each(helpers)
            connection, _ = listener.accept()
            helper = os.fork()
            if not helper:
                connection.sendall(b"welcome")
                os._exit(0)
            helpers.append(helper)
            connection.close()
        for client in clients:
            client.join()
        time.sleep(work)  # and goes on serving
    return helpers


def _ask(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(name)
        print(server.recv(100).decode())


def _start(body: Callable[..., None], *arguments: str) -> ForkProcess:
    process = fork.Process(target=body, args=arguments)
    process.start()
    return process
