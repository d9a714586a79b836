from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from lab.kernel import procfs
from tests.forked import in_child, stranger

GONE = 1 << 22  # above the highest PID that a kernel can give
ME = os.getpid


def test_every_reader_of_a_process_that_is_gone_finds_nothing() -> None:
    assert procfs.text(GONE, "stat") is None
    assert procfs.threads(GONE) == ()
    assert procfs.descendants(GONE) == []
    assert procfs.sleep_of(GONE, GONE) == ""
    assert list(procfs.descriptors(GONE)) == []
    assert procfs.descriptor(GONE, 0) is None
    assert procfs.opened(GONE) == frozenset()
    assert procfs.bound_sockets(GONE) == {}
    assert not procfs.holds_lock(GONE, 0)
    assert list(procfs.shared_mappings(GONE)) == []
    assert procfs.string_at(GONE, 0) is None
    assert not procfs.catches(GONE, signal.SIGINT)
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


def test_a_sleep_is_another_sleep_as_soon_as_it_was_interrupted_by_a_move() -> None:
    reader, writer = os.pipe()

    def body() -> None:
        while True:
            os.read(reader, 1)

    with stranger(body) as pid:
        first = _until_asleep(pid)
        assert procfs.sleep_of(pid, pid) == first
        os.write(writer, b"!")
        deadline = time.monotonic() + 60
        while (second := procfs.sleep_of(pid, pid)) in ("", first):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert procfs.call_of(second) == procfs.call_of(first)
    os.close(reader)
    os.close(writer)


def _until_asleep(pid: int) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        before = procfs.sleep_of(pid, pid)
        time.sleep(0.002)
        if before and procfs.sleep_of(pid, pid) == before:
            return before
    pytest.fail("it never slept")


def test_one_that_runs_does_not_sleep() -> None:
    def body() -> None:
        while True:
            pass

    with stranger(body) as pid:
        deadline = time.monotonic() + 60
        while procfs.sleep_of(pid, pid) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert procfs.sleep_of(pid, pid) == ""


def test_a_call_is_its_number_and_its_six_arguments() -> None:
    call = procfs.call_of("17 0x1 0x2 0x3 0x4 0x5 0xffffffffffffffff 0x7ffe 0x7f00\n12")

    assert call == procfs.Call(17, (1, 2, 3, 4, 5, (1 << 64) - 1))


@pytest.mark.parametrize(
    ("flags", "reads", "writes"),
    [
        (os.O_RDONLY, True, False),
        (os.O_WRONLY, False, True),
        (os.O_RDWR, True, True),
    ],
)
def test_a_descriptor_tells_its_target_and_direction(
    tmp_path: Path, flags: int, reads: bool, writes: bool
) -> None:
    path = tmp_path / "file"
    path.touch()
    opened = os.open(path, flags)
    found = procfs.descriptor(ME(), opened)
    status = os.fstat(opened)
    os.close(opened)

    assert found is not None
    assert (found.target, found.inode, found.device) == (str(path), status.st_ino, status.st_dev)
    assert (found.reads, found.writes) == (reads, writes)
    assert procfs.descriptor(ME(), opened) is None


def test_a_number_out_of_a_register_is_no_descriptor() -> None:
    assert procfs.descriptor(ME(), -100) is None


def test_what_is_open_is_known_by_device_and_inode() -> None:
    reader, writer = os.pipe()
    status = os.fstat(reader)

    assert (status.st_dev, status.st_ino) in procfs.opened(ME())

    os.close(reader)
    os.close(writer)
    assert (status.st_dev, status.st_ino) not in procfs.opened(ME())


def test_a_unix_socket_is_found_by_its_path_and_an_abstract_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "a socket")
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        named.bind(path)
        abstract.bind(f"\0lab-test-{os.getpid()}")
        bound = procfs.bound_sockets(ME())

        assert bound[os.fstat(named.fileno()).st_ino] == path
        assert os.fstat(abstract.fileno()).st_ino not in bound


def test_a_lock_is_held_through_the_descriptor_that_took_it(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as held, open(tmp_path / "lock") as other:
        assert not procfs.holds_lock(ME(), held.fileno())

        fcntl.flock(held, fcntl.LOCK_EX)

        assert procfs.holds_lock(ME(), held.fileno())
        assert not procfs.holds_lock(ME(), other.fileno())


def test_shared_mappings_are_told_from_private_ones(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 8192)
    with open(path, "r+b") as file:
        with mmap.mmap(file.fileno(), 4096, offset=4096):
            shared = [m for m in procfs.shared_mappings(ME()) if m.path == str(path)]
        with mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE):
            private = [m for m in procfs.shared_mappings(ME()) if m.path == str(path)]

    (mapping,) = shared
    assert private == []
    assert (mapping.inode, mapping.offset) == (path.stat().st_ino, 4096)
    assert mapping.end - mapping.start == 4096


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


def test_handlers_of_signals_are_seen() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        assert procfs.catches(ME(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not procfs.catches(ME(), signal.SIGUSR1)


def test_timers_of_a_process_are_seen() -> None:
    assert not procfs.has_timers(ME())

    libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
    assert libc.timer_create(1, None, ctypes.byref(timer)) == 0

    assert procfs.has_timers(ME())
    libc.timer_delete(timer)
