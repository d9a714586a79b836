"""Calls that make things without a name: who made them, and as which of its own, is their name.

To make one is no visible operation. What it is called must be known from the beginning, though, for
by the time of its first use nobody can tell who made it.
"""

from __future__ import annotations

from lab.kernel import fdinfo
from lab.kernel.arch import Registers
from lab.run.control.opened import inode_of
from lab.run.control.task import Task
from lab.run.control.world import Model, World


def _pipe(world: World, task: Task, _name: str, regs: Registers) -> None:
    if task.machine.run_to_end_of_call(task) == 0:
        reader = task.space.word(regs[0], 4)
        world.names.make("pipe", inode_of(task, reader), task.process.name)


def _socket(world: World, task: Task, _name: str, _regs: Registers) -> None:
    descriptor = task.machine.run_to_end_of_call(task)
    if descriptor >= 0:
        world.names.make("socket", inode_of(task, descriptor), task.process.name)


def _eventfd(world: World, task: Task, _name: str, _regs: Registers) -> None:
    descriptor = task.machine.run_to_end_of_call(task)
    if descriptor >= 0:
        number = fdinfo.eventfd_id(task.tid, descriptor)
        world.names.make("eventfd", number, task.process.name)


def _memfd(world: World, task: Task, _name: str, regs: Registers) -> None:
    name = task.space.string(regs[0])
    descriptor = task.machine.run_to_end_of_call(task)
    if descriptor >= 0:
        world.names.make(f"memfd {name}", inode_of(task, descriptor), task.process.name)


TABLE: dict[str, Model] = {
    "pipe": _pipe,
    "pipe2": _pipe,
    "socket": _socket,
    "eventfd": _eventfd,
    "eventfd2": _eventfd,
    "memfd_create": _memfd,
}
