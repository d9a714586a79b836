from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from lab.kernel import libc
from lab.kernel.pidfd import pidfd_open
from tests.forked import in_child, stranger


def test_a_file_is_born_not_before_the_clock_of_files(tmp_path: Path) -> None:
    before = libc.file_clock()
    path = tmp_path / "file"
    path.touch()
    born = libc.birth_time(str(path))

    if born is None:
        pytest.skip("this file system does not keep the time of birth")
    assert before <= born <= time.time() + 1


def test_a_birth_is_not_changed_by_use(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    born = libc.birth_time(str(path))
    path.write_text("used")
    os.utime(path, (1, 1))

    assert libc.birth_time(str(path)) == born


def test_what_cannot_be_looked_at_has_no_birth() -> None:
    assert libc.birth_time("/no/such/file") is None
    assert libc.birth_time("/proc/self/stat") is None


def test_a_hole_gives_back_memory_and_keeps_the_size() -> None:
    file = os.memfd_create("test")
    os.write(file, b"x" * (1 << 20))
    before = os.fstat(file).st_blocks

    libc.punch_hole(file, 65536, (1 << 20) - 65536)

    assert os.fstat(file).st_size == 1 << 20
    assert os.fstat(file).st_blocks * 10 < before
    assert os.pread(file, 4, 0) == b"xxxx"
    os.close(file)


def test_a_name_is_cut_at_fifteen_bytes() -> None:
    def named() -> str:
        libc.set_name("a name that is too long")
        return Path("/proc/self/comm").read_text()

    assert in_child(named) == "a name that is \n"


def test_an_error_tells_the_call_and_the_cause() -> None:
    with pytest.raises(OSError, match="shmctl: Invalid argument"):
        libc.remove_shared_memory(-1)


def test_a_descriptor_of_a_process_is_readable_when_it_has_ended() -> None:
    reader, writer = os.pipe()
    with stranger(lambda: os.read(reader, 1)) as pid:
        descriptor = pidfd_open(pid)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(0) == []
        os.write(writer, b"!")
        assert poll.poll(60_000) != []
        os.close(descriptor)
    os.close(reader)
    os.close(writer)


def test_there_is_no_descriptor_of_a_process_that_is_not_there() -> None:
    with pytest.raises(ProcessLookupError, match="pidfd_open"):
        pidfd_open(1 << 22)
