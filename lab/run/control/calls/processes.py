"""fork, exec, exit and wait."""

from __future__ import annotations

import os

from lab.kernel import fdinfo, procfs, ptrace
from lab.kernel.arch import Registers
from lab.run.control.calls.files import further_names
from lab.run.control.calls.plain import Plain
from lab.run.control.guard import close_before_fork
from lab.run.control.opened import closed_by_end, share_positions
from lab.run.control.paths import AT_FDCWD, path_argument, resolved, status_at
from lab.run.control.robust import held_by
from lab.run.control.robust import note as note_locks
from lab.run.control.task import (
    CONTINUED,
    CallOperation,
    Effect,
    Operation,
    Process,
    Task,
    Where,
)
from lab.run.control.unvaried import UNMODELLED_EVENTS
from lab.run.control.world import Model, World
from lab.search.dependence import ADOPTIONS, group_of, life_of
from lab.trace import Action

_CLONE_PIDFD = 0x1000
_CLONE_THREAD = 0x10000
_CLONE_UNTRACED = 0x800000
_WNOHANG, _WUNTRACED, _WEXITED, _WCONTINUED, _WNOWAIT = 1, 2, 4, 8, 0x1000000
_INFO_PID = 12
"""Where siginfo has the PID of the child that it tells of."""


class Fork(CallOperation):
    """fork, vfork, clone: the child is a task of its own from its first instruction."""

    action = Action.FORK
    enters = True  # the kernel forks nothing while a signal is pending, and restarts

    def __init__(self, world: World, name: str, regs: Registers, flags: int) -> None:
        super().__init__(name, regs)
        self.world, self.flags = world, flags
        # A new thread belongs to its process: where it is made is no race between processes.
        self.is_choice = not flags & _CLONE_THREAD
        if flags & _CLONE_PIDFD:
            world.unvaried[UNMODELLED_EVENTS["pidfd_open"]] = None

    def perform(self, task: Task) -> Effect:
        """Close what both will map; the stop at the fork itself comes as the task goes on."""
        if not self.flags & _CLONE_THREAD:
            close_before_fork(task)
            share_positions(self.world, task)
        if self.flags & _CLONE_UNTRACED:
            self._stay_traced(task)
        return Effect()

    def _stay_traced(self, task: Task) -> None:
        if self.call == "clone":
            regs = ptrace.registers(task.tid)
            regs[0] = self.flags & ~_CLONE_UNTRACED
            task.machine.set_registers(task, regs)
        else:
            flags = (self.flags & ~_CLONE_UNTRACED).to_bytes(8, "little")
            task.space.write(self.regs[0], flags)


class Execute(CallOperation):
    """execve: another program in the same process, read from a file that others may write."""

    action = Action.EXEC

    def __init__(
        self, world: World, task: Task, name: str, regs: Registers, program: str = ""
    ) -> None:
        super().__init__(name, regs)
        self.world, self.object = world, program
        closed = closed_by_end(world, task, by_exec=True)
        self.also = (*closed, *held_by(world, task.process))
        if program:
            self.also += (f"running:{program}",)

    def perform(self, task: Task) -> Effect:
        """Let it go on; the stop after it comes as the task goes on."""
        note_locks(self.world, task.process)
        if len(task.process.tasks) > 1:
            task.machine.execute_among_threads(task)
        return Effect()


