"""Raising the guard: which mappings are closed, and where new ones go."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import replace

from lab.kernel import ptrace
from lab.kernel.arch import Registers, injection
from lab.kernel.inherited import Inherited
from lab.kernel.window import PAGE_SIZE, Region, SharedMemory
from lab.run.control.machine import UnexpectedStopError
from lab.run.control.opened import Opened, opened_by, take_duplicate
from lab.run.control.opening import set_protection
from lab.run.control.task import Task, Where
from lab.run.control.world import World, spaces_of

_MAP_SHARED, _MAP_TYPE, _MAP_FIXED, _MAP_ANONYMOUS = 1, 0xF, 0x10, 0x20
_MAP_FIXED_NOREPLACE = 0x100000
_PROT_WRITE, _PROT_EXEC = 2, 4
_MFD_CLOEXEC = 1
_READ_WRITE = 3


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

    Raises UnexpectedStopError for memory that is to be executed: a guard would stop each step.
    """
    address, size, protection, flags, descriptor, offset = regs.arguments
    what = None if flags & _MAP_ANONYMOUS else opened_by(world, task, descriptor & 0xFFFFFFFF)
    anonymous = bool(flags & _MAP_ANONYMOUS) or (what is not None and what.target == "/dev/zero")
    if not anonymous and not _is_shared(what, protection):
        return
    if protection & _PROT_EXEC and protection & _PROT_WRITE:
        raise UnexpectedStopError(f"{task.name} maps shared memory to execute what others write")
    made = _anonymous_file(task, size) if anonymous else descriptor & 0xFFFFFFFF
    memory = _memory_of(world, task, made, what)
    if memory is None:
        return
    # The memory file was made in between, by coming back to this stop: the registers are as
    # they were, and it is the same call.
    regs = ptrace.registers(task.tid)
    others = memory.spaces - {task.space.serial}
    closed = memory.guarded or bool(others) or (not anonymous and _in_company(world))
    if not flags & _MAP_FIXED:
        address = task.space.reserve(size)
        flags |= _MAP_FIXED_NOREPLACE
    flags &= ~_MAP_ANONYMOUS
    changed = (address, size, 0 if closed else protection, flags, made, offset)
    result = task.machine.run_changed(task, regs, dict(enumerate(changed)))
    if result > 0:
        end = result + _rounded(size)
        unmap(task, result, size)
        region = Region(result, end, memory, offset, protection, closed)
        _add(world, task, region, others=bool(others))
    if anonymous:
        task.machine.inject(task, "close", made)


def guard_inherited(world: World, root: Task, mappings: Iterable[Inherited]) -> None:
    """Take shared memory under guard that was mapped before the run began, where it lies."""
    for mapping in mappings:
        memory, offset = _inherited_memory(world, mapping)
        region = Region(mapping.start, mapping.end, memory, offset, _READ_WRITE, closed=False)
        _add(world, root, region, others=False)


def _inherited_memory(world: World, mapping: Inherited) -> tuple[SharedMemory, int]:
    """The object, and where in it the mapping begins."""
    file = mapping.open()
    if file is not None:
        # The program can open it too: then it is to be the same object.
        status = os.fstat(file)
        key = ("file", status.st_dev, status.st_ino)
        if key not in world.memories:
            identity = world.names.of_file(mapping.path) or f"file:{mapping.path}"
            world.memories[key] = SharedMemory(identity, descriptor=file)
        os.close(file)
        return world.memories[key], mapping.offset

    def name() -> str:
        # Numbered when it is touched: what else a test session has mapped is no concern of this
        # program's, and is not to change its names. Told apart by its address, which no inode is.
        return f"shared-memory:{world.names.label('shared-memory', -mapping.start)}"

    memory = SharedMemory(name, mapped=(mapping.start, mapping.end - mapping.start))
    world.memories["inherited", 0, mapping.start] = memory
    return memory, 0


def attach(world: World, task: Task, regs: Registers) -> None:
    """At the stop before shmat: put the segment into the window, under guard."""
    segment, address, flags = regs[0] & 0xFFFFFFFF, regs[1], regs[2] & 0xFFFFFFFF
    memory = world.memories.get(("sysv", 0, segment))
    if memory is None:
        memory = SharedMemory(world.names.of_sysv("shm", segment), descriptor=None, segment=segment)
        world.memories["sysv", 0, segment] = memory
    size = memory.size
    changed = {1: task.space.reserve(size)} if not address and size else {}
    result = task.machine.run_changed(task, regs, changed)
    if _in_company(world):
        world.attached.setdefault(segment, set()).add(task.process.name)
        world.note_segment(segment)
    if result <= 0:
        return
    unmap(task, result, size)
    others = memory.spaces - {task.space.serial}
    protection = 1 if flags & 0o10000 else 3
    region = Region(result, result + _rounded(size), memory, 0, protection, closed=False)
    if memory.guarded or others or _in_company(world):
        set_protection(task, region, 0)
        region.closed = True
    _add(world, task, region, others=bool(others))


