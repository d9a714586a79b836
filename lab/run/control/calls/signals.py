"""Signals: sending, and waiting for one.

A signal that is sent to a task stopped before an operation reaches it before that operation, as
it would a running process. The exception is a task that waits: its wait is broken. For pause and
sigsuspend, going to wait is a step of its own: the signal that comes between the check and the
pause is the bug that they are known for.
"""

from __future__ import annotations

import errno
import signal

from lab.kernel import fdinfo, procfs, signal_sets
from lab.kernel.arch import Registers
from lab.run.control.calls.plain import Plain
from lab.run.control.opened import signed
from lab.run.control.robust import note as note_locks
from lab.run.control.task import CallOperation, Effect, Operation, Process, Task
from lab.run.control.timing import timespec
from lab.run.control.world import Model, World
from lab.search.dependence import PROCESSES
from lab.trace import Action

_TO_THREAD = frozenset({"tgkill", "rt_tgsigqueueinfo"})
_TO_MANY = frozenset({"kill", "rt_sigqueueinfo"})
_NEVER_BLOCKED = ~((1 << 8) | (1 << 18))
"""Every signal but SIGKILL and SIGSTOP, as a mask."""


class Send(CallOperation):
    """kill and its kin."""

    action = Action.SIGNAL

    def __init__(
        self, world: World, name: str, regs: Registers, targets: list[Process], number: int
    ) -> None:
        super().__init__(name, regs)
        self.world, self.targets, self.number = world, targets, number
        self.object = " ".join(process.name for process in targets)

    def perform(self, task: Task) -> Effect:
        """Make the call; whoever it reaches is looked at before its next move."""
        self.world.signals_may_be_pending()
        if self.number == signal.SIGKILL:
            for process in self.targets:
                note_locks(self.world, process)
        result = task.machine.run_to_end_of_call(task)
        return Effect(after=bytes([self.number & 0xFF]), result=result)


