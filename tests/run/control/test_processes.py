"""Births, other programs, ends: whatever a process can become is followed."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.detect import findings
from lab.finding import Kind
from lab.run.root import Command
from lab.trace import Action, Ending, Trace
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, endings, explore, order, outputs, run, steps


def test_nested_forks_are_named_by_birth_and_know_their_parents() -> None:
    def descend(depth: int) -> int:
        child = os.fork() if depth < 3 else -1
        if child == 0:
            os._exit(descend(depth + 1))
        return depth if child < 0 else os.WEXITSTATUS(os.waitpid(child, 0)[1])

    def body() -> None:
        assert descend(0) == 3

    traces = explore(body, 5)

    completed(traces)
    parents = [(process.name, process.parent, process.status) for process in traces[1].processes]
    assert parents == [("P0", "", 0), ("P1", "P0", 3), ("P2", "P1", 3), ("P3", "P2", 3)]


def test_sixteen_processes_at_once() -> None:
    def body() -> None:
        reader, writer = os.pipe()
        children = []
        for number in range(16):
            child = os.fork()
            if not child:
                time.sleep(0.01)
                os.write(writer, bytes([number]))
                os._exit(0)
            children.append(child)
        os.close(writer)
        said = b""
        while chunk := os.read(reader, 100):
            said += chunk
        for child in children:
            os.waitpid(child, 0)
        os.write(1, said)
        assert sorted(said) == list(range(16))

    traces = explore(body, 4)

    completed(traces)
    assert len(outputs(traces)) == 4
    assert len(traces[0].processes) == 17


def test_a_shell_pipeline() -> None:
    command = Command(("sh", "-c", "printf 'a\\nb\\n' | sort -r | (read x; echo $x; cat)"))

    traces = explore(command, 6)

    completed(traces)
    assert outputs(traces) == {"b\na\n"}


def test_a_pipeline_whose_reader_leaves_ends_by_sigpipe() -> None:
    traces = explore(Command(("sh", "-c", "yes | head -n 1; echo $?")), 4)

    completed(traces)
    assert outputs(traces) == {"y\n0\n"}
    assert -signal.SIGPIPE in {process.status for process in traces[0].processes}


def test_a_subprocess_talks_through_pipes() -> None:
    def body() -> None:
        done = subprocess.run(["cat"], input=b"hello", capture_output=True, check=True)
        assert done.stdout == b"hello"

    completed(explore(body, 5))


def test_communicate_with_a_filter_that_answers_more_than_a_pipe_holds() -> None:
    def body() -> None:
        program = "import sys; sys.stdout.write(sys.stdin.read() * 2)"
        with subprocess.Popen(
            [sys.executable, "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            out, _ = child.communicate(b"x" * 100_000)
        assert len(out) == 200_000

    completed(explore(body, 2, repeats=3))


def test_a_python_program_and_its_virtual_clock() -> None:
    program = """