def unmap(task: Task, start: int, size: int) -> None:
    """A range was unmapped, or something else mapped over it: forget what was there."""
    gone = pieces(task, start, size)
    task.space.regions = [region for region in task.space.regions if region not in gone]
    for region in gone:
        if all(kept.memory is not region.memory for kept in task.space.regions):
            region.memory.spaces.discard(task.space.serial)


def protect(task: Task, start: int, size: int, protection: int) -> bool:
    """Keep what the program wants to be allowed; returns whether the kernel must not be told.

    A closed page stays closed, whatever the program wishes. The wish counts when it is opened.
    """
    wanted = pieces(task, start, size)
    for region in wanted:
        region.protection = protection
    return any(region.closed for region in wanted)


def move(world: World, task: Task, old: tuple[int, int], new: tuple[int, int]) -> None:
    """A range was moved or resized by mremap: it is the same memory at another place."""
    moved = [
        replace(region, start=region.start - old[0] + new[0], end=region.end - old[0] + new[0])
        for region in pieces(task, *old)
    ]
    unmap(task, *old)
    unmap(task, *new)
    end = new[0] + _rounded(new[1])
    for region in moved:
        grown = region.end == new[0] + _rounded(old[1])
        region.end = end if grown else min(region.end, end)
        if region.start < region.end:
            _add(world, task, region, others=False)


def pieces(task: Task, start: int, size: int) -> list[Region]:
    """The mappings in a range, cut at its ends where they reach over."""
    end = start + _rounded(size)
    for border in (start, end):
        for region in task.space.regions:
            if region.start < border < region.end:
                offset = region.offset + border - region.start
                task.space.regions.append(replace(region, start=border, offset=offset))
                region.end = border
                break
    return [region for region in task.space.regions if start <= region.start and region.end <= end]


def close_what_waits(task: Task) -> None:
    """Close what had to be left open while the task could not be made to act."""
    waiting, task.space.to_close = task.space.to_close, []
    for region in waiting:
        if not region.closed and region in task.space.regions:
            set_protection(task, region, 0)
            region.closed = True


def _add(world: World, task: Task, region: Region, *, others: bool) -> None:
    region.memory.spaces.add(task.space.serial)
    task.space.regions.append(region)
    if not others:
        return
    region.memory.guarded = True
    for space, stopped in spaces_of(world.tasks):
        for other in space.regions:
            if other.memory is not region.memory or other.closed:
                continue
            if stopped.where is Where.READY:
                set_protection(stopped, other, 0)
                other.closed = True
            else:
                space.to_close.append(other)


def _in_company(world: World) -> bool:
    """Whether there is another process, which could map what has a name at any moment."""
    return sum(process.ended is None for process in world.processes) > 1


def _rounded(size: int) -> int:
    return -(-size // PAGE_SIZE) * PAGE_SIZE


def _is_shared(what: Opened | None, protection: int) -> bool:
    return bool(protection & _PROT_WRITE) or (what is not None and bool(what.identity))


def _anonymous_file(task: Task, size: int) -> int:
    """memfd_create and ftruncate in the task; returns the descriptor there."""
    injection.write(task.space.memory, injection.SCRATCH, b"shared\0")
    descriptor = task.machine.inject(task, "memfd_create", injection.SCRATCH, _MFD_CLOEXEC)
    if descriptor >= 0:
        task.machine.inject(task, "ftruncate", descriptor, size)
    return descriptor


def _memory_of(
    world: World, task: Task, descriptor: int, what: Opened | None
) -> SharedMemory | None:
    duplicate = take_duplicate(world, task, descriptor)
    if duplicate is None:
        return None
    try:
        status = os.fstat(duplicate)
        if not stat.S_ISREG(status.st_mode):
            return None  # a device: its pages are no memory of ours
        key = ("file", status.st_dev, status.st_ino)
        if key not in world.memories:
            if what is None or not stat.S_ISREG(what.mode):
                number = world.names.make("shared-memory", status.st_ino, task.process.name)
                identity = f"shared-memory:{number}"
            else:
                identity = what.identity or f"file:{what.target}"
            world.memories[key] = SharedMemory(identity, descriptor=duplicate)
        return world.memories[key]
    finally:
        os.close(duplicate)
