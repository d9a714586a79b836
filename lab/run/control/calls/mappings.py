"""mmap and its kin: never a choice point, but what they map has to come under guard.

The filter hands over an mmap that is shared, executable, or of a file but no library, and any call
with a pointer into the window, so munmap, mprotect and mremap are seen when they concern a guarded
mapping.
"""

from __future__ import annotations

from lab.kernel.arch import Registers
from lab.run.control import guard
from lab.run.control.machine import UnexpectedStopError
from lab.run.control.opened import opened_by, target_of
from lab.run.control.semaphore import set_breakpoints
from lab.run.control.task import Task
from lab.run.control.unvaried import PRIVATE_MAPPING
from lab.run.control.world import Model, World

_MAP_SHARED, _MAP_TYPE, _MAP_FIXED, _MAP_ANONYMOUS = 1, 0xF, 0x10, 0x20
_PROT_EXEC = 4


def _mmap(world: World, task: Task, _name: str, regs: Registers) -> None:
    address, size, protection, flags, descriptor, offset = regs.arguments
    if flags & _MAP_TYPE & _MAP_SHARED:
        guard.map_shared(world, task, regs)
        return
    what = target_of(task, descriptor & 0xFFFFFFFF) if protection & _PROT_EXEC else ""
    if not (what or flags & _MAP_ANONYMOUS):
        opened = opened_by(world, task, descriptor & 0xFFFFFFFF)
        if opened is not None and opened.identity:
            world.unvaried[PRIVATE_MAPPING] = None
    start = task.machine.run_to_end_of_call(task)
    if start > 0 and flags & _MAP_FIXED:
        guard.unmap(task, address, size)
    if start > 0 and what:
        set_breakpoints(task.space, what, start, offset)


def _munmap(_world: World, task: Task, _name: str, regs: Registers) -> None:
    if task.machine.run_to_end_of_call(task) == 0:
        guard.unmap(task, regs[0], regs[1])


def _mprotect(_world: World, task: Task, _name: str, regs: Registers) -> None:
    if guard.protect(task, regs[0], regs[1], regs[2] & 7):
        task.machine.answer(task, regs, 0)


def _mremap(world: World, task: Task, _name: str, regs: Registers) -> None:
    """Like any shared mapping it stays in the window, where the filter can see pointers into it."""
    old, new_size, flags = (regs[0], regs[1]), regs[2], regs[3]
    if not guard.pieces(task, *old):
        return
    changed = {}
    if flags & _MREMAP_FIXED:
        if task.space.region_at(regs[4]) is None:
            raise UnexpectedStopError(
                f"{task.name} moves shared memory to an address of its own choice, where the lab "
                "would not see what system calls do to it"
            )
    elif new_size > regs[1] and flags & _MREMAP_MAYMOVE:
        changed = {3: flags | _MREMAP_FIXED, 4: task.space.reserve(new_size)}
    result = task.machine.run_changed(task, regs, changed)
    if result > 0:
        guard.move(world, task, old, (result, new_size))


_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2


def _shmat(world: World, task: Task, _name: str, regs: Registers) -> None:
    guard.attach(world, task, regs)


def _shmdt(_world: World, task: Task, _name: str, regs: Registers) -> None:
    region = task.space.region_at(regs[0])
    if task.machine.run_to_end_of_call(task) == 0 and region is not None:
        guard.unmap(task, region.start, region.end - region.start)


TABLE: dict[str, Model] = {
    "mmap": _mmap,
    "munmap": _munmap,
    "mprotect": _mprotect,
    "mremap": _mremap,
    "shmat": _shmat,
    "shmdt": _shmdt,
}
