"""Calls on descriptors: pipes, FIFOs, sockets, queues, files; and waiting for any of them."""

from __future__ import annotations

import errno
import os
import select
import stat
import struct
from dataclasses import replace

from lab.kernel.arch import Registers
from lab.kernel.window import Space
from lab.run.control.calls.timers import descriptor_timer
from lab.run.control.opened import (
    Opened,
    flags_of,
    holders_of_end,
    opened_by,
    pollable,
    position_of,
    size_of,
    time_limit_of,
)
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.world import Model, World
from lab.search.strategy import Pending
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
        reads = action is Action.RECEIVE or action is Action.READ
        self.events = select.POLLIN if reads else select.POLLOUT
        self.blocks = not stat.S_ISREG(what.mode) or what.identity.startswith("posix-mq:")
        self.waits_for = "data, or the end of it" if reads else "room"
        self.task: Task | None = None

    def bind(self, task: Task) -> DescriptorCall:
        """Tell it whose descriptor it is."""
        self.task = task
        self.size = sum(length for _, length in self._buffers(task.space))
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
        data = b""
        for address, length in self._buffers(space):
            data += space.read(address, min(length, _SHOWN - len(data)))
            if len(data) == _SHOWN:
                break
        return data

    def _buffers(self, space: Space) -> list[tuple[int, int]]:
        """Where the data is or goes: addresses and lengths."""
        if self.call in _BUFFERED:
            return [(self.regs[1], self.regs[2])]
        if self.call in _VECTORED:
            return _vector(space, self.regs[1], self.regs[2])
        if self.call in ("sendmsg", "recvmsg"):
            return _vector(space, space.word(self.regs[1] + 16), space.word(self.regs[1] + 24))
        return []


def _vector(space: Space, address: int, length: int) -> list[tuple[int, int]]:
    data = space.read(address, _IOVEC.size * min(length, _MOST_BUFFERS))
    return list(_IOVEC.iter_unpack(data[: len(data) // _IOVEC.size * _IOVEC.size]))


_IOVEC = struct.Struct("=2Q")
_MOST_BUFFERS = 1024
"""Buffers that one call takes (UIO_MAXIOV)."""
_BUFFERED = frozenset(
    """
    read write pread64 pwrite64 recvfrom sendto mq_timedsend mq_timedreceive
    """.split()  # noqa: SIM905  # to be read
)
_VECTORED = frozenset({"readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2"})
_FLAGGED = {"recvfrom": 3, "sendto": 3, "recvmsg": 2, "sendmsg": 2}
_MSG_DONTWAIT = 0x40


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
        if stat.S_ISREG(what.mode):
            return FileCall(world, name, regs, what, action_of_file).bind(task)
        return DescriptorCall(world, name, regs, what, action_of_stream).bind(task)

    return model


def _random(world: World, task: Task, name: str, regs: Registers, what: Opened) -> None:
    """Random bytes from a device are to be the same in every run, as those of getrandom."""
    size = min(regs[2], _MOST_RANDOM)
    if what.target in _DEVICES and name == "read" and task.space.region_at(regs[1]) is None:
        task.space.write(regs[1], world.random.randbytes(size))
        task.machine.answer(task, regs, size)


_DEVICES = ("/dev/urandom", "/dev/random")
_MOST_RANDOM = 1 << 20


class FileCall(DescriptorCall):
    """Reading or writing a file, at a place that is known before the call is made."""

    floats = False
    """Where it will be depends on what others do: on the end of the file, or a common position."""

    def bind(self, task: Task) -> FileCall:
        """Tell it whose descriptor it is."""
        super().bind(task)
        self._find_place(task)
        return self

    def perform(self, task: Task) -> Effect:
        """Make the call, where it is by now."""
        self._find_place(task)
        return super().perform(task)

    def pending(self, task: Task) -> Pending:
        """As a strategy sees it: it may reach anything as long as its place is not known."""
        pending = super().pending(task)
        return replace(pending, offset=0, size=0) if self.floats else pending

    def _find_place(self, task: Task) -> None:
        descriptor, given = self.argument(0), self.call.startswith("p")
        if given and self.call.endswith("2"):  # -1 stands for the position
            given = self.regs[3] != _NO_OFFSET
        appends = self.action is Action.WRITE and bool(flags_of(task, descriptor) & os.O_APPEND)
        self.also = () if given else self.world.names.position(self.object)
        self.floats = appends or bool(self.also)
        if appends:  # whatever it says
            self.offset = size_of(task, descriptor)
        else:
            self.offset = self.regs[3] if given else position_of(task, descriptor)


_NO_OFFSET = (1 << 64) - 1


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


receive = _on_descriptor(Action.RECEIVE, Action.READ)
send = _on_descriptor(Action.SEND, Action.WRITE)


TABLE: dict[str, Model] = {
    **dict.fromkeys(("read", "readv", "pread64", "preadv", "preadv2"), receive),
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "pwritev2"), send),
}
