"""Sockets: who is connected to whom, so that both ends carry one name.

The kernel does not tell which two inodes are the ends of one connection. All sockets that come
from one listener are taken for one object: that asks for more interleavings than are needed, and
misses none.
"""

from __future__ import annotations

from lab.kernel.arch import Registers
from lab.run.control.calls.descriptors import DescriptorCall
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.world import Model, World
from lab.trace import Action

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10


class AddressCall(CallOperation):
    """bind and connect: from here on the socket goes by its address."""

    enters = True

    def __init__(self, world: World, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.world = world
        self.object = _address(task, regs[1], regs[2] & 0xFFFFFFFF)
        self.action = Action.CREATE if name == "bind" else Action.OPEN
        self.waits_for = "the server to accept"

    def perform(self, task: Task) -> Effect:
        """Make the call; connecting may sleep until there is room in the backlog."""
        self._remember(task)
        return Effect(result=task.machine.enter_call(task, self))

    def _remember(self, task: Task) -> None:
        what = self.world.opened(task, self.argument(0))
        if what is not None and self.object:
            self.world.sockets[what.inode] = self.object


class Accept(DescriptorCall):
    """accept: the new socket belongs to the listener's object."""

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        effect = super().perform(task)
        if effect.result is not None and effect.result >= 0:
            what = self.world.opened(task, effect.result)
            if what is not None:
                self.world.sockets[what.inode] = self.object
        return Effect(result=effect.result)


class PairCall(CallOperation):
    """socketpair: both ends are one object."""

    action = Action.CREATE

    def __init__(self, world: World, regs: Registers) -> None:
        super().__init__("socketpair", regs)
        self.world = world
        self.is_choice = False

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        result = task.machine.run_to_end_of_call(task)
        if result == 0:
            ends = [task.space.word(self.regs[3] + 4 * end, 4) for end in (0, 1)]
            opened = [self.world.opened(task, end) for end in ends]
            if opened[0] is not None and opened[1] is not None:
                number = self.world.number("socketpair", opened[0].inode)
                for what in opened:
                    if what is not None:
                        self.world.sockets[what.inode] = f"socketpair:{number}"
        return Effect(result=result)


def _address(task: Task, place: int, length: int) -> str:
    data = task.space.read(place, min(length, 128))
    family = int.from_bytes(data[:2], "little")
    if family == _AF_UNIX:
        if data[2:3] == b"\0":
            return f"unix:@{data[3:].decode(errors='backslashreplace')}"
        return f"unix:{data[2:].partition(bytes(1))[0].decode(errors='backslashreplace')}"
    if family in (_AF_INET, _AF_INET6):
        return f"inet:{int.from_bytes(data[2:4], 'big')}"
    return ""


def _with_address(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return AddressCall(world, task, name, regs)


def _accept(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = world.opened(task, regs[0] & 0xFFFFFFFF)
    if what is None:
        return None
    return Accept(world, name, regs, what, Action.RECEIVE).bind(task)


def _pair(world: World, _task: Task, _name: str, regs: Registers) -> Operation:
    return PairCall(world, regs)


def _shutdown(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = world.opened(task, regs[0] & 0xFFFFFFFF)
    if what is None:
        return None
    return DescriptorCall(world, name, regs, what, Action.CLOSE).bind(task)


TABLE: dict[str, Model] = {
    "bind": _with_address,
    "connect": _with_address,
    "accept": _accept,
    "accept4": _accept,
    "socketpair": _pair,
    "shutdown": _shutdown,
}
