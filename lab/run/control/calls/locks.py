"""Locks on files: flock, and those of fcntl."""

from __future__ import annotations

import os
import stat

from lab.kernel.arch import Registers
from lab.kernel.window import Space
from lab.run.control.calls.plain import Plain
from lab.run.control.opened import opened_by
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.world import Model, World
from lab.trace import Action


class Lock(CallOperation):
    """flock, and the locks of fcntl.

    Whether one is free is found out only by trying: a duplicate of the descriptor, used to ask,
    would take it.
    """

    action = Action.ACQUIRE
    waits_for = "the lock's holder to release it"

    def __init__(self, world: World, task: Task, name: str, regs: Registers, thing: str) -> None:
        super().__init__(name, regs)
        self.world, self.object = world, thing
        self.refused_at = -1
        releases = (
            bool(self.argument(1) & _LOCK_UN)
            if name == "flock"
            else task.space.word(regs[2], 2) == _F_UNLCK
        )
        if releases:
            self.action = Action.RELEASE
        exclusive = (
            bool(self.argument(1) & _LOCK_EX)
            if name == "flock"
            else task.space.word(regs[2], 2) == _F_WRLCK
        )
        if name == "fcntl":
            self.offset, self.size = _extent(task.space, regs[2])
        self.mode = b"" if releases else b"exclusive" if exclusive else b"shared"
        self.waits = self.action is Action.ACQUIRE and (
            not self.argument(1) & _LOCK_NB if name == "flock" else self.argument(1) in _WAITING
        )

    def ready(self) -> bool:
        """Not refused since the last step that may have released it."""
        return self.refused_at != self.world.version(self.object)

    def on(self) -> tuple[str, ...]:
        """Those who hold it, by the record."""
        return self.world.holders(self.object, 0)

    def perform(self, task: Task) -> Effect:
        """Try; a refusal of a waiting call is no step."""
        result = task.machine.run_changed(task, self.regs, {1: self._at_once()})
        if self.waits and result in (-_EAGAIN, -_EACCES):
            self.refused_at = self.world.version(self.object)
            task.machine.back_before_call(task, self.regs)
            task.operation = self
            return Effect(result=result, no_step=True)
        failed = self.action is Action.ACQUIRE and result < 0
        return Effect(after=self.mode, result=result, action=Action.READ if failed else None)

    def _at_once(self) -> int:
        """The command that does not wait."""
        if self.call == "fcntl":
            return _WAITING.get(self.argument(1), self.regs[1])
        return self.regs[1] | (_LOCK_NB if self.waits else 0)

    def interrupt(self, task: Task) -> Effect:
        """With a signal pending the kernel breaks the wait itself."""
        return Effect(result=task.machine.run_to_end_of_call(task))


_LOCK_EX, _LOCK_NB, _LOCK_UN = 2, 4, 8
_F_WRLCK, _F_UNLCK = 1, 2
_WAITING = {7: 6, 38: 37}
"""F_SETLKW and F_OFD_SETLKW, and the same without waiting."""
_QUESTIONS = (5, 36)
"""F_GETLK and F_OFD_GETLK."""
_EAGAIN, _EACCES = 11, 13


def _extent(space: Space, address: int) -> tuple[int, int]:
    """Which part of the file a struct flock means; (0, 0) for all of it, or if that may be."""
    whence, start, length = (
        space.word(address + 2, 2),
        space.word(address + 8),
        space.word(address + 16),
    )
    known = whence == os.SEEK_SET and not length >> 63
    return (start, length) if known else (0, 0)


def _lock(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or not (stat.S_ISREG(what.mode) or stat.S_ISDIR(what.mode)):
        return None
    thing = world.locks.of(what.target, what.device, what.inode, record=name == "fcntl")
    if name == "fcntl" and regs[1] & 0xFFFFFFFF in _QUESTIONS:
        return Plain(name, regs, Action.READ, thing)
    return Lock(world, task, name, regs, thing)


TABLE: dict[str, Model] = {"flock": _lock, "fcntl": _lock}
