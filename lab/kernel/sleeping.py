"""Whether a thread sleeps, in which system call, and whether it has moved since."""

from __future__ import annotations

from dataclasses import dataclass

from lab.kernel import procfs


@dataclass(frozen=True)
class Call:
    """A system call in which a thread sleeps: its number and its six arguments."""

    number: int
    arguments: tuple[int, ...]


_SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")


def sleep_of(pid: int, thread: int) -> str:
    """What changes as soon as a sleeping thread moves: its call, and its count of switches.

    "" if it runs, is gone, or may not be looked at.
    """
    call = procfs.text(pid, f"task/{thread}/syscall")
    if call is None or not call[:1].isdigit():
        return ""
    status = procfs.text(pid, f"task/{thread}/status")
    return f"{call}{' '.join(procfs.value(status, name) for name in _SWITCHES)}"


def call_of(sleep: str) -> Call:
    """The system call in a text from `sleep_of`."""
    number, *arguments = sleep.split()[:7]
    return Call(int(number), tuple(int(argument, 16) for argument in arguments))
