"""futex, done by the tracer: who waits, who is woken, in which order.

Left to the kernel, a waiter would have to be let into its call to be woken, and whether it sleeps
already would be a matter of time. Every user of a futex is under control, so the queue can be
kept here: deterministic, and a wait costs no stop but its own. Private futexes are no choice
points (a thread's lock is not shared between processes), but their tasks still wait here, so that
one thread runs at a time.
"""

from __future__ import annotations

import errno
import operator
from collections.abc import Callable
from dataclasses import dataclass

from lab.kernel import ptrace
from lab.kernel.arch import Registers
from lab.run.control.task import CallOperation, Effect, Task
from lab.run.control.timing import now_of, timespec
from lab.run.control.world import World
from lab.trace import Action

WAIT, _WAKE, _REQUEUE, _CMP_REQUEUE, _WAKE_OP, _WAIT_BITSET, _WAKE_BITSET = 0, 1, 3, 4, 5, 9, 10
_OF_TWO = (_REQUEUE, _CMP_REQUEUE, _WAKE_OP)
"""They have to do with a second word."""
WAITS = (WAIT, _WAIT_BITSET)
WAKES = (_WAKE, _WAKE_BITSET, _REQUEUE, _CMP_REQUEUE, _WAKE_OP)
LOCK, LOCK_2 = 6, 13
"""FUTEX_LOCK_PI, whose time limits are of the clock of the day, and FUTEX_LOCK_PI2."""
COMMAND = 0x7F
"""The operation without its flags."""
_REALTIME = 256
_ANY = 0xFFFFFFFF

Key = tuple[str, int]
"""The object and the offset; for private memory, the address space and the address."""


@dataclass(eq=False)
class Waiter:
    """A task in a futex's queue."""

    task: Task
    key: Key
    expected: int
    bits: int
    address: int
    woken: bool = False
    is_owed: bool = False
    """It waits to be made the owner of a lock, and nothing else wakes it."""


def key_of(task: Task, address: int) -> Key:
    """What a futex is known by."""
    region = task.space.region_at(address)
    if region is None:
        return (f"private:{task.space.serial}", address)
    return (region.memory.identity, region.offset + address - region.start)


def value_at(task: Task, address: int) -> int:
    """The 32-bit word of a futex."""
    region = task.space.region_at(address)
    if region is None:
        return task.space.word(address, 4)
    return int.from_bytes(region.memory.read(region.offset + address - region.start, 4), "little")


class FutexOperation(CallOperation):
    """Common to waits and wakes."""

    def __init__(self, world: World, task: Task, regs: Registers) -> None:
        super().__init__("futex", regs)
        self.world = world
        self.key = key_of(task, regs[0])
        self.is_choice = not self.key[0].startswith("private:")
        self.object, self.offset = self.key if self.is_choice else ("", 0)
        self.size = 4

    def returning(self, task: Task, result: int) -> Effect:
        """Leave the call with a result."""
        self.regs.skip_call(result)
        ptrace.set_registers(task.tid, self.regs)
        return Effect(result=result)


class FutexWait(FutexOperation):
    """The first half of a wait: compare, and queue up."""

    action = Action.READ

    def perform(self, task: Task) -> Effect:
        """Queue up if the word is still as expected."""
        expected = self.regs[2] & 0xFFFFFFFF
        if value_at(task, self.regs[0]) != expected:
            return self.returning(task, -errno.EAGAIN)
        bits = self.regs[5] & _ANY if self.regs[1] & COMMAND == _WAIT_BITSET else _ANY
        waiter = Waiter(task, self.key, expected, bits, self.regs[0])
        self.world.waiters.append(waiter)
        task.operation = FutexSleep(self.world, task, self.regs, waiter)
        return Effect(expected.to_bytes(4, "little"))


