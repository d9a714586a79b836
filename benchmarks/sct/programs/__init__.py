"""The programs, a family to a file. Each is a plain function whose bug is an assertion or deadlock.

Written from what the originals do, with their names: CS (concurrent-software-benchmarks) and CB
(conc-bugs) in https://github.com/mc-imperial/sctbench. Local computation is Python's; what is
shared in the original is shared here, and read as often. Constants are not: a fork copies them.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.sct.programs.deadlocks import carter01, deadlock01
from benchmarks.sct.programs.driver import bluetooth
from benchmarks.sct.programs.order import account, lazy01, token_ring
from benchmarks.sct.programs.reorder import reorder_3, reorder_4, reorder_5, reorder_10
from benchmarks.sct.programs.stack import stack
from benchmarks.sct.programs.stale import twostage, wronglock_3
from benchmarks.sct.programs.stringbuffer import stringbuffer

Program = Callable[[], None]

PROGRAMS: dict[str, Program] = {
    program.__name__: program
    for program in (
        account,
        lazy01,
        deadlock01,
        twostage,
        reorder_3,
        reorder_4,
        reorder_5,
        reorder_10,
        stack,
        bluetooth,
        token_ring,
        wronglock_3,
        stringbuffer,
        carter01,
    )
}
