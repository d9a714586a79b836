"""Signals: they come at any moment, and interrupt whatever is going on.

A signal may come before its receiver waits for it, in the middle of a call, or in the middle of
an update of what its handler changes too. It is not counted: two of a kind that come before the
first is taken are one. What helps is the mask: a blocked signal stays pending, until its receiver
says that now is a good moment.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from lab import Messages, Tally, scenario

if TYPE_CHECKING:
    from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)


# --- The signal comes too early ------------------------------------------------------------


@scenario(expects=["hang"])
def check_then_pause(window: float = 0.08) -> None:
    """A process waits for ever for a signal that has come already.

    It happens when the signal comes after the process has looked whether it came and before it
    pauses. The fixes keep the signal for whoever waits for it, or turn it into a byte in a pipe.
    """

    def wait(ready: int) -> None:
        come = []
        signal.signal(signal.SIGUSR1, lambda *_: come.append(True))
        os.write(ready, b"ready")
        while not come:
            time.sleep(window)  # without it the race is rare, not absent
            signal.pause()

    _signal_once(wait, window)


@scenario(fixes="check_then_pause")
def blocked_until_waited_for(window: float = 0.08) -> None:
    """The signal is blocked, and taken by `sigwait`.

    That suffices because a blocked signal stays pending, and `sigwait` takes what is pending as
    well as what comes. In C, `sigsuspend` opens the mask and waits in one step.
    """

    def wait(ready: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        os.write(ready, b"ready")
        time.sleep(window)  # the signal comes meanwhile
        signal.sigwait({signal.SIGUSR1})

    _signal_once(wait, window)


@scenario(fixes="check_then_pause")
def pipe_to_oneself(window: float = 0.08) -> None:
    """The signal writes a byte to a pipe, which its own process reads.

    That suffices because the byte stays in the pipe until it is read, whenever it came. The same
    pipe can be waited for beside others, with `select`.
    """

    def wait(ready: int) -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        os.write(ready, b"ready")
        time.sleep(window)  # the signal comes meanwhile
        assert os.read(reading, 1) == bytes([signal.SIGUSR1])

    _signal_once(wait, window)


def _signal_once(wait: Callable[[int], None], window: float) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        wait(writing)
        os._exit(0)
    os.read(reading, 100)
    time.sleep(window / 4)  # the child is in its window
    os.kill(child, signal.SIGUSR1)
    os.waitpid(child, 0)


# --- Two signals, one delivery -------------------------------------------------------------


@scenario(expects=["zombie"])
def one_wait_for_each_sigchld(children: int = 2, work: float = 0.05) -> None:
    """A handler waits for one child at each SIGCHLD, and some children stay zombies.

    It happens when a second child exits before the signal of the first is taken, because signals
    of one kind do not queue. The fix waits in a loop until no child is left that has ended.
    """
    reaped = []

    def reap(_signal: int, _frame: object) -> None:
        reaped.append(os.waitpid(-1, 0)[0])

    signal.signal(signal.SIGCHLD, reap)
    _several_end_at_once(children)
    time.sleep(work)  # goes on with other things


@scenario(fixes="one_wait_for_each_sigchld")
def wait_in_a_loop(children: int = 2, work: float = 0.05) -> None:
    """The handler waits until there is no more child that has ended.

    That suffices because a child that ends after the last wait sends a signal of its own. With
    WNOHANG the loop does not wait for children that still live.
    """
    reaped = []

    def reap(_signal: int, _frame: object) -> None:
        try:
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                reaped.append(ended)
        except ChildProcessError:
            return  # there is no child left at all

    signal.signal(signal.SIGCHLD, reap)
    _several_end_at_once(children)
    while len(reaped) < children:
        time.sleep(work)  # the handler interrupts it


def _several_end_at_once(children: int) -> None:
    """Start children that end while their parent takes no SIGCHLD, as it does at times."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    started = []
    for _ in range(children):
        child = os.fork()
        if child == 0:
            os._exit(0)
        started.append(child)
    for child in started:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie yet
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# --- A call that a signal cuts short -------------------------------------------------------


@scenario(expects=["torn-message"])
def short_write_ignored(size: int = 100_000, work: float = 0.02) -> Messages:
    """Only the first part of a message arrives, and its writer does not notice.

    It happens when a signal comes while the writer waits for room in the pipe: the call returns
    how much it has written, which is not all. The fix writes on until everything is written.
    """

    def write(descriptor: int, message: bytes) -> None:
        os.write(descriptor, message)

    return _interrupt(write, size, work)


@scenario(fixes="short_write_ignored")
def write_on(size: int = 100_000, work: float = 0.02) -> Messages:
    """The writer looks how much was written, and writes the rest.

    That suffices because a call that a signal cuts short tells how far it came. Python repeats a
    call that a signal kept from doing anything (EINTR); what did something it leaves to you.
    """

    def write(descriptor: int, message: bytes) -> None:
        while message:
            message = message[os.write(descriptor, message) :]

    return _interrupt(write, size, work)


def _interrupt(write: Callable[[int, bytes], None], size: int, work: float) -> Messages:
    """Let a child write to a pipe, and send it a signal before reading."""
    message = b"x" * size
    signal.signal(signal.SIGUSR1, lambda *_: None)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        write(writing, message)
        os._exit(0)
    os.close(writing)
    time.sleep(work)  # by now the pipe is full
    os.kill(child, signal.SIGUSR1)
    time.sleep(work)  # and there is no room yet when the signal comes
    with os.fdopen(reading, "rb") as stream:
        received = stream.read()
    os.waitpid(child, 0)
    return Messages((message.decode(),), (received.decode(),))


