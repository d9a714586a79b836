"""Locks that lend their priority (PTHREAD_PRIO_INHERIT): the kernel hands them over itself.

The word holds the thread id of the owner, which takes and gives back a free lock without a call.
Who finds it taken queues up in the kernel, and the owner that sees somebody wait has the kernel
make the longest waiting the owner: nobody comes in between. Done by the tracer, as all futexes
are. That the owner runs with its waiters' priority makes no difference to what is possible.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from lab.kernel.robust_list import OWNER, OWNER_DIED, WAITERS
from lab.run.control.calls.futex import COMMAND, FutexOperation, FutexSleep, Key, Waiter, value_at
from lab.run.control.task import Effect, Task
from lab.run.control.world import World
from lab.trace import Action

TRY = 8
"""FUTEX_TRYLOCK_PI."""


class Lock(FutexOperation):
    """The first half: take it if it is free, else queue up."""

    action = Action.UPDATE

    def perform(self, task: Task) -> Effect:
        """Look at the word, as the kernel does."""
        address = self.regs[0]
        word = value_at(task, address)
        owner = word & OWNER
        if not owner:
            waited_for = WAITERS if _queue(self.world, self.key) else 0
            _write(task, address, task.inner | word & OWNER_DIED | waited_for)
            return self.returning(task, 0)
        if owner == task.inner:
            return self.returning(task, -errno.EDEADLK)
        if self.regs[1] & COMMAND == TRY:
            return self.returning(task, -errno.EAGAIN)
        if not _owners(self.world, owner):
            return self.returning(task, -errno.ESRCH)
        _write(task, address, word | WAITERS)
        waiter = Waiter(task, self.key, word, 0, address, is_owed=True)
        self.world.waiters.append(waiter)
        task.operation = LockSleep(self.world, task, self.regs, waiter)
        return Effect()


class LockSleep(FutexSleep):
    """The second half: queued, until it is the owner, out of time, or interrupted."""

    waits_for = "the lock's holder to release it"
    always_restarts = True

    def leave(self) -> None:
        """Nobody waits here any more; what it was made the owner of goes to the next."""
        super().leave()
        if self.waiter.woken:
            hand_over(self.world, self.waiter.task, self.key, self.waiter.address)

    def perform(self, task: Task) -> Effect:
        """Return from the wait, as the owner or too late."""
        if self.waiter.woken:
            return self.returning(task, 0)
        return super().perform(task)

    def on(self) -> tuple[str, ...]:
        """Its owner."""
        owner = value_at(self.waiter.task, self.waiter.address) & OWNER
        return tuple(task.process.name for task in _owners(self.world, owner))


class Unlock(FutexOperation):
    """The owner gives it back, and somebody waits, or did."""

    action = Action.UPDATE

    def perform(self, task: Task) -> Effect:
        """Make the longest waiting its owner."""
        if value_at(task, self.regs[0]) & OWNER != task.inner:
            return self.returning(task, -errno.EPERM)
        hand_over(self.world, task, self.key, self.regs[0])
        return self.returning(task, 0)


def hand_over(world: World, task: Task, key: Key, address: int, *, died: bool = False) -> None:
    """Make the longest waiting the owner of a lock, or nobody.

    Args:
        world: the run.
        task: one that can reach the lock.
        key: what it is known by.
        address: where it lies for that task.
        died: its owner has ended, which the next one is to know.
    """
    queue = _queue(world, key)
    if queue:
        queue[0].woken = True
        world.waiters.remove(queue[0])
        _write(task, address, queue[0].task.inner | WAITERS | (OWNER_DIED if died else 0))
    else:
        _write(task, address, 0)


def locks_left_by_exit(world: World) -> None:
    """Hand over every lock whose owner lives no more and for which somebody waits."""
    for waiter in list(world.waiters):
        if waiter.is_owed and waiter in world.waiters:
            owner = value_at(waiter.task, waiter.address) & OWNER
            if not _owners(world, owner):
                hand_over(world, waiter.task, waiter.key, waiter.address, died=True)


def _queue(world: World, key: Key) -> list[Waiter]:
    return [waiter for waiter in world.waiters if waiter.key == key and waiter.is_owed]


def _owners(world: World, identity: int) -> Iterable[Task]:
    return [task for task in world.alive if task.inner == identity]


def _write(task: Task, address: int, word: int) -> None:
    task.space.write(address, word.to_bytes(4, "little"))
