"""Calls that set and ask timers. None is a visible operation: what a timer does is one."""

from __future__ import annotations

from lab.kernel import fdinfo, procfs
from lab.kernel.arch import Registers
from lab.kernel.kcmp import same_description
from lab.kernel.window import Space
from lab.run.control.opened import take_duplicate, target_of
from lab.run.control.task import Task
from lab.run.control.timers import Alarm, DescriptorTimer, PosixTimer, Timer
from lab.run.control.timing import CPU_TIME, NANO, now_of, packed, timespec
from lab.run.control.unvaried import UNVARIED_TIMER
from lab.run.control.world import World

_ABSOLUTE = 1
_EVENT_NUMBER, _EVENT_NOTIFY, _EVENT_THREAD = 8, 12, 16
"""Places in struct sigevent, whose first word is the value."""
_NONE, _TO_THREAD = 1, 4
_SPEC = 16
"""Bytes of a struct timespec or timeval: an interval, and the first time behind it."""


def _alarm(world: World, task: Task, _name: str, regs: Registers) -> None:
    timer = _alarm_of(world, task)
    left = _left(world, timer)
    _arm(world, timer, regs[0] * NANO & (1 << 62) - 1, 0)
    task.machine.answer(task, regs, -(-left // NANO))


def _setitimer(world: World, task: Task, _name: str, regs: Registers) -> None:
    if regs[0] & 0xFFFFFFFF:
        return  # a timer of CPU time: real
    timer = _alarm_of(world, task)
    before = _timevals(world, timer)
    if regs[1]:
        first = _timeval(task.space, regs[1] + _SPEC)
        _arm(world, timer, first, _timeval(task.space, regs[1]))
    if regs[2]:
        task.space.write(regs[2], before)
    task.machine.answer(task, regs, 0)


def _getitimer(world: World, task: Task, _name: str, regs: Registers) -> None:
    if not regs[0] & 0xFFFFFFFF:
        task.space.write(regs[1], _timevals(world, _alarm_of(world, task)))
        task.machine.answer(task, regs, 0)


def _timer_create(world: World, task: Task, _name: str, regs: Registers) -> None:
    if task.machine.run_to_end_of_call(task) != 0 or regs[0] & 0xFFFFFFFF in CPU_TIME:
        return
    clock, identifier = regs[0] & 0xFFFFFFFF, task.space.word(regs[2], 4)
    timer = PosixTimer(task.process, clock=clock, identifier=identifier, value=identifier)
    if regs[1]:
        notify = task.space.word(regs[1] + _EVENT_NOTIFY, 4)
        timer.value = task.space.word(regs[1])
        timer.number = 0 if notify == _NONE else task.space.word(regs[1] + _EVENT_NUMBER, 4)
        if notify == _TO_THREAD:
            wanted = task.space.word(regs[1] + _EVENT_THREAD, 4)
            threads = (thread.tid for thread in task.process.tasks)
            timer.thread = next((t for t in threads if procfs.inner_pid(t) == wanted), 0)
    world.timers.append(timer)


def _timer_settime(world: World, task: Task, _name: str, regs: Registers) -> None:
    timer = _posix_timer(world, task, regs)
    if timer is not None:
        _set(world, task, timer, regs, absolute=bool(regs[1] & _ABSOLUTE))


def _timer_gettime(world: World, task: Task, _name: str, regs: Registers) -> None:
    timer = _posix_timer(world, task, regs)
    if timer is not None:
        task.space.write(regs[1], _timespecs(world, timer))
        task.machine.answer(task, regs, 0)


def _timer_delete(world: World, task: Task, _name: str, regs: Registers) -> None:
    timer = _posix_timer(world, task, regs)
    if timer is not None:
        world.timers.remove(timer)


def _timerfd_settime(world: World, task: Task, _name: str, regs: Registers) -> None:
    descriptor = regs[0] & 0xFFFFFFFF
    if target_of(task, descriptor) != "anon_inode:[timerfd]":
        return
    timer = descriptor_timer(world, task, descriptor)
    if timer is None:
        duplicate = take_duplicate(world, task, descriptor)
        if duplicate is None:
            return
        clock = fdinfo.clock_of_timer(task.tid, descriptor)
        timer = DescriptorTimer(None, clock=clock, descriptor=duplicate)
        world.timers.append(timer)
    timer.expirations = 0
    _set(world, task, timer, regs, absolute=bool(regs[1] & _ABSOLUTE))


def _timerfd_gettime(world: World, task: Task, _name: str, regs: Registers) -> None:
    timer = descriptor_timer(world, task, regs[0] & 0xFFFFFFFF)
    if timer is not None:
        task.space.write(regs[1], _timespecs(world, timer))
        task.machine.answer(task, regs, 0)


def descriptor_timer(world: World, task: Task, descriptor: int) -> DescriptorTimer | None:
    """The timer behind a descriptor of a task; None: none that was ever set."""
    for timer in world.timers:
        if isinstance(timer, DescriptorTimer) and same_description(
            task.process.host, descriptor, timer.descriptor
        ):
            return timer
    return None


def _alarm_of(world: World, task: Task) -> Alarm:
    for timer in world.timers:
        if isinstance(timer, Alarm) and timer.process is task.process:
            return timer
    alarm = Alarm(task.process)
    world.timers.append(alarm)
    return alarm


def _posix_timer(world: World, task: Task, regs: Registers) -> PosixTimer | None:
    for timer in world.timers:
        if (
            isinstance(timer, PosixTimer)
            and timer.process is task.process
            and timer.identifier == regs[0] & 0xFFFFFFFF
        ):
            return timer
    return None


def _arm(world: World, timer: Timer, first: int, interval: int) -> None:
    timer.deadline = world.clock + first if first else 0
    if first:
        world.unvaried[UNVARIED_TIMER] = None
    timer.interval = interval


def _left(world: World, timer: Timer) -> int:
    return max(1, timer.deadline - world.clock) if timer.deadline else 0


def _set(world: World, task: Task, timer: Timer, regs: Registers, *, absolute: bool) -> None:
    """timer_settime and timerfd_settime, which take their arguments alike."""
    before = _timespecs(world, timer)
    interval, first = timespec(task.space, regs[2]), timespec(task.space, regs[2] + _SPEC)
    if absolute and first:
        first = max(1, first - now_of(world, timer.clock))
    _arm(world, timer, first, interval)
    if regs[3]:
        task.space.write(regs[3], before)
    if isinstance(timer, DescriptorTimer):
        # The kernel is to forget an expiry that was not read yet, and to have none of its own.
        never = task.machine.lend(task, bytes(2 * _SPEC))
        task.machine.run_changed(task, regs, {2: never, 3: 0})
    else:
        task.machine.answer(task, regs, 0)


def _timespecs(world: World, timer: Timer) -> bytes:
    return packed(timer.interval) + packed(_left(world, timer))


def _timevals(world: World, timer: Timer) -> bytes:
    times = (timer.interval, _left(world, timer))
    parts = (part for time in times for part in (time // NANO, time % NANO // 1000))
    return b"".join(part.to_bytes(8, "little") for part in parts)


def _timeval(space: Space, address: int) -> int:
    return space.word(address) * NANO + space.word(address + 8) * 1000


TABLE = {
    "alarm": _alarm,
    "setitimer": _setitimer,
    "getitimer": _getitimer,
    "timer_create": _timer_create,
    "timer_settime": _timer_settime,
    "timer_gettime": _timer_gettime,
    "timer_delete": _timer_delete,
    "timerfd_settime": _timerfd_settime,
    "timerfd_gettime": _timerfd_gettime,
}
