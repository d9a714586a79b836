"""Pipes between a parent and its children: who writes, who reads, and who else holds an end.

A pipe holds 64 KiB. A writer that finds it full waits for a reader; a reader that finds it empty
waits for a writer, and learns that it is over only when every copy of the writing end is closed.
Copies are made by every fork, without anybody asking for them. What is written in one call stays
in one piece up to PIPE_BUF bytes (4096); a longer message may be mixed with those of others.

A fork copies not only pipes. It copies the memory with every lock in it, held or not, but of the
threads only the one that forks.
"""

from __future__ import annotations

import fcntl
import functools
import multiprocessing
import os
import threading
import time
import traceback
from typing import TYPE_CHECKING

from lab import Messages, scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Lock

PAGE = 4096  # bytes: the least that a pipe can hold, and as much as is written in one piece

fork = multiprocessing.get_context("fork")


# --- More output than fits -----------------------------------------------------------------


@scenario(expects=["deadlock"])
def wait_then_read(size: int = 100_000) -> None:
    """A child waits for room in a pipe, and its parent waits for the child.

    It happens when the output is longer than the 64 KiB that a pipe holds, because the parent
    reads only after the child has exited. The fix reads to the end first and waits then.
    """
    reading, child = _start_output(size)
    os.waitpid(child, 0)
    assert len(_read_to_end(reading)) == size


@scenario(fixes="wait_then_read")
def read_then_wait(size: int = 100_000) -> None:
    """The parent reads the child's output to its end, and waits for its exit after that.

    That suffices because each read makes room, however long the output is. The end of it comes
    when the child closes its end of the pipe, at its exit at the latest.
    """
    reading, child = _start_output(size)
    assert len(_read_to_end(reading)) == size
    os.waitpid(child, 0)


def _start_output(size: int) -> tuple[int, int]:
    """Fork a child that writes so many bytes; the end to read them at, and its PID."""
    reading, writing = os.pipe()
    child = _start(lambda: _write_all(writing, b"x" * size))
    os.close(writing)
    return reading, child


# --- An end that nobody knew of ------------------------------------------------------------


@scenario(expects=["hang"])
def inherited_write_end(jobs: int = 3) -> None:
    """A worker waits for more jobs for ever, although its parent has sent all and closed the pipe.

    It happens because the fork gave the worker a copy of the writing end, so that the worker
    itself keeps the pipe from ending. The fix closes that copy before it reads.
    """
    reading, writing = os.pipe()
    worker = _start(lambda: _do_jobs(reading, jobs))
    _send_jobs(writing, jobs)
    os.waitpid(worker, 0)


@scenario(fixes="inherited_write_end")
def write_end_closed(jobs: int = 3) -> None:
    """The worker closes its copy of the writing end before it reads.

    That suffices because the parent's is then the only one, and the pipe ends when the parent
    closes it. Each process should close what a fork gave it and it does not use.
    """
    reading, writing = os.pipe()

    def work() -> None:
        os.close(writing)
        _do_jobs(reading, jobs)

    worker = _start(work)
    _send_jobs(writing, jobs)
    os.waitpid(worker, 0)


def _send_jobs(writing: int, jobs: int) -> None:
    for number in range(jobs):
        os.write(writing, b"job %d\n" % number)
    os.close(writing)


def _do_jobs(reading: int, jobs: int) -> None:
    assert _read_to_end(reading).count(b"\n") == jobs


# --- Messages longer than PIPE_BUF ---------------------------------------------------------


@scenario(expects=["torn-message"])
def long_messages_mixed(writers: int = 2, pages: int = 3, work: float = 0.03) -> Messages:
    """Messages of two writers arrive mixed, although each was written in one call.

    It happens when the pipe is full in the middle of a message: its writer waits, and when there
    is room again, another may be first. The fix lets only one write at a time.
    """

    def write(writing: int, message: bytes) -> None:
        _write_all(writing, message)

    return _collect(writers, pages, work, write)


@scenario(fixes="long_messages_mixed")
def one_writer_at_a_time(writers: int = 2, pages: int = 3, work: float = 0.03) -> Messages:
    """Each writer holds a lock from the first byte of a message to the last.

    That suffices because whoever waits for room in the pipe keeps the lock meanwhile. Messages
    of at most PIPE_BUF bytes would need no lock, for the kernel keeps those in one piece.
    """
    lock: Lock = fork.Lock()

    def write(writing: int, message: bytes) -> None:
        with lock:
            _write_all(writing, message)

    return _collect(writers, pages, work, write)