import time
begun = time.monotonic()
time.sleep(3600)
print(round(begun), round(time.monotonic() - begun))
"""

    traces = explore(Command((sys.executable, "-c", program)), 3)

    completed(traces)
    assert outputs(traces) == {"1000 3600\n"}


@pytest.mark.parametrize("how", ["vfork", "posix_spawn"])
def test_a_child_that_borrows_its_parents_memory(compiled: Compile, how: str) -> None:
    source = r"""
    #include <spawn.h>
    #include <stdio.h>
    #include <sys/wait.h>
    #include <unistd.h>
    extern char **environ;
    int main(int argc, char **argv) {
        int status;
        pid_t child;
        char *arguments[] = {"sh", "-c", "exit 7", 0};
    #ifdef VFORK
        child = vfork();
        if (!child) { execv("/bin/sh", arguments); _exit(1); }
    #else
        posix_spawn(&child, "/bin/sh", 0, 0, arguments, environ);
    #endif
        waitpid(child, &status, 0);
        printf("%d\n", WEXITSTATUS(status));
        if (!(child = vfork())) _exit(5);
        waitpid(child, &status, 0);
        printf("%d\n", WEXITSTATUS(status));
        return 0;
    }
    """
    traces = explore(compiled(source, *(["-DVFORK"] if how == "vfork" else [])), 5)

    completed(traces)
    assert outputs(traces) == {"7\n5\n"}
    assert [event.process for event in steps(traces[0], Action.EXEC)] == ["P0", "P1"]


def test_a_program_that_cannot_be_executed() -> None:
    def body() -> None:
        with pytest.raises(FileNotFoundError):
            os.execv("/nowhere", ["nowhere"])

    completed(explore(body, 2))


def test_a_search_along_path_is_no_step_where_nothing_is() -> None:
    def body(path: str) -> None:
        os.environ["PATH"] = path
        subprocess.run(["true"], check=True)

    there = os.path.dirname(shutil.which("true") or "")
    traces = [run(functools.partial(body, path)) for path in (there, f"/nowhere:/else:{there}")]

    completed(traces)
    assert [(event.process, event.action) for event in traces[0].events] == [
        (event.process, event.action) for event in traces[1].events
    ]


def test_a_static_program(compiled: Compile) -> None:
    source = r"""
    #include <stdio.h>
    #include <time.h>
    int main(void) {
        struct timespec now;
        struct timespec hour = {3600, 0};
        nanosleep(&hour, 0);
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("%ld\n", (long)now.tv_sec);
        return 0;
    }
    """
    traces = explore(compiled(source, "-static"), 2)

    completed(traces)
    assert outputs(traces) == {"4600\n"}


def test_a_process_group_is_waited_for() -> None:
    def body() -> None:
        other = os.fork()
        if not other:
            time.sleep(10)
            os._exit(1)
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            os._exit(2)
        os.setpgid(child, child)
        assert os.waitpid(-child, 0)[0] == child
        again = os.fork()
        if not again:
            os.setpgid(0, 0)
            os._exit(2)
        os.setpgid(again, again)
        found = os.waitid(os.P_PGID, again, os.WEXITED)
        assert found is not None
        assert found.si_pid == again
        assert os.waitpid(0, 0)[0] == other

    completed(explore(body, 8))


def test_a_process_is_waited_for_by_its_descriptor() -> None:
    def body() -> None:
        child = os.fork()
        if not child:
            os._exit(6)
        other = os.fork()
        if not other:
            time.sleep(1)
            os._exit(0)
        handle = os.pidfd_open(child)
        found = os.waitid(os.P_PIDFD, handle, os.WEXITED)
        assert found is not None
        assert found.si_status == 6
        os.waitpid(other, 0)

    completed(explore(body, 6))


def test_stops_and_continuations_are_told_to_the_parent() -> None:
    def body() -> None:
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(3)
        _, status = os.waitpid(child, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        os.kill(child, signal.SIGCONT)
        _, status = os.waitpid(child, os.WCONTINUED)
        if os.WIFCONTINUED(status):
            _, status = os.waitpid(child, 0)
        assert os.WEXITSTATUS(status) == 3

    completed(explore(body, 6))


def test_waitid_tells_of_stops_and_leaves_the_child() -> None:
    def body() -> None:
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(3)
        stopped = os.waitid(os.P_PID, child, os.WSTOPPED)
        assert stopped is not None
        assert stopped.si_status == signal.SIGSTOP
        os.kill(child, signal.SIGCONT)
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        assert os.waitpid(child, 0) == (child, 3 << 8)

    completed(explore(body, 6))


def test_a_child_that_stays_stopped_is_waited_for_in_vain() -> None:
    def body() -> None:
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(3)
        os.waitpid(child, 0)

    trace = run(body)

    assert trace.ending is Ending.STUCK
    assert {(b.process, b.call, b.waits_for) for b in trace.blocked} == {
        ("P0", "wait4", "the exit of P1"),
        ("P1", "stopped", "SIGCONT"),
    }


def test_an_orphan_falls_to_the_reaper_that_the_program_appointed() -> None:
    def body() -> None:
        from lab.kernel import libc

        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        child = os.fork()
        if not child:
            if not os.fork():
                time.sleep(1)
                os._exit(7)
            os._exit(0)
        os.waitpid(child, 0)
        _, status = os.wait()
        assert os.WEXITSTATUS(status) == 7

    traces = explore(body, 6)

    completed(traces)
    assert [findings(trace) for trace in traces] == [()] * 6
    outlived = [trace for trace in traces if trace.process("P2").reaper]
    assert outlived
    assert {trace.process("P2").reaper for trace in outlived} == {"P0"}


def test_a_reaper_that_does_not_wait_leaves_a_zombie_and_one_that_ends_first_an_orphan() -> None:
    def body() -> None:
        from lab.kernel import libc

        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        child = os.fork()
        if not child:
            os.fork()
            os._exit(0)
        os.waitpid(child, 0)

    def kinds(trace: Trace) -> list[tuple[Kind, tuple[str, ...]]]:
        return [(found.kind, found.processes) for found in findings(trace)]

    zombie, orphan = run(body, order("P2", "P1", "P0")), run(body, order("P1", "P0", "P2"))

    assert kinds(zombie) == [(Kind.ZOMBIE, ("P0", "P2"))]
    assert kinds(orphan) == [(Kind.ORPHAN, ("P0", "P2"))]


def test_a_child_made_for_the_grandparent_is_the_grandparents(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <sched.h>
    #include <stdio.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        int ends = 0, status;
        if (!fork()) {
            if (!syscall(SYS_clone, CLONE_PARENT | 17, 0, 0, 0, 0)) { usleep(10); _exit(0); }
            _exit(0);
        }
        while (wait(&status) > 0) ends++;
        printf("%d\n", ends);
        return 0;
    }
    """
    traces = explore(compiled(source), 6)

    completed(traces)
    assert outputs(traces) == {"2\n"}
    assert [process.parent for process in traces[0].processes] == ["", "P0", "P0"]


