"""Every type of object listed, described, read and removed, in a world where nothing else is."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from lab.kernel import ipc_tables
from lab.kernel.ipc_namespace import SHM
from lab.kernel.ipc_tables import Entry, Key
from lab.kernel.namespaces import World
from lab.trace import ObjectType
from tests.forked import in_namespaces


def _posix_memory() -> None:
    posix_ipc.SharedMemory("/memory", posix_ipc.O_CREX, size=100).close_fd()


def _posix_semaphore() -> None:
    posix_ipc.Semaphore("/gate", posix_ipc.O_CREX, initial_value=2).close()


def _posix_queue() -> None:
    queue = posix_ipc.MessageQueue("/jobs", posix_ipc.O_CREX, max_messages=3, max_message_size=99)
    queue.send("low", priority=1)
    queue.send("high", priority=2)
    queue.close()


def _sysv_memory() -> None:
    sysv_ipc.SharedMemory(0x2A, sysv_ipc.IPC_CREX, size=100).detach()


def _sysv_semaphores() -> None:
    sysv_ipc.Semaphore(0x2A, sysv_ipc.IPC_CREX, initial_value=1).acquire()


def _sysv_queue() -> None:
    queue = sysv_ipc.MessageQueue(0x2A, sysv_ipc.IPC_CREX)
    queue.send("first", type=3)
    queue.send("second", type=1)


ALL = [
    (_posix_memory, ObjectType.POSIX_SHM, "/memory", 100),
    (_posix_semaphore, ObjectType.POSIX_SEM, "/gate", 32),
    (_posix_queue, ObjectType.POSIX_MQ, "/jobs", 7),
    (_sysv_memory, ObjectType.SYSV_SHM, "key 0x0000002a", 100),
    (_sysv_semaphores, ObjectType.SYSV_SEM, "key 0x0000002a", 1),
    (_sysv_queue, ObjectType.SYSV_MQ, "key 0x0000002a", 11),
]


@pytest.mark.parametrize(("make", "kind", "name", "size"), ALL)
def test_an_object_is_listed_and_removed(
    make: Callable[[], None], kind: ObjectType, name: str, size: int
) -> None:
    def listed(world: World) -> tuple[list[Entry], list[Entry], list[Entry], int]:
        before = list(ipc_tables.listing(world.queues))
        make()
        present = list(ipc_tables.listing(world.queues))
        ipc_tables.remove(present[0])
        ipc_tables.remove(present[0])  # gone already: no error
        return before, present, list(ipc_tables.listing(world.queues)), os.getuid()

    before, (entry,), after, user = in_namespaces(listed)

    assert (before, after) == ([], [])
    assert (entry.type, entry.name, entry.size, entry.owner) == (kind, name, size, user)


def test_all_types_are_told_apart_although_names_and_keys_are_the_same() -> None:
    def keys(world: World) -> set[object]:
        for make, *_ in ALL:
            make()
        return {entry.key for entry in ipc_tables.listing(world.queues)}

    assert len(in_namespaces(keys)) == len(ALL)


def test_an_object_made_anew_under_the_same_name_is_another() -> None:
    def keys(world: World) -> list[set[Key]]:
        made = []
        for _ in range(2):
            for make, *_ in ALL:
                make()
            made.append({entry.key for entry in ipc_tables.listing(world.queues)})
            for entry in list(ipc_tables.listing(world.queues)):
                ipc_tables.remove(entry)
        return made

    first, second = in_namespaces(keys)

    assert first & second == set()


def test_the_kernel_remembers_who_made_a_segment_and_who_used_the_rest() -> None:
    def touched(_: World) -> dict[ObjectType, bool]:
        for make in (_sysv_memory, _sysv_semaphores, _sysv_queue):
            make()
        entries = {entry.type: entry for entry in ipc_tables.listing(None)}
        maker = entries[ObjectType.SYSV_SHM].creator
        assert maker is not None
        assert maker.pid == os.getpid()
        return {
            kind: any(touch.pid == os.getpid() and touch.second > 0 for touch in entry.touched_by)
            for kind, entry in entries.items()
        }

    assert in_namespaces(touched) == {
        ObjectType.SYSV_SHM: True,
        ObjectType.SYSV_SEM: True,
        ObjectType.SYSV_MQ: True,
    }


def test_a_private_object_is_known_by_its_id() -> None:
    def name(_: World) -> tuple[str, int]:
        private, create = 0, 0o1600
        identifier = ctypes.CDLL(None).shmget(private, 64, create)
        (entry,) = ipc_tables.listing(None)
        return entry.name, identifier

    shown, identifier = in_namespaces(name)

    assert shown == f"private, id {identifier}"


def test_messages_are_read_oldest_first() -> None:
    def messages(_: World) -> tuple[str, ...]:
        _sysv_queue()
        (entry,) = ipc_tables.listing(None)
        return ipc_tables.waiting_messages(entry)

    assert in_namespaces(messages) == ("first", "second")


def test_messages_of_a_posix_queue_are_read_as_a_receiver_would_get_them() -> None:
    def messages(world: World) -> tuple[str, ...]:
        _posix_queue()
        (entry,) = ipc_tables.listing(world.queues)
        return ipc_tables.waiting_messages(entry)

    assert in_namespaces(messages) == ("high", "low")


def test_a_long_or_binary_message_is_cut_and_escaped() -> None:
    def messages(_: World) -> tuple[str, ...]:
        queue = sysv_ipc.MessageQueue(0x2A, sysv_ipc.IPC_CREX, max_message_size=8192)
        queue.send(b"\xff" + b"x" * 6000)
        queue.send(b"")
        (entry,) = ipc_tables.listing(None)
        return ipc_tables.waiting_messages(entry)

    long, empty = in_namespaces(messages)

    assert long == "\\xff" + "x" * (ipc_tables.MESSAGE_BYTES - 1)
    assert empty == ""


def test_what_has_no_messages_gives_none() -> None:
    def messages(_: World) -> tuple[str, ...]:
        _posix_memory()
        (entry,) = ipc_tables.listing(None)
        return ipc_tables.waiting_messages(entry)

    assert in_namespaces(messages) == ()


def test_what_is_no_file_in_dev_shm_is_listed_and_removed() -> None:
    def listed(_: World) -> tuple[list[tuple[str, str]], list[Entry]]:
        os.makedirs(f"{SHM}/place/inner")
        os.mkfifo(f"{SHM}/door")
        found = list(ipc_tables.listing(None))
        for entry in found:
            ipc_tables.remove(entry)
        return [(str(e.type), e.name) for e in found], list(ipc_tables.listing(None))

    assert in_namespaces(listed) == ([("fifo", f"{SHM}/door"), ("temp-file", f"{SHM}/place")], [])


def test_special_files_in_a_directory_are_fifos_and_sockets_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "place").mkdir()
    os.mkfifo(tmp_path / "place" / "deeper")
    os.mkfifo(tmp_path / "door")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    directory = os.open(tmp_path, os.O_RDONLY)

    found = [(e.type, e.name) for e in ipc_tables.special_files_in(directory, str(tmp_path))]

    os.close(directory)
    assert found == [
        (ObjectType.FIFO, f"{tmp_path}/door"),
        (ObjectType.UNIX_SOCKET, f"{tmp_path}/socket"),
    ]


def test_a_directory_that_is_gone_has_nothing_in_it(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    directory = os.open(place, os.O_RDONLY)
    place.rmdir()

    assert list(ipc_tables.special_files_in(directory, str(place))) == []
    os.close(directory)


def test_everything_below_a_private_directory_is_listed(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "file").touch()
    (tmp_path / "link").symlink_to("/usr")
    os.mkfifo(tmp_path / "door")
    directory = os.open(tmp_path, os.O_RDONLY)

    found = {e.name.removeprefix(str(tmp_path)) for e in _below(directory, tmp_path)}

    os.close(directory)
    assert found == {"/deep/er", "/deep/file", "/link", "/door"}


def test_what_was_there_before_is_not_new(tmp_path: Path) -> None:
    original, changes = tmp_path / "original", tmp_path / "changes"
    for place in (original, changes):
        (place / "place").mkdir(parents=True)
        (place / "file").touch()
    (changes / "new").touch()
    below, above = os.open(original, os.O_RDONLY), os.open(changes, os.O_RDONLY)

    found = [e.name for e in ipc_tables.files_below(above, "/tmp", below)]

    os.close(below)
    os.close(above)
    assert found == ["/tmp/new"]


def _below(directory: int, path: Path) -> list[Entry]:
    return list(ipc_tables.files_below(directory, str(path)))


def test_removing_a_tree_follows_no_link_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    tree = tmp_path / "tree"
    (tree / "shut").mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    (tree / "shut").chmod(0)

    ipc_tables.remove_tree(str(tree))

    assert not tree.exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_an_object_of_another_user_is_not_removed_silently() -> None:
    entry = Entry(ObjectType.TEMP_FILE, "/proc/self/stat", "", 0, 0)

    with pytest.raises(PermissionError):
        ipc_tables.remove(entry)
