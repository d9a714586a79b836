"""Programs that misbehave: a clear finding for each, a clean sandbox, no harm to the next."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import posix_ipc
import pytest

from lab.detect import findings
from lab.finding import Finding, Kind, Verdict
from lab.trace import Ending, Messages, Tally, Trace
from lab.verdict import conclude
from tests.run.conftest import Sandbox, in_private


def only_finding(trace: Trace) -> Finding:
    (finding,) = findings(trace)
    return finding


def verdict(trace: Trace) -> Verdict:
    return conclude([trace], scenario="program", seconds=0).verdict


@pytest.fixture
def run(sandbox: Sandbox) -> Callable[..., Trace]:
    """Run a body, and a harmless one after it in the same place."""

    def both(body: Callable[[], Any], **limits: Any) -> Trace:
        trace = sandbox(body, **limits)
        after = sandbox(_harmless)
        assert (findings(after), after.output) == ((), "well\n")
        assert after.tally == Tally(1, 1)
        return trace

    return both


def _harmless() -> Tally:
    os.waitpid(os.spawnlp(os.P_NOWAIT, "true", "true"), 0)
    print("well")  # noqa: T201  # programs print
    return Tally(1, 1)


Run = Callable[..., Trace]


def test_a_body_that_raises_is_a_crash_at_its_line(run: Run) -> None:
    def body() -> None:
        raise ValueError("no such luck")

    finding = only_finding(run(body))

    assert (finding.kind, finding.subject) == (Kind.CRASH, "ValueError")
    assert "no such luck" in finding.summary
    assert "test_bad_programs.py:" in finding.object


def test_an_exception_that_cannot_be_printed_is_a_crash_all_the_same(run: Run) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def body() -> None:
        raise MuteError

    assert only_finding(run(body)).subject == "MuteError"


def test_a_failed_assertion_is_an_invariant(run: Run) -> None:
    def body() -> None:
        total = 14
        assert total == 15, "an update is gone"

    finding = only_finding(run(body))

    assert finding.kind is Kind.INVARIANT
    assert "an update is gone" in finding.summary


def test_an_exit_status_is_a_crash(run: Run) -> None:
    assert only_finding(run(lambda: sys.exit(3))).subject == "exit status 3"


def test_exiting_with_a_text_prints_it_and_is_status_1(run: Run) -> None:
    trace = run(lambda: sys.exit("no luck"))

    assert trace.output == "no luck\n"
    assert only_finding(trace).subject == "exit status 1"


def test_a_killed_root_is_a_crash_by_that_signal(run: Run) -> None:
    assert only_finding(run(lambda: os.kill(os.getpid(), signal.SIGKILL))).subject == "SIGKILL"


def test_a_keyboard_interrupt_of_its_own_is_the_programs(run: Run) -> None:
    def body() -> None:
        raise KeyboardInterrupt

    trace = run(body)

    assert trace.root.status == -signal.SIGINT
    assert only_finding(trace).subject == "KeyboardInterrupt"


def test_forking_without_end_is_ended(run: Run) -> None:
    def body() -> NoReturn:
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(0.01)

    trace = run(body, processes=16)

    assert trace.ending is Ending.OVERRUN
    assert verdict(trace) is Verdict.ERROR


def test_children_that_leave_the_process_group_are_ended_too(run: Run) -> None:
    def body() -> NoReturn:
        while True:
            if os.fork() == 0:
                os.setsid()
                time.sleep(60)

    assert run(body, processes=16).ending is Ending.OVERRUN


def test_zombies_without_end_are_ended(run: Run) -> None:
    def body() -> NoReturn:
        while True:
            if os.fork() == 0:
                os._exit(0)
            time.sleep(0.001)  # so that a fast machine does not run out of PIDs within the limit

    trace = run(body, seconds=0.5)

    assert trace.ending is Ending.TIMED_OUT
    assert Kind.ZOMBIE in {finding.kind for finding in findings(trace)}


def test_orphans_as_fast_as_they_are_reaped_do_not_outlast_the_limit(run: Run) -> None:
    def body() -> NoReturn:
        while True:
            child = os.fork()
            if child == 0:
                os.fork()
                os._exit(0)
            os.waitpid(child, 0)

    assert run(body, seconds=0.5).ending is Ending.TIMED_OUT


def test_a_megabyte_of_output_is_cut_with_a_count(run: Run) -> None:
    trace = run(lambda: print("x" * (1 << 20)))  # noqa: T201  # programs print

    assert trace.output.startswith("xxx")
    assert trace.output.endswith(f"\n[{(1 << 20) + 1 - 65536} more bytes were printed]\n")
    assert trace.root.status == 0


def test_output_without_end_takes_no_memory(run: Run) -> None:
    def body() -> NoReturn:
        while True:
            os.write(1, b"x" * 65536)

    trace = run(body, seconds=0.3)

    assert trace.ending is Ending.TIMED_OUT
    assert len(trace.output) < 70_000


def test_a_program_that_closed_all_descriptors_can_still_return(run: Run) -> None:
    def body() -> Tally:
        os.closerange(0, 65536)
        return Tally(3, 2)

    assert only_finding(run(body)).kind is Kind.LOST_UPDATE


def test_a_program_that_closed_all_descriptors_can_still_raise(run: Run) -> None:
    def body() -> None:
        os.closerange(0, 65536)
        raise ValueError("in the dark")

    assert "in the dark" in only_finding(run(body)).summary


def test_a_program_that_closed_all_descriptors_can_still_exit_with_a_text(run: Run) -> None:
    def body() -> None:
        os.closerange(0, 65536)
        sys.exit("unheard")

    assert only_finding(run(body)).subject == "exit status 1"


def test_changing_directory_changes_nobody_elses(run: Run) -> None:
    before = os.getcwd()

    trace = run(lambda: os.chdir("/proc"))

    assert (trace.root.status, os.getcwd()) == (0, before)


def test_a_working_directory_that_is_gone_hides_no_failure(run: Run) -> None:
    def body() -> None:
        with tempfile.TemporaryDirectory() as place:
            os.chdir(place)
        raise ValueError("nowhere")

    finding = only_finding(run(body))

    assert "nowhere" in finding.summary
    assert "test_bad_programs.py:" in finding.object


def test_a_child_that_ignores_sigterm_is_an_orphan_and_is_ended(run: Run) -> None:
    def body() -> None:
        ready, tell = os.pipe()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(tell, b"!")
            time.sleep(60)
        os.read(ready, 1)

    assert only_finding(run(body)).kind is Kind.ORPHAN


def test_every_signal_to_its_parent_leaves_the_run_alone(run: Run) -> None:
    def body() -> Tally:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if number not in _FATAL_FAULTS:
                os.kill(os.getppid(), number)
        time.sleep(0.05)
        return Tally(1, 1)

    assert findings(run(body)) == ()


_FATAL_FAULTS = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}


def test_a_program_that_kills_its_parent_is_told_so_and_leaves_nothing(
    sandbox: Sandbox, run: Run
) -> None:
    name = f"/lab-parricide-{os.getpid()}"

    def body() -> Tally:
        memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=64)
        child = os.fork()
        if child == 0:
            time.sleep(60)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(0.3)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        memory.unlink()
        return Tally(1, 1)

    trace = run(body)

    if sandbox.private:  # PID 1 takes no signal from those below it
        assert findings(trace) == ()
    else:
        assert trace.ending is Ending.BROKEN
        assert "must not end its own parent" in trace.trouble
        assert verdict(trace) is Verdict.ERROR
    assert not os.path.exists(f"/dev/shm{name}")


@in_private  # on the host it would end the machine, or all that its user has
def test_killing_everybody_kills_only_the_run(run: Run) -> None:
    def body() -> Tally:
        if os.fork() == 0:
            time.sleep(60)
        os.kill(-1, signal.SIGKILL)
        os.wait()
        return Tally(1, 1)

    assert findings(run(body)) == ()


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        (42, "the body returned int"),
        (Tally(3, 2.5), "float"),  # type: ignore[arg-type]
        (Messages((b"raw",), ()), "not all texts"),  # type: ignore[arg-type]
        (Messages(("x" * (1 << 20),), ()), "at most 1048576"),
    ],
    ids=["number", "half-update", "bytes", "megabyte"],
)
def test_a_result_that_is_none_is_a_crash_that_says_why(
    run: Run, result: object, complaint: str
) -> None:
    finding = only_finding(run(lambda: result))

    assert finding.kind is Kind.CRASH
    assert complaint in finding.summary


def test_a_child_that_returns_from_the_body_is_no_second_root(run: Run) -> None:
    def body() -> Tally:
        child = os.fork()
        if child == 0:
            return Tally(1, 0)
        os.waitpid(child, 0)
        return Tally(1, 1)

    assert findings(run(body)) == ()


def test_a_child_that_raises_out_of_the_body_is_no_failure_of_the_root(run: Run) -> None:
    def body() -> Tally:
        child = os.fork()
        if child == 0:
            raise ValueError("in the child")
        return Tally(1, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    trace = run(body)

    assert (findings(trace), trace.failure) == ((), None)
    assert "ValueError: in the child" in trace.output


def test_a_busy_loop_is_a_hang(run: Run) -> None:
    def body() -> NoReturn:
        while True:
            pass

    trace = run(body, seconds=0.3)

    assert trace.ending is Ending.TIMED_OUT
    assert only_finding(trace).kind is Kind.HANG


def test_a_thread_that_waits_in_vain_is_a_hang(run: Run) -> None:
    def body() -> None:
        threading.Thread(target=threading.Event().wait).start()

    trace = run(body, stuck_after=0.2)

    assert trace.ending is Ending.STUCK
    assert only_finding(trace).kind is Kind.HANG


def test_the_root_ends_after_its_threads_as_an_interpreter_does(run: Run) -> None:
    def body() -> None:
        def late() -> None:
            time.sleep(0.05)
            print("the last word")  # noqa: T201  # programs print

        threading.Thread(target=late).start()

    trace = run(body)

    assert (trace.output, trace.ending) == ("the last word\n", Ending.COMPLETED)


def test_a_program_that_blocks_and_catches_every_signal_is_ended(run: Run) -> None:
    def body() -> None:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.fork()
        time.sleep(60)

    assert run(body, seconds=0.3).ending is Ending.TIMED_OUT


def test_a_stopped_program_is_a_hang(run: Run) -> None:
    trace = run(lambda: os.kill(os.getpid(), signal.SIGSTOP), stuck_after=0.2)

    assert trace.ending is Ending.STUCK
    assert [blocked.waits_for for blocked in trace.blocked] == ["SIGCONT"]


@pytest.mark.parametrize("delay", [1e-6, 1e-3, 3e-3])
def test_an_alarm_that_goes_off_when_the_body_has_ended_is_no_failure(
    run: Run, delay: float
) -> None:
    def alarm(*_: object) -> NoReturn:
        raise TimeoutError

    def body() -> Tally:
        signal.signal(signal.SIGALRM, alarm)
        atexit.register(signal.setitimer, signal.ITIMER_REAL, delay)
        return Tally(1, 1)

    trace = run(body)

    assert (trace.root.status, trace.tally) == (0, Tally(1, 1))
