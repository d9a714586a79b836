"""Named pipes: a reader and a writer who have to meet.

A FIFO is a pipe with a name. To open one end waits until someone opens the other, so that an
`open` is a rendezvous: it can wait for ever, and two of them in opposite order can wait for each
other. What goes through is a stream of bytes: a short write arrives in one piece, unmixed with
those of other writers, but where it began and ended is forgotten. The name is a file, and like
every file it stays until someone unlinks it.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import struct
import tempfile
import time
from pathlib import Path

from lab import Messages, scenario

NOTES = ("open door 1", "open door 2")  # 11 bytes each
LENGTH = struct.Struct("!H")  # two bytes, the high one first

fork = multiprocessing.get_context("fork")


# --- A writer, and nobody who reads --------------------------------------------------------


@scenario(expects=["hang"], may_show=["leak"])
def writer_without_reader() -> None:
    """A writer hangs in the `open` of a FIFO, and its parent hangs with it.

    It happens because nobody opens the FIFO for reading. The fix gives the `open` a time limit.
    """
    path = _make_fifo("lab-jobs.fifo")
    try:
        writer = fork.Process(target=_write_job, args=(path,))
        writer.start()
        writer.join()
    finally:
        path.unlink()


@scenario(fixes="writer_without_reader")
def open_with_deadline(patience: float = 0.1, pause: float = 0.01) -> None:
    """The writer opens the FIFO with O_NONBLOCK, tries again for a while, and then gives up.

    That suffices because such an `open` never waits: without a reader it fails with ENXIO. A
    reader that comes within the patience of the writer is still met.
    """
    path = _make_fifo("lab-jobs.fifo")
    try:
        writer = fork.Process(target=_write_job_or_give_up, args=(path, patience, pause))
        writer.start()
        writer.join()
        assert writer.exitcode == 0
    finally:
        path.unlink()


def _write_job(path: Path) -> None:
    fifo = os.open(path, os.O_WRONLY)
    os.write(fifo, b"a job")
    os.close(fifo)


def _write_job_or_give_up(path: Path, patience: float, pause: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        if time.monotonic() > deadline:
            print(f"nobody reads {path}: given up after {patience} seconds")
            return
        time.sleep(pause)  # no call waits for a reader with a time limit
    os.set_blocking(fifo, True)  # the limit was for the open; a full pipe may make us wait
    os.write(fifo, b"a job")
    os.close(fifo)


# --- Two FIFOs, two orders -----------------------------------------------------------------


@scenario(expects=["deadlock"], may_show=["leak"])
def opposite_order(work: float = 0.02) -> None:
    """A client and a server wait for each other, each in the `open` of another FIFO.

    It happens in every run, because each opens first the FIFO that it reads, and none is there
    to write. The fix lets both open the two FIFOs in the same order.
    """
    requests, replies = _make_fifo("lab-requests.fifo"), _make_fifo("lab-replies.fifo")
    try:
        server = fork.Process(target=_serve, args=(requests, replies, work))
        server.start()
        with replies.open() as incoming, requests.open("w") as outgoing:
            print("ping", file=outgoing, flush=True)
            assert incoming.readline() == "pong\n"
        server.join()
    finally:
        requests.unlink()
        replies.unlink()


@scenario(fixes="opposite_order")
def same_order(work: float = 0.02) -> None:
    """The client opens the requests first and the replies second, as the server does.

    That suffices because the two then meet at the first FIFO, and after that at the second. Any
    order will do, if all keep to the same one.
    """
    requests, replies = _make_fifo("lab-requests.fifo"), _make_fifo("lab-replies.fifo")
    try:
        server = fork.Process(target=_serve, args=(requests, replies, work))
        server.start()
        with requests.open("w") as outgoing, replies.open() as incoming:
            print("ping", file=outgoing, flush=True)
            assert incoming.readline() == "pong\n"
        server.join()
    finally:
        requests.unlink()
        replies.unlink()


def _serve(requests: Path, replies: Path, work: float) -> None:
    with requests.open() as incoming, replies.open("w") as outgoing:
        assert incoming.readline() == "ping\n"
        time.sleep(work)  # works out the answer
        print("pong", file=outgoing, flush=True)


# --- Two messages, one stream --------------------------------------------------------------


@scenario(expects=["torn-message"])
def messages_run_together(size: int = 20, work: float = 0.01) -> Messages:
    """Two messages of 11 bytes come out as one of 20 bytes and one of 2.

    It happens when both are in the FIFO before the reader looks, because a read takes whatever
    bytes there are, up to the size it asks for. The fix sends the length ahead of each message.
    """
    path = _make_fifo("lab-notes.fifo")
    received = []
    try:
        writer = fork.Process(target=_write_bare, args=(path, work))
        writer.start()
        with path.open("rb", buffering=0) as fifo:
            writer.join()  # the reader is late, so both messages are waiting for it
            while piece := fifo.read(size):
                received.append(piece.decode())
    finally:
        path.unlink()
    return Messages(NOTES, tuple(received))


@scenario(fixes="messages_run_together")
def framed_messages(work: float = 0.01) -> Messages:
    """Each message is sent with its length ahead, and the reader reads exactly that many bytes.

    That suffices because the reader then knows where a message ends, however the bytes come. The
    buffered file reads on until it has the number asked for, which a bare `read` does not.
    """
    path = _make_fifo("lab-notes.fifo")
    received = []
    try:
        writer = fork.Process(target=_write_framed, args=(path, work))
        writer.start()
        with path.open("rb") as fifo:
            writer.join()  # the reader is as late as with the bug
            while header := fifo.read(LENGTH.size):
                (length,) = LENGTH.unpack(header)
                received.append(fifo.read(length).decode())
    finally:
        path.unlink()
    return Messages(NOTES, tuple(received))


def _write_bare(path: Path, work: float) -> None:
    with path.open("wb", buffering=0) as fifo:
        for note in NOTES:
            time.sleep(work)  # makes the note
            fifo.write(note.encode())


def _write_framed(path: Path, work: float) -> None:
    with path.open("wb", buffering=0) as fifo:
        for note in NOTES:
            time.sleep(work)  # makes the note
            fifo.write(LENGTH.pack(len(note)) + note.encode())


# --- A FIFO that stays ---------------------------------------------------------------------


@scenario(expects=["leak"])
def left_on_disk(work: float = 0.02) -> None:
    """A FIFO stays on disk when its reader and its writer have ended.

    It happens because the request is "quit", on which the reader returns early and does not
    come to the `unlink`. The fix puts the `unlink` where every way out passes.
    """
    path = _make_fifo("lab-door.fifo")
    writer = fork.Process(target=_ask_to_quit, args=(path, work))
    writer.start()
    request = path.read_text()
    writer.join()
    if request == "quit":
        return
    print(f"unknown request: {request}")
    path.unlink()


@scenario(fixes="left_on_disk")
def unlinked(work: float = 0.02) -> None:
    """The `unlink` stands in a `finally` that begins right after the FIFO is made.

    That suffices because every way out passes it: the end, an early return and an exception.
    Only a SIGKILL does not, which is why a start-up should expect a FIFO that is already there.
    """
    path = _make_fifo("lab-door.fifo")
    try:
        writer = fork.Process(target=_ask_to_quit, args=(path, work))
        writer.start()
        request = path.read_text()
        writer.join()
        if request == "quit":
            return
        print(f"unknown request: {request}")
    finally:
        path.unlink()


def _ask_to_quit(path: Path, work: float) -> None:
    time.sleep(work)  # has something else to do first
    path.write_text("quit")


# --- What bugs and fixes have in common ----------------------------------------------------


def _make_fifo(name: str) -> Path:
    path = Path(tempfile.gettempdir(), name)
    os.mkfifo(path)
    return path
