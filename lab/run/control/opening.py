"""Opening guarded pages round a system call that is handed one.

The kernel's own access to a closed page gives EFAULT, not a fault that the tracer sees. So the
mappings that the arguments point into are opened before the call and closed after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab.kernel import ptrace
from lab.kernel.arch import Registers
from lab.kernel.window import Region
from lab.run.control.task import Task

_WORD = 8
_VECTORS = {
    **dict.fromkeys(("readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2"), (1, 2)),
    "vmsplice": (1, 2),
}
"""Calls that take buffers in an array: which argument is the array, and which its length."""
_MESSAGES = {"sendmsg": False, "recvmsg": False, "sendmmsg": True, "recvmmsg": True}
"""Calls that take them in a struct msghdr, or in an array of these."""
_OF_ADDRESSES = frozenset({"mmap", "munmap", "mprotect", "mremap", "shmat", "shmdt"})
"""Calls that take addresses and look at nothing that lies there."""
_MOST = 1024
"""Buffers that one call takes at most (UIO_MAXIOV)."""
_MSGHDR, _MMSGHDR = 56, 64
"""Sizes of these structures; name, vector and its length, and control data are in the first."""


def pointed_into(task: Task, regs: Registers) -> list[Region]:
    """The guarded mappings that a call's arguments, or what they describe, point into."""
    space = task.space
    if not space.regions:
        return []
    found = (space.region_at(pointer) for pointer in _pointers(task, regs))
    return list({id(region): region for region in found if region is not None}.values())


def _pointers(task: Task, regs: Registers) -> list[int]:
    pointers = list(regs.arguments)
    call = regs.call
    if call in _VECTORS:
        place, length = _VECTORS[call]
        pointers += _buffers(task, regs[place], regs[length])
    elif call in _MESSAGES:
        for number in range(min(regs[2], _MOST) if _MESSAGES[call] else 1):
            header = regs[1] + number * _MMSGHDR
            name, _, vector, length, control = (
                task.space.word(header + _WORD * field) for field in range(5)
            )
            pointers += [name, vector, control, *_buffers(task, vector, length)]
    return pointers


def _buffers(task: Task, vector: int, length: int) -> list[int]:
    data = task.space.read(vector, 2 * _WORD * min(length, _MOST))
    return [
        int.from_bytes(data[place : place + _WORD], "little")
        for place in range(0, len(data), 2 * _WORD)
    ]


def open_for_call(task: Task) -> list[Region]:
    """At a stop before a system call: open what it is handed; returns what to close after it."""
    if not task.space.regions:
        return []
    regs = ptrace.registers(task.tid)
    if regs.call in _OF_ADDRESSES:
        return []
    regions = [r for r in pointed_into(task, regs) if r.closed]
    for region in regions:
        set_protection(task, region, region.protection)
    return regions


def close_after_call(task: Task, regions: Sequence[Region]) -> None:
    """Close again what is still there: the call may have taken the mapping away."""
    for region in regions:
        if region in task.space.regions:
            set_protection(task, region, 0)


def set_protection(task: Task, region: Region, protection: int) -> None:
    """Change what the task may do with a mapping, by a call made for the lab."""
    task.machine.inject(task, "mprotect", region.start, region.end - region.start, protection)
