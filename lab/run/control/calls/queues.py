"""POSIX message queues: their descriptors are told apart from others by the inode."""

from __future__ import annotations

from lab.kernel.arch import Registers
from lab.run.control.calls.descriptors import DescriptorCall
from lab.run.control.calls.others import Unknown
from lab.run.control.calls.plain import Plain
from lab.run.control.opened import opened_by
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.timing import deadline_of
from lab.run.control.unvaried import NOTIFIED
from lab.run.control.world import Model, World
from lab.trace import Action


class QueueCall(DescriptorCall):
    """mq_send and mq_receive, which may have a time limit."""

    def _give_up(self, task: Task) -> int:
        return task.machine.run_changed(task, self.regs, self._changed(task))

    def _changed(self, task: Task) -> dict[int, int]:
        # Its time limit is the virtual clock's business: past it, or never in need of it.
        return {4: task.machine.lend(task, bytes(16))} if self.regs[4] else {}


def _mq_open(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return QueueOpen(world, name, regs, f"posix-mq:/{task.space.string(regs[0])}")


class QueueOpen(CallOperation):
    """mq_open, whose descriptor is a queue from then on; and mq_unlink."""

    def __init__(self, world: World, name: str, regs: Registers, thing: str) -> None:
        super().__init__(name, regs)
        self.world, self.object = world, thing
        self.action = Action.OPEN if name == "mq_open" else Action.REMOVE

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        result = task.machine.run_to_end_of_call(task)
        if result < 0:
            return Effect(result=result)
        queues, unlinked = self.world.names.queues, self.world.names.unlinked_queues
        if self.call == "mq_unlink":
            # Who has it open uses it on; but its inode may come again, for another queue.
            unlinked.update(key for key, name in queues.items() if name == self.object)
            return Effect(result=result)
        opened = opened_by(self.world, task, result)
        if opened is None:
            return Effect(result=result)
        key = (opened.device, opened.inode)
        is_new = key not in queues or key in unlinked
        queues[key] = self.object
        unlinked.discard(key)
        return Effect(result=result, action=Action.CREATE if is_new else None)


def _on_queue(action: Action) -> Model:
    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
        if what is None or not what.identity:
            return None
        operation = QueueCall(world, name, regs, what, action)
        if regs[4]:
            operation.deadline = deadline_of(world, task.space, regs[4], clock=0)
        return operation.bind(task)

    return model


def _notify(world: World, _task: Task, name: str, regs: Registers) -> Operation:
    world.unvaried[NOTIFIED] = None
    return Unknown(name, regs)


def _queue_attributes(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or not what.identity:
        return None
    return Plain(name, regs, Action.READ, what.identity)


TABLE: dict[str, Model] = {
    "mq_getsetattr": _queue_attributes,
    "mq_notify": _notify,
    "mq_timedsend": _on_queue(Action.SEND),
    "mq_timedreceive": _on_queue(Action.RECEIVE),
    "mq_open": _mq_open,
    "mq_unlink": _mq_open,
}
