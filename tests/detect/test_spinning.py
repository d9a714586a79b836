from __future__ import annotations

import dataclasses

from lab.detect.spinning import spinning
from tests.detect.events import in_order, read, write
from tests.search.toy import Program, Task, run
from tests.search.toy import read as load
from tests.search.toy import write as store


def test_the_process_that_spins_is_named_with_what_it_does() -> None:
    def waits() -> Task:
        while not (yield load("flag")):
            pass

    def sets() -> Task:
        yield store("n", 1)
        yield store("flag", 1)

    endless = run(Program({"P1": sets, "P2": waits}), lambda p: len(p.enabled) - 1, max_steps=40)

    assert spinning(endless.trace.events) == (
        "P2 took 40 of the last 40 steps, again and again read flag -> 0"
    )


def test_a_loop_of_several_steps_is_told_in_order_with_its_lines() -> None:
    loop = (
        dataclasses.replace(read("P1", 0), where="wait.py:7"),
        dataclasses.replace(write("P1", 0, 0), where="wait.py:8"),
    )

    assert spinning(in_order(write("P2", 0, 1), *loop * 600)) == (
        "P1 took 1000 of the last 1000 steps, again and again read posix-shm:/n -> 0 (wait.py:7), "
        "write posix-shm:/n = 0 (wait.py:8)"
    )


def test_a_loop_that_counts_is_not_told_number_by_number() -> None:
    assert spinning(in_order(*(write("P1", n, n + 1) for n in range(50)))) == (
        "P1 took 50 of the last 50 steps, again and again write posix-shm:/n = 48, "
        "write posix-shm:/n = 49, write posix-shm:/n = 50 and 47 other steps"
    )


def test_without_steps_nobody_is_blamed() -> None:
    assert spinning(()) == ""
