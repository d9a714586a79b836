"""Which operation a futex call is: one word, a dozen uses."""

from __future__ import annotations

import errno

from lab.kernel.arch import Registers
from lab.run.control.calls.futex import COMMAND, LOCK, LOCK_2, WAITS, WAKES, FutexWait, FutexWake
from lab.run.control.calls.priority import TRY, Lock, Unlock
from lab.run.control.machine import UnexpectedStopError
from lab.run.control.task import Operation, Task
from lab.run.control.world import World

_UNLOCK, _REQUEUED = 7, (11, 12)


def _futex(world: World, task: Task, _name: str, regs: Registers) -> Operation | None:
    operation = regs[1] & COMMAND
    if not task.space.read(regs[0], 4):
        return None  # a pointer to nowhere: the kernel says so
    if operation in WAITS:
        return FutexWait(world, task, regs)
    if operation in WAKES:
        return FutexWake(world, task, regs)
    if operation in (LOCK, LOCK_2, TRY):
        return Lock(world, task, regs)
    if operation == _UNLOCK:
        return Unlock(world, task, regs)
    if operation in _REQUEUED:
        # Left to the kernel, which does not know who waits, nobody would ever be woken.
        raise UnexpectedStopError(
            f"{task.name} moves who waits to a lock that lends its priority (FUTEX_WAIT_REQUEUE_PI)"
            ", which is not modelled, so nothing can be said about this program"
        )
    task.machine.answer(task, regs, -errno.ENOSYS)
    return None


TABLE = {"futex": _futex}
