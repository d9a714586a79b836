from __future__ import annotations

import os
import signal
import threading

import pytest

from lab.run import host_turn as module
from lab.run.host_turn import host_turn
from lab.run.limits import LabError
from lab.run.worlds import fork
from tests.forked import stranger


def held_by_another() -> bool:
    """Whether somebody else would have to wait now."""
    child = fork()
    if child == 0:
        status = 1
        try:
            descriptor = os.open("/dev/shm", os.O_RDONLY)
            module._acquire(descriptor, patience=0)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] != 0


def test_only_one_run_at_a_time_uses_the_machines_tables() -> None:
    with host_turn(1):
        assert held_by_another()


def test_whoever_comes_second_waits() -> None:
    order = []
    first_is_in, may_leave = threading.Event(), threading.Event()

    def first() -> None:
        with host_turn(1):
            first_is_in.set()
            may_leave.wait()
            order.append("first")

    def second() -> None:
        first_is_in.wait()
        with host_turn(1):
            order.append("second")

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    first_is_in.wait()
    may_leave.set()
    for thread in threads:
        thread.join()

    assert order == ["first", "second"]


def test_a_turn_lasts_as_long_as_a_process_of_the_run() -> None:
    """The lab may be killed: its sandbox is still clearing up."""
    told, tell = os.pipe()

    def lab() -> None:
        with host_turn(1):
            if os.fork() == 0:
                os.write(tell, f"{os.getpid()}\n".encode())
                signal.pause()
            signal.pause()

    with stranger(lab):
        sandbox = int(os.read(told, 100))
    try:
        assert held_by_another()
    finally:
        os.kill(sandbox, signal.SIGKILL)
    os.close(told)
    os.close(tell)


def test_others_that_take_too_long_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_descriptor: int, _operation: int) -> None:
        raise BlockingIOError

    monkeypatch.setattr("lab.run.host_turn.fcntl.flock", never)
    monkeypatch.setattr("lab.run.host_turn.time.monotonic", iter([0.0, 1000.0]).__next__)

    with pytest.raises(LabError, match="another run has used this machine's IPC tables"):
        host_turn(1).__enter__()
