from __future__ import annotations

import fcntl
import os
import select
from pathlib import Path

import pytest

from lab.kernel import fdinfo

GONE = 1 << 22  # above the highest PID that a kernel can give
ME = os.getpid


def test_a_process_that_is_gone_has_nothing_open() -> None:
    assert list(fdinfo.descriptors(GONE)) == []
    assert fdinfo.descriptor(GONE, 0) is None
    assert fdinfo.opened(GONE) == frozenset()
    assert not fdinfo.holds_lock(GONE, 0)
    assert fdinfo.process_behind(GONE, 0) == 0
    assert fdinfo.watched_by_epoll(GONE, 0) == ()


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
    found = fdinfo.descriptor(ME(), opened)
    status = os.fstat(opened)
    os.close(opened)

    assert found is not None
    assert (found.target, found.inode, found.device) == (str(path), status.st_ino, status.st_dev)
    assert (found.reads, found.writes) == (reads, writes)
    assert fdinfo.descriptor(ME(), opened) is None


def test_a_number_out_of_a_register_is_no_descriptor() -> None:
    assert fdinfo.descriptor(ME(), -100) is None


def test_what_is_open_is_known_by_device_and_inode() -> None:
    reader, writer = os.pipe()
    status = os.fstat(reader)

    assert (status.st_dev, status.st_ino) in fdinfo.opened(ME())

    os.close(reader)
    os.close(writer)
    assert (status.st_dev, status.st_ino) not in fdinfo.opened(ME())


def test_a_lock_is_held_through_the_descriptor_that_took_it(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as held, open(tmp_path / "lock") as other:
        assert not fdinfo.holds_lock(ME(), held.fileno())

        fcntl.flock(held, fcntl.LOCK_EX)

        assert fdinfo.holds_lock(ME(), held.fileno())
        assert not fdinfo.holds_lock(ME(), other.fileno())


def test_what_the_kernel_tells_of_descriptors_of_its_own_kinds_is_read() -> None:
    pidfd, counter = os.pidfd_open(os.getpid()), os.eventfd(0)
    with select.epoll() as epoll:
        epoll.register(counter)
        watched = fdinfo.watched_by_epoll(ME(), epoll.fileno())
    behind = [fdinfo.process_behind(ME(), number) for number in (pidfd, counter)]
    known = [fdinfo.eventfd_id(ME(), number) > 0 for number in (pidfd, counter)]
    os.close(pidfd)
    os.close(counter)

    assert watched == (counter,)
    assert behind == [os.getpid(), 0]
    assert known == [False, True]
