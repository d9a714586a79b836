from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lab.kernel import process_stat
from tests.forked import in_child, stranger

GONE = 1 << 22


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def zombie() -> Iterator[int]:
    """A child that ended with status 7."""
    with stranger(lambda: os._exit(7)) as pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        yield pid


def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    assert process_stat.state(GONE) == "X"
    assert process_stat.is_ending(GONE)
    assert process_stat.image(GONE) == ""
    assert process_stat.command(GONE) == ""
    assert not process_stat.has_waited(GONE)
    assert process_stat.exit_status(GONE) is None


def test_states_are_the_letters_of_proc(zombie: int) -> None:
    with stranger(signal.pause) as pid:
        until(lambda: process_stat.state(pid) == "S")
        os.kill(pid, signal.SIGSTOP)
        until(lambda: process_stat.state(pid) == "T")

    assert process_stat.state(os.getpid()) == "R"
    assert process_stat.state(zombie) == "Z"


def test_a_zombie_has_an_exit_status_and_is_ending(zombie: int) -> None:
    assert process_stat.exit_status(zombie) == 7
    assert process_stat.is_ending(zombie)
    assert process_stat.image(zombie) == ""


def test_a_zombie_that_was_killed_has_the_signal_for_its_status() -> None:
    with stranger(signal.pause) as pid:
        os.kill(pid, signal.SIGTERM)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        assert process_stat.exit_status(pid) == -signal.SIGTERM


def test_one_that_lives_has_no_exit_status_and_is_not_ending() -> None:
    assert process_stat.exit_status(os.getpid()) is None
    assert not process_stat.is_ending(os.getpid())


def test_a_process_whose_first_thread_has_ended_lives() -> None:
    def body() -> None:
        threading.Thread(target=signal.pause).start()
        ctypes.CDLL(None).syscall(60, 0)  # exit: of this thread alone

    with stranger(body) as pid:
        until(lambda: process_stat.state(pid) == "Z")
        assert not process_stat.is_ending(pid)


def test_an_image_stays_from_fork_to_fork_and_changes_with_exec() -> None:
    mine = process_stat.image(os.getpid())

    with stranger(signal.pause) as forked:
        assert process_stat.image(forked) == mine
    with stranger(lambda: os.execlp("sleep", "sleep", "60")) as executed:
        until(lambda: process_stat.command(executed) == "sleep 60")
        assert process_stat.image(executed) not in ("", mine)


def test_a_command_line_is_told_with_its_arguments() -> None:
    with stranger(lambda: os.execlp("sleep", "sleep", "60")) as pid:
        until(lambda: process_stat.command(pid) == "sleep 60")


def test_one_without_a_command_line_is_told_by_its_name(zombie: int) -> None:
    assert process_stat.command(zombie).startswith("[")


def test_a_name_with_parentheses_and_blanks_confuses_nobody() -> None:
    name = ctypes.create_string_buffer(b") Z 1 (")

    def body() -> None:
        ctypes.CDLL(None).prctl(15, name)
        signal.pause()

    with stranger(body) as pid:
        until(lambda: process_stat.state(pid) == "S")
        assert not process_stat.is_ending(pid)


def test_who_has_waited_for_a_child_had_one() -> None:
    def before_and_after() -> tuple[bool, bool]:
        before = process_stat.has_waited(os.getpid())
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        return before, process_stat.has_waited(os.getpid())

    assert in_child(before_and_after) == (False, True)
