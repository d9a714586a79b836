"""Timers of the program, on the virtual clock: alarm, setitimer, timer_create, timerfd."""

from __future__ import annotations

import contextlib
import os
import signal
from abc import ABC, abstractmethod
from dataclasses import dataclass

from lab.kernel import timers as kernel
from lab.run.control.task import Process


@dataclass(eq=False)
class Timer(ABC):
    """Something that happens at a moment of the virtual clock, without anybody's step."""

    process: Process | None
    """Whose it is, and with whom it ends; None for one that lives as long as its descriptor."""
    deadline: int = 0
    """Virtual nanosecond at which it goes off next; 0: it is not armed."""
    clock: int = 1
    """The clock that its absolute times are of."""
    interval: int = 0
    """Nanoseconds until it goes off again; 0: once."""

    @abstractmethod
    def go_off(self, times: int) -> None:
        """Make the kernel do what it does when such a timer goes off, once for all the times."""

    def close(self) -> None:  # noqa: B027  # most hold nothing
        """Let go of what it holds."""


class Alarm(Timer):
    """alarm and setitimer(ITIMER_REAL): one for each process."""

    def go_off(self, times: int) -> None:  # noqa: ARG002  # a signal is pending or not
        """SIGALRM."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.host, signal.SIGALRM)


@dataclass(eq=False)
class PosixTimer(Timer):
    """timer_create."""

    identifier: int = 0
    number: int = signal.SIGALRM
    """The signal; 0: none."""
    thread: int = 0
    """The thread that it goes to, as the tracer knows it; 0: any of the process."""
    value: int = 0

    def go_off(self, times: int) -> None:  # noqa: ARG002  # a signal is pending or not
        """The signal that the program chose."""
        assert self.process is not None
        if self.number:
            with contextlib.suppress(ProcessLookupError):
                kernel.send_expiry(
                    self.process.host, self.thread, self.number, self.identifier, self.value
                )


@dataclass(eq=False)
class DescriptorTimer(Timer):
    """timerfd_create: it becomes readable."""

    descriptor: int = -1
    """A duplicate of the program's."""
    expirations: int = 0
    """Since it was read last."""

    def go_off(self, times: int) -> None:
        """Expire, for real and at once: whoever polls it sees that."""
        self.expirations += times
        kernel.expire(self.descriptor)

    def close(self) -> None:
        """Close the duplicate."""
        os.close(self.descriptor)
