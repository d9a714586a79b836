from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.terminal import Terminal

LAB = [sys.executable, "-m", "lab", "watch"]

DEADLOCK = """
import fcntl, os, sys
def both(first, second, mine, other):
    one = open(first, "w"); fcntl.flock(one, fcntl.LOCK_EX)
    os.write(mine, b"x"); os.read(other, 1)
    two = open(second, "w"); fcntl.flock(two, fcntl.LOCK_EX)
(r1, w1), (r2, w2) = os.pipe(), os.pipe()
for arguments in (("a", "b", w1, r2), ("b", "a", w2, r1)):
    if not os.fork():
        both(*arguments)
print("both are on their way", flush=True)
os.wait()
"""


def watch(*words: str, at: Path, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAB, *words], cwd=at, capture_output=True, text=True, timeout=seconds, check=False
    )


@contextlib.contextmanager
def running(at: Path, program: str) -> Iterator[int]:
    """A program in a session of its own, which is ended with all that it has started."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=at,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_command_is_watched_to_its_end_and_gives_its_status(tmp_path: Path) -> None:
    done = watch("--", "sh", "-c", "echo hello; exit 7", at=tmp_path)
    assert (done.returncode, done.stdout) == (7, "hello\n")
    assert done.stderr.startswith("watching sh -c echo hello; exit 7")
    assert "P0 has ended with status 7; nobody is left" in done.stderr


def test_a_signal_is_a_status_as_a_shell_gives_it(tmp_path: Path) -> None:
    done = watch("--", "sh", "-c", "kill -9 $$", at=tmp_path)
    assert done.returncode == 137
    assert "P0 was ended by signal 9" in done.stderr


def may_look(tmp_path: Path) -> None:
    done = watch("--pid", str(os.getpid()), "--once", at=tmp_path)
    if "may not be read" in done.stderr:
        pytest.skip("only root may look at what others started: kernel.yama.ptrace_scope is set")


def test_what_hangs_now_is_explained(tmp_path: Path) -> None:
    may_look(tmp_path)
    with running(tmp_path, DEADLOCK) as pid:
        done = watch("--pid", str(pid), "--once", at=tmp_path)
    assert done.returncode == 0, done.stderr
    # Who else may come is not known of a tree that was not watched from its start.
    assert re.search(r"\? nobody has moved for \d\.\d s; a time limit, a signal or", done.stderr)
    assert f"P0          {pid}" in done.stderr
    assert done.stderr.count("in flock on ") == 2
    assert re.search(r"lock .* held; → P2 waits; P1\n", done.stderr), done.stderr


def test_a_tree_that_is_gone_ends_the_watch(tmp_path: Path) -> None:
    with running(tmp_path, "import time; print(flush=True); time.sleep(60)") as pid:
        terminal = Terminal("watch", "--pid", str(pid), at=tmp_path)
        terminal.until(r"P0 +\d")
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert terminal.close() == 0
        assert "P0 was ended by signal 9; nobody is left" in terminal.text


def test_on_a_terminal_the_picture_is_drawn_over_below_what_the_program_prints(
    tmp_path: Path,
) -> None:
    program = (
        "import os, time; print('a line', os.isatty(1)); print('a question: ', end='', flush=True);"
        "time.sleep(1.5); print('answered')"
    )
    terminal = Terminal("watch", "--every", "0.1", "--", sys.executable, "-c", program, at=tmp_path)
    assert terminal.close() == 0
    text = terminal.text
    assert "a line True\r\n" in text  # it writes to a terminal, at once
    assert "a question: \r\nwatching " in text  # an unfinished line is part of the picture
    assert "a question: answered\r\n" in text
    assert re.search(r"\x1b\[\d+A\r\x1b\[J", text)  # up, and clear
    assert text.rstrip().endswith("P0 has ended with status 0; nobody is left")


def test_a_deadlock_of_a_command_is_seen_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    terminal = Terminal("watch", "--", sys.executable, "-c", DEADLOCK, at=tmp_path)
    terminal.until("DEADLOCK: P1 and P2 each wait for what only another")
    terminal.type(b"\x03")  # to the program too, as any Ctrl-C
    assert terminal.close() == 130
    assert "nobody is left" in terminal.text


def test_what_lives_on_without_its_parent_is_seen(tmp_path: Path) -> None:
    terminal = Terminal(
        "watch", "--every", "0.1", "--", "sh", "-c", "sleep 60 & exit 0", at=tmp_path
    )
    row = r"ORPHAN: P\d; the parent has ended.*  P\d +(\d+) +(?:[\d.]+ s +)?orphan"
    terminal.until(row)
    found = re.search(row, terminal.text, re.DOTALL)
    assert found
    os.kill(int(found[1]), signal.SIGKILL)
    assert terminal.close() == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "needs a command after --, or --pid"),
        (("--pid", "1", "--", "true"), "needs a command after --, or --pid"),
        (("--once", "--", "true"), "--once goes with --pid"),
        (("--pid", "4194304"), "there is no process 4194304"),
        (("--pid", "no"), "is no count"),
        (("--", "no-such-program"), "there is no program 'no-such-program'"),
    ],
)
def test_a_mistake_is_told_in_a_line(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = watch(*words, at=tmp_path)
    assert done.returncode in (2, 3)
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
