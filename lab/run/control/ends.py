"""Ends: what the end of a task, and of its process, does to everything else."""

from __future__ import annotations

import os

from lab.kernel.ptrace import Stop, StopKind
from lab.run.control.calls.futex import words_changed_by_exit
from lab.run.control.calls.priority import locks_left_by_exit
from lab.run.control.program import adopt_children
from lab.run.control.robust import give_up as give_up_locks
from lab.run.control.task import Process, Task, Where
from lab.run.control.world import World, leaders_last


def gone(world: World, task: Task, stop: Stop) -> None:
    """A task has ended."""
    process = task.process
    task.where, task.operation, task.running = Where.GONE, None, False
    process.tasks.remove(task)
    world.exits += 1
    if not process.tasks:
        _ended(world, process, stop)
    give_up_locks(world, task)
    world.waiters = [waiter for waiter in world.waiters if waiter.task is not task]
    words_changed_by_exit(world)
    locks_left_by_exit(world)
    world.signals_may_be_pending()


def killed(world: World, task: Task) -> None:
    """A task that stood still stands no more: SIGKILL. Its end is on the way."""
    while task.where is not Where.GONE:
        _met_dying(world, task, world.machine.wait(task))


def end_threads(world: World, task: Task) -> None:
    """exit_group in a process with several threads: each of them ends."""
    world.machine.resume(task)
    for thread in leaders_last(task.process.tasks):
        killed(world, thread)


def _met_dying(world: World, task: Task, stop: Stop) -> None:
    if stop.kind in (StopKind.EXITED, StopKind.KILLED):
        gone(world, task, stop)
    else:
        world.machine.resume(task)


def _ended(world: World, process: Process, stop: Stop) -> None:
    process.ended = world.seconds
    process.status = stop.value if stop.kind is StopKind.EXITED else -stop.value
    world.forget_timers(process)
    process.space.leave()
    adopt_children(world, process)
    for child in process.children:
        if child.ended is None and not child.helper and child.reaper is None:
            child.orphaned = world.seconds
    reaper = process.reaper
    if reaper is None or reaper.ended is not None:
        process.reaped = world.seconds if reaper is None or process.orphaned is not None else None
    elif os.path.exists(f"/proc/{process.host}"):
        process.waitable = True
    else:
        process.reaped, process.unawaited = world.seconds, True
