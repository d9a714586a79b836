"""Whose an object is: the run's, somebody else's, or nobody can tell."""

from __future__ import annotations

import mmap
import os
import socket
import time
from pathlib import Path

import posix_ipc

from lab.kernel.ipc_tables import Entry, Touch
from lab.run.owners import Others, is_ours
from lab.run.watch import Watch
from lab.trace import ObjectType
from tests.forked import in_child


def test_an_inode_given_out_again_is_another_file() -> None:
    """ext4 gives the inode of a removed FIFO to the next file that anybody makes."""
    watch = Watch(list, orphan_after=1.0)
    entry = Entry(ObjectType.FIFO, "/srv/theirs", "/srv/theirs", 0, 0, device=1, inode=77)

    watch.users[1, 77] = {("P0", "/srv/ours (deleted)")}
    assert not is_ours(entry, watch)

    watch.users[1, 77] = {("P0", "/srv/theirs")}
    assert is_ours(entry, watch)


def test_a_pid_given_out_again_is_another_maker() -> None:
    def judged() -> list[bool]:
        watch = Watch(lambda: [os.getpid()], orphan_after=1.0)
        watch.look()
        now = int(time.time())
        return [
            is_ours(Entry(ObjectType.SYSV_SHM, 1, "key", 0, 0, Touch(os.getpid(), second)), watch)
            for second in (now - 3600, now, now + 3600)
        ]

    assert in_child(judged) == [False, True, False]


# --- Others: this process lives, so what it uses is no run's -------------------------------


def _file(kind: ObjectType, path: Path) -> Entry:
    status = path.stat()
    return Entry(kind, str(path), str(path), 0, 0, device=status.st_dev, inode=status.st_ino)


def test_what_somebody_has_open_is_his(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    entry = _file(ObjectType.FIFO, path)
    descriptor = os.open(path, os.O_RDWR)

    assert Others().have(entry)
    os.close(descriptor)
    assert not Others().have(entry)


def test_what_somebody_has_mapped_is_his() -> None:
    name = f"/lab-owners-{os.getpid()}"
    memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=10)
    entry = _file(ObjectType.POSIX_SHM, Path(f"/dev/shm{name}"))
    mapping = mmap.mmap(memory.fd, 10)
    memory.close_fd()
    memory.unlink()

    assert Others().have(entry)
    mapping.close()
    assert not Others().have(entry)


def test_a_socket_that_somebody_has_bound_is_his(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        entry = _file(ObjectType.UNIX_SOCKET, path)
        assert Others().have(entry)
    assert not Others().have(entry)


def test_what_somebody_alive_was_the_last_to_use_is_his() -> None:
    def used(pid: int, second: float) -> bool:
        touch = Touch(pid, int(second))
        return Others().have(Entry(ObjectType.SYSV_SEM, 1, "key", 1, 0, touched_by=(touch,)))

    assert used(os.getpid(), time.time())
    assert not used(os.getpid(), 0)  # somebody else had that number then
    assert not used(in_child(os.getpid), time.time())  # of the dead nothing is known
    assert not Others().have(Entry(ObjectType.SYSV_SEM, 1, "key", 1, 0))
