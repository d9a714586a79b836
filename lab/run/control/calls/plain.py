"""Calls that look at one thing or change it, never wait, and are made as they are."""

from __future__ import annotations

from lab.kernel.arch import Registers
from lab.run.control.task import CallOperation, Effect, Task
from lab.trace import Action


class Plain(CallOperation):
    """Such a call: all that a search has to know is what it does, and to what."""

    def __init__(self, name: str, regs: Registers, action: Action, thing: str) -> None:
        super().__init__(name, regs)
        self.action, self.object = action, thing

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        return Effect(result=task.machine.run_to_end_of_call(task))
