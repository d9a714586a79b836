"""System V semaphores and queues.

The tracer lives in the run's IPC namespace, so it asks for values and counts itself: whether a
call would block is known exactly, and the task need not move for the question.
"""

from __future__ import annotations

import contextlib
import struct

from lab.kernel import sysv
from lab.kernel.arch import Registers
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.timing import timespec
from lab.run.control.unvaried import COUNTS_WAITERS
from lab.run.control.world import Model, World
from lab.trace import Action

_OPERATION = struct.Struct("=Hhh")
"""struct sembuf: the semaphore's number, what to add, flags."""
_NOWAIT, _UNDO = 0o4000, 0x1000
_SHOWN = 64


class SemaphoreOperation(CallOperation):
    """semop and semtimedop: several operations at once, all or none."""

    def __init__(self, world: World, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.world, self.array = world, self.argument(0)
        self.object = world.names.of_sysv("sem", self.array)
        data = task.space.read(regs[1], _OPERATION.size * min(regs[2], 500))
        whole = len(data) // _OPERATION.size * _OPERATION.size
        self.operations = list(_OPERATION.iter_unpack(data[:whole]))
        self.action = (
            Action.ACQUIRE
            if any(change <= 0 for _, change, _ in self.operations)
            else Action.RELEASE
        )
        if len(self.operations) == 1:
            self.offset, self.size = self.operations[0][0], 1
        else:
            self.size = 1 << 16  # several semaphores of the set: all of it
        self.waits_for = "another process to release it"
        if name == "semtimedop" and regs[3]:
            self.deadline = world.clock + timespec(task.space, regs[3])
        patient = not any(flags & _NOWAIT for _, _, flags in self.operations)
        self.waits = patient and self.action is Action.ACQUIRE and self.deadline is None

    def ready(self) -> bool:
        """Whether all its operations can be done on the present values."""
        values = sysv.semaphore_values(self.array)
        if values is None:
            return True  # removed: the call fails
        for number, change, flags in self.operations:
            if number >= len(values) or flags & _NOWAIT:
                return True
            if change == 0 and values[number] != 0:
                return self._late()
            if change < 0 and values[number] + change < 0:
                return self._late()
            values[number] += change
        return True

    def on(self) -> tuple[str, ...]:
        """Those who have acquired it and not released it."""
        return self.world.holders(self.object, self.offset)

    def perform(self, task: Task) -> Effect:
        """Make the call; past its time limit with none left."""
        before = self._value()
        late = self.deadline is not None and self._late()
        changed = {3: task.machine.lend(task, bytes(16))} if late else {}
        result = task.machine.run_changed(task, self.regs, changed)
        action = None if result >= 0 else Action.READ
        if result >= 0:
            self._remember_undo(task)
        return Effect(before, self._value() if result >= 0 else b"", result, action)

    def _remember_undo(self, task: Task) -> None:
        undo = task.process.undo
        for number, change, flags in self.operations:
            if flags & _UNDO:
                key = (self.object, number)
                undo[key] = undo.get(key, 0) - change

    def _late(self) -> bool:
        return self.deadline is not None and self.world.clock >= self.deadline

    def _value(self) -> bytes:
        values = sysv.semaphore_values(self.array) or []
        return values[self.offset].to_bytes(4, "little") if self.offset < len(values) else b""


class QueueOperation(CallOperation):
    """msgsnd and msgrcv."""

    def __init__(self, world: World, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.world, self.queue = world, self.argument(0)
        self.object = world.names.of_sysv("msg", self.queue)
        self.size = regs[2]
        sends = name == "msgsnd"
        self.action = Action.SEND if sends else Action.RECEIVE
        self.waits_for = "room in the queue" if sends else "a message"
        self.refused_at = -1
        self.waits = not self.argument(3 if sends else 4) & _NOWAIT

    def ready(self) -> bool:
        """Whether there is room, or a message of the wanted type."""
        if not self.waits:
            return True
        state = sysv.queue_state(self.queue)
        if state is None:
            return True  # removed: the call fails
        if self.action is Action.SEND:
            return state.bytes + self.size <= state.limit and state.messages < state.limit
        if state.messages == 0:
            return False
        # Which types are in the queue cannot be asked: a call with a type has to be tried, once
        # for each state of the queue.
        return self.regs[3] == 0 or self.refused_at != self.world.version(self.object)

    def perform(self, task: Task) -> Effect:
        """Make the call, without waiting."""
        index = 3 if self.action is Action.SEND else 4
        sent = self._text(task) if self.action is Action.SEND else b""
        result = task.machine.run_changed(task, self.regs, {index: self.regs[index] | _NOWAIT})
        if self.waits and result in (-_ENOMSG, -_EAGAIN):
            self.refused_at = self.world.version(self.object)
            task.machine.back_before_call(task, self.regs)
            task.operation = self
            return Effect(result=result, action=None, no_step=True)
        received = self._text(task)[: max(0, result)] if self.action is Action.RECEIVE else b""
        return Effect(received, sent, result)

    def interrupt(self, task: Task) -> Effect:
        """With a signal pending the kernel breaks the wait itself."""
        return Effect(result=task.machine.run_to_end_of_call(task))

    def _text(self, task: Task) -> bytes:
        return task.space.read(self.regs[1] + 8, min(self.size, _SHOWN))


_EAGAIN, _ENOMSG = 11, 42


class Control(CallOperation):
    """Making an object of System V, removing it, setting values."""

    def __init__(self, world: World, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.world, self.kind = world, name[:3]
        if name.endswith("get"):
            key = regs[0] & 0xFFFFFFFF
            self.object = f"sysv-{_TYPES[self.kind]}:key 0x{key:08x}" if key else ""
            self.action = Action.CREATE
        else:
            self.object = world.names.of_sysv(self.kind, self.argument(0))
            command = self.argument(2 if self.kind == "sem" else 1)
            changes = _CHANGES if self.kind == "sem" else (_IPC_SET,)
            self.action = Action.WRITE if command in changes else Action.READ
            if command == _IPC_RMID:
                self.action = Action.REMOVE
            elif self.kind == "sem" and command in _COUNTS:
                world.unvaried[COUNTS_WAITERS] = None
            self.size = 1 << 16

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        if self.action is Action.CREATE:
            self._fix_number()
        if self.kind == "shm" and self.action is Action.REMOVE:
            self.world.removers[self.argument(0)] = task.process.name
            self.world.note_segment(self.argument(0))
        result = task.machine.run_to_end_of_call(task)
        if self.action is Action.CREATE and result >= 0:
            self.world.made.add((self.kind, result))
            self.world.names.of_sysv(self.kind, result, maker=task.process.name)
        return Effect(result=result)

    def _fix_number(self) -> None:
        """Let the kernel number the objects of a run from 0 on, where it lets itself be told."""
        if not self.world.own_ipc:
            return  # others' objects are numbered there too
        made = sum(kind == self.kind for kind, _ in self.world.made)
        with contextlib.suppress(OSError), open(_NEXT.format(self.kind), "w") as file:
            file.write(str(made))


_IPC_RMID, _IPC_SET = 0, 1
_CHANGES = (_IPC_SET, 16, 17)
"""Of a set of semaphores, with SETVAL and SETALL."""
_COUNTS = (14, 15)
"""GETNCNT and GETZCNT: who waits here stands before its call, and the kernel counts nobody."""
_NEXT = "/proc/sys/kernel/{}_next_id"
_TYPES = {"sem": "sem", "shm": "shm", "msg": "mq"}


def _semop(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return SemaphoreOperation(world, task, name, regs)


def _queue(world: World, _task: Task, name: str, regs: Registers) -> Operation:
    return QueueOperation(world, name, regs)


def _control(world: World, _task: Task, name: str, regs: Registers) -> Operation:
    return Control(world, name, regs)


TABLE: dict[str, Model] = {
    "semop": _semop,
    "semtimedop": _semop,
    "msgsnd": _queue,
    "msgrcv": _queue,
    **dict.fromkeys(("semget", "semctl", "shmget", "shmctl", "msgget", "msgctl"), _control),
}
