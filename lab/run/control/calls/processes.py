"""fork, exec, exit and wait."""

from __future__ import annotations

import os

from lab.kernel.arch import Registers
from lab.run.control.guard import close_before_fork
from lab.run.control.task import CallOperation, Effect, Operation, Process, Task
from lab.run.control.world import Model, World
from lab.trace import Action

_CLONE_VM = 0x100
_CLONE_THREAD = 0x10000
_WNOHANG, _WUNTRACED = 1, 2
_WEXITED = 4


class Fork(CallOperation):
    """fork, vfork, clone: the child is a task of its own from its first instruction."""

    action = Action.FORK

    def __init__(self, world: World, name: str, regs: Registers, flags: int) -> None:
        super().__init__(name, regs)
        self.world, self.flags = world, flags
        # A new thread belongs to its process: where it is made is no race between processes.
        self.is_choice = not flags & _CLONE_THREAD

    def perform(self, task: Task) -> Effect:
        """Close what both will map; the stop at the fork itself comes as the task goes on."""
        if not self.flags & _CLONE_VM:
            close_before_fork(task)
        return Effect()


class Execute(CallOperation):
    """execve: another program in the same process."""

    action = Action.EXEC

    def __init__(self, world: World, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.also = world.closed_by_end(task, by_exec=True)

    def perform(self, _task: Task) -> Effect:
        """Let it go on; the stop after it comes as the task goes on."""
        return Effect()


class Exit(CallOperation):
    """exit_group, and exit of the last thread."""

    action = Action.EXIT

    def __init__(self, world: World, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.object = task.process.name
        self.whole = name == "exit_group"
        self.is_choice = self.whole
        if self.is_choice:
            self.also = world.closed_by_end(task)

    def perform(self, _task: Task) -> Effect:
        """Let it go on; the end comes as the task goes on."""
        return Effect(result=self.argument(0) & 0xFF)


class WaitForChild(CallOperation):
    """wait4 and waitid."""

    action = Action.WAIT

    def __init__(self, world: World, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.world, self.process = world, task.process
        self.options = self.argument(2 if name == "wait4" else 3)
        self.object = " ".join(child.name for child in self._candidates())
        self.waits_for = f"the exit of {' or '.join(self.on()) or 'a child'}"
        self.waits = not self.options & _WNOHANG

    def ready(self) -> bool:
        """A child can be waited for, or there is none, or the call does not wait."""
        candidates = self._candidates()
        if self.options & _WNOHANG or not candidates:
            return True
        return any(self._is_news(child) for child in candidates)

    def on(self) -> tuple[str, ...]:
        """The children that it waits for."""
        return tuple(child.name for child in self._candidates())

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        before = {child: child.waitable for child in self.process.children}
        result = task.machine.run_to_end_of_call(task)
        for child in before:
            if child.waitable and not os.path.exists(f"/proc/{child.host}"):
                child.waitable, child.reaped = False, self.world.seconds
            elif child.stop_to_report and result == child.pid:
                child.stop_to_report = 0
        return Effect(result=result)

    def _is_news(self, child: Process) -> bool:
        # waitid names what it waits for; wait4 always takes exits.
        exits = self.call == "wait4" or bool(self.options & _WEXITED)
        stops = bool(self.options & _WUNTRACED) and child.stop_to_report != 0
        return (exits and child.waitable) or stops

    def _candidates(self) -> list[Process]:
        """Children that it may take; one that was taken is none any more."""
        children = [child for child in self.process.children if child.reaped is None]
        which = self.argument(0)
        if self.call == "waitid":
            kind, identity = which, self.argument(1)
            if kind == os.P_PID:
                return [child for child in children if child.pid == identity]
            return children
        if which > 0:
            return [child for child in children if child.pid == which]
        return children  # a process group is taken for all children: it may try too early


def _clone(world: World, _task: Task, name: str, regs: Registers) -> Operation:
    return Fork(world, name, regs, regs[0])


def _clone3(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return Fork(world, name, regs, task.space.word(regs[0]))


def _fork(world: World, _task: Task, name: str, regs: Registers) -> Operation:
    return Fork(world, name, regs, 0 if name == "fork" else _CLONE_VM)


def _execute(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return Execute(world, task, name, regs)


def _exit(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return Exit(world, task, name, regs)


def _wait(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return WaitForChild(world, task, name, regs)


TABLE: dict[str, Model] = {
    "fork": _fork,
    "vfork": _fork,
    "clone": _clone,
    "clone3": _clone3,
    "execve": _execute,
    "execveat": _execute,
    "exit": _exit,
    "exit_group": _exit,
    "wait4": _wait,
    "waitid": _wait,
}
