"""All models of system calls in one table, and what the filter has to hand over for them."""

from __future__ import annotations

from lab.kernel.arch import NUMBERS
from lab.run.control.calls import (
    clocks,
    descriptors,
    files,
    futexes,
    locks,
    makers,
    mappings,
    polls,
    processes,
    queues,
    redis,
    signals,
    sockets,
    sysv,
    timers,
    transfers,
)
from lab.run.control.calls.others import PRIVATE
from lab.run.control.world import Model

_OF_THE_KERNEL: dict[str, Model] = {
    **clocks.TABLE,
    **descriptors.TABLE,
    **files.TABLE,
    **futexes.TABLE,
    **locks.TABLE,
    **makers.TABLE,
    **mappings.TABLE,
    **polls.TABLE,
    **processes.TABLE,
    **queues.TABLE,
    **signals.TABLE,
    **sockets.TABLE,
    **sysv.TABLE,
    **timers.TABLE,
    **transfers.TABLE,
}
MODELS = {**_OF_THE_KERNEL, **redis.leading_to_store(_OF_THE_KERNEL)}

_BY_ARGUMENT = frozenset({"mmap", "munmap", "mprotect", "mremap", "fcntl"})
"""Handed over only where an argument makes them interesting: the filter looks itself."""

TRACED = frozenset(NUMBERS) - PRIVATE - _BY_ARGUMENT | frozenset(MODELS) - _BY_ARGUMENT
