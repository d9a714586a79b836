"""Who can move now; and when nobody can, the passing of time, until somebody can again."""

from __future__ import annotations

import time

from lab.run.control.calls.futex import FutexSleep
from lab.run.control.calls.signals import deliverable
from lab.run.control.task import Task, Where
from lab.run.control.world import World

_OUTSIDE, _GLANCE = 2.0, 0.001
"""Seconds that a service outside the run has to answer, and between two looks whether it has."""


def is_enabled(task: Task) -> bool:
    """Whether a task could do its operation now, or would meet a signal that breaks its wait."""
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


def hear_from_outside(world: World, alive: list[Task]) -> bool:
    """Wait for an answer of a service that is no part of the run, for real.

    Returns whether somebody can move now, or may have been woken.
    """
    waiting = [
        task
        for task in alive
        if (operation := task.operation or task.entered) is not None
        and any(world.names.is_outside(thing) for thing in operation.object.split())
    ]
    end = time.monotonic() + _OUTSIDE
    while waiting and time.monotonic() < end:
        for task in waiting:
            if is_enabled(task) or (task.running and not world.machine.sleeps(task)):
                return True
        time.sleep(_GLANCE)  # who sleeps in a call of its own is seen in /proc alone
    return False


def pass_time(world: World, alive: list[Task]) -> bool:
    """Nobody can move: let the clock go on to the first time limit.

    Returns whether there is one.
    """
    deadlines = [
        task.operation.deadline
        for task in alive
        if task.operation is not None and task.operation.deadline is not None
    ]
    deadlines += world.alarms()
    if not deadlines:
        return False
    world.clock = max(world.clock, min(deadlines))
    for task in alive:
        operation = task.operation
        if (
            isinstance(operation, FutexSleep)
            and operation.lazy
            and operation.deadline == min(deadlines)
        ):
            operation.lazy = False
    return True


def fire_timers(world: World) -> None:
    """Let every timer go off that the clock has passed."""
    for timer in world.timers:
        if not timer.deadline or world.clock < timer.deadline:
            continue
        interval = timer.interval
        times = 1 + ((world.clock - timer.deadline) // interval if interval else 0)
        timer.deadline = timer.deadline + times * interval if interval else 0
        timer.go_off(times)
        world.signals_may_be_pending()