def test_a_child_that_wants_to_escape_tracing_is_followed_all_the_same(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <sched.h>
    #include <stdio.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        if (!syscall(SYS_clone, CLONE_UNTRACED | 17, 0, 0, 0, 0)) { write(1, "x", 1); _exit(0); }
        return wait(0) < 0;
    }
    """
    traces = explore(compiled(source), 3)

    completed(traces)
    assert outputs(traces) == {"x"}
    assert len(traces[0].processes) == 2


def test_a_child_dies_with_its_parent_where_it_asked_for_that() -> None:
    def body() -> None:
        from lab.kernel import libc

        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            if not os.fork():
                libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
                os.write(writer, b"r")
                while True:
                    signal.pause()
            os.read(reader, 1)
            os._exit(0)
        os.waitpid(child, 0)

    traces = explore(body, 6)

    completed(traces)
    assert {trace.processes[2].status for trace in traces} == {-signal.SIGKILL}


def test_exited_children_of_a_parent_that_ignores_them_are_no_zombies() -> None:
    def body() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(2):
            if not os.fork():
                os._exit(0)
        with pytest.raises(ChildProcessError):
            os.wait()

    traces = explore(body, 6)

    completed(traces)
    assert all(not findings(trace) for trace in traces)


def test_a_fork_that_is_refused_makes_no_child() -> None:
    def body() -> None:
        import resource

        os.setresuid(1, 1, 1)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        with pytest.raises(BlockingIOError):
            os.fork()

    if os.geteuid():
        pytest.skip("only root may become another user")
    traces = explore(body, 2)

    completed(traces)
    assert len(traces[0].processes) == 1


def test_a_program_that_hides_from_tracers_is_followed(compiled: Compile) -> None:
    source = r"""
    #include <stdio.h>
    #include <sys/prctl.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        prctl(PR_SET_DUMPABLE, 0);
        if (!fork()) { write(1, "x", 1); _exit(0); }
        return wait(0) < 0;
    }
    """
    traces = explore(compiled(source), 3)

    if os.geteuid():  # from whom it is hidden: then it cannot be followed, and must not pass
        assert {trace.ending for trace in traces} == {Ending.BROKEN}
        assert "P0 hides what it has open" in traces[0].trouble
        return
    completed(traces)
    assert len(traces[0].processes) == 2


def test_asyncio_runs_a_subprocess(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import asyncio\n"
        "async def main():\n"
        "    child = await asyncio.create_subprocess_exec('sh', '-c', 'echo hi; exit 3',\n"
        "        stdout=asyncio.subprocess.PIPE)\n"
        "    out, _ = await child.communicate()\n"
        "    await asyncio.sleep(60)\n"
        "    print(out, child.returncode)\n"
        "asyncio.run(main())\n"
    )
    traces = explore(Command((sys.executable, str(script))), 3, repeats=4)

    completed(traces)
    assert outputs(traces) == {"b'hi\\n' 3\n"}
    assert endings(traces) == {Ending.COMPLETED}


def test_zombies_of_a_run_that_was_ended_leave_their_pids_to_the_next() -> None:
    def body() -> None:
        for _ in range(8):
            if os.fork() == 0:
                os._exit(0)
        signal.pause()

    (trace,) = explore(body, schedules=1, repeats=30)  # in which every run must have the same PIDs

    assert trace.ending is Ending.STUCK