class FutexSleep(FutexOperation):
    """The second half: queued, until woken, out of time, or interrupted."""

    action = Action.WAIT
    waits_for = "a wake-up"

    def __init__(self, world: World, task: Task, regs: Registers, waiter: Waiter) -> None:
        super().__init__(world, task, regs)
        self.waiter = waiter
        if regs[3]:
            limit, operation = timespec(task.space, regs[3]), regs[1] & COMMAND
            if operation != WAIT:  # absolute
                limit -= now_of(world, 0 if regs[1] & _REALTIME or operation == LOCK else 1)
            self.deadline = world.clock + max(0, limit)
            # The time-outs of locks inside a process (the interpreter's 5 ms) are no event of
            # the program: they fire only when nobody else can move.
            self.lazy = not self.is_choice
        self.waits = self.deadline is None
        self.restarts = self.deadline is None

    lazy = False

    def leave(self) -> None:
        """Nobody waits here any more; the call will be made anew."""
        if self.waiter in self.world.waiters:
            self.world.waiters.remove(self.waiter)

    def ready(self) -> bool:
        """Woken, or past its time limit."""
        if self.waiter.woken:
            return True
        return self.deadline is not None and self.world.clock >= self.deadline

    def perform(self, task: Task) -> Effect:
        """Return from the wait."""
        self.leave()
        return self.returning(task, 0 if self.waiter.woken else -errno.ETIMEDOUT)

    def interrupt(self, task: Task) -> Effect:
        """Return EINTR; the handler runs on the way out."""
        self.leave()
        return self.returning(task, -errno.EINTR)

    def on(self) -> tuple[str, ...]:
        """Who holds the lock, if this is one that the record shows."""
        return self.world.holders(self.object, self.offset) if self.is_choice else ()


class FutexWake(FutexOperation):
    """Wake, or move to another queue."""

    action = Action.RELEASE

    def __init__(self, world: World, task: Task, regs: Registers) -> None:
        super().__init__(world, task, regs)
        if regs[1] & COMMAND in _OF_TWO:
            other, _ = key_of(task, regs[4])
            self.also = () if other.startswith("private:") else (other,)

    def perform(self, task: Task) -> Effect:
        """Wake the longest waiting, up to the number asked for."""
        operation, count = self.regs[1] & COMMAND, self.argument(2)
        bits = self.regs[5] & _ANY if operation == _WAKE_BITSET else _ANY
        if operation == _CMP_REQUEUE and value_at(task, self.regs[0]) != self.regs[5] & _ANY:
            return self.returning(task, -errno.EAGAIN)
        if operation == _WAKE_OP:
            return self.returning(task, self._wake_after_change(task, count))
        woken = wake(self.world, self.key, count, bits)
        if operation in (_REQUEUE, _CMP_REQUEUE):
            target = key_of(task, self.regs[4])
            moved = [w for w in self.world.waiters if w.key == self.key and not w.is_owed]
            for waiter in moved[: self.argument(3)]:
                waiter.key, waiter.address = target, self.regs[4]
                woken += operation == _CMP_REQUEUE
        return self.returning(task, woken)

    def _wake_after_change(self, task: Task, count: int) -> int:
        """FUTEX_WAKE_OP: change a second word, wake here, and there if the word was so and so."""
        place, code = self.regs[4], self.regs[5] & _ANY
        how, test = code >> 28, code >> 24 & 15
        operand, bound = ((code >> shift & 0xFFF ^ 0x800) - 0x800 for shift in (12, 0))
        if how & _SHIFTED:
            operand = 1 << (operand & 31)
        old = value_at(task, place)
        change, compare = _CHANGES[how & 7], _TESTS[test]
        task.space.write(place, (change(old, operand) & _ANY).to_bytes(4, "little"))
        woken = wake(self.world, self.key, count)
        if compare((old ^ 0x80000000) - 0x80000000, bound):
            woken += wake(self.world, key_of(task, place), self.argument(3))
        return woken


_SHIFTED = 8
_CHANGES: tuple[Callable[[int, int], int], ...] = (
    lambda _, new: new,
    operator.add,
    operator.or_,
    lambda old, mask: old & ~mask,
    operator.xor,
)
_TESTS: tuple[Callable[[int, int], bool], ...] = (
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
)
"""As linux/futex.h numbers them."""


def wake(world: World, key: Key, count: int, bits: int = _ANY) -> int:
    """Wake the longest waiting tasks of a queue; returns how many."""
    woken = 0
    for waiter in world.waiters:
        if woken >= count:
            break
        if waiter.key == key and not waiter.is_owed and waiter.bits & bits:
            waiter.woken = True
            woken += 1
    world.waiters = [waiter for waiter in world.waiters if not waiter.woken]
    return woken


def words_changed_by_exit(world: World) -> None:
    """Wake those whose word reads otherwise since a task has ended, as the kernel would have done.

    It writes to the word that pthread_join waits on, and to the robust locks that the task held.
    """
    for waiter in world.waiters:
        if not waiter.is_owed and value_at(waiter.task, waiter.address) != waiter.expected:
            waiter.woken = True
    world.waiters = [waiter for waiter in world.waiters if not waiter.woken]
