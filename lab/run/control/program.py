"""The life of a controlled process: born by fork, turned into another program by exec."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from lab.kernel import procfs, ptrace
from lab.kernel.arch import injection, vdso
from lab.kernel.kcmp import same_memory
from lab.kernel.ptrace import StopKind
from lab.kernel.window import Space
from lab.run.control.calls.futex import words_changed_by_exit
from lab.run.control.calls.priority import locks_left_by_exit
from lab.run.control.machine import UnexpectedStopError
from lab.run.control.robust import give_up as give_up_locks
from lab.run.control.semaphore import set_breakpoints
from lab.run.control.task import Process, Task, Where
from lab.run.control.timers import PosixTimer
from lab.run.control.world import OverrunError, World

_THREAD_GROUP = re.compile(r"^Tgid:\s*(\d+)", re.MULTILINE)


def command_of(host: int) -> str:
    """The command line of a process."""
    return (procfs.text(host, "cmdline") or "").replace("\0", " ").strip()


def open_memory(host: int) -> int:
    """A descriptor of a process's memory."""
    return os.open(f"/proc/{host}/mem", os.O_RDWR | os.O_CLOEXEC)


def child_of(world: World, parent: Task, tid: int) -> Task:
    """A task that fork, vfork or clone has just made; it is waited for at its first stop."""
    found = _THREAD_GROUP.search(procfs.text(tid, "status") or "")
    tgid = int(found[1]) if found else tid
    if tgid == parent.process.host:
        process = parent.process
        process.born += 1
        name = f"{process.name}.{process.born + 1}"
    else:
        name = f"P{len(world.processes)}"
        process = _child_process(world, parent.process, tid, name)
    task = Task(tid, process, name, world.machine)
    process.tasks.append(task)
    world.tasks.append(task)
    if sum(process.ended is None for process in world.processes) > world.most_processes:
        raise OverrunError
    stop = world.machine.wait(task)
    if stop.kind is StopKind.EXITED or stop.kind is StopKind.KILLED:
        raise UnexpectedStopError(f"{name} ended before its first step")
    return task


def _child_process(world: World, maker: Process, host: int, name: str) -> Process:
    if same_memory(maker.host, host):
        space = maker.space
        space.users += 1
    else:
        space = maker.space.child(open_memory(host))
    # Not always who made it: with CLONE_PARENT a child is its maker's sibling.
    parent = world.by_host(procfs.parent_of(host)) or maker
    process = Process(
        name, host, procfs.inner_pid(host), parent, space, maker.command, world.seconds, parent
    )
    process.restarting = maker.restarting
    parent.children.append(process)
    world.processes.append(process)
    return process


def adopt_children(world: World, process: Process) -> None:
    """A process has ended: its children fall to a reaper that the program chose, or to nobody."""
    for child in process.children:
        if child.reaped is None:
            child.reaper = world.by_host(procfs.parent_of(child.host))
            if child.reaper is not None:
                child.adopted_by = child.reaper
                child.reaper.children.append(child)


def became_another_program(world: World, task: Task) -> None:
    """After exec: the memory is new, so everything that the lab keeps in it must be put there."""
    process = task.process
    for thread in process.tasks:
        give_up_locks(world, thread)
        if thread is not task:
            thread.where = Where.GONE  # exec ends every other thread
    process.tasks[:] = [task]
    task.name = process.name
    process.restarting, process.executed = 0, True
    world.forget_timers(process, PosixTimer)
    world.waiters = [waiter for waiter in world.waiters if waiter.task.process is not process]
    words_changed_by_exit(world)
    locks_left_by_exit(world)
    process.space.leave()
    process.space = Space(open_memory(process.host))
    process.command = command_of(process.host)
    _finish_exec(task)
    image_start = patch_vdso(process.host, process.space)
    _map_page(task, image_start)
    executable = os.path.realpath(f"/proc/{process.host}/exe")
    _break_static(process, executable)


def _finish_exec(task: Task) -> None:
    """From the event in the middle of execve to its end, where registers are the new program's."""
    task.machine.run_to_end_of_call(task)


def patch_vdso(host: int, space: Space) -> int:
    """Make clock readings real system calls; returns the address of the vDSO."""
    found = vdso.find(host)
    if found is None:
        return 0
    start, end = found
    image = space.read(start, end - start)
    for patch in vdso.patches(image):
        os.pwrite(space.memory, patch.code, start + patch.offset)
    return start


def _map_page(task: Task, vdso_start: int) -> None:
    """Map the page of code for the tracer, with a `syscall` instruction borrowed from the vDSO."""
    space, regs = task.space, ptrace.registers(task.tid)
    through = injection.borrow_call(
        regs,
        space.read(vdso_start, _VDSO_SIZE),
        vdso_start,
        "mmap",
        # A second page for the line of a Python program is not needed: none is recorded there.
        (injection.PAGE, injection.SIZE, _READ_EXECUTE, _FIXED_PRIVATE_ANONYMOUS, -1, 0),
    )
    ptrace.set_registers(task.tid, through)
    ends = 0
    while ends < _BEFORE_AND_AFTER:
        task.machine.resume(task, ptrace.SYSCALL)
        stop = task.machine.wait(task)
        if stop.kind is StopKind.CALL_DONE:
            ends += 1
        elif stop.kind is not StopKind.CALL:
            raise UnexpectedStopError(f"{task.name}: {stop} while mapping the lab's page")
    ptrace.set_registers(task.tid, regs)
    injection.write(space.memory, injection.PAGE, injection.CODE)


def _break_static(process: Process, executable: str) -> None:
    """The program's own text: a static binary has its semaphore functions there."""
    for path, start, offset in _texts(process):
        if os.path.realpath(path) == executable:
            set_breakpoints(process.space, executable, start, offset)


def break_everywhere(process: Process) -> None:
    """Breakpoints in everything that a process has mapped already: for a forked root."""
    for path, start, offset in _texts(process):
        set_breakpoints(process.space, path, start, offset)


def _texts(process: Process) -> Iterator[tuple[str, int, int]]:
    """The files of which a process has mapped text: the path, where, and from which offset."""
    for line in (procfs.text(process.host, "maps") or "").splitlines():
        found = _TEXT.match(line)
        if found:
            yield found[3], int(found[1], 16), int(found[2], 16)


_TEXT = re.compile(r"([0-9a-f]+)-[0-9a-f]+ ..x. ([0-9a-f]+) \S+ \d+\s+(/.*)")
_VDSO_SIZE = 0x4000
_READ_EXECUTE, _FIXED_PRIVATE_ANONYMOUS = 5, 0x100022
_BEFORE_AND_AFTER = 2
"""PTRACE_SYSCALL stops a call twice."""
