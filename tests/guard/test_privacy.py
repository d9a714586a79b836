"""A process takes tables of its own where it may, and where nobody else needs the old ones."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import sysv_ipc

from lab.guard.privacy import step_aside
from tests.forked import in_child

TABLE = Path("/proc/sysvipc/sem")


def aside() -> tuple[list[str], int]:
    """What there is after stepping aside, and what the process has made there since."""
    if not step_aside():
        pytest.skip("this machine refuses it")
    there = [*TABLE.read_text().splitlines()[1:], *os.listdir("/dev/shm")]
    sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)  # it goes with the process
    Path("/dev/shm/guard-privacy").touch()
    return there, len(TABLE.read_text().splitlines()[1:])


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user is refused")
def test_what_is_made_there_is_seen_by_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    before = os.listdir("/dev/shm")
    array = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
    try:
        assert in_child(aside) == ([], 1)
        assert str(array.id) in TABLE.read_text().split()
    finally:
        array.remove()
    assert "guard-privacy" not in {*os.listdir("/dev/shm")} - {*before}


@pytest.mark.parametrize("place", ["temporary", "working", "session"])
def test_where_shared_memory_is_a_place_for_files_it_stays(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if place == "temporary":
            monkeypatch.setattr(tempfile, "tempdir", folder)
        if place == "working":
            monkeypatch.chdir(folder)
        paths = [folder] * (place == "session")
        assert in_child(lambda: step_aside(*paths)) is False


def test_an_ordinary_user_is_refused_and_nothing_has_changed() -> None:
    def told() -> tuple[bool, list[str]]:
        return step_aside(), spaces()

    def spaces() -> list[str]:
        return [os.readlink(f"/proc/self/ns/{kind}") for kind in ("ipc", "mnt")]

    user = "nobody" if os.geteuid() == 0 else ""
    assert in_child(told, user=user) == (False, spaces())
