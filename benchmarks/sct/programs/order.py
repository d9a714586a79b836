"""Everything under one lock, and yet the order of the critical sections decides."""

from __future__ import annotations

from benchmarks.sct.shared import cells, lock, together


def account() -> None:
    """CS.account_bad: a check that fails once deposit and withdrawal are both done.

    Three tasks; the checker is born first. It expects the balance of another formula, so the bug
    is its coming last.
    """
    start, deposited, withdrawn = 1, 2, 4
    mutex = lock("m")
    shared = cells(start, 0, 0)
    balance, deposit_done, withdraw_done = range(3)

    def check() -> None:
        with mutex:
            if shared[deposit_done] and shared[withdraw_done]:
                assert shared[balance] == start - deposited - withdrawn

    def deposit() -> None:
        with mutex:
            shared[balance] += deposited
            shared[deposit_done] = 1

    def withdraw() -> None:
        with mutex:
            shared[balance] -= withdrawn
            shared[withdraw_done] = 1

    together(check, deposit, withdraw)


def lazy01() -> None:
    """CS.lazy01_bad: one adds 1, one adds 2, and the third must not see 3.

    Three tasks; the checker is born last, so that the bug is the order of birth.
    """
    mutex = lock("m")
    data = cells(0)

    def add(amount: int) -> None:
        with mutex:
            data[0] += amount

    def check() -> None:
        with mutex:
            assert data[0] < 3  # noqa: PLR2004  # 1 + 2: both have been there

    together(lambda: add(1), lambda: add(2), check)


def token_ring() -> None:
    """CS.token_ring_bad: a value goes round three variables; the fourth task wants them equal.

    Four tasks, each one critical section (the original's "atomic" is a lock). They are equal if
    the value goes round in the order of birth.
    """
    atomic = lock("atomic")
    shared = cells(1, 2, 1, 0, 0, 0)
    x1, x2, x3, flag1, flag2, flag3 = range(6)

    def first() -> None:
        with atomic:
            shared[x1] = (shared[x3] + 1) % 4
            shared[flag1] = 1

    def second() -> None:
        with atomic:
            shared[x2] = shared[x1]
            shared[flag2] = 1

    def third() -> None:
        with atomic:
            shared[x3] = shared[x2]
            shared[flag3] = 1

    def check() -> None:
        with atomic:
            if shared[flag1] and shared[flag2] and shared[flag3]:
                assert shared[x1] == shared[x2]
                assert shared[x2] == shared[x3]

    together(first, second, third, check)
