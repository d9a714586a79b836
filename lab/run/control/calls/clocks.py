"""Sleeps and clock readings: all of time is virtual."""

from __future__ import annotations

import contextlib
import errno
import struct

from lab.kernel import ptrace
from lab.kernel.arch import Registers, functions
from lab.kernel.window import BadAddressError, Space
from lab.run.control.calls.signals import handled
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.timing import CPU_TIME, NANO, now_of, packed
from lab.run.control.world import World
from lab.trace import Action

_TICK = 1_000
"""Nanoseconds that a reading of the clock takes."""
_PATIENCE = 256
"""Readings in a row after which a task is taken to wait for time itself to pass.

Python takes up to 150 while it starts.
"""
_LONGEST = 10_000_000
_SHARE = 6
"""Later a reading takes this power of two of the time that was waited: an hour comes soon, and no
time limit is overrun by more."""


class Sleep(CallOperation):
    """A sleep: when it is chosen, its time is over."""

    action = Action.SLEEP
    sleeps = True
    waits_for = "the end of its sleep"

    def __init__(
        self, world: World, task: Task, name: str, regs: Registers, deadline: int, remaining: int
    ) -> None:
        super().__init__(name, regs)
        self.world, self.task, self._until, self._remaining = world, task, deadline, remaining
        self.deadline = deadline

    def ready(self) -> bool:
        """Its time can be over at any moment; unless a handler breaks it before."""
        return not (self.task.check_signals and handled(self.task))

    def perform(self, task: Task) -> Effect:
        """Move the clock to the deadline and return; or to an alarm on the way there."""
        if self.world.sleep_until(self._until):
            task.operation = self
            return Effect()
        self.regs.skip_call(0)
        ptrace.set_registers(task.tid, self.regs)
        return Effect(result=0)

    def interrupt(self, task: Task) -> Effect:
        """Return EINTR and what was left of the time; the handler runs on the way out."""
        if self._remaining:
            left = packed(max(0, self._until - self.world.clock))
            with contextlib.suppress(BadAddressError):
                task.space.write(self._remaining, left)
        self.regs.skip_call(-errno.EINTR)
        ptrace.set_registers(task.tid, self.regs)
        return Effect(result=-errno.EINTR)


class Yield(CallOperation):
    """sched_yield: a sleep of no length."""

    action = Action.SLEEP
    sleeps = True

    def perform(self, task: Task) -> Effect:
        """Return."""
        self.regs.skip_call(0)
        ptrace.set_registers(task.tid, self.regs)
        return Effect(result=0)


def _nanosleep(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    length = _length(task, regs[0])
    if length is None:
        return None
    return Sleep(world, task, name, regs, world.clock + length, regs[1])


def _clock_nanosleep(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    length = _length(task, regs[2])
    if length is None:
        return None
    absolute = regs[1] & 1
    if absolute:
        # The end of the sleep was computed from a reading (as by time.sleep), and that reading
        # tells the program nothing.
        world.readings[task.name] -= 1
        length -= now_of(world, regs[0] & 0xFFFFFFFF)
    remaining = 0 if absolute else regs[3]
    return Sleep(world, task, name, regs, world.clock + max(0, length), remaining)


def _length(task: Task, address: int) -> int | None:
    """A struct timespec; None where the kernel will refuse it."""
    data = task.space.read(address, _TIMESPEC.size)
    if len(data) < _TIMESPEC.size:
        return None
    seconds, nanoseconds = _TIMESPEC.unpack(data)
    well_formed = seconds >= 0 and 0 <= nanoseconds < NANO
    return int(seconds) * NANO + int(nanoseconds) if well_formed else None


_TIMESPEC = struct.Struct("=2q")


def _yield(_world: World, _task: Task, name: str, regs: Registers) -> Operation:
    return Yield(name, regs)


def _answer(
    world: World, task: Task, regs: Registers, address: int, data: bytes, *, result: int = 0
) -> None:
    """Return a time.

    A task that reads nothing but clocks would never see its deadline come at
    a tick a reading: after a while each reading takes twice as long as the one before.
    """
    if not _for_a_lock(task, regs):
        world.readings[task.name] += 1
    if task.spins == 0:
        task.spins_since = world.clock
    task.spins += 1
    longest = max(_LONGEST, (world.clock - task.spins_since) >> _SHARE)
    world.clock += min(longest, _TICK << min(32, max(0, task.spins - _PATIENCE)))
    if address:
        task.space.write(address, data)
    regs.skip_call(result)
    ptrace.set_registers(task.tid, regs)


def _for_a_lock(task: Task, regs: Registers) -> bool:
    """Whether it is CPython that reads, to acquire a lock: the program is told nothing.

    Where the library has sem_clockwait, it computes the end of a time limit also where there is
    none, and then takes the semaphore that the lock is. Up the stack, behind the library's
    clock_gettime and perhaps Python's own clock, the reading goes back to that function; or, where
    link-time optimisation has copied it, to code that goes on to take a semaphore.
    """
    space = task.space
    start, end = space.lock_acquire, space.lock_acquire + _LOCK_BYTES
    stack = space.read(regs.stack, 8 * _CALLS_UP)
    words = [int.from_bytes(stack[at : at + 8], "little") for at in range(0, len(stack), 8)]
    if start and any(start < word < end for word in words):
        return True
    return any(_waits_soon(space, word) for word in words)


def _waits_soon(space: Space, word: int) -> bool:
    """Whether a word is a return address in whose code a semaphore is waited for soon after."""
    known = space.waits_soon.get(word)
    if known is None:
        code = space.read(word - functions.BEFORE_RETURN, functions.BEFORE_RETURN + _SOON)
        known = functions.is_return_address(code) and not space.semaphore_waits.isdisjoint(
            functions.called(code[functions.BEFORE_RETURN :], word, space.read)
        )
        space.waits_soon[word] = known
    return known


_CALLS_UP = 8
"""Words of the stack among which its return address is: the seventh, in CPython 3.11 to 3.13."""
_LOCK_BYTES = 0x200
"""From its beginning, how far into the function a return address may be: 0x4d bytes in 3.11, 0x13a
in 3.13."""
_SOON = 0x100
"""Bytes of code: up to 0x6a are in between in Debian's CPython 3.11."""


def _clock_gettime(world: World, task: Task, _name: str, regs: Registers) -> None:
    clock = regs[0] & 0xFFFFFFFF
    if clock not in CPU_TIME and not clock >> 31:
        _answer(world, task, regs, regs[1], packed(now_of(world, clock)))


def _gettimeofday(world: World, task: Task, _name: str, regs: Registers) -> None:
    now = now_of(world, 0)
    data = (now // NANO).to_bytes(8, "little") + (now % NANO // 1000).to_bytes(8, "little")
    _answer(world, task, regs, regs[0], data)


def _time(world: World, task: Task, _name: str, regs: Registers) -> None:
    seconds = now_of(world, 0) // NANO
    _answer(world, task, regs, regs[0], seconds.to_bytes(8, "little"), result=seconds)


def _getrandom(world: World, task: Task, _name: str, regs: Registers) -> None:
    """Random bytes from the seed: names of temporary files are the same in every run."""
    size = min(regs[1], 1 << 20)
    task.space.write(regs[0], world.random.randbytes(size))
    task.machine.answer(task, regs, size)


TABLE = {
    "nanosleep": _nanosleep,
    "clock_nanosleep": _clock_nanosleep,
    "sched_yield": _yield,
    "clock_gettime": _clock_gettime,
    "gettimeofday": _gettimeofday,
    "time": _time,
    "getrandom": _getrandom,
}
