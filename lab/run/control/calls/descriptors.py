"""Calls on descriptors: pipes, FIFOs, sockets, queues, files; and waiting for any of them."""

from __future__ import annotations

import errno
import os
import select
import stat

from lab.kernel.arch import Registers
from lab.kernel.window import Space
from lab.run.control.calls.timers import descriptor_timer
from lab.run.control.opened import (
    Opened,
    flags_of,
    holders_of_end,
    opened_by,
    pollable,
    time_limit_of,
)
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.timing import deadline_of
from lab.run.control.world import Model, World
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
        if stat.S_ISSOCK(self.what.mode):
            limit = time_limit_of(self.world, task, self.argument(0), self.events)
            self.deadline = self.world.clock + limit if limit else None
        self.waits = (
            self.blocks
            and not self._acts_before_it_blocks()
            and self.deadline is None
            and not self._never_blocks()
        )
        return self

    def ready(self) -> bool:
        """Whether the call would go through, or fail, at once."""
        if not self.blocks or self._acts_before_it_blocks() or self.task is None:
            return True
        if pollable(self.world, self.task, self.argument(0), self.events):
            return True
        return self._never_blocks() or self._late()

    def _late(self) -> bool:
        return self.deadline is not None and self.world.clock >= self.deadline

    def on(self) -> tuple[str, ...]:
        """The processes that hold the other end, of a pipe."""
        if self.task is None or not stat.S_ISFIFO(self.what.mode):
            return ()
        writing = self.events == select.POLLIN
        return holders_of_end(self.world, self.what, writing=writing)

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        sent = self._content(task.space) if self.action in (Action.SEND, Action.WRITE) else b""
        if self._late() and not pollable(self.world, task, self.argument(0), self.events):
            return Effect(after=sent, result=self._give_up(task))
        if self._acts_before_it_blocks() or self._may_sleep():
            return Effect(after=sent, result=task.machine.enter_call(task, self))
        result = task.machine.run_changed(task, self.regs, self._changed(task))
        received = b""
        if self.action in (Action.RECEIVE, Action.READ) and result > 0:
            received = self._content(task.space)[: max(0, result)]
        return Effect(received, sent, result)

    def _acts_before_it_blocks(self) -> bool:
        """A write that a pipe may take in parts."""
        return (
            self.action is Action.SEND and stat.S_ISFIFO(self.what.mode) and self.size > _PIPE_BUF
        )

    def _may_sleep(self) -> bool:
        """A socket with room may still have too little, or its peer none: polling cannot tell."""
        return self.action is Action.SEND and stat.S_ISSOCK(self.what.mode)

    def _give_up(self, task: Task) -> int:
        """Its time is over: SO_RCVTIMEO and SO_SNDTIMEO."""
        task.machine.answer(task, self.regs, -errno.EAGAIN)
        return -errno.EAGAIN

    def _changed(self, _task: Task) -> dict[int, int]:
        """Arguments that the kernel is to see in place of the program's."""
        return {}

    def _never_blocks(self) -> bool:
        """The descriptor or the call is non-blocking."""
        assert self.task is not None
        if self.call in _FLAGGED and self.argument(_FLAGGED[self.call]) & _MSG_DONTWAIT:
            return True
        return bool(flags_of(self.task, self.argument(0)) & os.O_NONBLOCK)

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

    def _give_up(self, task: Task) -> int:
        return task.machine.run_changed(task, self.regs, self._changed(task))

    def _changed(self, task: Task) -> dict[int, int]:
        # Its time limit is the virtual clock's business: past it, or never in need of it.
        return {4: task.machine.lend(task, bytes(16))} if self.regs[4] else {}


def _on_descriptor(action_of_stream: Action, action_of_file: Action) -> Model:
    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
        if what is None:
            return None
        if not what.identity:
            _random(world, task, name, regs, what)
            return None
        if what.identity == _TIMER:
            return TimerRead(world, name, regs, what, action_of_stream).bind(task)
        action = action_of_file if stat.S_ISREG(what.mode) else action_of_stream
        operation = DescriptorCall(world, name, regs, what, action).bind(task)
        if stat.S_ISREG(what.mode) and not name.startswith("p"):  # pread and its kin go elsewhere
            operation.also = world.names.position(what.identity)
        return operation

    return model


def _random(world: World, task: Task, name: str, regs: Registers, what: Opened) -> None:
    """Random bytes from a device are to be the same in every run, as those of getrandom."""
    size = min(regs[2], _MOST_RANDOM)
    if what.target in _DEVICES and name == "read" and task.space.region_at(regs[1]) is None:
        task.space.write(regs[1], world.random.randbytes(size))
        task.machine.answer(task, regs, size)


_DEVICES = ("/dev/urandom", "/dev/random")
_MOST_RANDOM = 1 << 20


class TimerRead(DescriptorCall):
    """Reading from a timerfd how often it went off on the virtual clock."""

    def perform(self, task: Task) -> Effect:
        """Make the call, and correct the count."""
        effect = super().perform(task)
        timer = descriptor_timer(self.world, task, self.argument(0))
        if effect.result != _COUNT or timer is None:
            return effect
        count = timer.expirations.to_bytes(_COUNT, "little")
        timer.expirations = 0
        task.space.write(self.regs[1], count)
        return Effect(count, result=effect.result)


_TIMER = "timerfd"
_COUNT = 8
"""Bytes of a count."""


def _on_queue(action: Action) -> Model:
    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
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
        if result < 0:
            return Effect(result=result)
        queues, unlinked = self.world.names.queues, self.world.names.unlinked_queues
        if self.call == "mq_unlink":
            # Who has it open uses it on; but its inode may come again, for another queue.
            unlinked.update(key for key, name in queues.items() if name == self.object)
            return Effect(result=result)
        opened = opened_by(self.world, task, result)
        if opened is None:
            return Effect(result=result)
        key = (opened.device, opened.inode)
        is_new = key not in queues or key in unlinked
        queues[key] = self.object
        unlinked.discard(key)
        return Effect(result=result, action=Action.CREATE if is_new else None)


receive = _on_descriptor(Action.RECEIVE, Action.READ)
send = _on_descriptor(Action.SEND, Action.WRITE)


def _queue_attributes(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or not what.identity:
        return None
    return QueueAttributes(name, regs, what.identity)


class QueueAttributes(CallOperation):
    """mq_getattr, which tells how many messages there are."""

    action = Action.READ

    def __init__(self, name: str, regs: Registers, thing: str) -> None:
        super().__init__(name, regs)
        self.object = thing

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        return Effect(result=task.machine.run_to_end_of_call(task))


TABLE: dict[str, Model] = {
    **dict.fromkeys(("read", "readv", "pread64", "preadv", "preadv2"), receive),
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "pwritev2"), send),
    "mq_getsetattr": _queue_attributes,
    "mq_timedsend": _on_queue(Action.SEND),
    "mq_timedreceive": _on_queue(Action.RECEIVE),
    "mq_open": _mq_open,
    "mq_unlink": _mq_open,
}
