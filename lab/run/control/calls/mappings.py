"""mmap and its kin: never a choice point, but what they map has to come under guard.

The filter hands over an mmap that is shared or executable, and any call with a pointer into the
window, so munmap, mprotect and mremap are seen when they concern a guarded mapping.
"""

from __future__ import annotations

from lab.kernel import ptrace
from lab.kernel.arch import Registers
from lab.run.control import guard
from lab.run.control.semaphore import set_breakpoints
from lab.run.control.task import Task
from lab.run.control.world import Model, World

_MAP_SHARED, _MAP_TYPE = 1, 0xF
_PROT_EXEC = 4


def _mmap(world: World, task: Task, _name: str, regs: Registers) -> None:
    _, _, protection, flags, descriptor, offset = regs.arguments
    if flags & _MAP_TYPE & _MAP_SHARED:
        guard.map_shared(world, task, regs)
    elif protection & _PROT_EXEC:
        what = world.target(task, descriptor & 0xFFFFFFFF)
        start = task.machine.run_to_end_of_call(task)
        if what and start > 0:
            set_breakpoints(task.space, what, start, offset)


def _munmap(_world: World, task: Task, _name: str, regs: Registers) -> None:
    if task.machine.run_to_end_of_call(task) == 0:
        guard.unmap(task, regs[0], regs[1])


def _mprotect(_world: World, task: Task, _name: str, regs: Registers) -> None:
    """The program's own wish is kept for when the page is opened; a closed page stays closed."""
    regions = list(task.space.touched(regs[0], regs[1]))
    if any(region.closed for region in regions):
        regs.skip_call(0)
        ptrace.set_registers(task.tid, regs)
    for region in regions:
        region.protection = regs[2] & 7


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
    "shmat": _shmat,
    "shmdt": _shmdt,
}
