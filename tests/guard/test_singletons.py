"""What libraries keep for the process is known, by what they really have."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import stat
import subprocess
import sys
import threading
import types
from multiprocessing import resource_tracker
from typing import Any

import pytest

from lab.guard import singletons
from lab.guard.look import children, descriptors
from tests.forked import in_child


def test_who_has_imported_none_of_it_keeps_nothing() -> None:
    program = (
        "import sys; from lab.guard import singletons as s; "
        "assert not any(name.startswith('multiprocessing') for name in sys.modules); "
        "print(s.descriptors(), s.processes(), s.sockets(), s.threads())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert told.stdout == b"set() set() set() set()\n"


def test_the_two_servers_their_pipes_and_the_socket_are_known() -> None:
    def kept() -> tuple[bool, bool, bool]:
        # A fork inherits what its parent keeps, and would take that for its own.
        resource_tracker._resource_tracker._pid = None  # type: ignore[attr-defined]
        resource_tracker._resource_tracker._fd = None  # type: ignore[attr-defined]
        before = descriptors().keys(), children(), singletons.descriptors()
        multiprocessing.forkserver.ensure_running()
        (path,) = singletons.sockets()
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
        return (
            singletons.descriptors() - before[2] == descriptors().keys() - before[0],
            singletons.processes() == children() - before[1],
            is_socket,
        )

    assert in_child(kept) == (True, True, True)


def test_the_files_of_shared_values_are_known() -> None:
    value = multiprocessing.Value("i", lock=False)
    arenas = type(value._wrapper)._heap._arenas
    assert {arena.fd for arena in arenas} <= singletons.descriptors()
    assert all("/pym-" in os.readlink(f"/proc/self/fd/{arena.fd}") for arena in arenas)


def test_a_thread_of_trios_is_nobodys_while_it_waits_for_work() -> None:
    cache = pytest.importorskip("trio._core._thread_cache", reason="Trio is not installed")
    begun, end, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        end.wait()
        return threading.get_native_id()

    told: list[Any] = []

    def deliver(outcome: object) -> None:
        told.append(outcome)
        done.set()

    cache.start_thread_soon(work, deliver)
    begun.wait()
    assert singletons.threads() == set()
    end.set()
    done.wait()
    assert singletons.threads() == {told[0].unwrap()}


def test_the_pipe_that_libuv_locks_by_is_nobodys_and_no_other_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(singletons, "_libuv", set())
    before = descriptors()
    pipes = [os.pipe() for _ in range(3)]  # an empty one, libuv's, and one with a message
    for _, end in pipes[1:]:
        os.write(end, b"*")
    new = {number: each for number, each in descriptors().items() if number not in before}

    def told(*chosen: int) -> set[int]:
        return singletons.of_libuv({end: new[end] for each in chosen for end in pipes[each]})

    assert told(1) == set()  # nobody has imported uvloop
    monkeypatch.setitem(sys.modules, "uvloop", types.ModuleType("uvloop"))
    assert told(0) == set()
    assert told(0, 1) == set(pipes[1])
    assert told(2) == set()
    assert told(1, 2) == set(pipes[1])
    for end in new:
        os.close(end)
