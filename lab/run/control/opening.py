"""Opening guarded pages round a system call that is handed one.

The kernel's own access to a closed page gives EFAULT, not a fault that the tracer sees. So the
mappings that the arguments point into are opened before the call and closed after it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab.kernel.arch import Registers
from lab.kernel.window import Region
from lab.run.control.task import Task


def pointed_into(task: Task, regs: Registers) -> list[Region]:
    """The closed mappings that a call's arguments, or the vectors they name, point into."""
    space = task.space
    if not space.regions:
        return []
    pointers = list(regs.arguments)
    for argument in regs.arguments[1:3]:
        # An iovec, or a msghdr's: a pointer, then a length. Reading too much does no harm.
        if argument > 1 << 16 and any(region.closed for region in space.regions):
            pointers += [space.word(argument), space.word(argument + 16)]
    found = {id(r): r for p in pointers if (r := space.region_at(p)) is not None and r.closed}
    return list(found.values())


@contextlib.contextmanager
def opened_for(task: Task, regs: Registers) -> Iterator[None]:
    """Keep the mappings open that a call needs."""
    regions = pointed_into(task, regs)
    for region in regions:
        set_protection(task, region, region.protection)
    yield
    for region in regions:
        set_protection(task, region, 0)


def set_protection(task: Task, region: Region, protection: int) -> None:
    """Change what the task may do with a mapping, by a call made for the lab."""
    task.machine.inject(task, "mprotect", region.start, region.end - region.start, protection)
