"""poll, select and epoll: waiting for one of several descriptors."""

from __future__ import annotations

import select
import struct
from collections.abc import Callable

from lab.kernel.arch import Registers
from lab.run.control.calls.signals import handled
from lab.run.control.opened import opened_by, pollable, watched_by
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.timing import timespec
from lab.run.control.unvaried import SEVERAL_EVENTS
from lab.run.control.world import Model, World
from lab.trace import Action

_POLLFD = struct.Struct("=ihh")


class Poll(CallOperation):
    """Waits until a descriptor is ready, or its time is over."""

    action = Action.WAIT
    waits_for = "an event on one of its descriptors"

    def __init__(
        self, world: World, task: Task, name: str, regs: Registers, wanted: list[tuple[int, int]]
    ) -> None:
        super().__init__(name, regs)
        self.world, self.task, self.wanted = world, task, wanted
        numbers = (fd for each, _ in wanted for fd in watched_by(task, each))
        names = [what.identity for fd in numbers if (what := opened_by(world, task, fd))]
        self.object = " ".join(dict.fromkeys(name for name in names if name))
        self.sleeps = not wanted
        self.mask = _mask(task, name, regs)
        limit = self._limit(task)
        if limit is not None:
            self.deadline = world.clock + limit
        self.waits = limit is None

    def ready(self) -> bool:
        """A descriptor is ready, the time is over, or a signal comes that only the wait lets in."""
        if self.sleeps and self.deadline is not None:
            return not (self.task.check_signals and handled(self.task, self.mask))
        if self.deadline is not None and self.world.clock >= self.deadline:
            return True
        return self._has_event() or self._let_in()

    def perform(self, task: Task) -> Effect:
        """Make the call, without time to wait: what is ready is ready."""
        if self._let_in() and not self._has_event():
            return self.interrupt(task)
        if self.sleeps and self.deadline is not None and self.world.sleep_until(self.deadline):
            task.operation = self
            return Effect()
        index, pointer = _LIMIT[self.call]
        no_time = task.machine.lend(task, bytes(16)) if pointer else 0
        result = task.machine.run_changed(task, self.regs, {index: no_time})
        if self.call.startswith("epoll") and result > 0:
            self._note_order(task, result)
        return Effect(result=result)

    def _note_order(self, task: Task, told: int) -> None:
        """An epoll tells of events in the order in which they came, and sends do not meet."""
        cut = told == self.argument(2) and len(watched_by(task, self.argument(0))) > _ONE_WATCHED
        if told > 1 or cut:
            self.world.unvaried[SEVERAL_EVENTS] = None

    def interrupt(self, task: Task) -> Effect:
        """With a signal pending the kernel breaks the wait itself."""
        return Effect(result=task.machine.run_to_end_of_call(task))

    def _has_event(self) -> bool:
        return any(pollable(self.world, self.task, fd, events) for fd, events in self.wanted)

    def _let_in(self) -> bool:
        return self.mask is not None and bool(handled(self.task, self.mask))

    def _limit(self, task: Task) -> int | None:
        index, pointer = _LIMIT[self.call]
        value = self.regs[index]
        if not pointer:
            milliseconds = value & 0xFFFFFFFF
            return None if milliseconds >> 31 else milliseconds * 1_000_000
        if not value:
            return None
        if self.call == "select":
            return task.space.word(value) * 10**9 + task.space.word(value + 8) * 1000
        return timespec(task.space, value)


_ONE_WATCHED = 2
"""Descriptors, of which the epoll itself is one."""
_LIMIT = {
    "poll": (2, False),
    "ppoll": (2, True),
    "select": (4, True),
    "pselect6": (4, True),
    "epoll_wait": (3, False),
    "epoll_pwait": (3, False),
    "epoll_pwait2": (3, True),
}
"""Which argument is the time limit, and whether it is a pointer."""


def _mask(task: Task, name: str, regs: Registers) -> int | None:
    """The signals that are blocked during the call, where it says so itself."""
    address = regs[_MASK[name]] if name in _MASK else 0
    if name == "pselect6" and address:
        address = task.space.word(address)
    return task.space.word(address) if address else None


_MASK = {"ppoll": 3, "pselect6": 5, "epoll_pwait": 4, "epoll_pwait2": 4}


def _polled(task: Task, regs: Registers) -> list[tuple[int, int]]:
    data = task.space.read(regs[0], _POLLFD.size * min(regs[1], 1024))
    whole = len(data) // _POLLFD.size * _POLLFD.size
    return [(fd, events) for fd, events, _ in _POLLFD.iter_unpack(data[:whole]) if fd >= 0]


def _selected(task: Task, regs: Registers) -> list[tuple[int, int]]:
    wanted = []
    for address, events in (
        (regs[1], select.POLLIN),
        (regs[2], select.POLLOUT),
        (regs[3], select.POLLPRI),
    ):
        bits = task.space.word(address, -(-min(regs[0], 1024) // 8)) if address else 0
        wanted += [(fd, events) for fd in range(min(regs[0], 1024)) if bits >> fd & 1]
    return wanted


def _epolled(_task: Task, regs: Registers) -> list[tuple[int, int]]:
    return [(regs[0] & 0xFFFFFFFF, select.POLLIN)]


def _waiting(wanted: Callable[[Task, Registers], list[tuple[int, int]]]) -> Model:
    def model(world: World, task: Task, name: str, regs: Registers) -> Operation:
        return Poll(world, task, name, regs, wanted(task, regs))

    return model


TABLE: dict[str, Model] = {
    **dict.fromkeys(("poll", "ppoll"), _waiting(_polled)),
    **dict.fromkeys(("select", "pselect6"), _waiting(_selected)),
    **dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2"), _waiting(_epolled)),
}
