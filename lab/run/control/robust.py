"""Robust locks in guarded memory: what the kernel would write there at their holder's end.

It cannot write to a closed page, and gives up in silence. So the tracer notes the locks that a
task holds before it can end, and writes for the kernel when it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.kernel import robust_list
from lab.kernel.window import SharedMemory
from lab.run.control.task import Process, Task
from lab.run.control.world import World

_WORD = 4
_POINTER = 8


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that a thread holds, or is about to take."""

    memory: SharedMemory
    offset: int
    owner: int
    """The thread's id, as the lock's word has it."""


def note(world: World, process: Process) -> None:
    """Remember the locks of a process that may be about to end."""
    if process.space.regions:
        for task in process.tasks:
            world.robust[task.tid] = tuple(_held(task))


def held_by(world: World, process: Process) -> tuple[str, ...]:
    """The objects in which the end of a process would mark locks that it holds."""
    note(world, process)
    held = (lock for task in process.tasks for lock in world.robust.get(task.tid, ()))
    return tuple(dict.fromkeys(lock.memory.identity for lock in held))


def give_up(world: World, task: Task) -> None:
    """The task has ended, or become another program: mark the locks that were still its own."""
    for lock in world.robust.pop(task.tid, ()):
        value = int.from_bytes(lock.memory.read(lock.offset, _WORD), "little")
        if value & robust_list.OWNER == lock.owner:
            value = value & robust_list.WAITERS | robust_list.OWNER_DIED
            lock.memory.write(lock.offset, value.to_bytes(_WORD, "little"))


def _held(task: Task) -> list[Held]:
    head = robust_list.head(task.tid)
    if not head:
        return []
    space = task.space
    entry, to_word, pending = (space.word(head + _POINTER * place) for place in range(3))
    entries = [pending] if pending else []
    while entry != head and entry and len(entries) < robust_list.LONGEST:
        entries.append(entry)
        entry = space.word(entry & ~1)
    found = []
    for each in entries:
        # The lowest bit says that the lock lends its priority; the list goes by the rest.
        address = (each & ~1) + to_word & (1 << 64) - 1
        region = space.region_at(address)
        if region is not None and region.closed:
            found.append(Held(region.memory, region.offset + address - region.start, task.inner))
    return found
