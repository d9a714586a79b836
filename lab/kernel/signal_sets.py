"""Which signals a thread blocks, ignores, catches and has pending, by /proc/PID/status."""

from __future__ import annotations

from dataclasses import dataclass

from lab.kernel import procfs


@dataclass(frozen=True, slots=True)
class Signals:
    """The signal sets of a thread, as masks: bit 0 is signal 1."""

    pending: int
    """For the thread or for its process."""
    blocked: int
    ignored: int
    caught: int


def signals(thread: int) -> Signals:
    """The signal sets of a thread; all empty if it is gone."""
    status = procfs.text(thread, "status")
    names = ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    own, shared, *others = (int(procfs.value(status, name) or "0", 16) for name in names)
    return Signals(own | shared, *others)


def catches(pid: int, signal_number: int) -> bool:
    """Whether a process has a handler for a signal."""
    caught = procfs.value(procfs.text(pid, "status"), "SigCgt")
    return bool(int(caught or "0", 16) >> (signal_number - 1) & 1)
