"""Who was born, who died, who was reaped by whom: of real processes, in every kind of sandbox."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.detect import findings
from lab.finding import Kind
from lab.kernel import process_stat
from lab.kernel.libc import PR_SET_CHILD_SUBREAPER, prctl
from lab.run.watch import Watch
from lab.trace import Process, Trace
from tests.forked import in_child, stranger
from tests.run.conftest import Sandbox
from tests.run.looks import be_seen


def kinds(trace: Trace) -> set[Kind]:
    return {finding.kind for finding in findings(trace)}


def only_child(trace: Trace) -> Process:
    (child,) = trace.processes[1:]
    return child


def forked(body: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        body()
        os._exit(0)
    return child


def test_a_child_not_waited_for_at_the_end_is_a_zombie_however_short_its_life(
    sandbox: Sandbox,
) -> None:
    def body() -> None:
        ended = os.pidfd_open(forked(lambda: os._exit(7)))
        os.waitid(os.P_PIDFD, ended, os.WEXITED | os.WNOWAIT)

    trace = sandbox(body)

    assert kinds(trace) == {Kind.ZOMBIE}
    child = only_child(trace)
    assert (child.status, child.reaped, child.parent) == (7, None, "P0")
    assert child.ended is not None


def test_a_child_that_was_waited_for_is_none(sandbox: Sandbox) -> None:
    def body() -> None:
        os.waitpid(forked(be_seen), 0)

    trace = sandbox(body)

    assert findings(trace) == ()
    assert only_child(trace).reaped is not None


def test_whoever_ends_before_his_elder_is_none_when_they_are_waited_for_in_order(
    sandbox: Sandbox,
) -> None:
    def body() -> None:
        told, tell = os.pipe()

        def elder() -> None:
            os.read(told, 1)
            be_seen()

        def younger() -> None:
            be_seen()
            os.write(tell, b"!")

        for child in [forked(elder), forked(younger)]:
            os.waitpid(child, 0)

    trace = sandbox(body, zombie_after=60.0)

    assert findings(trace) == ()
    elder, younger = trace.processes[1:]
    assert younger.ended is not None
    assert elder.ended is not None
    assert younger.reaped is not None
    assert younger.ended <= elder.ended <= younger.reaped  # one look may see two ends


def test_a_zombie_that_lasted_too_long_is_one_although_it_was_reaped(sandbox: Sandbox) -> None:
    def body() -> None:
        child = forked(lambda: None)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        be_seen()
        time.sleep(0.2)
        os.waitpid(child, 0)

    assert kinds(sandbox(body, zombie_after=0.1)) == {Kind.ZOMBIE}


def test_a_parent_that_ignores_sigchld_has_no_zombies(sandbox: Sandbox) -> None:
    def body() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        gone = os.pidfd_open(forked(be_seen))
        select.select([gone], [], [])

    trace = sandbox(body)

    assert findings(trace) == ()
    assert only_child(trace).reaped is not None


def test_a_sigchld_handler_that_reaps_leaves_no_zombie(sandbox: Sandbox) -> None:
    def body() -> None:
        gone = threading.Event()

        def reap(*_: object) -> None:
            os.waitpid(-1, os.WNOHANG)
            gone.set()

        signal.signal(signal.SIGCHLD, reap)
        forked(be_seen)
        while not gone.is_set():
            time.sleep(0.01)

    assert findings(sandbox(body)) == ()


def test_a_grandchild_whose_parent_died_without_waiting_is_a_zombie(sandbox: Sandbox) -> None:
    def middle() -> None:
        forked(lambda: os._exit(3))
        be_seen()

    def body() -> None:
        os.waitpid(forked(middle), 0)

    trace = sandbox(body)

    (finding,) = findings(trace)
    assert (finding.kind, finding.object) == (Kind.ZOMBIE, "child of P1")
    assert trace.process("P2").status == 3


@pytest.mark.parametrize("rounds", [40])
def test_a_child_that_ends_right_after_its_parent_is_no_zombie(
    sandbox: Sandbox, rounds: int
) -> None:
    """It is reaped by init, at once. Its parent could not have waited for it."""

    def middle() -> None:
        gone, parent_ends = os.pipe()
        if os.fork() == 0:
            os.close(parent_ends)
            os.read(gone, 1)  # ends when the parent does
            os._exit(0)

    def body() -> None:
        for _ in range(rounds):
            os.waitpid(forked(middle), 0)

    assert kinds(sandbox(body)) <= {Kind.ORPHAN}


def test_whoever_outlives_his_parent_is_an_orphan(sandbox: Sandbox) -> None:
    def body() -> None:
        os.waitpid(forked(lambda: _leave(signal.pause)), 0)

    trace = sandbox(body)

    (finding,) = findings(trace)
    assert finding.kind is Kind.ORPHAN
    assert trace.processes[-1].orphaned is not None
    assert trace.processes[-1].ended is None


def _leave(body: Callable[[], None]) -> None:
    forked(body)
    be_seen()


def test_a_child_that_lives_on_for_a_moment_only_is_no_orphan(sandbox: Sandbox) -> None:
    def body() -> None:
        root = os.getpid()

        def child() -> None:
            while os.getppid() == root:
                time.sleep(0.001)
            be_seen(open_files=False)

        forked(child)

    trace = sandbox(body, orphan_after=20.0)

    assert findings(trace) == ()
    assert only_child(trace).orphaned is None


def test_a_daemon_by_double_fork_is_an_orphan_of_its_middle(sandbox: Sandbox) -> None:
    def middle() -> None:
        os.setsid()
        _leave(signal.pause)

    def body() -> None:
        os.waitpid(forked(middle), 0)

    trace = sandbox(body)

    (finding,) = findings(trace)
    assert (finding.kind, finding.processes) == (Kind.ORPHAN, ("P1", "P2"))


@pytest.mark.parametrize("waits", [True, False])
def test_one_that_falls_to_a_reaper_of_the_program_is_no_orphan_but_may_be_a_zombie(
    waits: bool, sandbox: Sandbox
) -> None:
    def body() -> None:
        gone, middle_ends = os.pipe()

        def outlives_its_parent() -> None:
            os.close(middle_ends)
            os.read(gone, 1)
            be_seen(open_files=False)

        prctl(PR_SET_CHILD_SUBREAPER, 1)
        middle = forked(lambda: _leave(outlives_its_parent))
        os.close(middle_ends)
        os.waitpid(middle, 0)
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        be_seen(open_files=False)
        if waits:
            os.wait()

    trace = sandbox(body)

    assert trace.processes[-1].reaper == "P0"
    assert [(found.kind, found.processes) for found in findings(trace)] == (
        [] if waits else [(Kind.ZOMBIE, ("P0", "P2"))]
    )


def test_the_children_of_an_orphan_do_not_hold_the_end_up(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def orphan() -> None:
        forked(signal.pause)
        signal.pause()

    monkeypatch.setattr("lab.run.init._HELPERS_PATIENCE", 600.0)
    trace = sandbox(lambda: _leave(orphan))

    assert kinds(trace) == {Kind.ORPHAN}
    assert trace.seconds < 300


def test_a_process_whose_first_thread_has_ended_lives(sandbox: Sandbox) -> None:
    def body() -> None:
        def last() -> None:
            be_seen()
            os._exit(5)

        child = os.fork()
        if child == 0:
            threading.Thread(target=last).start()
            ctypes.CDLL(None).syscall(60, 0)  # exit: of this thread alone
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5

    trace = sandbox(body)

    assert findings(trace) == ()
    child = only_child(trace)
    assert child.ended is not None
    assert child.ended > child.started


def test_commands_are_told_as_they_were_executed(sandbox: Sandbox) -> None:
    def body() -> None:
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            be_seen()
            sleeper.kill()

    assert only_child(sandbox(body)).command == "sleep 60"


def test_a_command_that_is_no_utf8_can_be_printed(sandbox: Sandbox) -> None:
    def body() -> None:
        with subprocess.Popen([b"sh", b"-c", b"sleep 60; : \xff"]) as shell:
            be_seen()
            shell.kill()

    commands = [process.command for process in sandbox(body).processes]

    assert any("\\xff" in command for command in commands)
    "".join(commands).encode()


def test_a_child_never_seen_counts_as_started(sandbox: Sandbox) -> None:
    def body() -> None:
        for _ in range(20):
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)

    assert sandbox(body).processes_started > 1


def test_threads_are_no_processes(sandbox: Sandbox) -> None:
    def body() -> None:
        threads = [threading.Thread(target=be_seen) for _ in range(5)]
        for thread in threads:
            thread.start()

    assert sandbox(body).processes_started == 1


@pytest.mark.parametrize("sandbox", ["namespaces"], indirect=True)
def test_a_pid_that_is_given_out_again_is_another_process(sandbox: Sandbox) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can choose the next PID of a namespace")

    def body() -> None:
        first = forked(be_seen)
        os.waitpid(first, 0)
        # Not within the same hundredth of a second: the kernel dates a start no finer.
        time.sleep(0.02)
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(first - 1))
        second = forked(lambda: os._exit(4))
        os.waitid(os.P_PID, second, os.WEXITED | os.WNOWAIT)
        assert second == first

    trace = sandbox(body)

    first, second = trace.processes[1:]
    assert first.pid == second.pid
    assert first.reaped is not None
    assert (second.reaped, second.status) == (None, 4)
    assert [finding.processes for finding in findings(trace)] == [("P0", "P2")]


def test_a_list_of_processes_that_lacks_one_ends_none() -> None:
    """A walk through /proc may miss a process whose parent ends meanwhile."""

    def watched() -> tuple[list[str], list[str]]:
        child = forked(signal.pause)
        listed = [child]
        watch = Watch(lambda: listed, orphan_after=1.0)
        watch.look()
        listed.clear()
        watch.look()
        before = [seen.name for seen in watch.alive]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        watch.look()
        return before, [seen.name for seen in watch.alive]

    assert in_child(watched) == (["P0"], [])


def test_one_look_at_a_sleeper_proves_nothing_however_long_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(*_: int) -> str:
        time.sleep(0.05)
        return "the same sleep"

    def watched() -> list[float | None]:
        with stranger(signal.pause) as child:
            watch = Watch(lambda: [child], orphan_after=1.0)
            watch.look()
            return [watch.look_at_sleeps(), watch.look_at_sleeps()]

    monkeypatch.setattr("lab.kernel.sleeping.sleep_of", slow)
    first, second = in_child(watched)

    assert first is not None
    assert second is not None
    assert first < 0 <= second


def test_one_whom_the_kernel_is_taking_down_is_no_zombie_and_keeps_the_run_moving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To give back some gigabytes takes it seconds, in which a parent can but wait."""

    def watched() -> tuple[list[float | None], float, Process]:
        with stranger(signal.pause) as sleeper:
            child = forked(signal.pause)
            watch = Watch(lambda: [sleeper, child], orphan_after=1.0)
            watch.look()
            monkeypatch.setattr(process_stat, "is_ending", lambda pid: pid == child)
            watch.look()
            unmoved = [watch.look_at_sleeps()]
            os.kill(child, signal.SIGKILL)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
            before = watch.now
            watch.look()
            unmoved.append(watch.look_at_sleeps())
            os.waitpid(child, 0)
            return unmoved, before, watch.processes()[1]

    (leaving, dead), before, child = in_child(watched)

    assert (leaving, dead is None) == (None, False)
    assert child.ended is not None
    assert child.zombie is not None
    assert child.ended < before < child.zombie


def test_all_that_one_look_finds_bears_one_time() -> None:
    """Else the order of a list would decide who was a zombie before whose end."""

    def watched() -> tuple[bool, bool]:
        children = [forked(signal.pause) for _ in range(3)]
        watch = Watch(lambda: children, orphan_after=1.0)
        watch.look()
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        os.waitpid(children[0], 0)
        watch.look()
        ends = {process.ended for process in watch.processes()}
        starts = {process.started for process in watch.processes()}
        for child in children[1:]:
            os.waitpid(child, 0)
        return len(ends) == 1, len(starts) == 1

    assert in_child(watched) == (True, True)
