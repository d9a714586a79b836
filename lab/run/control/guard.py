"""Raising the guard: which mappings are closed, and where new ones go."""

from __future__ import annotations

import os
import stat

from lab.kernel import ptrace
from lab.kernel.arch import Registers, injection
from lab.kernel.window import PAGE_SIZE, Region, SharedMemory
from lab.run.control.opening import set_protection
from lab.run.control.task import Task
from lab.run.control.world import World, spaces_of

_MAP_SHARED, _MAP_TYPE, _MAP_FIXED, _MAP_ANONYMOUS = 1, 0xF, 0x10, 0x20
_MAP_FIXED_NOREPLACE = 0x100000
_PROT_WRITE = 2
_MFD_CLOEXEC = 1


def close_before_fork(task: Task) -> None:
    """A fork makes a second user of every mapping: from now on accesses can interleave."""
    for region in task.space.regions:
        region.memory.guarded = True
        if not region.closed:
            set_protection(task, region, 0)
            region.closed = True


def map_shared(world: World, task: Task, regs: Registers) -> None:
    """At the stop before an mmap with MAP_SHARED: make the mapping a guarded one.

    Anonymous memory is given a file without a name, so that the tracer can map it too; the
    program cannot tell the difference. Read-only mappings of files that nothing shares (locale
    tables) are left alone.
    """
    address, size, protection, flags, descriptor, offset = regs.arguments
    anonymous = bool(flags & _MAP_ANONYMOUS)
    if not anonymous and not _is_shared(world, task, descriptor & 0xFFFFFFFF, protection):
        return
    made = _anonymous_file(task, size) if anonymous else descriptor & 0xFFFFFFFF
    memory = _memory_of(world, task, made, anonymous=anonymous)
    if memory is None:
        return
    # The memory file was made in between, by coming back to this stop: the registers are as
    # they were, and it is the same call.
    regs = ptrace.registers(task.tid)
    others = memory.spaces - {task.space.serial}
    closed = memory.guarded or bool(others)
    if not flags & _MAP_FIXED:
        address = task.space.reserve(size)
        flags |= _MAP_FIXED_NOREPLACE
    flags &= ~_MAP_ANONYMOUS
    regs.set_arguments((address, size, 0 if closed else protection, flags, made, offset))
    ptrace.set_registers(task.tid, regs)
    result = task.machine.run_to_end_of_call(task)
    if result > 0:
        end = result + -(-size // PAGE_SIZE) * PAGE_SIZE
        region = Region(result, end, memory, offset, protection, closed)
        _add(world, task, region, others=bool(others))
    if anonymous:
        task.machine.inject(task, "close", made)


def attach(world: World, task: Task, regs: Registers) -> None:
    """At the stop before shmat: put the segment into the window, under guard."""
    segment, address, flags = regs[0] & 0xFFFFFFFF, regs[1], regs[2] & 0xFFFFFFFF
    memory = world.memories.get(("sysv", 0, segment))
    if memory is None:
        memory = SharedMemory(world.sysv_identity("shm", segment), descriptor=None, segment=segment)
        world.memories["sysv", 0, segment] = memory
    size = memory.size
    if not address and size:
        regs.set_arguments((segment, task.space.reserve(size), flags))
        ptrace.set_registers(task.tid, regs)
    result = task.machine.run_to_end_of_call(task)
    if result <= 0:
        return
    others = memory.spaces - {task.space.serial}
    protection = 1 if flags & 0o10000 else 3
    end = result + -(-size // PAGE_SIZE) * PAGE_SIZE
    region = Region(result, end, memory, 0, protection, closed=False)
    if memory.guarded or others:
        set_protection(task, region, 0)
        region.closed = True
    _add(world, task, region, others=bool(others))


def unmap(task: Task, start: int, size: int) -> None:
    """A range was unmapped: forget the mappings in it, and parts of mappings."""
    end = start + -(-size // PAGE_SIZE) * PAGE_SIZE
    kept = []
    for region in task.space.regions:
        if end <= region.start or region.end <= start:
            kept.append(region)
            continue
        for piece_start, piece_end in ((region.start, start), (end, region.end)):
            if piece_start < piece_end:
                kept.append(
                    Region(
                        piece_start,
                        piece_end,
                        region.memory,
                        region.offset + piece_start - region.start,
                        region.protection,
                        region.closed,
                    )
                )
    gone = {r.memory.identity: r.memory for r in task.space.regions}
    task.space.regions = kept
    for memory in gone.values():
        if not any(region.memory is memory for region in kept):
            memory.spaces.discard(task.space.serial)


def _add(world: World, task: Task, region: Region, *, others: bool) -> None:
    region.memory.spaces.add(task.space.serial)
    task.space.regions.append(region)
    if not others:
        return
    region.memory.guarded = True
    for space, stopped in spaces_of(world.tasks):
        for other in space.regions:
            if other.memory is region.memory and not other.closed:
                set_protection(stopped, other, 0)
                other.closed = True


def _is_shared(world: World, task: Task, descriptor: int, protection: int) -> bool:
    if protection & _PROT_WRITE:
        return True
    what = world.opened(task, descriptor)
    return what is not None and bool(what.identity)


def _anonymous_file(task: Task, size: int) -> int:
    """memfd_create and ftruncate in the task; returns the descriptor there."""
    injection.write(task.space.memory, injection.SCRATCH, b"shared\0")
    descriptor = task.machine.inject(task, "memfd_create", injection.SCRATCH, _MFD_CLOEXEC)
    if descriptor >= 0:
        task.machine.inject(task, "ftruncate", descriptor, size)
    return descriptor


def _memory_of(
    world: World, task: Task, descriptor: int, *, anonymous: bool
) -> SharedMemory | None:
    duplicate = world.duplicate(task, descriptor)
    if duplicate is None:
        return None
    try:
        status = os.fstat(duplicate)
        if not stat.S_ISREG(status.st_mode):
            return None  # a device: its pages are no memory of ours
        key = ("file", status.st_dev, status.st_ino)
        if key not in world.memories:
            if anonymous:
                identity = f"shared-memory:{world.number('shared-memory', status.st_ino)}"
            else:
                what = world.opened(task, descriptor)
                identity = (what.identity if what else "") or f"file:{what.target if what else ''}"
            world.memories[key] = SharedMemory(identity, descriptor=duplicate)
        return world.memories[key]
    finally:
        os.close(duplicate)
