"""CS.reorder_N_bad: setters write two variables in turn, and one checker looks in between.

N tasks: N-1 setters, then the checker. No lock at all. The more setters, the more of them can
hide what the first has done: the checker must come between the very first write of `a` and the
very first of `b`.
"""

from __future__ import annotations

from benchmarks.sct.shared import cells, together


def reorder_3() -> None:
    """Two setters."""
    _reorder(2)


def reorder_4() -> None:
    """Three setters."""
    _reorder(3)


def reorder_5() -> None:
    """Four setters."""
    _reorder(4)


def reorder_10() -> None:
    """Nine setters."""
    _reorder(9)


def _reorder(setters: int) -> None:
    shared = cells(0, 0)
    a, b = range(2)

    def write() -> None:
        shared[a] = 1
        shared[b] = -1

    def check() -> None:
        untouched = shared[a] == 0 and shared[b] == 0
        assert untouched or (shared[a] == 1 and shared[b] == -1)

    together(*[write] * setters, check)
