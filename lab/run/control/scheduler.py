"""The loop of a controlled run: who can move, who is chosen, what that does.

Between two steps every task stands still, before its next visible operation or asleep in a call
that it had to enter. So what is enabled is a fact and not a guess, and the run depends on nothing
but the choices.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable

from lab.kernel import procfs, ptrace
from lab.kernel.ptrace import Stop, StopKind
from lab.kernel.window import Space
from lab.run.control.access import at_fault
from lab.run.control.calls.futex import FutexSleep, words_changed_by_exit
from lab.run.control.calls.others import modelled
from lab.run.control.calls.processes import Exit
from lab.run.control.calls.signals import (
    arriving,
    deliverable,
    effective,
    handled,
    name_of,
    restarts,
)
from lab.run.control.catalogue import MODELS
from lab.run.control.guard import close_what_waits
from lab.run.control.lines import line_of
from lab.run.control.machine import Machine, TaskGoneError, UnexpectedStopError, state
from lab.run.control.program import adopt_children, became_another_program, child_of
from lab.run.control.robust import give_up as give_up_locks
from lab.run.control.robust import note as note_locks
from lab.run.control.semaphore import at_breakpoint
from lab.run.control.task import CONTINUED, Effect, Operation, Process, Task, Where
from lab.run.control.timers import Timer
from lab.run.control.world import World, leaders_last
from lab.search.strategy import Pending, Point
from lab.trace import Action, Ending

Choose = Callable[[Point], int]
_CHANGES_NOTHING = frozenset({Action.READ, Action.WAIT, Action.OPEN})
_MOST_PASSED = 1000
_OUTSIDE, _GLANCE = 2.0, 0.001
"""Seconds that a service outside the run has to answer, and between two looks whether it has."""
_PATIENCE = 16
"""How often a task may look at the same thing, and do nothing else, before it is said to spin."""


class Birth(Operation):
    """The first step of a new process or thread."""

    action = Action.START
    call = "start"

    def __init__(self, process: str, *, is_choice: bool) -> None:
        self.object = process
        self.is_choice = is_choice

    def perform(self, _task: Task) -> Effect:
        """Nothing but going on."""
        return Effect()


class Scheduler:
    """Runs one program under one sequence of choices."""

    def __init__(self, world: World, choose: Choose, *, max_steps: int) -> None:
        self.world = world
        self.machine: Machine = world.machine
        self._choose = choose
        self._max_steps = max_steps
        self._last = ""
        self._vain: Counter[tuple[str, str, int]] = Counter()
        """What the task that moved last has done since it, or somebody, last changed something."""
        self._spins = False
        self._passed = 0
        """How often time has passed since the last step."""
        self._told = 0
        """Up to which event the chooser knows the run."""

    def run(self) -> Ending:
        """Move tasks until all have ended, nobody can move, or the bound is reached."""
        world = self.world
        while True:
            self._wake_from_kernel()
            self._fire_timers()
            alive = list(world.alive)
            if not alive:
                return Ending.COMPLETED
            enabled = [task for task in alive if self._enabled(task)]
            if not enabled:
                if self._hear_from_outside(alive) or self._pass_time(alive):
                    continue
                root_lives = world.processes[0].ended is None
                return Ending.STUCK if root_lives else Ending.COMPLETED
            if len(world.events) >= self._max_steps:
                return Ending.ENDLESS
            self.step(self._chosen(enabled, alive))

    def _chosen(self, enabled: list[Task], alive: list[Task]) -> Task:
        for task in enabled:
            operation = task.operation
            if operation is not None and not operation.is_choice:
                return task
        default = self._default(enabled)
        pending = tuple(self._pending(task) for task in enabled)
        blocked = tuple(
            self._pending(task)
            for task in alive
            if task not in enabled and task.where is Where.READY and _of(task).is_choice
        )
        happened = tuple(self.world.events[self._told :])
        self._told = len(self.world.events)
        self._passed = 0
        point = Point(self._told, pending, default, self._last, blocked, happened)
        return enabled[self._choose(point)]

    def _default(self, enabled: list[Task]) -> int:
        """Who goes on by the default order.

        The task that moved last if it can, then the first that does not sleep, then the sleeper
        that wakes first. A task that spins, for what only another could change, gives way to the
        next one: the order would starve that one for ever.
        """
        awake = [i for i, task in enumerate(enabled) if not _of(task).sleeps]
        if self._spins and len(awake) > 1:
            after = next((i for i, t in enumerate(enabled) if t.name == self._last), -1)
            return min(awake, key=lambda i: (i <= after, i))
        for index in awake:
            if enabled[index].name == self._last:
                return index
        if awake:
            return awake[0]
        return min(range(len(enabled)), key=lambda i: (_of(enabled[i]).deadline or 0, i))

    @staticmethod
    def _pending(task: Task) -> Pending:
        return _of(task).pending(task)

    # -- one step -------------------------------------------------------------------------

    def step(self, task: Task) -> None:
        """Let a task do its operation and go on to its next one."""
        operation = task.operation
        if operation is None:
            raise UnexpectedStopError(f"{task.name} has no operation")
        interrupted = not operation.ready()
        if self._signals_come_first(task, operation, interrupted=interrupted):
            self._take_signals_first(task)
            return
        task.operation = None
        if self.world.with_lines:
            operation.where = line_of(task.space)
        try:
            effect = operation.interrupt(task) if interrupted else operation.perform(task)
        except TaskGoneError as gone:
            self.world.record(task, operation, Effect())
            self._gone(task, gone.stop)
            return
        if effect.no_step:
            return
        if operation.is_choice:
            self.world.record(task, operation, effect)
            self._look_for_spinning(task)
            self._last = task.name
        if isinstance(operation, Exit) and operation.whole and len(task.process.tasks) > 1:
            self._end_threads(task)
        elif task.operation is None and task.where is Where.READY:
            self.advance(task)

    def _look_for_spinning(self, task: Task) -> None:
        event = self.world.events[-1]
        if event.action not in _CHANGES_NOTHING:
            task.spins = 0
        if task.name != self._last or event.action not in _CHANGES_NOTHING:
            self._vain.clear()
        place = (event.call, event.object, event.offset)
        self._vain[place] += 1
        self._spins = self._vain[place] > _PATIENCE

    def _end_threads(self, task: Task) -> None:
        """exit_group in a process with several threads: each of them ends."""
        self.machine.resume(task)
        for thread in leaders_last(task.process.tasks):
            self._killed(thread)

    @staticmethod
    def _signals_come_first(task: Task, operation: Operation, *, interrupted: bool) -> bool:
        """Whether the task meets pending signals first, and comes back to its operation then."""
        if interrupted:
            return not handled(task) or (operation.restarts and restarts(task))
        if not task.check_signals or operation.takes_signals:
            return False
        task.check_signals = False
        return bool(arriving(task) if operation.enters else deliverable(task))

    def _take_signals_first(self, task: Task) -> None:
        """Let pending signals reach a task before its operation; it comes back to it after."""
        if task.at_call:
            regs = ptrace.registers(task.tid)
            regs.repeat_call()
            ptrace.set_registers(task.tid, regs)
        _of(task).leave()
        task.operation = None
        self._last = task.name
        self.advance(task)

    # -- going on to the next operation ---------------------------------------------------

    def advance(self, task: Task) -> None:
        """Resume a task until it stands before a visible operation, sleeps, or has ended."""
        while task.operation is None and task.where is Where.READY:
            try:
                if task.space.to_close and not task.running:
                    close_what_waits(task)
                if not task.running:
                    self.machine.resume(task)
                self._met(task, self.machine.wait(task))
            except TaskGoneError as gone:
                self._gone(task, gone.stop)

    def _met(self, task: Task, stop: Stop) -> None:
        """Interpret a stop."""
        match stop.kind:
            case StopKind.CALL:
                regs = ptrace.registers(task.tid)
                task.operation = modelled(self.world, task, regs, MODELS)
            case StopKind.SIGNAL:
                self._signalled(task, stop.value)
            case StopKind.FORKED:
                self._forked(task, stop.value)
            case StopKind.EXECUTED:
                became_another_program(self.world, task)
            case StopKind.EXITED | StopKind.KILLED:
                self._gone(task, stop)
            case StopKind.GROUP_STOP:
                self._group_stopped(task, stop.value)
            case StopKind.NEWBORN | StopKind.VFORK_DONE | StopKind.CALL_DONE:
                return  # go on

    def _signalled(self, task: Task, number: int) -> None:
        if number == signal.SIGSEGV:
            task.operation = at_fault(self.world, task, ptrace.fault_address(task.tid))
            if task.operation is not None:
                return
        elif number == signal.SIGTRAP:
            regs = ptrace.registers(task.tid)
            regs.after_trap()
            if regs.place in task.space.breakpoints:
                task.operation = at_breakpoint(self.world, task, regs)
                return
        task.inject = number
        mask = 1 << number - 1
        note_locks(self.world, task.process)
        if deliverable_now(task) & mask:
            self.world.note(task, Action.DELIVER, name_of(number), task.process.name, None)

    def _forked(self, task: Task, tid: int) -> None:
        child = child_of(self.world, task, tid)
        child.operation = Birth(child.process.name, is_choice=child.process is not task.process)
        if child.process.space is task.space and child.process is not task.process:
            # vfork: the kernel holds the parent until the child has left the common memory.
            task.where = Where.VFORK_PARENT
            self.machine.resume(task)

    def _group_stopped(self, task: Task, number: int) -> None:
        task.where = Where.GROUP_STOPPED
        task.process.stop_to_report = number
        ptrace.listen(task.tid)
        task.running = True

    # -- what others' steps do to a task --------------------------------------------------

    def _wake_from_kernel(self) -> None:
        """Look at tasks that the last step may have woken.

        They were asleep in a call, held after vfork, stopped, or killed. A wake-up takes place
        inside the waker's own call, so a task that still sleeps now was not woken.
        """
        for task in leaders_last(self.world.alive):
            if task.where is Where.READY:
                if task.check_alive and state(task.tid) not in "tT":
                    self._killed(task)
                task.check_alive = False
                continue
            while task.where is not Where.GONE and task.running:
                stop = self._roused(task)
                if stop is None:
                    break
                self._woken(task, stop)

    def _roused(self, task: Task) -> Stop | None:
        """The stop of a task that was asleep or held, if it was roused."""
        if task.where is Where.ENDING:
            return self.machine.try_wait(task)
        if task.where is Where.GROUP_STOPPED:
            # It stands still in its stop; a signal that ends it makes the task stop anew.
            return self.machine.try_wait(task) or (
                None if state(task.tid) in "tT" else self.machine.wait(task)
            )
        return None if self.machine.sleeps(task) else self.machine.wait_or_sleep(task)

    def _woken(self, task: Task, stop: Stop) -> None:
        entered, task.entered = task.entered, None
        before, task.where = task.where, Where.READY
        if stop.kind is StopKind.CALL_DONE and entered is not None:
            result = self.machine.leave_call(task, entered, stop)
            self.world.note(task, entered.action, entered.call, entered.object, result)
        elif stop.kind is StopKind.GROUP_STOP and before is Where.GROUP_STOPPED:
            self._group_stopped(task, stop.value)
            return
        else:
            if before is Where.GROUP_STOPPED and stop.kind is StopKind.NEWBORN:
                task.process.stop_to_report = CONTINUED
            self._met(task, stop)
        self.advance(task)

    def _killed(self, task: Task) -> None:
        """A task that stood still stands no more: SIGKILL. Its end is on the way."""
        while task.where is not Where.GONE:
            self._met_dying(task, self.machine.wait(task))

    def _met_dying(self, task: Task, stop: Stop) -> None:
        if stop.kind in (StopKind.EXITED, StopKind.KILLED):
            self._gone(task, stop)
        else:
            self.machine.resume(task)

    def _gone(self, task: Task, stop: Stop) -> None:
        world, process = self.world, task.process
        task.where, task.operation, task.running = Where.GONE, None, False
        process.tasks.remove(task)
        world.exits += 1
        if not process.tasks:
            self._ended(process, stop)
        give_up_locks(world, task)
        world.waiters = [waiter for waiter in world.waiters if waiter.task is not task]
        words_changed_by_exit(world)
        world.signals_may_be_pending()

    def _ended(self, process: Process, stop: Stop) -> None:
        world = self.world
        process.ended = world.seconds
        process.status = stop.value if stop.kind is StopKind.EXITED else -stop.value
        world.forget_timers(process, Timer)
        process.space.leave()
        for child in process.children:
            if child.ended is None and not child.helper:
                child.orphaned = world.seconds
        adopt_children(world, process)
        reaper = process.reaper
        if reaper is None or reaper.ended is not None:
            process.reaped = (
                world.seconds if reaper is None or process.orphaned is not None else None
            )
        elif os.path.exists(f"/proc/{process.host}"):
            process.waitable = True
        else:
            process.reaped = world.seconds  # its parent ignores SIGCHLD: the kernel reaped it

    # -- time -----------------------------------------------------------------------------

    def _enabled(self, task: Task) -> bool:
        operation = task.operation
        if task.where is not Where.READY or operation is None:
            return False
        if isinstance(operation, FutexSleep) and operation.lazy:
            if operation.waiter.woken:
                return True
        elif operation.ready():
            return True
        # It waits, and a signal with an effect breaks a wait.
        task.check_signals = task.check_signals and bool(deliverable(task))
        return task.check_signals

    def _hear_from_outside(self, alive: list[Task]) -> bool:
        """Wait for an answer of a service that is no part of the run, for real.

        Returns whether somebody can move now, or may have been woken.
        """
        world = self.world
        waiting = [
            task
            for task in alive
            if (operation := task.operation or task.entered) is not None
            and any(world.is_outside(thing) for thing in operation.object.split())
        ]
        end = time.monotonic() + _OUTSIDE
        while waiting and time.monotonic() < end:
            for task in waiting:
                if self._enabled(task) or (task.running and not self.machine.sleeps(task)):
                    return True
            time.sleep(_GLANCE)
        return False

    def _pass_time(self, alive: list[Task]) -> bool:
        """Nobody can move: let the clock go on to the first time limit."""
        deadlines = [
            task.operation.deadline
            for task in alive
            if task.operation is not None and task.operation.deadline is not None
        ]
        deadlines += self.world.alarms()
        # An alarm that comes again and again, to nobody who would hear it, is no way out.
        self._passed += 1
        if not deadlines or self._passed > _MOST_PASSED:
            return False
        self.world.clock = max(self.world.clock, min(deadlines))
        for task in alive:
            operation = task.operation
            if (
                isinstance(operation, FutexSleep)
                and operation.lazy
                and operation.deadline == min(deadlines)
            ):
                operation.lazy = False
        return True

    def _fire_timers(self) -> None:
        world = self.world
        for timer in world.timers:
            if not timer.deadline or world.clock < timer.deadline:
                continue
            interval = timer.interval
            times = 1 + ((world.clock - timer.deadline) // interval if interval else 0)
            timer.deadline = timer.deadline + times * interval if interval else 0
            timer.go_off(times)
            world.signals_may_be_pending()


def deliverable_now(task: Task) -> int:
    """Signals with an effect on a task, whether or not they are pending still."""
    return effective(procfs.signals(task.tid))


def _of(task: Task) -> Operation:
    if task.operation is None:
        raise UnexpectedStopError(f"{task.name} has no operation")
    return task.operation


def first_task(world: World, host: int, space: Space) -> Task:
    """The root process, just seized."""
    process = Process("P0", host, procfs.inner_pid(host), None, space, "", 0.0)
    world.processes.append(process)
    task = Task(host, process, "P0", world.machine)
    process.tasks.append(task)
    world.tasks.append(task)
    return task
