"""The loop of a controlled run: who can move, who is chosen, what that does.

Between two steps every task stands still, before its next visible operation or asleep in a call
that it had to enter. So what is enabled is a fact and not a guess, and the run depends on nothing
but the choices.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from lab.kernel import procfs, ptrace, signal_sets
from lab.kernel.ptrace import Stop, StopKind
from lab.kernel.window import Space
from lab.run.control.access import at_fault
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
from lab.run.control.ends import end_threads, gone, killed
from lab.run.control.guard import close_what_waits
from lab.run.control.lines import line_of
from lab.run.control.machine import Machine, TaskGoneError, state
from lab.run.control.order import DefaultOrder, operation_of
from lab.run.control.passing import fire_timers, hear_from_outside, is_enabled, pass_time
from lab.run.control.program import became_another_program, child_of
from lab.run.control.robust import note as note_locks
from lab.run.control.semaphore import at_breakpoint
from lab.run.control.task import CONTINUED, Effect, Operation, Process, Task, Where
from lab.run.control.unvaried import HANDLER
from lab.run.control.world import World, leaders_last
from lab.search.strategy import Pending, Point
from lab.trace import Action, Ending

Choose = Callable[[Point], int]
_MOST_PASSED = 1000
"""How often the clock goes on without a step before nobody is believed to be woken by it."""


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
        self._anchors = world.names.anchors
        self._choose = choose
        self._max_steps = max_steps
        self._order = DefaultOrder()
        self._passed = 0
        """How often time has passed since the last step."""
        self._told = 0
        """Up to which event the chooser knows the run."""

    def run(self) -> Ending:
        """Move tasks until all have ended, nobody can move, or the bound is reached."""
        world = self.world
        while True:
            self._wake_from_kernel()
            if world.store is not None:
                world.store.calm(world)
            fire_timers(world)
            alive = list(world.alive)
            if not alive:
                return Ending.COMPLETED
            enabled = [task for task in alive if is_enabled(task)]
            if not enabled:
                if hear_from_outside(world, alive) or self._time_passes(alive):
                    continue
                root_lives = world.processes[0].ended is None
                return Ending.STUCK if root_lives else Ending.COMPLETED
            if len(world.events) >= self._max_steps:
                return Ending.ENDLESS
            self.step(self._chosen(enabled, alive))

    def _time_passes(self, alive: list[Task]) -> bool:
        # An alarm that comes again and again, to nobody who would hear it, is no way out.
        self._passed += 1
        return self._passed <= _MOST_PASSED and pass_time(self.world, alive)

    def _chosen(self, enabled: list[Task], alive: list[Task]) -> Task:
        for task in enabled:
            operation = task.operation
            if operation is not None and not operation.is_choice:
                return task
        default = self._order.first(enabled)
        pending = tuple(self._pending(task) for task in enabled)
        blocked = tuple(
            self._pending(task)
            for task in alive
            if task not in enabled and task.where is Where.READY and operation_of(task).is_choice
        )
        happened = tuple(map(self._anchors.told, self.world.events[self._told :]))
        self._told = len(self.world.events)
        self._passed = 0
        point = Point(self._told, pending, default, self._order.last, blocked, happened)
        return enabled[self._choose(point)]

    def _pending(self, task: Task) -> Pending:
        return self._anchors.told(operation_of(task).pending(task))

    # -- one step -------------------------------------------------------------------------

    def step(self, task: Task) -> None:
        """Let a task do its operation and go on to its next one."""
        operation = self._by_now(task)
        interrupted = not operation.ready()
        if self._signals_come_first(task, operation, interrupted=interrupted):
            self._take_signals_first(task)
            return
        task.operation = None
        if self.world.with_lines:
            operation.where = line_of(task.space)
        try:
            effect = operation.interrupt(task) if interrupted else operation.perform(task)
        except TaskGoneError as end:
            self.world.record(task, operation, Effect())
            gone(self.world, task, end.stop)
            return
        if effect.no_step:
            return
        if operation.is_choice:
            self.world.record(task, operation, effect)
            self._order.moved(task, self.world.events[-1])
        if isinstance(operation, Exit) and operation.whole and len(task.process.tasks) > 1:
            end_threads(self.world, task)
        elif task.operation is None and task.where is Where.READY:
            self.advance(task)

    def _by_now(self, task: Task) -> Operation:
        """Its operation, found anew if its path may lead elsewhere than when it came to stand here.

        Not before: others would seem to have moved it, and it could not be tried before them.
        """
        operation = operation_of(task)
        if task.at_call and operation.found_at not in (None, self.world.moves):
            anew = modelled(self.world, task, ptrace.registers(task.tid), MODELS)
            task.operation = anew or operation
        return task.operation or operation

    @staticmethod
    def _signals_come_first(task: Task, operation: Operation, *, interrupted: bool) -> bool:
        """Whether the task meets pending signals first, and comes back to its operation then."""
        if interrupted:
            goes_on = operation.always_restarts or (operation.restarts and restarts(task))
            return goes_on or not handled(task)
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
        operation_of(task).leave()
        task.operation = None
        self._order.last = task.name
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
            except TaskGoneError as end:
                gone(self.world, task, end.stop)

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
                gone(self.world, task, stop)
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
            if signal_sets.signals(task.tid).caught & mask:
                self.world.unvaried[HANDLER] = None

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
                    killed(self.world, task)
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


def deliverable_now(task: Task) -> int:
    """Signals with an effect on a task, whether or not they are pending still."""
    return effective(signal_sets.signals(task.tid))


def first_task(world: World, host: int, space: Space) -> Task:
    """The root process, just seized."""
    process = Process("P0", host, procfs.inner_pid(host), None, space, "", 0.0)
    world.processes.append(process)
    task = Task(host, process, "P0", world.machine)
    process.tasks.append(task)
    world.tasks.append(task)
    return task
