"""sem_t in shared memory, as one operation each.

Left alone, sem_wait and sem_post are half a dozen accesses to a guarded page and a futex call; as
the library's user sees them they are one step. So the task is stopped at the function's entry,
and for a semaphore in shared memory the tracer does the operation itself and returns from the
function. CPython's private locks are sem_t too, dozens in the life of a process: for those the
function runs as it is. Where its first instruction already reads the semaphore (sem_post and
sem_trywait, in the builds of glibc that we know), the guard's own fault stops exactly the calls
that matter, and a private one costs nothing; elsewhere a breakpoint stops them all.

glibc's layout of a sem_t on 64-bit machines, since 2.21: one 64-bit word, the value in its low
half, the number of waiters (which sleep in futex) in its high half.
"""

from __future__ import annotations

import errno

from lab.kernel import elf, ptrace
from lab.kernel.arch import Registers, functions, injection
from lab.kernel.window import Region, Space
from lab.run.control.machine import TRAP
from lab.run.control.task import Effect, Operation, Task
from lab.run.control.timing import deadline_of
from lab.run.control.world import World
from lab.trace import Action

_WAITS = frozenset({"sem_wait", "sem_trywait", "sem_timedwait", "sem_clockwait"})
FUNCTIONS = _WAITS | {"sem_post", "sem_getvalue"}
ERRNO_LOCATION = "__errno_location"
LOCK_ACQUIRE = "PyThread_acquire_lock_timed"
_POINTER = (1 << 64) - 1
_VALUE = 4
"""Bytes of the value."""


def set_breakpoints(space: Space, path: str, start: int, offset: int) -> None:
    """Put breakpoints at the semaphore functions of a library or program that was mapped.

    Args:
        space: the address space.
        path: the file.
        start: where its text was mapped.
        offset: from which offset in the file.
    """
    try:
        found = elf.symbols(path, FUNCTIONS | {ERRNO_LOCATION, LOCK_ACQUIRE})
        bias = elf.load_bias(path, start, offset) if found else 0
    except (elf.ELFError, OSError):
        return  # not a program: its accesses are seen one by one
    for name, addresses in found.items():
        for address in addresses:
            place = bias + address
            if name == ERRNO_LOCATION:
                space.errno_location = place
                continue
            if name == LOCK_ACQUIRE:
                space.lock_acquire = place
                continue
            if name in _WAITS:
                space.semaphore_waits.add(place)
            if place not in space.breakpoints:
                first = functions.first_touch(space.read(place, functions.LOOK))
                if first is not None:
                    space.entries[place + first] = name
                else:
                    space.breakpoints[place] = (name, space.word(place, 1))
                    space.write(place, TRAP)


def at_entry(world: World, task: Task, regs: Registers) -> SemaphoreCall | None:
    """The semaphore call at whose first instruction a task has met the guard, if it is one."""
    name = task.space.entries.get(regs.place)
    region = task.space.region_at(regs[0])
    if name is None or region is None:
        return None
    return SemaphoreCall(world, task, name, region, regs)


def at_breakpoint(world: World, task: Task, regs: Registers) -> Operation | None:
    """The semaphore call that a task stopped before.

    None where the semaphore is private: the task is then past its breakpoint.
    """
    name, byte = task.space.breakpoints[regs.place]
    region = task.space.region_at(regs[0])
    if region is None:
        _step_past(task, regs, byte)
        return None
    ptrace.set_registers(task.tid, regs)
    return SemaphoreCall(world, task, name, region, regs)


def _step_past(task: Task, regs: Registers, byte: int) -> None:
    """Run the instruction under a breakpoint, then put the breakpoint back."""
    space, place = task.space, regs.place
    code = bytes([byte]) + space.read(place + 1, functions.LOOK)
    if functions.pass_over(code, regs, space.write):
        # Done by hand it costs no stop of its own.
        ptrace.set_registers(task.tid, regs)
        return
    space.write(place, bytes([byte]))
    ptrace.set_registers(task.tid, regs)
    task.machine.single_step(task)
    space.write(place, TRAP)


class SemaphoreCall(Operation):
    """A call of a sem_* function on a semaphore in shared memory."""

    def __init__(
        self, world: World, task: Task, name: str, region: Region, regs: Registers
    ) -> None:
        self.call = name
        self.memory = region.memory
        self.object = region.memory.identity
        self.offset = region.offset + regs[0] - region.start
        self.size = _VALUE
        self.regs = regs
        self.world = world
        self.action = {"sem_post": Action.RELEASE, "sem_getvalue": Action.READ}.get(
            name, Action.ACQUIRE
        )
        self.waits_for = "a sem_post"
        if name == "sem_timedwait":
            self.deadline = deadline_of(world, task.space, regs[1], clock=0)
        elif name == "sem_clockwait":
            self.deadline = deadline_of(world, task.space, regs[2], clock=regs[1] & 0xFFFFFFFF)
        self.waits = name == "sem_wait"
        self.restarts = self.deadline is None

    def ready(self) -> bool:
        """Only an acquisition of a semaphore at 0 waits."""
        if self.call not in _WAITING:
            return True
        return self._value() > 0 or (
            self.deadline is not None and self.world.clock >= self.deadline
        )

    def on(self) -> tuple[str, ...]:
        """Those who have taken it and not given it back."""
        return self.world.holders(self.object, self.offset)

    def perform(self, task: Task) -> Effect:
        """Do what the function would do, and return from it."""
        value = self._value()
        before = value.to_bytes(_VALUE, "little")
        if self.call == "sem_post":
            self._set(value + 1)
            return self._return(task, 0, before, value + 1)
        if self.call == "sem_getvalue":
            task.space.write(self.regs[1], before)
            return self._return(task, 0, before, None)
        if value > 0:
            self._set(value - 1)
            return self._return(task, 0, before, value - 1)
        number = errno.EAGAIN if self.call == "sem_trywait" else errno.ETIMEDOUT
        return self._fail(task, number, before)

    def interrupt(self, task: Task) -> Effect:
        """Return EINTR; the handler runs on the way out."""
        return self._fail(task, errno.EINTR, self._value().to_bytes(_VALUE, "little"))

    def _value(self) -> int:
        return int.from_bytes(self.memory.read(self.offset, _VALUE), "little")

    def _set(self, value: int) -> None:
        self.memory.write(self.offset, value.to_bytes(_VALUE, "little"))

    def _fail(self, task: Task, number: int, before: bytes) -> Effect:
        _set_errno(task, self.regs, number)
        effect = self._return(task, -1, before, None)
        return Effect(effect.before, b"", -number, Action.READ)

    def _return(self, task: Task, result: int, before: bytes, after: int | None) -> Effect:
        functions.leave(self.regs, task.space.word, result)
        ptrace.set_registers(task.tid, self.regs)
        written = b"" if after is None else after.to_bytes(_VALUE, "little")
        return Effect(before, written, result)


_WAITING = frozenset({"sem_wait", "sem_timedwait", "sem_clockwait"})


def _set_errno(task: Task, regs: Registers, number: int) -> None:
    """Errno is thread-local: ask the library where it lies, once for each address space."""
    space = task.space
    if space.errno_offset is None:
        ptrace.set_registers(
            task.tid,
            functions.enter(regs, space.errno_location, injection.TRAP_PLACE, space.write),
        )
        task.machine.run_to_trap(task)
        place = ptrace.registers(task.tid).result & _POINTER
        space.errno_offset = place - regs.thread_base
    address = (regs.thread_base + space.errno_offset) & _POINTER
    space.write(address, number.to_bytes(4, "little"))
