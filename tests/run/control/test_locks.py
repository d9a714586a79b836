"""Locks on files that are put in one another's place."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import lab
from lab.trace import Action, Tally
from tests.run.control.controlled import completed, explore, in_children, run, steps


def test_a_lock_is_on_a_file_and_not_on_the_path_that_led_to_it() -> None:
    def body() -> None:
        Path("/tmp/guarded").touch()
        first, second = (os.open("/tmp/guarded", os.O_RDWR) for _ in range(2))
        fcntl.flock(first, fcntl.LOCK_EX)
        Path("/tmp/new").touch()
        os.rename("/tmp/new", "/tmp/guarded")
        third = os.open("/tmp/guarded", os.O_RDWR)
        fcntl.flock(third, fcntl.LOCK_EX)
        fcntl.flock(first, fcntl.LOCK_UN)
        fcntl.flock(second, fcntl.LOCK_EX)
        os.unlink("/tmp/guarded")
        fourth = os.open("/tmp/guarded", os.O_RDWR | os.O_CREAT)
        fcntl.flock(fourth, fcntl.LOCK_EX)

    trace = run(body)

    completed([trace])
    locks = steps(trace, Action.ACQUIRE, Action.RELEASE)
    old, new, last = (f"lock:/tmp/guarded{number}" for number in ("", " (2)", " (3)"))
    assert [event.object for event in locks] == [old, new, old, old, last]


def test_who_waits_for_the_lock_on_a_file_that_is_gone_gets_it_when_it_is_free() -> None:
    def body() -> None:
        done, tell = os.pipe()
        files = [os.open("/tmp/guarded", os.O_RDWR | os.O_CREAT) for _ in range(2)]

        def holds() -> None:
            fcntl.flock(files[0], fcntl.LOCK_EX)
            os.unlink("/tmp/guarded")
            fcntl.flock(files[0], fcntl.LOCK_UN)
            os.read(done, 1)

        def waits() -> None:
            fcntl.flock(files[1], fcntl.LOCK_EX)
            fcntl.flock(files[1], fcntl.LOCK_UN)
            os.write(tell, b".")

        holder = os.fork()
        if not holder:
            holds()
            os._exit(0)
        in_children(waits)
        os.waitpid(holder, 0)

    completed(explore(body, 20, repeats=2))


def test_every_order_of_those_who_replace_a_file_under_its_lock_is_run() -> None:
    def body() -> Tally:
        Path("/tmp/count").write_text("0")

        def add() -> None:
            while True:
                with open("/tmp/count") as old:
                    fcntl.flock(old, fcntl.LOCK_EX)
                    if not os.path.samestat(os.fstat(old.fileno()), os.stat("/tmp/count")):
                        continue
                    new = Path(f"/tmp/{os.getpid()}")
                    new.write_text(str(int(old.read()) + 1))
                    new.replace("/tmp/count")
                    return

        in_children(add, add)
        tally = Tally(2, int(Path("/tmp/count").read_text()))
        os.unlink("/tmp/count")
        return tally

    result = lab.explore(body, strategy="dpor", schedules=500)

    assert (result.verdict, result.exhausted) == (lab.Verdict.PROVED, True)
