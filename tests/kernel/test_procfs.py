from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import time
from pathlib import Path

from lab.kernel import procfs
from tests.forked import in_child, stranger

GONE = 1 << 22  # above the highest PID that a kernel can give
ME = os.getpid


def test_every_reader_of_a_process_that_is_gone_finds_nothing() -> None:
    assert procfs.text(GONE, "stat") is None
    assert procfs.threads(GONE) == ()
    assert procfs.descendants(GONE) == []
    assert procfs.bound_sockets(GONE) == {}
    assert procfs.string_at(GONE, 0) is None
    assert not procfs.has_timers(GONE)


def test_a_name_that_is_no_utf8_can_be_printed() -> None:
    assert procfs.printable(os.fsdecode(b"caf\xc3\xa9 \xff")) == "café \\xff"


def test_descendants_are_found_at_any_depth_and_of_any_thread() -> None:
    def parent() -> None:
        if os.fork() == 0 and os.fork() == 0:
            os.setsid()
        signal.pause()

    with stranger(parent) as pid:
        deadline = time.monotonic() + 60
        while len(found := procfs.descendants(pid)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        for descendant in found:
            os.kill(descendant, signal.SIGKILL)

    assert len(set(found)) == 2


def test_a_unix_socket_is_found_by_its_path_and_an_abstract_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "a socket")
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        named.bind(path)
        abstract.bind(f"\0lab-test-{os.getpid()}")
        bound = procfs.bound_sockets(ME())

        assert bound[os.fstat(named.fileno()).st_ino] == path
        assert os.fstat(abstract.fileno()).st_ino not in bound


def test_a_string_is_read_from_the_memory_of_a_process() -> None:
    text = ctypes.create_string_buffer("häuser".encode())

    assert procfs.string_at(ME(), ctypes.addressof(text)) == "häuser"


def test_a_string_at_the_end_of_mapped_memory_is_read() -> None:
    def strings() -> tuple[str | None, str | None]:
        memory = mmap.mmap(-1, 8192)
        memory[4091:4096] = b"edge\0"
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        libc = ctypes.CDLL(None)
        assert libc.munmap(ctypes.c_void_p(start + 4096), ctypes.c_size_t(4096)) == 0
        return procfs.string_at(os.getpid(), start + 4091), procfs.string_at(ME(), start + 4096)

    assert in_child(strings) == ("edge", None)


def test_timers_of_a_process_are_seen() -> None:
    assert not procfs.has_timers(ME())

    libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
    assert libc.timer_create(1, None, ctypes.byref(timer)) == 0

    assert procfs.has_timers(ME())
    libc.timer_delete(timer)


def test_a_value_is_what_stands_behind_its_name_at_the_start_of_a_line() -> None:
    shown = "Name:\tPid: 7\nPid:\t12\nNSpid:\t12\t3\n"

    assert procfs.value(shown, "Name") == "Pid: 7"
    assert procfs.value(shown, "Pid") == "12"
    assert procfs.value(shown, "NSpid") == "12\t3"
    assert procfs.value(shown, "Pi") == ""
    assert procfs.value(None, "Pid") == ""


def test_a_process_knows_its_parent_and_its_own_ids() -> None:
    assert procfs.parent_of(ME()) == os.getppid()
    assert procfs.inner_pid(ME()) == os.getpid()
    assert procfs.inner_group(ME()) == os.getpgid(0)
    assert (procfs.parent_of(GONE), procfs.inner_pid(GONE), procfs.inner_group(GONE)) == (
        0,
        GONE,
        0,
    )
