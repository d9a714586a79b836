"""Moving one task and seeing where it stops: the layer over ptrace that knows no operation.

One task moves at a time, so a wait is always for one task. The exceptions are tasks inside the
kernel: a call that acts before it blocks has to be entered, and another task's step may wake it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterator, Mapping

from lab.kernel import libc, ptrace
from lab.kernel.arch import Registers, injection
from lab.kernel.ptrace import Stop, StopKind
from lab.run.control.opening import close_after_call, open_for_call
from lab.run.control.task import Operation, Task, Where

_RESTARTING = frozenset({-512, -513, -514, -516})
"""ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND and ERESTART_RESTARTBLOCK: a signal came first."""
TRAPPED = Stop(StopKind.SIGNAL, signal.SIGTRAP)
_FAULTS = tuple(Stop(StopKind.SIGNAL, number) for number in (signal.SIGSEGV, signal.SIGBUS))
_ALL_BUT_FAULTS = (1 << 64) - 1 & ~sum(
    1 << number - 1
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP, signal.SIGILL, signal.SIGFPE)
)
"""A fault that is blocked ends the process, whatever handler it has."""
TRAP = b"\xcc"
"""int3, the instruction of a breakpoint."""
Place = tuple[int, int, int]
"""Start, length and protection, for mprotect."""


class TaskGoneError(Exception):
    """The task ended where it was expected to stop: it was killed."""

    def __init__(self, task: Task, stop: Stop) -> None:
        super().__init__(task.name)
        self.task = task
        self.stop = stop


class UnexpectedStopError(Exception):
    """A task stopped in a way that the lab has no rule for: an error of the lab."""


class Machine:
    """Resumes tasks and waits for them. Counts stops: they are what a run costs."""

    def __init__(self) -> None:
        self.stops = 0
        self._ends: dict[int, int] = {}
        """Wait statuses of threads whose end had to be taken before it was asked for."""

    def wait(self, task: Task) -> Stop:
        """Wait until a resumed task stops or ends."""
        if task.leads:
            return self._wait_for_leader(task)
        status = self._ends.pop(task.tid, None)
        if status is None:
            _, status = os.waitpid(task.tid, ptrace.WALL)
        return self._stopped(task, status)

    def try_wait(self, task: Task) -> Stop | None:
        """The stop of a resumed task, or None if it has not stopped yet."""
        status = self._ends.pop(task.tid, None)
        if status is not None:
            return self._stopped(task, status)
        tid, status = os.waitpid(task.tid, ptrace.WALL | os.WNOHANG)
        return self._stopped(task, status) if tid else None

    def _wait_for_leader(self, task: Task) -> Stop:
        """Wait for a first thread, whose end the kernel keeps back until the others' are taken."""
        while (stop := self.try_wait(task)) is None:
            if state(task.tid) == "Z":
                for thread in task.process.tasks:
                    if thread is not task and thread.tid not in self._ends:
                        self._ends[thread.tid] = self._end_of(thread)
            else:
                os.sched_yield()
        return stop

    @staticmethod
    def _end_of(thread: Task) -> int:
        """The wait status at the end of a thread that is being killed."""
        while True:
            _, status = os.waitpid(thread.tid, ptrace.WALL)
            if not os.WIFSTOPPED(status):
                return status
            ptrace.resume(thread.tid)

    def end_first_thread(self, task: Task) -> None:
        """Let the first thread of a process end while others go on."""
        self.resume(task)
        while state(task.tid) != "Z":
            os.sched_yield()

    def execute_among_threads(self, task: Task) -> None:
        """Resume a task into an execve that ends its siblings, if it succeeds.

        The kernel waits there until each of them was waited for, and gives the task the thread id
        of the first one.
        """
        self.resume(task)
        first = task.process.host
        while True:
            for thread in task.process.tasks:
                if thread is task or thread.where is Where.GONE or not has_news(thread.tid):
                    continue
                thread.where = Where.GONE
                if thread.tid == first:
                    task.tid = first  # the news there is the new program
                else:
                    self._end_of(thread)
            if has_news(task.tid):
                return
            os.sched_yield()

    def wait_or_sleep(self, task: Task) -> Stop | None:
        """Wait until a resumed task stops, or sleeps in the kernel (None).

        Never by time: it shares our CPU, so giving way lets it run, and its state tells the rest.
        """
        while True:
            stop = self.try_wait(task)
            if stop is not None:
                return stop
            if self.sleeps(task):
                return self.try_wait(task)
            os.sched_yield()

    @staticmethod
    def sleeps(task: Task) -> bool:
        """Whether the kernel has put a task to sleep inside its call, until others do something.

        D, which no signal breaks, is a wait for a disk or for a lock inside the kernel, over by
        itself; but a parent after vfork waits so for its child.
        """
        return state(task.tid) in ("SD" if task.where is Where.VFORK_PARENT else "S")

    def resume(self, task: Task, request: int = ptrace.CONT) -> None:
        """Let a task go on, delivering what is to be delivered."""
        number, task.inject = task.inject, 0
        task.running = True
        ptrace.resume(task.tid, request, number)

    def run_to_end_of_call(self, task: Task) -> int:
        """At a stop before a system call: make it, and return its result.

        Raises TaskGoneError if the task is killed in it.
        """
        opened = open_for_call(task)
        self.resume(task, ptrace.SYSCALL)
        result = self.result_of(task, self.wait(task))
        close_after_call(task, opened)
        return result

    def enter_call(self, task: Task, operation: Operation) -> int | None:
        """Make a call that acts before it blocks; None if it sleeps in the kernel now."""
        operation.opened = open_for_call(task)
        self.resume(task, ptrace.SYSCALL)
        stop = self.wait_or_sleep(task)
        if stop is None:
            task.where, task.entered = Where.IN_KERNEL, operation
            return None
        return self.leave_call(task, operation, stop)

    def leave_call(self, task: Task, operation: Operation, stop: Stop) -> int:
        """The result of a call that was entered, from the stop at its end."""
        result = self.result_of(task, stop)
        close_after_call(task, operation.opened)
        return result

    def result_of(self, task: Task, stop: Stop) -> int:
        """The result of a call, from the stop at its end."""
        if stop.kind is not StopKind.CALL_DONE:
            self._check_alive(task, stop)
            raise UnexpectedStopError(f"{task.name}: {stop} at the end of a call")
        result = ptrace.registers(task.tid).result
        # The kernel will begin again, or return EINTR if a handler has run by then.
        return -errno.EINTR if result in _RESTARTING else result

    @staticmethod
    def set_registers(task: Task, regs: Registers) -> None:
        """Give a stopped task other registers."""
        ptrace.set_registers(task.tid, regs)

    @staticmethod
    def lend(task: Task, data: bytes) -> int:
        """Put data for a call of the task where the lab has room in it; returns the address."""
        injection.write(task.space.memory, injection.SCRATCH, data)
        return injection.SCRATCH

    @staticmethod
    def answer(task: Task, regs: Registers, result: int) -> None:
        """At a stop before a system call: return from it without making it."""
        regs.skip_call(result)
        ptrace.set_registers(task.tid, regs)

    def run_changed(self, task: Task, regs: Registers, arguments: Mapping[int, int]) -> int:
        """Make a call with some other arguments, and put the program's own back.

        A program may count on the registers that it passed: the kernel keeps them.
        """
        changed = regs.copy()
        for index, value in arguments.items():
            changed[index] = value
        ptrace.set_registers(task.tid, changed)
        result = self.run_to_end_of_call(task)
        after = ptrace.registers(task.tid)
        for index in arguments:
            after[index] = regs[index]
        ptrace.set_registers(task.tid, after)
        return result

    def back_before_call(self, task: Task, regs: Registers) -> None:
        """After a call that would have blocked: stand before it again, as if never made."""
        again = regs.copy()
        again.repeat_call()
        ptrace.set_registers(task.tid, again)
        self.resume(task)
        self._until(task, Stop(StopKind.CALL))

    def inject(self, task: Task, call: str, *arguments: int) -> int:
        """Make a system call in a stopped task and put everything back.

        At a stop before a system call of its own, the task comes back to a new such stop.
        """
        regs = ptrace.registers(task.tid)
        at_call = task.at_call
        through = regs.copy()
        if at_call:
            through.repeat_call()
        with self._undisturbed(task):
            self._go_with(task, injection.made_call(through, call, arguments))
            self._until(task, TRAPPED)
            result = ptrace.registers(task.tid).result
            if at_call:
                ptrace.set_registers(task.tid, through)
                self.resume(task)
                self._until(task, Stop(StopKind.CALL))
            else:
                ptrace.set_registers(task.tid, regs)
        return result

    @contextlib.contextmanager
    def _undisturbed(self, task: Task) -> Iterator[None]:
        """Hold back the signals of a task while it does something for the lab.

        A handler must not run in the middle of that, on a stack that is none; nor may the signal
        be taken and sent again, for what came with it would be lost.
        """
        if not task.check_signals:
            yield
            return
        blocked = ptrace.blocked_signals(task.tid)
        ptrace.block_signals(task.tid, _ALL_BUT_FAULTS)
        yield
        ptrace.block_signals(task.tid, blocked)

    def step_instruction(self, task: Task, regs: Registers, place: Place) -> Stop:
        """Run the one instruction at `regs` with a place opened.

        Returns the stop after it: SIGTRAP, SIGSEGV where it touches a further closed place, or
        another fault.
        """
        with self._undisturbed(task):
            self._go_with(task, injection.step_over_open(task.space.memory, regs, place, trap=True))
            return self._until(task, TRAPPED, *_FAULTS)

    def run_instruction(self, task: Task, regs: Registers, place: Place, length: int) -> Stop:
        """Run the one instruction at `regs`, with a place opened, to a trap put behind it.

        Returns the stop after it as `step_instruction` does. A string instruction that faults in
        the middle has done the rounds before, and says so in its registers.
        """
        memory, behind = task.space.memory, regs.place + length
        byte = task.space.read(behind, 1)
        injection.write(memory, behind, TRAP)
        with self._undisturbed(task):
            self._go_with(task, injection.step_over_open(memory, regs, place, trap=False))
            stop = self._until(task, TRAPPED, *_FAULTS)
        injection.write(memory, behind, byte)
        if stop.value == signal.SIGTRAP:
            after = ptrace.registers(task.tid)
            after.place = behind
            ptrace.set_registers(task.tid, after)
        return stop

    def single_step(self, task: Task) -> None:
        """Run one instruction of a stopped task."""
        task.running = True
        ptrace.resume(task.tid, ptrace.SINGLE_STEP)
        self._until(task, TRAPPED, request=ptrace.SINGLE_STEP)

    def run_to_trap(self, task: Task) -> None:
        """Let a stopped task run to a breakpoint of ours."""
        self.resume(task)
        self._until(task, TRAPPED)

    def go_on_closing(self, task: Task, place: Place) -> None:
        """Close a place again and run on, in one resume; or in two, for a signal may be waiting."""
        regs = ptrace.registers(task.tid)
        if task.check_signals:
            regs.run_on()
            ptrace.set_registers(task.tid, regs)
            self.inject(task, "mprotect", *place)
            return
        self._go_with(task, injection.step_over_open(task.space.memory, regs, place, trap=False))

    @staticmethod
    def _go_with(task: Task, regs: Registers) -> None:
        """Resume a task with other registers, delivering nothing."""
        ptrace.set_registers(task.tid, regs)
        task.running = True
        ptrace.resume(task.tid)

    def _stopped(self, task: Task, status: int) -> Stop:
        self.stops += 1
        task.running = False
        stop = ptrace.decode(task.tid, status)
        task.at_call = stop.kind is StopKind.CALL
        return stop

    def _until(self, task: Task, *wanted: Stop, request: int = ptrace.CONT) -> Stop:
        """Wait for one of the wanted stops.

        A signal that comes first is sent again afterwards: its handler must not run in the middle
        of what the task does for the lab.
        """
        early = []
        while True:
            stop = self.wait(task)
            if stop in wanted:
                break
            self._check_alive(task, stop)
            if stop.kind is not StopKind.SIGNAL:
                raise UnexpectedStopError(f"{task.name}: {stop}, expected one of {wanted}")
            early.append(stop.value)
            self.resume(task, request)
        for number in early:
            libc.send_to_thread(task.process.host, task.tid, number)
            task.check_signals = True
        return stop

    @staticmethod
    def _check_alive(task: Task, stop: Stop) -> None:
        if stop.kind in (StopKind.EXITED, StopKind.KILLED):
            raise TaskGoneError(task, stop)


def has_news(tid: int) -> bool:
    """Whether a task has stopped or ended; the news stays for a wait to take."""
    look = os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT | ptrace.WALL
    try:
        return os.waitid(os.P_PID, tid, look) is not None
    except ChildProcessError:
        return False  # it goes by another thread id from now on: see execute_among_threads


def state(tid: int) -> str:
    """The state letter of a task; "X" if there is none."""
    try:
        with open(f"/proc/{tid}/stat", "rb", buffering=0) as stat:
            data = stat.read(512)
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return chr(data[data.rindex(b")") + 2])
