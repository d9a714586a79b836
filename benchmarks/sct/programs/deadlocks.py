"""Two locks, taken in opposite order: plainly, and hidden in a counter of users."""

from __future__ import annotations

import posix_ipc

from benchmarks.sct.shared import cells, lock, together


def deadlock01() -> None:
    """CS.deadlock01_bad: two tasks, two locks, opposite order."""
    a, b = lock("a"), lock("b")
    counter = cells(1)

    def change(first: posix_ipc.Semaphore, second: posix_ipc.Semaphore, amount: int) -> None:
        with first, second:
            counter[0] += amount

    together(lambda: change(a, b, +1), lambda: change(b, a, -1))


def carter01() -> None:
    """CS.carter01_bad: two classes of users; the first of a class locks the other class out.

    Four tasks, of which two do nothing. Whoever waits for the class lock holds the mutex that the
    owner of the class lock needs to give it back.
    """
    mutex, owned = lock("m"), lock("l")
    users = cells(0, 0)

    def use(group: int) -> None:
        with mutex:
            users[group] += 1
            if users[group] == 1:
                owned.acquire()
        with mutex:
            users[group] -= 1
            if users[group] == 0:
                owned.release()

    def nothing() -> None:
        pass

    together(lambda: use(0), lambda: use(1), nothing, nothing)
