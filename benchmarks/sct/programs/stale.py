"""A value that is out of date when it is used: between two locks, and under the wrong one."""

from __future__ import annotations

from benchmarks.sct.shared import cells, lock, together


def twostage() -> None:
    """CS.twostage_bad: the second of two values follows the first, under another lock.

    Two tasks. The bug is to look at both when only the first is written.
    """
    lock1, lock2 = lock("m1"), lock("m2")
    shared = cells(0, 0)
    data1, data2 = range(2)

    def write() -> None:
        with lock1:
            shared[data1] = 1
        with lock2:
            shared[data2] = shared[data1] + 1

    def check() -> None:
        with lock1:
            if shared[data1] == 0:
                return
            first = shared[data1]
        with lock2:
            second = shared[data2]
        assert second == first + 1

    together(write, check)


def wronglock_3() -> None:
    """CS.wronglock_3_bad: one task guards the variable by one lock, three by another.

    Four tasks. The bug is any write by the three between the one's first read and its last.
    """
    data_lock, this_lock = lock("data"), lock("this")
    data = cells(0)

    def watch() -> None:
        with data_lock:
            before = data[0]
            data[0] += 1
            assert data[0] == before + 1

    def add() -> None:
        with this_lock:
            data[0] += 1

    together(watch, add, add, add)
