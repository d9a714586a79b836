from __future__ import annotations

import os
import tempfile
from pathlib import Path

import posix_ipc
import psutil
import pytest

from lab.kernel import ipc_namespace, namespaces
from lab.kernel.ipc_namespace import SHM
from lab.kernel.namespaces import PID_CEILING, World, leave_host
from tests.forked import in_child, in_namespaces


def test_processes_are_the_worlds_own() -> None:
    def seen(_: World) -> tuple[int, list[int]]:
        return os.getpid(), psutil.pids()

    assert in_namespaces(seen) == (1, [1])


def test_shared_memory_and_queues_are_the_worlds_own() -> None:
    name = f"/lab-world-{os.getpid()}"

    def made(world: World) -> tuple[list[str], list[str]]:
        posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=10)
        posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=1, max_message_size=8)
        return os.listdir(SHM), os.listdir(world.queues)

    assert in_namespaces(made) == ([name[1:]], [name[1:]])
    assert not os.path.exists(SHM + name)


def test_files_in_tmp_are_the_worlds_own() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        kept = Path(place, "kept")
        kept.write_text("before")

        def changed(world: World) -> tuple[str, list[str]]:
            if "/tmp" not in [layer.path for layer in world.tmp]:
                return "", []
            kept.write_text("after")
            Path(place, "new").touch()
            return kept.read_text(), sorted(os.listdir(place))

        content, names = in_namespaces(changed)
        if not content:
            pytest.skip("no overlay over /tmp here")

        assert (content, names) == ("after", ["kept", "new"])
        assert kept.read_text() == "before"
        assert os.listdir(place) == ["kept"]


def test_the_working_directory_stays_the_hosts_also_below_tmp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        monkeypatch.chdir(place)

        in_namespaces(lambda _: Path("result").touch())

        assert os.listdir(place) == ["result"]
        monkeypatch.undo()


def test_a_working_directory_that_is_the_temporary_one_is_private(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        monkeypatch.setenv("TMPDIR", place)
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.chdir(place)

        def made(world: World) -> int:
            Path("new").touch()
            return len(world.tmp)

        layers = in_namespaces(made)

        assert os.listdir(place) == ([] if layers else ["new"])
        monkeypatch.undo()


def test_mounts_do_not_reach_the_host() -> None:
    before = Path("/proc/self/mounts").read_text()

    in_namespaces(lambda world: world)

    assert Path("/proc/self/mounts").read_text() == before


def test_the_ceiling_of_pids_is_the_worlds_own() -> None:
    host = Path("/proc/sys/kernel/pid_max").read_text()

    inside = in_namespaces(lambda _: int(Path("/proc/sys/kernel/pid_max").read_text()))

    assert Path("/proc/sys/kernel/pid_max").read_text() == host
    if _release() >= (6, 14):
        assert inside == PID_CEILING


def _release() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


@pytest.mark.parametrize("release", ["6.13.9-generic", "5.15.0", "4.18.0-553.el8", "odd"])
def test_a_kernel_with_one_ceiling_for_the_machine_keeps_it(
    monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    """Root could write it there, and the whole machine would run out of PIDs."""
    machine = os.uname()
    names = (machine.sysname, machine.nodename, release, machine.version, machine.machine)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(names))

    inside = in_namespaces(lambda _: int(Path("/proc/sys/kernel/pid_max").read_text()))

    assert inside != PID_CEILING


def test_what_the_kernel_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_flags: int) -> None:
        raise PermissionError(1, "unshare: Operation not permitted")

    monkeypatch.setattr(namespaces, "unshare", refuse)

    with pytest.raises(ipc_namespace.NamespaceError, match="unshare: Operation not permitted"):
        leave_host(new_user=False)


def test_an_ordinary_user_is_himself_in_his_world() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")

    def user() -> tuple[int, int]:
        return in_namespaces(lambda _: (os.getuid(), os.getgid()))

    expected = in_child(lambda: (os.getuid(), os.getgid()), user="nobody")

    assert in_child(user, user="nobody") == expected
