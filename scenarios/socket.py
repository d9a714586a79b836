"""Sockets between processes of one machine: a stream, and a name in the file system.

A stream socket carries bytes, as a pipe does: what was sent in two calls may come in one, and
where the one ended is forgotten. A name that a server binds is a file, and closing the socket
leaves it: it says that somebody once listened there, not that anybody does. A socket of datagrams
or of packets keeps messages apart, and a name without a file ends with its socket.
"""

from __future__ import annotations

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

NOTES = ("open door 1", "open door 2")
LENGTH = struct.Struct("!H")  # two bytes, the high one first

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

    sender = fork.Process(target=send)
    sender.start()
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
            time.sleep(life)

    first = fork.Process(target=serve)
    first.start()
    os.read(told, 100)
    first.kill()
    first.join()
    second = fork.Process(target=serve)
    second.start()
    second.join()
    assert second.exitcode == 0, "the server did not start"
