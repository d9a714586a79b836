"""The tracer process: who may have one, what it costs, and what its end leaves behind."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.kernel import libc, seccomp
from lab.kernel.arch import NUMBERS
from lab.run.control import ControlRefusedError, Runner, in_controller
from lab.run.limits import LabError
from lab.run.root import Function
from lab.run.worlds import best
from lab.trace import Ending, Tally
from tests.forked import in_child
from tests.run.control.controlled import completed, explore, run


def counter() -> Tally:
    memory = mmap.mmap(-1, 4096)
    children = []
    for _ in range(2):
        child = os.fork()
        if not child:
            memory[0] += 1
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return Tally(2, memory[0])


OBJECT = Path("/dev/shm/lab-test-without-end")
"""In the sandbox it is made, on the machine it must never be. Its other objects are others' too."""


def without_end() -> None:
    OBJECT.write_bytes(b"x")
    reader, writer = os.pipe()
    for _ in range(2):
        if not os.fork():
            while True:
                os.write(writer, b"x")
                os.read(reader, 1)
    os.wait()


def explored(runner: Runner, report: Callable[[object], None]) -> None:
    generator = random.Random(1)  # noqa: S311  # to be repeated, not to be secret
    while True:
        runner.run(lambda point: generator.randrange(len(point.enabled)), max_steps=200)
        report("once")


def lab_process(work: Any = explored) -> int:
    """Fork a process that is nothing but the lab, at work on a program without end."""
    lab = os.fork()
    if not lab:
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            in_controller(work, Function("without end", without_end))
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            os._exit(1)
    return lab


