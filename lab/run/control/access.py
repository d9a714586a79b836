"""Accesses to guarded shared memory: one instruction, stopped before it happens.

An unlocked read-modify-write instruction (`addl $1,(mem)`) is two operations, as it is for the
memory: another processor can come between its read and its write. It is executed as such: the
read notes the value; at the write the noted value is put back for the one instruction, which
then stores what it would have stored.
"""

from __future__ import annotations

import signal

from lab.kernel import ptrace
from lab.kernel.arch import Access, Registers, access
from lab.kernel.ptrace import Stop
from lab.kernel.window import PAGE_SIZE, Region
from lab.run.control.calls.signals import name_of
from lab.run.control.machine import TRAPPED, Place
from lab.run.control.robust import note as note_locks
from lab.run.control.semaphore import at_entry
from lab.run.control.task import Effect, Operation, Task
from lab.run.control.world import World
from lab.trace import Action

READ, _WRITE, READ_WRITE, NONE = 1, 2, 3, 0
"""Protections, as mprotect takes them."""
_SHOWN = 64
_LONGEST = 15
"""Bytes of the longest instruction."""
_UNKNOWN = Access(reads=True, writes=True, atomic=True, size=8)
"""An instruction that the table does not know: taken for one that may do anything."""


def at_fault(world: World, task: Task, address: int) -> Operation | None:
    """The access that a task stopped before; None if the address is not under guard."""
    region = task.space.region_at(address)
    if region is None or not region.closed:
        return None
    regs = ptrace.registers(task.tid)
    if regs.place in task.space.entries:
        return at_entry(world, task, regs)
    kind = access(task.space.read(regs.place, _LONGEST)) or _UNKNOWN
    kind = regs.narrowed(kind, address)
    if not region.protection & (_WRITE if kind.writes else READ_WRITE):
        return None  # the program's own doing
    if kind.reads and kind.writes and not kind.atomic:
        return _ReadHalf(world, region, address, kind, regs)
    return MemoryAccess(world, region, address, kind, regs)


class MemoryAccess(Operation):
    """A load, a store, or a locked update."""

    def __init__(
        self, world: World, region: Region, address: int, kind: Access, regs: Registers
    ) -> None:
        self.world = world
        self.region, self.address, self.kind, self.regs = region, address, kind, regs
        self.object = region.memory.identity
        self.offset_in_region = address - region.start
        self.offset = region.offset + self.offset_in_region
        self.size = self._extent()
        if kind.writes:
            self.action = Action.UPDATE if kind.reads else Action.WRITE
        else:
            self.action = Action.READ
        self.call = {Action.READ: "load", Action.WRITE: "store"}.get(self.action, "update")

    def perform(self, task: Task) -> Effect:
        """Run the one instruction with its place opened."""
        before = self._value()
        opened = [self._place(self.region, self.offset_in_region, self.size)]
        regs = self.regs
        while (stop := self._run(task, regs, opened[-1])) != TRAPPED:
            further = ptrace.fault_address(task.tid)
            region = task.space.region_at(further)
            if (
                stop.value != signal.SIGSEGV
                or region is None
                or any(start <= further < start + size for start, size, _ in opened)
            ):
                self._crash(task, stop.value, opened)
                return Effect()
            self._touches_further(task, region, further)
            size = self.size if self.kind.repeated else self.kind.size
            opened.append(self._place(region, further - region.start, size))
            regs = ptrace.registers(task.tid)
        after = self._value() if self.kind.writes else b""
        for start, length, _ in opened[1:]:
            task.machine.inject(task, "mprotect", start, length, NONE)
        task.machine.go_on_closing(task, (opened[0][0], opened[0][1], NONE))
        return Effect(before, after)

    def _run(self, task: Task, regs: Registers, place: Place) -> Stop:
        if self.kind.repeated and self.kind.length:
            # Single-stepping would stop a string instruction after each of its rounds.
            return task.machine.run_instruction(task, regs, place, self.kind.length)
        return task.machine.step_instruction(task, regs, place)

    def _touches_further(self, task: Task, region: Region, address: int) -> None:
        """Tell of a second place in shared memory: a copy from one to another, in one step."""
        offset = region.offset + address - region.start
        if (region.memory.identity, offset) != (self.object, self.offset):
            self.world.note(task, Action.UPDATE, "copy", region.memory.identity, None)

    def _value(self) -> bytes:
        return self.region.memory.read(self.offset, min(self.size, _SHOWN))

    def _extent(self) -> int:
        """Bytes that the instruction reaches; a string instruction, all its rounds together."""
        rounds = self.regs.rounds if self.kind.repeated else 1
        return max(1, min(self.kind.size * rounds, self.region.end - self.address))

    @staticmethod
    def _place(region: Region, offset: int, size: int) -> Place:
        address = region.start + offset
        start = address - address % PAGE_SIZE
        end = min(-(-(address + max(1, size)) // PAGE_SIZE) * PAGE_SIZE, region.end)
        return (start, end - start, READ_WRITE if region.protection & 2 else READ)

    def _crash(self, task: Task, number: int, opened: list[Place]) -> None:
        """The instruction touches memory that the program does not have, or not any more."""
        info = ptrace.signal_info(task.tid)
        regs = ptrace.registers(task.tid)
        regs.run_on()
        task.machine.set_registers(task, regs)
        for start, length, _ in opened:
            task.machine.inject(task, "mprotect", start, length, NONE)
        ptrace.set_signal_info(task.tid, info)
        task.inject = number
        note_locks(self.world, task.process)
        self.world.note(task, Action.DELIVER, name_of(number), task.process.name, None)


class _ReadHalf(MemoryAccess):
    """The first half of an unlocked read-modify-write."""

    def __init__(
        self, world: World, region: Region, address: int, kind: Access, regs: Registers
    ) -> None:
        super().__init__(world, region, address, kind, regs)
        self.action, self.call = Action.READ, "load"

    def perform(self, task: Task) -> Effect:
        """Note the value. The instruction runs at the second half."""
        value = self._value()
        task.operation = _WriteHalf(
            self.world, self.region, self.address, self.kind, self.regs, value
        )
        return Effect(value)


class _WriteHalf(MemoryAccess):
    """The second half: the instruction sees the value that the first half read."""

    def __init__(
        self,
        world: World,
        region: Region,
        address: int,
        kind: Access,
        regs: Registers,
        value: bytes,
    ) -> None:
        super().__init__(world, region, address, kind, regs)
        self.action, self.call = Action.WRITE, "store"
        self._read = value

    def perform(self, task: Task) -> Effect:
        """Run the instruction on the value that was read."""
        overwritten = self._value()
        self.region.memory.write(self.offset, self._read)
        return Effect(overwritten, super().perform(task).after)