class Exit(CallOperation):
    """exit_group, and exit of the last thread."""

    action = Action.EXIT

    def __init__(self, world: World, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.world, self.object = world, task.process.name
        self.whole = name == "exit_group"
        self.is_choice = self.whole
        if self.is_choice:
            self.also = (*closed_by_end(world, task), *held_by(world, task.process))

    def perform(self, task: Task) -> Effect:
        """Let it go on; the end comes as the task goes on."""
        note_locks(self.world, task.process)
        if task.leads and not self.whole:
            task.machine.end_first_thread(task)
            task.where = Where.ENDING
        return Effect(result=self.argument(0) & 0xFF)


class WaitForChild(CallOperation):
    """wait4 and waitid."""

    action = Action.WAIT

    def __init__(self, world: World, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.world, self.process = world, task.process
        self.options = self.argument(2 if name == "wait4" else 3)
        self.object = " ".join(child.name for child in self._asked_for())
        if self._wanted()[0] == os.P_PGID:
            self.also = tuple(group_of(child.name) for child in self.process.children)
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
        result = task.machine.run_to_end_of_call(task)
        told = result
        if self.call == "waitid" and result == 0 and self.regs[2]:
            told = task.space.word(self.regs[2] + _INFO_PID, 4)
        for child in self.process.children:
            if child.waitable and not os.path.exists(f"/proc/{child.host}"):
                child.waitable, child.reaped = False, self.world.seconds
            elif child.pid == told and not self.options & _WNOWAIT:
                child.stop_to_report = 0
        return Effect(result=result)

    def _is_news(self, child: Process) -> bool:
        # waitid names what it waits for; wait4 always takes exits.
        exits = self.call == "wait4" or bool(self.options & _WEXITED)
        if child.waitable:
            return exits
        wanted = _WCONTINUED if child.stop_to_report == CONTINUED else _WUNTRACED
        return child.stop_to_report != 0 and bool(self.options & wanted)

    def _candidates(self) -> list[Process]:
        """Children that it may take; one that was taken is none any more."""
        return self._of([child for child in self.process.children if child.reaped is None])

    def _asked_for(self) -> list[Process]:
        """Those, and children that took themselves away: whether they have, it finds out."""
        children = self.process.children
        return self._of([child for child in children if child.reaped is None or child.unawaited])

    def _of(self, children: list[Process]) -> list[Process]:
        kind, identity = self._wanted()
        if kind == os.P_PID:
            return [child for child in children if child.pid == identity]
        if kind == os.P_PGID:
            return [child for child in children if procfs.inner_group(child.host) == identity]
        return children

    def _wanted(self) -> tuple[int, int]:
        """What it waits for, in the terms of waitid: a kind, and a PID or a group."""
        which = self.argument(0)
        if self.call == "wait4":
            kind, identity = os.P_PID if which > 0 else os.P_PGID, abs(which)
            if which == -1:
                kind = os.P_ALL
        else:
            kind, identity = which, self.argument(1)
        if kind == os.P_PIDFD:
            kind, identity = os.P_PID, fdinfo.process_behind(self.process.host, identity)
        if kind == os.P_PGID and not identity:
            identity = procfs.inner_group(self.process.host)
        return kind, identity


def _clone(world: World, _task: Task, name: str, regs: Registers) -> Operation:
    return Fork(world, name, regs, regs[0])


def _clone3(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return Fork(world, name, regs, task.space.word(regs[0]))


def _fork(world: World, _task: Task, name: str, regs: Registers) -> Operation:
    return Fork(world, name, regs, 0)


def _execute(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    if name == "execveat":  # what is open, or lies in a directory that is
        return Execute(world, task, name, regs)
    way = resolved(task, path_argument(task, AT_FDCWD, regs[0]))
    path = way.end
    found, program = status_at(task, path), world.names.of_file(path)
    # Who searches PATH tries its directories one after the other. Where nothing is, and nobody in
    # the run puts anything, that is no step: no schedule must hang on what PATH was. What /proc
    # has for "self" is another for us.
    if found is None and not program and not path.startswith("/proc/"):
        return None
    operation = Execute(world, task, name, regs, program)
    operation.also += further_names(world, program, way, found)
    operation.found_at = world.moves
    return operation


def _exit(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return Exit(world, task, name, regs)


def _wait(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return WaitForChild(world, task, name, regs)


def _set_group(world: World, task: Task, name: str, regs: Registers) -> Operation:
    process = world.by_pid(regs[0] & 0xFFFFFFFF) if name == "setpgid" else None
    return Plain(name, regs, Action.WRITE, group_of((process or task.process).name))


def _prctl(_world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    if regs[0] & 0xFFFFFFFF not in _NOTICED:
        return None
    operation = Plain(name, regs, Action.WRITE, task.process.name)
    operation.also = (life_of(task.process.name), ADOPTIONS)
    return operation


_NOTICED = (1, 36)
"""PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER."""


def _ask_parent(_world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """getppid, whose answer is another once the parent has ended."""
    parent = task.process.parent
    if parent is None:
        return None  # the root's is no part of the run
    return Plain(name, regs, Action.READ, parent.name)


def _ask_group(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    which = 0 if name == "getpgrp" else regs[0] & 0xFFFFFFFF
    process = world.ever(which) if which else task.process
    if process is None or (process is task.process and _is_settled(process)):
        return None
    operation = Plain(name, regs, Action.READ, group_of(process.name))
    operation.also = () if process is task.process else (life_of(process.name),)
    return operation


def _is_settled(process: Process) -> bool:
    """Whether nobody else can put it into another group: only its parent can, before an exec."""
    return process.executed or process.parent is None


TABLE: dict[str, Model] = {
    "getppid": _ask_parent,
    **dict.fromkeys(("getpgid", "getpgrp", "getsid"), _ask_group),
    "fork": _fork,
    "vfork": _fork,
    "clone": _clone,
    "clone3": _clone3,
    "execve": _execute,
    "execveat": _execute,
    "exit": _exit,
    "exit_group": _exit,
    "setpgid": _set_group,
    "setsid": _set_group,
    **dict.fromkeys(("getpgid", "getpgrp", "getsid"), _ask_group),
    "prctl": _prctl,
    "wait4": _wait,
    "waitid": _wait,
}
