"""Sockets: who is connected to whom, so that both ends carry one name.

The kernel does not tell which two inodes are the ends of one connection. All sockets that come
from one listener are taken for one object: that asks for more interleavings than are needed, and
misses none.
"""

from __future__ import annotations

import socket
import struct
from array import array
from collections.abc import Iterator

from lab.kernel.arch import Registers
from lab.kernel.window import Space
from lab.run.control.calls.descriptors import DescriptorCall, receive, send
from lab.run.control.opened import inode_of, opened_by, port_of, share_positions
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
        self.object = _address(world, task, regs[1], regs[2] & 0xFFFFFFFF)
        self.action = Action.CREATE if name == "bind" else Action.OPEN
        self.waits_for = "the server to accept"

    def perform(self, task: Task) -> Effect:
        """Make the call; connecting may sleep until there is room in the backlog."""
        self._remember(task)
        result = task.machine.enter_call(task, self)
        if self.object == _ANY_PORT and result == 0:
            # Ports are given out by the kernel as it likes: they go by number, like pipes.
            port = port_of(self.world, task, self.argument(0))
            self.object = f"{_ANY_PORT}:{self.world.names.make(_ANY_PORT, port, task.process.name)}"
            self.world.names.ports[port] = self.object
            self._remember(task)
        if self.call == "bind" and result == 0:
            self.world.names.bound.add(self.object)
        return Effect(result=result)

    def _remember(self, task: Task) -> None:
        what = opened_by(self.world, task, self.argument(0))
        if what is not None and self.object:
            self.world.names.sockets[what.inode] = self.object


class Accept(DescriptorCall):
    """accept: the new socket belongs to the listener's object."""

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        effect = super().perform(task)
        if effect.result is not None and effect.result >= 0:
            what = opened_by(self.world, task, effect.result)
            if what is not None:
                self.world.names.sockets[what.inode] = self.object
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
            inodes = [inode_of(task, end) for end in ends]
            number = self.world.names.make("socketpair", inodes[0], task.process.name)
            for inode in inodes:
                self.world.names.sockets[inode] = f"socketpair:{number}"
        return Effect(result=result)


def _address(world: World, task: Task, place: int, length: int) -> str:
    data = task.space.read(place, min(length, 128))
    family = int.from_bytes(data[:2], "little")
    if family == _AF_UNIX:
        if data[2:3] == b"\0":
            return f"unix:@{data[3:].decode(errors='backslashreplace')}"
        return f"unix:{data[2:].partition(bytes(1))[0].decode(errors='backslashreplace')}"
    if family in (_AF_INET, _AF_INET6):
        port = int.from_bytes(data[2:4], "big")
        return world.names.ports.get(port, f"inet:{port}") if port else _ANY_PORT
    return ""


_ANY_PORT = "inet:any"


def _send(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """A datagram goes to the object that its address names, and not to its sender's socket."""
    if name in _MESSAGES:
        # Whoever receives them has the same open files, as a child has after a fork.
        for message in _messages(name, regs):
            share_positions(world, task, _descriptors_in(task.space, message))
    operation = send(world, task, name, regs)
    if operation is None:
        return None
    place, length = regs[4], regs[5]
    if name != "sendto":
        place, length = task.space.word(regs[1]), task.space.word(regs[1] + 8, 4)
    address = _address(world, task, place, length) if place else ""
    if address and address != operation.object:
        operation.also = (*operation.also, operation.object)
        operation.object = address
    return operation


_MESSAGES = ("sendmsg", "sendmmsg")
_MMSGHDR = 64
"""Bytes of a mmsghdr: a msghdr, and how much of it was sent."""
_CONTROL = 32
"""Where a msghdr has the address of what accompanies the message, and behind it the length."""
_MOST_MESSAGES, _MOST_CONTROL = 1024, 1 << 16
"""The kernel takes no more."""
_CMSG = struct.Struct("=Qii")


def _messages(name: str, regs: Registers) -> range:
    """The addresses of the msghdr structures that a call is given."""
    number = min(regs[2] & 0xFFFFFFFF, _MOST_MESSAGES) if name == "sendmmsg" else 1
    return range(regs[1], regs[1] + number * _MMSGHDR, _MMSGHDR)


def _descriptors_in(space: Space, message: int) -> Iterator[int]:
    """The descriptors that a message takes with it (SCM_RIGHTS)."""
    place, length = space.word(message + _CONTROL), space.word(message + _CONTROL + 8)
    data = space.read(place, min(length, _MOST_CONTROL)) if place else b""
    at = 0
    while at + _CMSG.size <= len(data):
        size, level, kind = _CMSG.unpack_from(data, at)
        if size < _CMSG.size:
            return
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            passed = data[at + _CMSG.size : at + size]
            yield from array("i", passed[: len(passed) // 4 * 4])
        at += (size + 7) & ~7


def _settle(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    return Settling(name, regs, what.identity) if what is not None else None


class Settling(CallOperation):
    """listen and shutdown, which never wait."""

    action = Action.WRITE

    def __init__(self, name: str, regs: Registers, thing: str) -> None:
        super().__init__(name, regs)
        self.object = thing
        if name == "shutdown":
            self.action = Action.CLOSE

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        return Effect(result=task.machine.run_to_end_of_call(task))


def _with_address(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return AddressCall(world, task, name, regs)


def _accept(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None:
        return None
    return Accept(world, name, regs, what, Action.RECEIVE).bind(task)


def _pair(world: World, _task: Task, _name: str, regs: Registers) -> Operation:
    return PairCall(world, regs)


TABLE: dict[str, Model] = {
    "bind": _with_address,
    "connect": _with_address,
    "accept": _accept,
    "accept4": _accept,
    "socketpair": _pair,
    **dict.fromkeys(("listen", "shutdown"), _settle),
    **dict.fromkeys(("recvfrom", "recvmsg", "recvmmsg"), receive),
    **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), _send),
}