def _collect(
    writers: int, pages: int, work: float, write: Callable[[int, bytes], None]
) -> Messages:
    """Let each writer send one message, and cut what arrives into messages again."""
    length = pages * PAGE
    sent = [_message(writer, length) for writer in "ABCDEFGH"[:writers]]
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PAGE)  # small, so that it is full soon
    children = [_start(functools.partial(write, writing, text.encode())) for text in sent]
    os.close(writing)
    time.sleep(work)  # the reader is late, so that all of them are waiting for it
    stream = _read_to_end(reading).decode()
    for child in children:
        os.waitpid(child, 0)
    received = [stream[start : start + length] for start in range(0, len(stream), length)]
    return Messages(tuple(sent), tuple(received))


def _message(writer: str, length: int) -> str:
    line = 16  # bytes
    return "".join(f"{writer}, line {number:7}\n" for number in range(length // line))


# --- A reader that has gone ----------------------------------------------------------------


@scenario(expects=["crash"])
def reader_gone(lines: int = 3, work: float = 0.02) -> None:
    """A program dies of SIGPIPE, or in Python of BrokenPipeError, in the middle of its output.

    It happens when the reader, as `head -1` does, goes when it has enough, and the writer writes
    on. The fix takes the error for what it says: nobody wants the rest.
    """
    writing, reader = _start_reader()
    try:
        for number in range(lines):
            os.write(writing, b"line %d\n" % number)
            time.sleep(work)  # makes the next line
    finally:
        os.close(writing)
        os.waitpid(reader, 0)


@scenario(fixes="reader_gone")
def broken_pipe_is_the_end(lines: int = 3, work: float = 0.02) -> None:
    """The writer stops at the error, as at the end of its output.

    That suffices because a pipe that has lost its readers never gets one again. Python ignores
    SIGPIPE, so that the error can be caught; in other languages the program has to do that.
    """
    writing, reader = _start_reader()
    try:
        for number in range(lines):
            os.write(writing, b"line %d\n" % number)
            time.sleep(work)  # makes the next line
    except BrokenPipeError:
        print("nobody reads on")
    finally:
        os.close(writing)
        os.waitpid(reader, 0)


def _start_reader() -> tuple[int, int]:
    """Fork a child that reads once and goes; the end to write to, and its PID."""
    reading, writing = os.pipe()

    def read_once() -> None:
        os.close(writing)
        assert os.read(reading, 100).startswith(b"line 0\n")

    reader = _start(read_once)
    os.close(reading)
    return writing, reader


# --- A fork beside threads -----------------------------------------------------------------


@scenario(expects=["hang"])
def fork_beside_a_lock(work: float = 0.02) -> None:
    """A child waits for ever for a lock that nobody holds.

    It happens when a fork copies a lock that another thread holds at that moment: the child has
    the lock, but not the thread that would release it. The fix holds the lock across the fork.
    """
    lock, logging = threading.Lock(), threading.Event()
    logger = threading.Thread(target=_log_from_a_thread, args=(lock, logging, work))
    logger.start()
    logging.wait()
    child = _start(lambda: _log(lock))
    os.waitpid(child, 0)
    logger.join()


@scenario(fixes="fork_beside_a_lock")
def fork_with_the_lock(work: float = 0.02) -> None:
    """The thread that forks holds the lock while it does, and both processes release it.

    That suffices because no other thread can hold the lock then, and the one that does is the
    one that the child has too. `os.register_at_fork` does so for a lock within a library.
    """
    lock, logging = threading.Lock(), threading.Event()
    logger = threading.Thread(target=_log_from_a_thread, args=(lock, logging, work))
    logger.start()
    logging.wait()

    def release_and_log() -> None:
        lock.release()
        _log(lock)

    with lock:
        child = _start(release_and_log)
    os.waitpid(child, 0)
    logger.join()


def _log_from_a_thread(lock: threading.Lock, logging: threading.Event, work: float) -> None:
    with lock:
        logging.set()
        time.sleep(work)  # writing a line takes a while


def _log(lock: threading.Lock) -> None:
    with lock:
        print("the child has begun")


# --- What bugs and fixes have in common ----------------------------------------------------


def _start(body: Callable[[], None]) -> int:
    """Fork a child that runs the body and exits; its PID."""
    child = os.fork()
    if child == 0:
        # Never back into the parent's code, by an exception either.
        try:
            body()
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _read_to_end(descriptor: int) -> bytes:
    pieces = []
    while piece := os.read(descriptor, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
