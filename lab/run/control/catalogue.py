"""All models of system calls in one table, and what the filter has to hand over for them."""

from __future__ import annotations

from lab.run.control.calls import (
    clocks,
    descriptors,
    files,
    futex,
    mappings,
    polls,
    processes,
    signals,
    sockets,
    sysv,
    timers,
)
from lab.run.control.world import Model

MODELS: dict[str, Model] = {
    **clocks.TABLE,
    **descriptors.TABLE,
    **files.TABLE,
    **futex.TABLE,
    **mappings.TABLE,
    **polls.TABLE,
    **processes.TABLE,
    **signals.TABLE,
    **sockets.TABLE,
    **sysv.TABLE,
    **timers.TABLE,
}

_BY_ARGUMENT = frozenset({"mmap", "munmap", "mprotect", "fcntl"})
"""Handed over only where an argument makes them interesting: the filter looks itself."""

TRACED = frozenset(MODELS) - _BY_ARGUMENT