def alive() -> list[str]:
    """What lives under this process; what is dead is taken, so that it can be told from it."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
            else:
                found.append(f"{child.name()} {child.status()}")
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    return found


def gone(patience: float = 20.0) -> list[str]:
    """Wait until nobody lives; who still does when patience ends."""
    end = time.monotonic() + patience
    while (left := alive()) and time.monotonic() < end:
        time.sleep(0.005)
    return left


@pytest.mark.parametrize("moment", range(40))
def test_killed_at_any_moment_the_lab_leaves_nobody_and_nothing(moment: int) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()

    lab = lab_process()
    time.sleep(moment / 40 * 0.4)
    os.kill(lab, signal.SIGKILL)

    assert os.waitpid(lab, 0)[1] == signal.SIGKILL
    assert gone() == []
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert not OBJECT.exists()


@pytest.mark.parametrize("moment", range(4))
def test_interrupted_at_any_moment_it_leaves_nobody(moment: int) -> None:
    lab = lab_process()
    time.sleep(0.05 + moment / 4 * 0.3)
    os.kill(lab, signal.SIGINT)

    assert os.waitstatus_to_exitcode(os.waitpid(lab, 0)[1]) == 130
    assert gone() == []


@pytest.mark.parametrize("victim", ["lab-controller", "lab-zygote"])
def test_when_a_part_of_the_lab_is_killed_the_rest_says_so_and_ends(victim: str) -> None:
    def work(runner: Runner, report: Callable[[object], None]) -> None:
        report("begun")
        explored(runner, report)

    def heard(_: object) -> None:
        for child in psutil.Process().children(recursive=True):
            # Those that run, and one that was killed before, may end while they are asked.
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.name() == victim and child.ppid() in (os.getpid(), *controllers()):
                    child.kill()

    def controllers() -> list[int]:
        return [child.pid for child in psutil.Process().children()]

    with pytest.raises(LabError):
        in_controller(work, Function("without end", without_end), heard=heard)

    assert gone() == []


def test_an_ordinary_user_controls_too() -> None:
    if os.geteuid():
        pytest.skip("the tests already run as an ordinary user")

    def refusal() -> str:
        best.cache_clear()
        return best().refusal

    if refused := in_child(refusal, user="nobody"):
        pytest.skip(f"no namespaces for an ordinary user: {refused}")

    def explored_as_nobody() -> list[Any]:
        best.cache_clear()
        return explore(counter, 12)

    traces = in_child(explored_as_nobody, user="nobody")

    completed(traces)
    assert {trace.tally for trace in traces} == {Tally(2, 1), Tally(2, 2)}


def test_a_process_that_hides_what_it_has_open_is_an_error_and_no_pass() -> None:
    if os.geteuid():
        pytest.skip("needs root, to become an ordinary user from whom something can be hidden")

    def hidden() -> None:
        reader, writer = os.pipe()
        libc.prctl(4, 0)  # PR_SET_DUMPABLE
        os.write(writer, b"x")
        os.read(reader, 1)

    def as_nobody() -> tuple[Ending, str]:
        best.cache_clear()
        if best().refusal:
            return Ending.INTERRUPTED, best().refusal
        trace = run(hidden)
        return trace.ending, trace.trouble

    ending, trouble = in_child(as_nobody, user="nobody")

    if ending is Ending.INTERRUPTED:
        pytest.skip(f"no namespaces for an ordinary user: {trouble}")
    assert ending is Ending.BROKEN
    assert trouble.startswith("control was lost: P0 hides")


def refuse(call: str, error: int = errno.EPERM) -> None:
    """From here on the kernel answers with an error, as it does in many containers."""
    load, equal, give = 0x20, 0x15, 0x06
    program = (
        (load, 0, 0, 0),
        (equal, 0, 1, NUMBERS[call]),
        (give, 0, 0, 0x00050000 | error),
        (give, 0, 0, seccomp.RET_ALLOW),
    )
    seccomp.install(b"".join(struct.pack("=HBBI", *step) for step in program))


@pytest.mark.parametrize(
    ("call", "error", "remedies"),
    [
        ("ptrace", errno.EPERM, ("kernel.yama.ptrace_scope", "SYS_PTRACE")),
        ("pidfd_getfd", errno.EPERM, ("SYS_PTRACE", "seccomp=unconfined")),
        ("pidfd_getfd", errno.ENOSYS, ("Linux 5.6", "seccomp=unconfined")),
        ("kcmp", errno.ENOSYS, ("CONFIG_KCMP",)),
    ],
)
def test_where_a_call_is_refused_it_says_what_to_change(
    call: str, error: int, remedies: tuple[str, ...]
) -> None:
    def refused() -> str:
        refuse(call, error)
        try:
            in_controller(
                lambda runner, _: runner.run(lambda point: point.default, max_steps=10),
                Function("counter", counter),
            )
        except ControlRefusedError as refusal:
            return str(refusal)
        return "it was not refused"

    message = in_child(refused)

    assert message.startswith(f"{call} is refused here ({os.strerror(error)})")
    assert all(remedy in message for remedy in remedies)
    assert "\n" not in message
    assert gone() == []


def test_the_command_line_ends_with_3_where_ptrace_is_refused() -> None:
    command = [sys.executable, "-m", "lab", "explore", "counter.posix_unguarded"]
    done = subprocess.run(
        [*command, "--schedules", "1"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: refuse("ptrace"),
        cwd=Path(__file__).parents[3],
    )

    assert done.returncode == 3, done.stdout + done.stderr
    assert "kernel.yama.ptrace_scope" in done.stdout + done.stderr
    assert len((done.stdout + done.stderr).splitlines()) == 1


def test_what_the_work_raises_is_told_and_nobody_stays() -> None:
    def work(_runner: Runner, _report: Callable[[object], None]) -> None:
        raise ZeroDivisionError("in the work")

    with pytest.raises((LabError, ZeroDivisionError), match="in the work"):
        in_controller(work, Function("counter", counter))

    assert gone() == []


def test_what_a_chooser_raises_ends_the_run_and_the_next_one_is_well() -> None:
    def work(runner: Runner, _report: Callable[[object], None]) -> Tally | None:
        def fail(_: object) -> int:
            raise IndexError

        for _ in range(3):
            with pytest.raises(IndexError):
                runner.run(fail, max_steps=100)
        tally = runner.run(lambda point: point.default, max_steps=1000).tally
        assert tally is None or isinstance(tally, Tally)
        return tally

    assert in_controller(work, Function("counter", counter)) == Tally(2, 2)


def test_neither_memory_nor_descriptors_grow_with_the_runs() -> None:
    def work(runner: Runner, _report: Callable[[object], None]) -> list[tuple[int, int]]:
        generator = random.Random(1)  # noqa: S311  # to be repeated, not to be secret
        seen = []
        for _ in range(4):
            for _ in range(75):
                runner.run(lambda point: generator.randrange(len(point.enabled)), max_steps=14)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            seen.append((len(os.listdir("/proc/self/fd")), pages * mmap.PAGESIZE))
        return seen

    # At most 14 steps: many runs are cut short, and those are the ones that could leave something.
    seen = in_controller(work, Function("counter", counter))

    assert len({descriptors for descriptors, _ in seen}) == 1
    assert seen[-1][1] - seen[1][1] < 1 << 20


def test_a_tracer_of_its_own_leaves_the_exits_of_other_children_alone() -> None:
    other = os.fork()
    if not other:
        os._exit(7)

    completed([run(counter)])

    assert os.waitpid(other, 0) == (other, 7 << 8)


def test_two_explorations_at_once_do_not_meet() -> None:
    def named() -> None:
        import posix_ipc

        semaphore = posix_ipc.Semaphore("/same", posix_ipc.O_CREX)
        semaphore.unlink()

    def work(runner: Runner, report: Callable[[object], None]) -> list[Ending]:
        report("begun")
        return [runner.run(lambda point: point.default, max_steps=100).ending for _ in range(10)]

    inner: list[list[Ending]] = []

    def heard(_: object) -> None:
        inner.append(in_controller(work, Function("named", named)))

    assert in_controller(work, Function("named", named), heard=heard) == [Ending.COMPLETED] * 10
    assert inner == [[Ending.COMPLETED] * 10]
