"""The line between the lab and a sandbox: by it comes the answer, and the news of an end.

The closing of an end tells nothing for sure: a fork made meanwhile by another thread of the lab
holds copies of every descriptor, and the end stays open as long as they do. So each side *shuts*
its end, which copies do not hinder, and the death of the lab is read from a descriptor of its
process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import socket
import time

from lab.kernel.pidfd import pidfd_open
from lab.run.limits import LabError


class LabEnd:
    """Where the lab waits for the answer."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def answer(self, patience: float) -> object:
        """What the sandbox answered; None if it ended without a word.

        Raises LabError if it is silent for `patience` seconds.
        """
        deadline = time.monotonic() + patience
        data = bytearray()
        ready = select.poll()  # not select(): a lab with a thousand open files is no error
        ready.register(self._channel, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if not ready.poll(left * 1000):
                continue
            chunk = self._channel.recv(1 << 20)
            if not chunk:
                return _whole(data)
            data += chunk
        raise LabError(f"the sandbox did not answer for {patience:.0f} s; it was ended")

    def hang_up(self) -> None:
        """Tell the sandbox to end everything; twice is no error."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._channel.shutdown(socket.SHUT_RDWR)
        self.drop()

    def drop(self) -> None:
        """In the sandbox: close what the fork inherited of the lab's end."""
        self._channel.close()


class SandboxEnd:
    """Where a sandbox answers, and sees whether somebody still listens."""

    def __init__(self, channel: socket.socket, lab: int) -> None:
        self._channel = channel
        self._lab = lab

    def watch(self, poll: select.poll) -> frozenset[int]:
        """Let `poll` wake when the lab hangs up or is gone; returns the descriptors that tell it.

        The lab never sends anything, so whatever makes an end readable is its end.
        """
        descriptors = frozenset({self._channel.fileno(), self._lab})
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        return descriptors

    def tell(self, answer: object) -> None:
        """Give the answer, or none if one was given already; nobody may be there to hear it."""
        with contextlib.suppress(ConnectionError):
            self._channel.sendall(pickle.dumps(answer))
            self._channel.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """In the lab: close what only the sandbox needs."""
        self._channel.close()
        os.close(self._lab)


def line() -> tuple[LabEnd, SandboxEnd]:
    """A new line. The lab forks while it has both ends, and each side then drops the other's.

    Raises LabError where the kernel has no descriptors of processes.
    """
    try:
        lab = pidfd_open(os.getpid())
    except OSError as refused:
        raise LabError(f"running needs Linux 5.3 or newer ({refused})") from refused
    ours, theirs = socket.socketpair()
    return LabEnd(ours), SandboxEnd(theirs, lab)


def _whole(data: bytearray) -> object:
    try:
        return pickle.loads(data)  # noqa: S301  # written by our own fork
    except (EOFError, pickle.UnpicklingError):
        return None  # it ended in the middle of the word
