"""Producers, consumers, and a queue between them.

A queue of the kernel delivers every message once, whole, in order, to whoever asks first. It
does not know how many consumers there are, nor whether a producer has ended, and it does not
end with the processes that use it: what nobody receives stays, and so does the queue, until
someone removes it or the machine restarts. So somebody must say when it is over.

POSIX queues have names ("/lab-jobs") and are counted against a limit per user; System V queues
have a number, which unrelated programs agree on by `ftok`. What is forgotten is the same.
"""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, TypeAlias

import posix_ipc
import sysv_ipc

from lab import scenario

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

NAME = "/lab-jobs"
KEY = 0x1AB02  # agreed on beforehand; `ftok` makes such a number from a file
CAPACITY = 10  # messages; a producer that finds the queue full waits for a consumer
LONGEST = 64  # bytes of a message
STOP = b"stop"

# The two have the same methods for what is used here.
Queue: TypeAlias = "posix_ipc.MessageQueue | sysv_ipc.MessageQueue"

fork = multiprocessing.get_context("fork")  # children inherit the open queue


# --- POSIX ---------------------------------------------------------------------------------


@scenario(expects=["message-loss", "leak"])
def posix_left_behind(
    producers: int = 3, messages: int = 5, consumers: int = 2, share: int = 6, work: float = 0.005
) -> None:
    """Messages stay unread in a POSIX queue, and the queue stays when its users have ended.

    It happens in every run, because 2 consumers take 6 messages each, 3 producers send 5 each,
    and nobody unlinks the queue. The fix lets the consumers drain the queue, then removes it.
    """
    queue = posix_ipc.MessageQueue(
        NAME, posix_ipc.O_CREX, max_messages=CAPACITY, max_message_size=LONGEST
    )
    sending = [
        fork.Process(target=_produce, args=(queue, n, messages, work)) for n in range(producers)
    ]
    receiving = [fork.Process(target=_consume_share, args=(queue, share)) for _ in range(consumers)]
    _start(sending + receiving)
    _join(sending + receiving)
    queue.close()


@scenario(fixes="posix_left_behind")
def posix_drained(
    producers: int = 3, messages: int = 5, consumers: int = 2, work: float = 0.005
) -> None:
    """Consumers receive until they are told to stop, and the POSIX queue is removed at the end.

    That suffices because "stop" is sent when all producers have ended, so that it is behind
    every message, and there is one for each consumer. The removal is in a `finally`, which an
    error does not skip.
    """
    queue = posix_ipc.MessageQueue(
        NAME, posix_ipc.O_CREX, max_messages=CAPACITY, max_message_size=LONGEST
    )
    try:
        sending = [
            fork.Process(target=_produce, args=(queue, n, messages, work)) for n in range(producers)
        ]
        receiving = [fork.Process(target=_consume_all, args=(queue,)) for _ in range(consumers)]
        _start(sending + receiving)
        _join(sending)
        for _ in receiving:
            queue.send(STOP)
        _join(receiving)
        assert queue.current_messages == 0
    finally:
        queue.close()
        queue.unlink()


# --- System V ------------------------------------------------------------------------------


@scenario(expects=["message-loss", "leak"])
def sysv_left_behind(
    producers: int = 3, messages: int = 5, consumers: int = 2, share: int = 6, work: float = 0.005
) -> None:
    """Messages stay unread in a System V queue, and the queue stays when its users have ended.

    It happens in every run, because 2 consumers take 6 messages each, 3 producers send 5 each,
    and nobody removes the queue. The fix lets the consumers drain the queue, then removes it.
    """
    queue = sysv_ipc.MessageQueue(KEY, sysv_ipc.IPC_CREX, max_message_size=LONGEST)
    sending = [
        fork.Process(target=_produce, args=(queue, n, messages, work)) for n in range(producers)
    ]
    receiving = [fork.Process(target=_consume_share, args=(queue, share)) for _ in range(consumers)]
    _start(sending + receiving)
    _join(sending + receiving)


@scenario(fixes="sysv_left_behind")
def sysv_drained(
    producers: int = 3, messages: int = 5, consumers: int = 2, work: float = 0.005
) -> None:
    """Consumers receive until they are told to stop, and the System V queue is removed at the end.

    That suffices because "stop" is sent when all producers have ended, so that it is behind
    every message, and there is one for each consumer. The removal is in a `finally`, which an
    error does not skip.
    """
    queue = sysv_ipc.MessageQueue(KEY, sysv_ipc.IPC_CREX, max_message_size=LONGEST)
    try:
        sending = [
            fork.Process(target=_produce, args=(queue, n, messages, work)) for n in range(producers)
        ]
        receiving = [fork.Process(target=_consume_all, args=(queue,)) for _ in range(consumers)]
        _start(sending + receiving)
        _join(sending)
        for _ in receiving:
            queue.send(STOP)
        _join(receiving)
        assert queue.current_messages == 0
    finally:
        queue.remove()


# --- What bug and fix have in common -------------------------------------------------------


def _produce(queue: Queue, producer: int, messages: int, work: float) -> None:
    for number in range(messages):
        time.sleep(work)  # makes the message
        queue.send(f"message {number + 1} of producer {producer + 1}".encode())


def _consume_share(queue: Queue, share: int) -> None:
    for _ in range(share):
        queue.receive()


def _consume_all(queue: Queue) -> None:
    while True:
        message, _ = queue.receive()  # the second is its priority (POSIX) or type (System V)
        if message == STOP:
            return


def _start(processes: list[ForkProcess]) -> None:
    for process in processes:
        process.start()


def _join(processes: list[ForkProcess]) -> None:
    for process in processes:
        process.join()
        assert process.exitcode == 0, f"{process.name} failed with exit code {process.exitcode}"
