"""Programs without end, without bound, without manners: each run ends, and the next is unharmed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.run.control import Runner, in_controller
from lab.run.limits import Limits
from lab.run.root import Function
from lab.trace import Ending, Tally, Trace
from tests.run.control.controlled import completed, explore, order, run


def test_a_program_that_goes_on_for_ever_is_endless() -> None:
    def body() -> None:
        reader, writer = os.pipe()
        while True:
            os.write(writer, b"x")
            os.read(reader, 1)

    trace = run(body, max_steps=300)

    assert trace.ending is Ending.ENDLESS
    assert len(trace.events) == 300


def test_a_computation_without_a_visible_operation_ends_at_the_time_limit() -> None:
    def body() -> None:
        while True:
            pass

    before = time.monotonic()
    trace = run(body, seconds=0.5)

    assert trace.ending is Ending.TIMED_OUT
    assert time.monotonic() - before < 60


def test_a_time_limit_may_be_over_before_anything_has_begun() -> None:
    trace = run(lambda: None, seconds=1e-9)

    assert trace.ending is Ending.TIMED_OUT


def test_a_fork_bomb_is_stopped_at_the_bound() -> None:
    def body() -> None:
        while True:
            os.fork()

    trace = run(body, processes=20, seconds=60)

    assert trace.ending is Ending.OVERRUN
    assert len(trace.processes) == 21


def test_many_processes_one_after_the_other_are_none_too_many() -> None:
    def body() -> None:
        for _ in range(30):
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)

    completed(explore(body, 2, repeats=3, processes=5))


def test_a_megabyte_of_output_is_cut_and_counted() -> None:
    trace = run(lambda: sys.stdout.write("x" * (1 << 20)) and None)

    completed([trace])
    assert len(trace.output) < 1 << 18
    assert "more bytes" in trace.output


def bomb() -> None:
    while True:
        os.fork()


def spin() -> None:
    while True:
        pass


def break_down() -> None:
    raise ZeroDivisionError


def vanish() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def abandon() -> None:
    if not os.fork():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()


def litter() -> None:
    import posix_ipc
    import sysv_ipc

    posix_ipc.Semaphore("/litter", posix_ipc.O_CREX)
    sysv_ipc.Semaphore(0x11, sysv_ipc.IPC_CREX)
    sysv_ipc.SharedMemory(0x11, sysv_ipc.IPC_CREX, size=4096)
    posix_ipc.SharedMemory("/litter", posix_ipc.O_CREX, size=4096)
    posix_ipc.MessageQueue("/litter", posix_ipc.O_CREX, max_messages=1, max_message_size=8)
    os.mkdir("/tmp/litter")


def wander() -> None:
    os.chdir("/")
    os.umask(0o777)
    os.closerange(0, 1000)


@pytest.mark.parametrize(
    "misdeed", [bomb, spin, break_down, vanish, stop, abandon, litter, wander, sys.exit]
)
def test_after_any_run_the_next_one_is_unharmed(misdeed: Callable[[], Any]) -> None:
    def body() -> Tally:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.write(writer, b"c")
            os._exit(0)
        os.write(writer, b"p")
        first = os.read(reader, 1)
        os.waitpid(child, 0)
        if first == b"c":  # the schedule decides which of the two programs this is
            misdeed()
            return Tally(0, 0)
        assert not os.path.exists("/tmp/behaved")
        with open("/tmp/behaved", "w") as file:
            file.write("x")
        return Tally(3, child)

    def work(runner: Runner, _report: Callable[[object], None]) -> list[Trace]:
        bad, good = order("P1", "P0")(), order("P0", "P1")()
        return [runner.run(chooser, max_steps=2000) for chooser in (bad, good, bad, good, good)]

    traces = in_controller(work, Function("both", body), Limits(seconds=0.7, processes=30))

    good = [trace for trace in traces if trace.tally == Tally(3, 3)]
    assert len(good) == 3
    completed(good)
    assert good[0] == good[1] == good[2] == traces[-1]


def test_what_a_run_does_to_files_that_were_there_is_undone(tmp_path: Path) -> None:
    for name in ("changed", "removed", "folder/inner", "folder/removed", "gone/deep"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "changed").chmod(0o640)
    before = os.stat(tmp_path / "changed").st_mode

    def body() -> None:
        assert (tmp_path / "changed").read_text() == "changed"
        assert os.stat(tmp_path / "changed").st_mode == before
        assert sorted(os.listdir(tmp_path)) == ["changed", "folder", "gone", "removed"]
        assert sorted(os.listdir(tmp_path / "folder")) == ["inner", "removed"]
        (tmp_path / "changed").write_text("otherwise")
        (tmp_path / "changed").chmod(0)
        (tmp_path / "removed").unlink()
        (tmp_path / "folder/removed").unlink()
        (tmp_path / "folder/new").touch()
        (tmp_path / "folder").chmod(0)
        shutil.rmtree(tmp_path / "gone")
        (tmp_path / "gone").mkdir()
        (tmp_path / "gone/other").touch()

    completed(explore(body, 2, repeats=3))

    assert (tmp_path / "changed").read_text() == "changed"
    assert sorted(os.listdir(tmp_path)) == ["changed", "folder", "gone", "removed"]
