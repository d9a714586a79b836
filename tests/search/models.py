"""Small programs whose bugs are known, and how deep these lie.

Each is a program of the literature reduced to what matters: every lock operation and every access
to a shared variable is one step, computation and tests are free, all variables start at 0.
"""

from __future__ import annotations

from tests.search.toy import Body, Program, Task, acquire, read, release, write


def counter(writers: int = 3, increments: int = 5, *, guarded: bool = False) -> Program:
    """Writers that each add 1 to a shared variable, some times."""

    def writer() -> Task:
        for _ in range(increments):
            if guarded:
                yield acquire("lock")
            value = yield read("n")
            yield write("n", value + 1)
            if guarded:
                yield release("lock")

    return Program({f"P{number}": writer for number in range(1, writers + 1)})


def deadlock01() -> Program:
    """Two locks, taken in opposite order."""

    def adder(first: str, second: str) -> Body:
        def body() -> Task:
            yield acquire(first)
            yield acquire(second)
            value = yield read("c")
            yield write("c", value + 1)
            yield release(second)
            yield release(first)

        return body

    return Program({"P1": adder("a", "b"), "P2": adder("b", "a")})


def account() -> Program:
    """A deposit, a withdrawal, and a check that must not see both done."""

    def transfer(change: int, done: str) -> Body:
        def body() -> Task:
            yield acquire("m")
            balance = yield read("balance")
            yield write("balance", balance + change)
            yield write(done, 1)
            yield release("m")

        return body

    def check() -> Task:
        yield acquire("m")
        if (yield read("deposited")):
            assert not (yield read("withdrawn"))
        yield release("m")

    return Program({"P1": transfer(1, "deposited"), "P2": transfer(-1, "withdrawn"), "P3": check})


def lazy01() -> Program:
    """Three critical sections; the bug is the last of them coming last."""

    def add(amount: int) -> Body:
        def body() -> Task:
            yield acquire("m")
            data = yield read("data")
            yield write("data", data + amount)
            yield release("m")

        return body

    def check() -> Task:
        yield acquire("m")
        assert (yield read("data")) < 3
        yield release("m")

    return Program({"P1": add(1), "P2": add(2), "P3": check})


def twostage() -> Program:
    """Two values kept in step under two locks, one after the other: stale in between."""

    def first() -> Task:
        yield acquire("m1")
        yield write("d1", 1)
        yield release("m1")
        yield acquire("m2")
        value = yield read("d1")
        yield write("d2", value + 1)
        yield release("m2")

    def second() -> Task:
        yield acquire("m1")
        if not (yield read("d1")):
            yield release("m1")
            return
        value = yield read("d1")
        yield release("m1")
        yield acquire("m2")
        assert (yield read("d2")) == value + 1
        yield release("m2")

    return Program({"P1": first, "P2": second})


def reorder(tasks: int) -> Program:
    """Setters of two variables, and a checker who sees the first set and the second not."""

    def setter() -> Task:
        yield write("a", 1)
        yield write("b", -1)

    def checker() -> Task:
        if (yield read("a")) == 0 and (yield read("b")) == 0:
            return
        if (yield read("a")) == 1 and (yield read("b")) == -1:
            return
        raise AssertionError

    setters: dict[str, Body] = {f"P{number}": setter for number in range(1, tasks)}
    return Program({**setters, f"P{tasks}": checker})


def wronglock(others: int) -> Program:
    """One guards the variable by a lock, and the others by another lock."""

    def watcher() -> Task:
        yield acquire("D")
        before = yield read("v")
        value = yield read("v")
        yield write("v", value + 1)
        assert (yield read("v")) == before + 1
        yield release("D")

    def adder() -> Task:
        yield acquire("T")
        value = yield read("v")
        yield write("v", value + 1)
        yield release("T")

    return Program({"P1": watcher, **{f"P{number + 2}": adder for number in range(others)}})
