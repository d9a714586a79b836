"""Programs with two outcomes or more, and what a search that has come to its end finds of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from lab import Tally
from tests.run.control.controlled import proved

Body = Callable[[], int]


def outcomes(body: Body) -> set[float]:
    """What a body returns, over all the runs of a search that has come to its end."""
    dpor, traces = proved(lambda: Tally(0, body()))
    assert dpor.exhausted
    return {trace.tally.actual for trace in traces if isinstance(trace.tally, Tally)}


def children(*works: Body) -> list[int]:
    """Let each be done by a child, which ends with what it returns."""
    found = []
    for work in works:
        child = os.fork()
        if child == 0:
            os._exit(work())
        found.append(child)
    return found


def statuses(pids: Iterable[int]) -> int:
    """With what children ended, one decimal each; 9 if by a signal."""
    number = 0
    for pid in pids:
        status = os.waitpid(pid, 0)[1]
        number = number * 10 + (9 if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status))
    return number


def both(one: Body, other: Body) -> set[float]:
    """The outcomes of two children beside one another, whoever is born first."""
    found = outcomes(lambda: statuses(children(one, other)))
    swapped = outcomes(lambda: statuses(reversed(children(other, one))))
    assert found == swapped
    return found


def is_there(path: str) -> int:
    return int(os.path.exists(path))
