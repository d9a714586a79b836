from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
import sysv_ipc

from lab.kernel.window import (
    PAGE_SIZE,
    WINDOW,
    BadAddressError,
    Region,
    SharedMemory,
    Space,
)


def memory(path: Path, size: int = PAGE_SIZE) -> SharedMemory:
    path.write_bytes(bytes(range(256)) * (size // 256))
    descriptor = os.open(path, os.O_RDWR)
    try:
        return SharedMemory("file", descriptor=descriptor)
    finally:
        os.close(descriptor)


def test_an_object_is_read_and_written_whoever_has_it_mapped(tmp_path: Path) -> None:
    shared = memory(tmp_path / "file")

    assert shared.read(254, 4) == b"\xfe\xff\x00\x01"
    shared.write(254, b"ab")
    assert (tmp_path / "file").read_bytes()[254:256] == b"ab"
    shared.close()
    assert shared.read(0, 1) == b""


def test_an_object_that_grows_is_seen_whole_and_one_that_was_cut_no_further_than_it_goes(
    tmp_path: Path,
) -> None:
    shared = memory(tmp_path / "file")
    assert shared.read(PAGE_SIZE - 1, 2) == b"\xff"
    os.truncate(tmp_path / "file", 2 * PAGE_SIZE)
    assert shared.read(PAGE_SIZE - 1, 2) == b"\xff\0"

    os.truncate(tmp_path / "file", 10)
    shared.forget_size()

    assert shared.read(8, 4) == b"\x08\x09"
    shared.write(8, b"abcd")
    assert (tmp_path / "file").read_bytes()[8:] == b"ab"
    shared.write(100, b"beyond")
    assert os.path.getsize(tmp_path / "file") == 10
    shared.close()


def test_an_object_opened_for_reading_only_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    shared = SharedMemory("file", descriptor=descriptor)
    os.close(descriptor)

    assert shared.read(0, 5) == b"hello"
    shared.close()


def test_a_segment_is_read_by_its_id_and_let_go_of() -> None:
    segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=100)
    try:
        shared = SharedMemory("segment", segment=segment.id)
        assert shared.size == PAGE_SIZE
        shared.write(0, b"hello")
        assert segment.read(5) == b"hello"
        assert segment.number_attached == 2
        shared.close()
        assert segment.number_attached == 1
    finally:
        segment.detach()
        segment.remove()


def test_a_segment_that_is_gone_has_no_size() -> None:
    shared = SharedMemory("gone", segment=0x7FFFFFFF)
    assert (shared.size, shared.read(0, 4)) == (0, b"")
    shared.close()


def test_memory_that_is_mapped_here_is_reached_where_it_lies() -> None:
    mapped = mmap.mmap(-1, PAGE_SIZE)
    with memoryview(mapped) as view:
        import ctypes

        place = ctypes.c_char.from_buffer(view)
        start = ctypes.addressof(place)
        del place
    shared = SharedMemory("mapped", mapped=(start, PAGE_SIZE))

    shared.write(5, b"x")

    assert mapped[5:6] == shared.read(5, 1) == b"x"
    mapped.close()


def test_a_name_that_is_given_late_is_given_once() -> None:
    given = []

    def name() -> str:
        given.append(1)
        return f"memory:{len(given)}"

    shared = SharedMemory(name)

    assert given == []
    assert shared.identity == shared.identity == "memory:1"
    shared.identity = "another"
    assert shared.identity == "another"


def own_space(*regions: Region) -> Space:
    return Space(os.open("/proc/self/mem", os.O_RDWR), list(regions))


def test_mappings_are_found_by_address_and_by_range() -> None:
    shared = SharedMemory("memory")
    low = Region(0x1000, 0x3000, shared, 0, 3, closed=True)
    high = Region(0x3000, 0x4000, shared, 0x2000, 3, closed=True)
    space = own_space(low, high)

    assert space.region_at(0x2FFF) is low
    assert space.region_at(0x3000) is high
    assert space.region_at(0x4000) is None
    assert list(space.touched(0x2000, 0x1000)) == [low]
    assert list(space.touched(0x2FFF, 2)) == [low, high]
    space.leave()


def test_places_in_the_window_follow_each_other_page_by_page() -> None:
    space = own_space()
    assert [space.reserve(size) - WINDOW for size in (1, PAGE_SIZE + 1, 5)] == [
        0,
        PAGE_SIZE,
        3 * PAGE_SIZE,
    ]
    space.leave()


def test_a_child_has_the_same_mappings_and_counts_as_a_user_of_each() -> None:
    shared = SharedMemory("memory")
    parent = own_space(Region(0x1000, 0x2000, shared, 0, 3, closed=True))
    shared.spaces.add(parent.serial)

    child = parent.child(os.open("/proc/self/mem", os.O_RDWR))

    assert shared.spaces == {parent.serial, child.serial}
    child.regions[0].closed = False
    assert parent.regions[0].closed
    child.leave()
    assert shared.spaces == {parent.serial}
    parent.leave()


def test_a_space_of_two_processes_is_left_by_the_last() -> None:
    space = own_space()
    space.users = 2
    space.leave()
    os.fstat(space.memory)
    space.leave()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(space.memory)


def test_strings_and_numbers_are_read_and_what_is_not_there_is_nothing() -> None:
    import ctypes

    text = ctypes.create_string_buffer(b"hello\0world")
    number = ctypes.c_uint64(0x1122334455667788)
    space = own_space()

    assert space.string(ctypes.addressof(text)) == "hello"
    assert space.word(ctypes.addressof(number)) == number.value
    assert space.word(ctypes.addressof(number), 2) == 0x7788
    assert (space.read(8, 4), space.string(8), space.word(8)) == (b"", "", 0)
    assert space.read((1 << 64) - 8, 4) == b""
    space.leave()


def test_a_write_to_nowhere_is_an_error_of_its_own() -> None:
    space = own_space()
    for address in (8, (1 << 64) - 8, 1 << 70):
        with pytest.raises(BadAddressError):
            space.write(address, b"x")
    space.leave()


def test_a_write_into_a_closed_page_goes_to_the_object_itself(tmp_path: Path) -> None:
    shared = memory(tmp_path / "file")
    space = own_space(Region(0x1000, 0x1000 + PAGE_SIZE, shared, 0, 3, closed=True))

    space.write(0x1010, b"hello")

    assert shared.read(0x10, 5) == b"hello"
    space.leave()
    shared.close()
