"""Calls that move data from one descriptor to another, inside the kernel."""

from __future__ import annotations

import select

from lab.kernel.arch import Registers
from lab.run.control.opened import opened_by, pollable
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.world import Model, World
from lab.trace import Action


class Transfer(CallOperation):
    """splice and its kin: a read of one object and a write to another, in one step."""

    action = Action.UPDATE
    enters = True
    waits = True

    def __init__(
        self, world: World, task: Task, name: str, regs: Registers, source: int, target: int
    ) -> None:
        super().__init__(name, regs)
        self.world, self.task = world, task
        self.ends = ((source, select.POLLIN), (target, select.POLLOUT))
        opened = [opened_by(world, task, end & 0xFFFFFFFF) for end in (source, target) if end >= 0]
        things = dict.fromkeys(what.identity for what in opened if what and what.identity)
        self.object, *rest = things or [""]
        self.also = tuple(rest)
        self.waits_for = "data on the one side, and room on the other"

    def ready(self) -> bool:
        """Both ends are ready, or the call fails at once."""
        return all(
            pollable(self.world, self.task, end & 0xFFFFFFFF, events)
            for end, events in self.ends
            if end >= 0
        )

    def perform(self, task: Task) -> Effect:
        """Enter the call: when there is more data than room, it sleeps after it has begun."""
        return Effect(result=task.machine.enter_call(task, self))


def _transfer(source: int | None, target: int | None) -> Model:
    """A call of which two arguments are descriptors; None: the program's own memory."""

    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        ends = [-1 if place is None else regs[place] for place in (source, target)]
        operation = Transfer(world, task, name, regs, *ends)
        return operation if operation.object else None

    return model


TABLE: dict[str, Model] = {
    "sendfile": _transfer(1, 0),
    "splice": _transfer(0, 2),
    "tee": _transfer(0, 1),
    "vmsplice": _transfer(None, 0),
    "copy_file_range": _transfer(0, 2),
}
