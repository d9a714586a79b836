"""Who comes from this process: children, zombies, and orphans to whom no tree leads."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.guard import processes as looking
from lab.guard.births import Births
from lab.guard.leak import Kind, Leak
from lab.guard.processes import WORD, Processes, is_alone, now, started, tree
from tests.forked import in_child, stranger, user_of_its_own


@pytest.fixture
def processes(births: Births, monkeypatch: pytest.MonkeyPatch) -> Processes:
    births.begin()
    made = Processes()
    monkeypatch.setenv(WORD, made.word)
    return made


def sleeper() -> subprocess.Popen[bytes]:
    """A program that waits for the end of its input, and has begun: before, it has no command."""
    child = subprocess.Popen(["cat"], 0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    answer(child)
    return child


def answer(child: subprocess.Popen[bytes]) -> None:
    """Have it do something."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"\n")
    assert child.stdout.readline() == b"\n"


def leaks(processes: Processes, births: Births, *pids: int) -> list[Leak]:
    return list(processes.children(frozenset(pids), births))


def test_a_child_that_runs_a_program_is_told_by_its_command(
    processes: Processes, births: Births
) -> None:
    with sleeper() as child:
        (leak,) = leaks(processes, births, child.pid)
        child.communicate()
    assert leak.kind is Kind.CHILD
    assert leak.name == f"cat (PID {child.pid})"
    assert "test_processes.py:" in leak.birth.where


def test_a_program_that_has_not_yet_begun_is_waited_for(
    processes: Processes, births: Births
) -> None:
    """While it executes, a process has no command for some 100 µs, and no environment."""
    for _ in range(10):
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
            (leak,) = leaks(processes, births, child.pid)
            assert leak.name == f"cat (PID {child.pid})"


def test_a_fork_and_a_zombie_are_told_as_what_they_are(
    processes: Processes, births: Births
) -> None:
    if (ended := os.fork()) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    if (lives := os.fork()) == 0:
        signal.pause()
    told = {leak.key[1]: leak for leak in leaks(processes, births, ended, lives)}
    os.kill(lives, signal.SIGKILL)
    os.waitpid(lives, 0)
    os.waitpid(ended, 0)
    assert told[ended].kind is Kind.ZOMBIE
    assert told[ended].note == "nobody waited for it, it ended with -9"
    assert told[lives].name == f"fork of the test process (PID {lives})"
    assert leaks(processes, births, ended) == []  # gone since


