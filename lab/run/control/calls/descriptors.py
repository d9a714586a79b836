"""Calls on descriptors: pipes, FIFOs, sockets, queues, files; and waiting for any of them."""

from __future__ import annotations

import os
import select
import stat

from lab.kernel.arch import Registers
from lab.kernel.window import Space
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.timing import deadline_of
from lab.run.control.world import Model, Opened, World
from lab.trace import Action

_SHOWN = 64
_PIPE_BUF = 4096


class DescriptorCall(CallOperation):
    """A call on one descriptor that may have to wait for data or room."""

    def __init__(
        self, world: World, name: str, regs: Registers, what: Opened, action: Action
    ) -> None:
        super().__init__(name, regs)
        self.world, self.what, self.action = world, what, action
        self.object = what.identity
        self.size = regs[2] if name in _SIZED else 0
        reads = action is Action.RECEIVE or action is Action.READ
        self.events = select.POLLIN if reads else select.POLLOUT
        self.blocks = not stat.S_ISREG(what.mode) or what.identity.startswith("posix-mq:")
        self.waits_for = "data, or the end of it" if reads else "room"
        self.task: Task | None = None

    def bind(self, task: Task) -> DescriptorCall:
        """Tell it whose descriptor it is."""
        self.task = task
        self.waits = (
            self.blocks
            and not self._must_enter()
            and self.deadline is None
            and not self._never_blocks()
        )
        return self

    def ready(self) -> bool:
        """Whether the call would go through, or fail, at once."""
        if not self.blocks or self._must_enter() or self.task is None:
            return True
        if self.world.pollable(self.task, self.argument(0), self.events):
            return True
        return self._never_blocks()

    def on(self) -> tuple[str, ...]:
        """The processes that hold the other end, of a pipe."""
        if self.task is None or not stat.S_ISFIFO(self.what.mode):
            return ()
        writing = self.events == select.POLLIN
        return self.world.holders_of_end(self.what, writing=writing)

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        sent = self._content(task.space) if self.action in (Action.SEND, Action.WRITE) else b""
        if self._must_enter():
            entered = task.machine.enter_call(task, self)
            return Effect(after=sent, result=entered)
        result = task.machine.run_changed(task, self.regs, self._changed(task))
        received = b""
        if self.action in (Action.RECEIVE, Action.READ) and result > 0:
            received = self._content(task.space)[: max(0, result)]
        return Effect(received, sent, result)

    def _must_enter(self) -> bool:
        """A write that a pipe may take in parts acts before it blocks."""
        return (
            self.action is Action.SEND and stat.S_ISFIFO(self.what.mode) and self.size > _PIPE_BUF
        )

    def _changed(self, _task: Task) -> dict[int, int]:
        """Arguments that the kernel is to see in place of the program's."""
        return {}

    def _never_blocks(self) -> bool:
        """The descriptor or the call is non-blocking."""
        assert self.task is not None
        if self.call in _FLAGGED and self.argument(_FLAGGED[self.call]) & _MSG_DONTWAIT:
            return True
        return bool(self.world.flags(self.task, self.argument(0)) & os.O_NONBLOCK)

    def _content(self, space: Space) -> bytes:
        if self.call in _BUFFERED:
            return space.read(self.regs[1], min(self.regs[2], _SHOWN))
        if self.call in ("readv", "writev"):
            return space.read(space.word(self.regs[1]), min(space.word(self.regs[1] + 8), _SHOWN))
        if self.call in ("sendmsg", "recvmsg"):
            vector = space.word(self.regs[1] + 16)
            return space.read(space.word(vector), min(space.word(vector + 8), _SHOWN))
        return b""


_BUFFERED = frozenset(
    {
        "read",
        "write",
        "pread64",
        "pwrite64",
        "recvfrom",
        "sendto",
        "mq_timedsend",
        "mq_timedreceive",
    }
)
_SIZED = _BUFFERED
_FLAGGED = {"recvfrom": 3, "sendto": 3, "recvmsg": 2, "sendmsg": 2}
_MSG_DONTWAIT = 0x40


class QueueCall(DescriptorCall):
    """mq_send and mq_receive, which may have a time limit."""

    def ready(self) -> bool:
        """As for any descriptor, or past the time limit."""
        return super().ready() or (self.deadline is not None and self.world.clock >= self.deadline)

    def _changed(self, task: Task) -> dict[int, int]:
        # Its time limit is the virtual clock's business: past it, or never in need of it.
        return {4: task.machine.lend(task, bytes(16))} if self.regs[4] else {}


def _on_descriptor(action_of_stream: Action, action_of_file: Action) -> Model:
    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        what = world.opened(task, regs[0] & 0xFFFFFFFF)
        if what is None or not what.identity:
            return None
        action = action_of_file if stat.S_ISREG(what.mode) else action_of_stream
        return DescriptorCall(world, name, regs, what, action).bind(task)

    return model


def _on_queue(action: Action) -> Model:
    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        what = world.opened(task, regs[0] & 0xFFFFFFFF)
        if what is None or not what.identity:
            return None
        operation = QueueCall(world, name, regs, what, action)
        if regs[4]:
            operation.deadline = deadline_of(world, task.space, regs[4], clock=0)
        return operation.bind(task)

    return model


def _mq_open(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return QueueOpen(world, name, regs, f"posix-mq:/{task.space.string(regs[0])}")


class QueueOpen(CallOperation):
    """mq_open, whose descriptor is a queue from then on; and mq_unlink."""

    def __init__(self, world: World, name: str, regs: Registers, thing: str) -> None:
        super().__init__(name, regs)
        self.world, self.object = world, thing
        self.action = Action.OPEN if name == "mq_open" else Action.REMOVE

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        result = task.machine.run_to_end_of_call(task)
        if self.call == "mq_open" and result >= 0:
            opened = self.world.opened(task, result)
            if opened is not None:
                self.world.queues[opened.device, opened.inode] = self.object
        return Effect(result=result)


_SEND = _on_descriptor(Action.SEND, Action.WRITE)
_RECEIVE = _on_descriptor(Action.RECEIVE, Action.READ)
TABLE: dict[str, Model] = {
    **dict.fromkeys(("read", "readv", "pread64", "recvfrom", "recvmsg"), _RECEIVE),
    **dict.fromkeys(("write", "writev", "pwrite64", "sendto", "sendmsg"), _SEND),
    "mq_timedsend": _on_queue(Action.SEND),
    "mq_timedreceive": _on_queue(Action.RECEIVE),
    "mq_open": _mq_open,
    "mq_unlink": _mq_open,
}