# --- A call that a signal keeps from anything ----------------------------------------------


@scenario(expects=["message-loss"])
def interrupted_taken_for_failed(work: float = 0.05) -> Messages:
    """A message is given up by its reader, and comes a moment later.

    It happens when a signal comes while the reader waits, for the call then fails with EINTR,
    which is no error. The fixes call again, or let the kernel do so.
    """

    def receive(reading: int) -> bytes:
        return _read(reading) or b""

    return _signal_while_reading(receive, work)


@scenario(fixes="interrupted_taken_for_failed")
def called_again(work: float = 0.05) -> Messages:
    """The reader calls again as long as the call fails with EINTR.

    That suffices because such a call has done nothing yet. Python's own functions do so for you
    (PEP 475); in C, and in what is called by `ctypes`, it is up to you.
    """

    def receive(reading: int) -> bytes:
        while (message := _read(reading)) is None and ctypes.get_errno() == errno.EINTR:
            pass
        return message or b""

    return _signal_while_reading(receive, work)


@scenario(fixes="interrupted_taken_for_failed")
def restarted_by_the_kernel(work: float = 0.05) -> Messages:
    """The handler is installed so that the kernel goes on with the call after it (SA_RESTART).

    That suffices because `read` is among the calls that can be restarted; `poll`, `select` and
    `nanosleep` never are. Where the signal is to end a wait it must not be done.
    """

    def receive(reading: int) -> bytes:
        signal.siginterrupt(signal.SIGUSR1, False)
        return _read(reading) or b""

    return _signal_while_reading(receive, work)


def _read(descriptor: int) -> bytes | None:
    """Read as a program in C does; None: the call has failed."""
    buffer = ctypes.create_string_buffer(100)
    size = libc.read(descriptor, buffer, len(buffer))
    return None if size < 0 else buffer.raw[:size]


def _signal_while_reading(receive: Callable[[int], bytes], work: float) -> Messages:
    """Let a child send a signal, and then the message."""
    signal.signal(signal.SIGUSR1, lambda *_: None)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        time.sleep(work)  # by now the parent waits for the message
        os.kill(os.getppid(), signal.SIGUSR1)
        time.sleep(work)  # the message takes its time
        os.write(writing, b"hello")
        os._exit(0)
    received = receive(reading)
    os.waitpid(child, 0)
    return Messages(("hello",), (received.decode(),))


# --- A handler in the middle of an update --------------------------------------------------


@scenario(expects=["lost-update"])
def handler_in_an_update(requests: int = 3, window: float = 0.03) -> Tally:
    """A count that a handler adds to is lost, though there is only one process and one thread.

    It happens when the signal comes between a read and a write of what the handler changes as
    well. The fix keeps the signal out meanwhile.
    """
    counter = [0]

    def count(window: float) -> None:
        value = counter[0]
        time.sleep(window)  # without it the race is rare, not absent
        counter[0] = value + 1

    return _counted(counter, count, lambda: count(0), requests, window)


@scenario(fixes="handler_in_an_update")
def signal_kept_out(requests: int = 3, window: float = 0.03) -> Tally:
    """The signal is blocked from before the read until after the write.

    That suffices because a signal that comes meanwhile stays pending, and its handler runs when
    the mask is put back. A lock would not do: the handler would wait for whom it has interrupted.
    """
    counter = [0]

    def count(window: float) -> None:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        value = counter[0]
        time.sleep(window)  # work with the value
        counter[0] = value + 1
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return _counted(counter, count, lambda: count(0), requests, window)


@scenario(expects=["hang"], may_show=["zombie"])
def handler_takes_the_lock(requests: int = 3, window: float = 0.03) -> Tally:
    """A program waits for ever for a lock that it holds itself.

    It happens when the signal comes while the lock is held that its handler takes as well: what
    the handler has interrupted could release it, and waits for the handler. The fix leaves a note.
    """
    counter, lock = [0], threading.Lock()

    def count(window: float) -> None:
        with lock:
            value = counter[0]
            time.sleep(window)  # without it the race is rare, not absent
            counter[0] = value + 1

    return _counted(counter, count, lambda: count(0), requests, window)


@scenario(fixes="handler_takes_the_lock")
def handler_leaves_a_note(requests: int = 3, window: float = 0.03) -> Tally:
    """The handler only notes that the signal came, and the program counts it when it is free to.

    That suffices because the handler waits for nothing, and the note is one step, which needs no
    lock. A byte in a pipe or a flag would do as well.
    """
    counter, lock, notes = [0], threading.Lock(), []

    def count(window: float) -> None:
        with lock:
            value = counter[0]
            time.sleep(window)  # work with the value
            counter[0] = value + 1

    tally = _counted(counter, count, lambda: notes.append("came"), requests, window)
    return Tally(tally.expected, tally.actual + len(notes), tally.what)


def _counted(
    counter: list[int],
    count: Callable[[float], None],
    handle: Callable[[], None],
    requests: int,
    window: float,
) -> Tally:
    """Count some requests, and one more that is announced by a signal."""
    signal.signal(signal.SIGUSR1, lambda *_: handle())
    child = os.fork()
    if child == 0:
        time.sleep(window / 2)  # the parent is at its update
        os.kill(os.getppid(), signal.SIGUSR1)
        os._exit(0)
    for _ in range(requests):
        count(window)
    os.waitpid(child, 0)
    return Tally(requests + 1, counter[0], "requests")