def test_multiprocessings_servers_are_nobodys(processes: Processes, births: Births) -> None:
    program = [sys.executable, "-c", "print(); input()", "multiprocessing.forkserver"]
    with subprocess.Popen(program, 0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert leaks(processes, births, child.pid) == []
        child.communicate(b"\n")


@contextmanager
def orphan(*command: str, environment: dict[str, str] | None = None) -> Iterator[int]:
    """A grandchild whose parent has ended, a fork or a program; killed in the end."""
    reader, writer = os.pipe()
    if (parent := os.fork()) == 0:
        if (pid := os.fork()) == 0:
            os.write(writer, str(os.getpid()).encode())
            if command:
                os.execvpe(command[0], command, os.environ if environment is None else environment)
            os.close(writer)
            signal.pause()
        os._exit(0)
    os.waitpid(parent, 0)
    os.close(writer)
    with open(reader) as told:
        pid = int(told.read())  # to the end, when nobody will write: the program has begun
    handle = os.pidfd_open(pid)
    try:
        yield pid
    finally:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        os.kill(pid, signal.SIGKILL)
        ended.poll()
        os.close(handle)


def orphans(processes: Processes, births: Births, since: float) -> list[Leak]:
    return list(processes.orphans(since, births))


def test_an_orphan_is_known_as_a_fork_or_by_the_word_in_its_environment(
    processes: Processes, births: Births
) -> None:
    since = now()
    with orphan() as forked, orphan("sleep", "60") as program:
        told = {leak.key[1]: leak for leak in orphans(processes, births, since)}
    assert told.keys() == {forked, program}
    assert told[forked].name == f"fork of the test process (PID {forked})"
    assert told[program].name == f"sleep 60 (PID {program})"
    assert {leak.kind for leak in told.values()} == {Kind.ORPHAN}


def test_a_process_of_others_and_one_of_before_is_no_orphan_of_the_test(
    processes: Processes, births: Births
) -> None:
    since = now()
    others = {**os.environ, WORD: "another.session"}
    with orphan("sleep", "60") as before:
        assert [leak.key[1] for leak in orphans(processes, births, since)] == [before]
        with orphan("sleep", "61", environment=others):
            assert orphans(processes, births, since) == []


def test_a_look_may_be_repeated(processes: Processes, births: Births) -> None:
    since, first = now(), processes.look_again()
    with orphan() as pid:
        for _ in range(2):
            processes.look_from(first)
            assert [leak.key[1] for leak in orphans(processes, births, since)] == [pid]


def test_pids_that_begin_again_from_below_are_looked_at(
    processes: Processes, births: Births, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = now()
    with orphan() as pid:
        processes.look_from(2**22)
        assert [leak.key[1] for leak in orphans(processes, births, since)] == [pid]
        processes.look_from(2**22)
        monkeypatch.setattr(looking, "_newest", lambda: pid - 1)  # not given out since
        assert orphans(processes, births, since) == []


def test_what_a_fixtures_process_forked_is_the_fixtures(
    processes: Processes, births: Births
) -> None:
    since = now()
    shell = ["sh", "-c", "exec 3<&0; (read line <&3) >&- & echo $!; exec >&-; wait"]
    with subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        inner = int(server.stdout.read())
        processes.give_to(frozenset((server.pid,)), "fixture server (session)")
        assert processes.owners == {server.pid: "fixture server (session)"}
        server.kill()
        server.wait()
        (leak,) = orphans(processes, births, since)
        os.kill(inner, signal.SIGKILL)
    assert leak.key[1] == inner
    assert leak.birth.owner == "fixture server (session)"


def test_activity_tells_who_has_run_and_forgets_who_has_ended(processes: Processes) -> None:
    with sleeper() as server:
        processes.give_to(frozenset((server.pid,)), "fixture server (session)")
        before = processes.activity()
        assert before.keys() == {"fixture server (session)"}
        answer(server)
        after = processes.activity()
        assert (
            after["fixture server (session)"][server.pid]
            > (before["fixture server (session)"][server.pid])
        )
        server.communicate()
    assert processes.activity() == {}
    assert processes.owners == {}


def test_who_is_alone_knows_it() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user who has nothing else")

    def told() -> tuple[bool, bool]:
        if (child := os.fork()) == 0:
            signal.pause()
        alone = is_alone()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return alone, is_alone(frozenset(beside))

    user = user_of_its_own()
    beside: list[int] = []
    assert in_child(told, user=user) == (True, True)
    began, begin = os.pipe()

    def wait() -> None:
        os.write(begin, b".")  # from here on it is that user's
        signal.pause()

    with stranger(wait, user=user) as pid:
        os.read(began, 1)
        assert in_child(told, user=user) == (False, False)
        beside.append(pid)
        assert in_child(told, user=user) == (False, True)
    os.close(began)
    os.close(begin)


def test_a_tree_has_all_descendants() -> None:
    family = "import os; p = os.fork(); p and print(p, flush=True); os.read(0, 1)"
    program = [sys.executable, "-c", family]
    with subprocess.Popen(program, 0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert tree(parent.pid) == {child}
        assert {parent.pid, child} <= tree(os.getpid())
        parent.communicate(b"..")


def test_a_process_has_a_time_of_birth_until_it_is_gone() -> None:
    before = int(now() * os.sysconf("SC_CLK_TCK")) - 1
    with sleeper() as child:
        assert started(child.pid) >= before
        assert started(os.getpid()) <= started(child.pid)
        child.communicate()
    assert started(child.pid) == 0
