"""Virtual time: what clocks show, when waits give up, what a sleep is.

A sleep is no synchronisation: it holds nobody back but the sleeper. So it is skipped: the default
order lets everybody else go first, and when a sleeper moves, the clock moves to its deadline.
"""

from __future__ import annotations

from lab.kernel.window import Space
from lab.run.control.world import EPOCH, UPTIME, World

_REALTIME = (0, 5, 11)
"""CLOCK_REALTIME, its coarse form, and CLOCK_TAI."""
CPU_TIME = (2, 3)
NANO = 1_000_000_000


def now_of(world: World, clock: int) -> int:
    """What a clock shows, in nanoseconds."""
    return world.clock + (EPOCH if clock in _REALTIME else UPTIME) * NANO


def timespec(space: Space, address: int) -> int:
    """A struct timespec in a task's memory, in nanoseconds."""
    seconds, nanoseconds = space.word(address), space.word(address + 8)
    return _signed(seconds) * NANO + _signed(nanoseconds)


def packed(nanoseconds: int) -> bytes:
    """As a struct timespec."""
    return (nanoseconds // NANO).to_bytes(8, "little") + (nanoseconds % NANO).to_bytes(8, "little")


def deadline_of(world: World, space: Space, address: int, *, clock: int) -> int:
    """An absolute time in a task's memory, as a moment of the virtual clock."""
    return timespec(space, address) - now_of(world, clock) + world.clock


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