class Pause(CallOperation):
    """pause and sigsuspend, first half: going to wait."""

    action = Action.READ

    def __init__(self, world: World, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.world = world
        self.object = task.process.name
        self.mask: int | None = None
        if name == "rt_sigsuspend":
            self.mask = task.space.word(regs[0]) & _NEVER_BLOCKED

    def perform(self, task: Task) -> Effect:
        """Wait, as far as the program can tell; it need not really enter the kernel."""
        task.operation = Paused(self.world, task, self)
        return Effect()


class Paused(CallOperation):
    """The second half: waiting for a signal."""

    action = Action.WAIT
    takes_signals = True
    waits_for = "a signal"

    def __init__(self, world: World, task: Task, entered: Pause) -> None:
        super().__init__(entered.call, entered.regs)
        self.world, self.task, self.mask = world, task, entered.mask
        self.object = task.process.name
        self.waits = True

    def ready(self) -> bool:
        """A signal is pending that the wait lets through and that has an effect."""
        return bool(deliverable(self.task, self.mask))

    def perform(self, task: Task) -> Effect:
        """Let the kernel make the call: with the signal pending it returns at once."""
        task.machine.resume(task)
        return Effect(result=-errno.EINTR)


class WaitForSignal(CallOperation):
    """sigwait, sigwaitinfo, sigtimedwait: takes a pending signal without a handler."""

    action = Action.WAIT
    waits_for = "a signal"

    def __init__(self, world: World, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.world, self.task = world, task
        self.object = task.process.name
        self.wanted = task.space.word(regs[0])
        if regs[2]:
            self.deadline = world.clock + timespec(task.space, regs[2])
        self.waits = self.deadline is None

    def ready(self) -> bool:
        """One of the signals is pending, or the time is over."""
        if signal_sets.signals(self.task.tid).pending & self.wanted:
            return True
        return self.deadline is not None and self.world.clock >= self.deadline

    def perform(self, task: Task) -> Effect:
        """Make the call; with nothing pending it has no time left."""
        changed = {2: task.machine.lend(task, bytes(16))} if self.regs[2] else {}
        return Effect(result=task.machine.run_changed(task, self.regs, changed))

    def interrupt(self, task: Task) -> Effect:
        """With another signal pending the kernel breaks the wait itself."""
        return Effect(result=task.machine.run_to_end_of_call(task))


def arriving(task: Task) -> int:
    """The signals that a task will meet when it is resumed, with an effect or without."""
    signals = signal_sets.signals(task.tid)
    return signals.pending & ~signals.blocked


def deliverable(task: Task, mask: int | None = None) -> int:
    """The signals that would reach a task now and have an effect there, as a mask."""
    signals = signal_sets.signals(task.tid)
    blocked = signals.blocked if mask is None else mask
    return signals.pending & ~blocked & effective(signals)


def effective(signals: signal_sets.Signals) -> int:
    """The signals that do something to a task: they have a handler, or end or stop it by default.

    Any other is queued all the same for a traced task, but changes nothing.
    """
    return signals.caught | (_FATAL & ~signals.ignored)


_HARMLESS = (17, 18, 23, 28)
"""SIGCHLD, SIGCONT, SIGURG, SIGWINCH: their default is to do nothing."""
_FATAL = ~sum(1 << number - 1 for number in _HARMLESS) & ((1 << 64) - 1)


def handled(task: Task, mask: int | None = None) -> int:
    """The signals that would reach a handler of a task now: these break a wait for good.

    After one that stops the process the wait goes on, and after one that ends it nothing does.
    """
    signals = signal_sets.signals(task.tid)
    return signals.pending & ~(signals.blocked if mask is None else mask) & signals.caught


def restarts(task: Task) -> bool:
    """Whether a wait without a time limit goes on after the handlers of what is pending now."""
    return not handled(task) & ~task.process.restarting


def _kill(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    number = regs[2 if name in _TO_THREAD else 1] & 0xFFFFFFFF
    identity = signed(regs[0])
    if name not in _TO_MANY or identity > 0:
        # One that has been waited for is not there, which depends on who waited.
        process = task.process if name == "tkill" else world.ever(identity)
        if process is None and number == 0:
            return None
        return Send(world, name, regs, [process] if process else [], number)
    operation = Send(world, name, regs, _group(world, task, identity), number)
    operation.also = (PROCESSES,)
    return operation


def _group(world: World, task: Task, identity: int) -> list[Process]:
    """The processes that the negative of a group, 0 or -1 stands for."""
    living = [process for process in world.processes if process.ended is None]
    if identity == -1:
        return [process for process in living if process is not task.process]
    group = -identity or procfs.inner_group(task.process.host)
    return [process for process in living if procfs.inner_group(process.host) == group]


def _send_to_descriptor(world: World, task: Task, name: str, regs: Registers) -> Operation:
    pid = fdinfo.process_behind(task.tid, regs[0] & 0xFFFFFFFF)
    process = world.by_pid(pid)
    targets = [process] if process is not None else []
    return Send(world, name, regs, targets, regs[1] & 0xFFFFFFFF)


class Disposition(CallOperation):
    """Setting a handler or a mask: from here on a signal means something else."""

    action = Action.WRITE

    def __init__(self, task: Task, name: str, regs: Registers) -> None:
        super().__init__(name, regs)
        self.object = task.process.name
        self.what = b""
        if name == "rt_sigaction":
            handler = task.space.word(regs[1])
            number = regs[0] & 0xFFFFFFFF
            self.what = f"{name_of(number)} {_DEFAULTS.get(handler, 'handler')}".encode()

    def perform(self, task: Task) -> Effect:
        """Make the call; what it lets through arrives before the next operation."""
        result = task.machine.run_to_end_of_call(task)
        if self.call == "rt_sigaction" and result == 0:
            self._note_restarting(task)
        task.check_signals = True
        return Effect(after=self.what, result=result)

    def _note_restarting(self, task: Task) -> None:
        bit = 1 << (self.regs[0] - 1 & 63)
        if task.space.word(self.regs[1] + _FLAGS) & _SA_RESTART:
            task.process.restarting |= bit
        else:
            task.process.restarting &= ~bit


_DEFAULTS = {0: "default", 1: "ignored"}
"""SIG_DFL and SIG_IGN; any other is a function."""
_CLASSIC = 31
"""Signals above it are real-time ones, without a name of their own."""


def name_of(number: int) -> str:
    """As programs call it: "SIGCHLD"."""
    return signal.Signals(number).name if 0 < number <= _CLASSIC else f"signal {number}"


_FLAGS, _SA_RESTART = 8, 0x10000000
"""In the kernel's struct sigaction, the flags come after the handler."""


def _disposition(_world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    asks_only = not regs[1]
    return None if asks_only else Disposition(task, name, regs)


def _pause(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return Pause(world, task, name, regs)


def _wait(world: World, task: Task, name: str, regs: Registers) -> Operation:
    return WaitForSignal(world, task, name, regs)


def _ask_pending(_world: World, task: Task, name: str, regs: Registers) -> Operation:
    return Plain(name, regs, Action.READ, task.process.name)


TABLE: dict[str, Model] = {
    **dict.fromkeys(("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"), _kill),
    "pidfd_send_signal": _send_to_descriptor,
    "rt_sigaction": _disposition,
    "rt_sigprocmask": _disposition,
    "pause": _pause,
    "rt_sigsuspend": _pause,
    "rt_sigtimedwait": _wait,
    "rt_sigpending": _ask_pending,
}
