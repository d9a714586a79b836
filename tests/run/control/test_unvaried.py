"""What keeps a program from being proved, although every order of its steps was run."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

import lab
from lab.run.control.unvaried import (
    ATTACHED,
    COUNTS_WAITERS,
    NOTIFIED,
    OUTSIDE_FILE,
    PRIVATE_MAPPING,
)
from tests.run.control.controlled import run


def _limited() -> None:
    semaphore = posix_ipc.Semaphore(None, posix_ipc.O_CREX, initial_value=0)
    semaphore.unlink()
    with contextlib.suppress(posix_ipc.BusyError):
        semaphore.acquire(0.5)


def _armed() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    signal.sigwait({signal.SIGALRM})


def _handles() -> None:
    signal.signal(signal.SIGUSR1, lambda *_: None)
    os.kill(os.getpid(), signal.SIGUSR1)


def _ignores() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGUSR1)


def _in_a_thread() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def _measures() -> None:
    began = time.monotonic()
    time.sleep(0.5)
    assert time.monotonic() > began


def _links() -> None:
    Path("/tmp/one").write_text("1")
    Path("/tmp/two").hardlink_to("/tmp/one")
    Path("/tmp/two").read_text()


def _of_itself() -> None:
    for name in ("self/stat", f"{os.getpid()}/stat", "cpuinfo", "sys/kernel/pid_max"):
        Path("/proc", name).read_text()


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (_limited, "a wait in it has a time limit"),
        (_armed, "it sets a timer"),
        (_handles, "it handles a signal"),
        (_in_a_thread, "it has threads"),
        (_measures, "it reads the clock and sleeps"),
        (lambda: os.pidfd_open(os.getpid()), "it watches processes through descriptors"),
        (lambda: Path("/proc/1/stat").read_text(), "it looks in /proc for what others do"),
        (lambda: Path("/proc/1").exists(), "it looks in /proc for what others do"),
        (lambda: os.listdir("/proc"), "it looks in /proc for what others do"),
        (lambda: Path("/proc/locks").read_text(), "it looks in /proc for what others do"),
    ],
    ids=[
        "time limit",
        "timer",
        "handler",
        "thread",
        "clock and sleep",
        "pidfd",
        "another in proc",
        "whether another is there",
        "all in proc",
        "all locks",
    ],
)
def test_what_is_not_varied_is_told(work: Callable[[], object], told: str) -> None:
    (unvaried,) = run(work).unvaried

    assert unvaried.startswith(told)


def test_a_file_that_the_next_run_would_find_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("1")

    assert run(lambda: Path("here").write_text("1")).unvaried == (OUTSIDE_FILE,)
    assert run(lambda: Path("here").read_text()).unvaried == ()


@pytest.mark.parametrize(
    "work",
    [lambda: None, lambda: time.sleep(0.5), time.time, _links, _ignores, _of_itself],
    ids=["nothing", "sleep", "clock", "links of its own", "ignored signal", "itself in proc"],
)
def test_what_is_in_the_steps_needs_no_word(work: Callable[[], object]) -> None:
    assert run(work).unvaried == ()


def test_python_reads_the_clock_for_its_locks_and_that_does_not_count() -> None:
    def locks() -> None:
        time.sleep(0.5)
        for _ in range(3):
            threading.Lock().acquire()

    assert run(locks).unvaried == ()


def test_who_asks_for_its_parent_meets_the_end_of_it() -> None:
    """A grandchild that is adopted or not: both are found."""

    def body() -> lab.Tally:
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            parent = os.getpid()
            if os.fork() == 0:
                os.write(writer, b"1" if os.getppid() == parent else b"0")
                os._exit(0)
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        return lab.Tally(1, int(os.read(reader, 1)), "parents")

    result = lab.explore(body, strategy="dpor", schedules=60, shrinking=0)
    assert {outcome.result for outcome in result.outcomes} == {"0 of 1 parents", "1 of 1 parents"}


def _maps_its_own() -> None:
    with open("/tmp/mapped", "wb+") as file:
        file.write(b"1")
        file.flush()
        mmap.mmap(file.fileno(), 1, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)


def _counts_waiters() -> None:
    semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
    assert semaphore.waiting_for_nonzero == 0
    semaphore.remove()


def _is_notified() -> None:
    queue = posix_ipc.MessageQueue("/told", posix_ipc.O_CREX, max_messages=1, max_message_size=1)
    queue.request_notification(signal.SIGUSR1)
    queue.close()
    queue.unlink()


def _attaches_what_another_removes() -> None:
    segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=4096)
    child = os.fork()
    if not child:
        sysv_ipc.attach(segment.id).detach()
        os._exit(0)
    os.waitpid(child, 0)
    segment.remove()


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (_attaches_what_another_removes, ATTACHED),
        (_maps_its_own, PRIVATE_MAPPING),
        (_counts_waiters, COUNTS_WAITERS),
        (_is_notified, NOTIFIED),
    ],
)
def test_what_others_do_to_it_unseen_is_told(work: Callable[[], object], told: str) -> None:
    assert told in run(work).unvaried
