"""Accesses to guarded shared memory: one instruction, stopped before it happens.

An unlocked read-modify-write instruction (`addl $1,(mem)`) is two operations, as it is for the
memory: another processor can come between its read and its write. It is executed as such: the
read notes the value; at the write the noted value is put back for the one instruction, which
then stores what it would have stored.
"""

from __future__ import annotations

import signal

from lab.kernel import ptrace
from lab.kernel.ptrace import Stop, StopKind
from lab.kernel.registers import Registers
from lab.kernel.window import PAGE_SIZE, Region
from lab.kernel.x86_64 import NUMBERS
from lab.kernel.x86_64_access import Access, access
from lab.run.control.machine import Place, TaskGoneError
from lab.run.control.semaphore import at_entry
from lab.run.control.task import Effect, Operation, Task
from lab.run.control.world import World
from lab.trace import Action

READ, READ_WRITE, NONE = 1, 3, 0
"""Protections, as mprotect takes them."""
_SHOWN = 64
_UNKNOWN = Access(reads=True, writes=True, atomic=True, size=8)
"""An instruction that the table does not know: taken for one that may do anything."""


def at_fault(world: World, task: Task, address: int) -> Operation | None:
    """The access that a task stopped before; None if the address is not under guard."""
    region = task.space.region_at(address)
    if region is None or not region.closed:
        return None
    regs = ptrace.registers(task.tid)
    if regs.rip in task.space.entries:
        return at_entry(world, task, regs)
    kind = access(task.space.read(regs.rip, 15)) or _UNKNOWN
    kind = kind.at(address, rsi=regs.rsi, rdi=regs.rdi, rsp=regs.rsp)
    if kind.reads and kind.writes and not kind.atomic:
        return _ReadHalf(region, address, kind, regs)
    return MemoryAccess(region, address, kind, regs)


class MemoryAccess(Operation):
    """A load, a store, or a locked update."""

    def __init__(self, region: Region, address: int, kind: Access, regs: Registers) -> None:
        self.region, self.address, self.kind, self.regs = region, address, kind, regs
        self.object = region.memory.identity
        self.offset = region.offset + address - region.start
        self.size = self._extent()
        if kind.writes:
            self.action = Action.UPDATE if kind.reads else Action.WRITE
        else:
            self.action = Action.READ
        self.call = {Action.READ: "load", Action.WRITE: "store"}.get(self.action, "update")

    def perform(self, task: Task) -> Effect:
        """Run the one instruction with its place opened."""
        before = self._value()
        first = self._place(self.address, self.size)
        places = [first]
        machine = task.machine
        stop = machine.step_instruction(task, self.regs, first)
        while True:
            if stop.value == signal.SIGSEGV:
                further = ptrace.fault_address(task.tid)
                if task.space.region_at(further) is None:
                    return self._crashes(task, stop)
                places.append(self._place(further, self.kind.size))
                stop = machine.step_instruction(task, ptrace.registers(task.tid), places[-1])
            elif self.kind.repeated and ptrace.registers(task.tid).rip == self.regs.rip:
                # A string instruction traps after each of its rounds, still standing at itself.
                stop = machine.step_instruction(task, ptrace.registers(task.tid), first)
            else:
                break
        after = self._value() if self.kind.writes else b""
        for start, length, _ in places[1:]:
            machine.inject(task, _MPROTECT, start, length, NONE)
        machine.go_on_closing(task, (first[0], first[1], NONE))
        return Effect(before if self.kind.reads or self.kind.writes else b"", after)

    def _value(self) -> bytes:
        return self.region.memory.read(self.offset, min(self.size, _SHOWN))

    def _extent(self) -> int:
        """Bytes that the instruction reaches; a string instruction, all its rounds together."""
        rounds = self.regs.rcx if self.kind.repeated else 1
        return max(1, min(self.kind.size * rounds, self.region.end - self.address))

    def _place(self, address: int, size: int) -> Place:
        start = address - address % PAGE_SIZE
        end = -(-(address + max(1, size)) // PAGE_SIZE) * PAGE_SIZE
        return (start, end - start, READ_WRITE if self.region.protection & 2 else READ)

    def _crashes(self, task: Task, stop: Stop) -> Effect:
        """The instruction also touches memory that the program does not have."""
        if stop.kind is not StopKind.SIGNAL:
            raise TaskGoneError(task, stop)
        task.inject = signal.SIGSEGV
        return Effect()


class _ReadHalf(MemoryAccess):
    """The first half of an unlocked read-modify-write."""

    def __init__(self, region: Region, address: int, kind: Access, regs: Registers) -> None:
        super().__init__(region, address, kind, regs)
        self.action, self.call = Action.READ, "load"

    def perform(self, task: Task) -> Effect:
        """Note the value. The instruction runs at the second half."""
        value = self._value()
        task.operation = _WriteHalf(self.region, self.address, self.kind, self.regs, value)
        return Effect(value)


class _WriteHalf(MemoryAccess):
    """The second half: the instruction sees the value that the first half read."""

    def __init__(
        self, region: Region, address: int, kind: Access, regs: Registers, value: bytes
    ) -> None:
        super().__init__(region, address, kind, regs)
        self.action, self.call = Action.WRITE, "store"
        self._read = value

    def perform(self, task: Task) -> Effect:
        """Run the instruction on the value that was read."""
        overwritten = self._value()
        self.region.memory.write(self.offset, self._read)
        return Effect(overwritten, super().perform(task).after)


_MPROTECT = NUMBERS["mprotect"]
