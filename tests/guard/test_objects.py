"""Whose an object is: what shows it, and what is only told where nothing does."""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from lab.guard import objects
from lab.guard.births import Births
from lab.guard.leak import Birth, Kind, Leak
from lab.guard.ledger import Ledger
from lab.guard.look import Look, Looker
from lab.guard.objects import Objects
from lab.guard.processes import Processes
from lab.kernel import libc
from lab.kernel.queue_list import queue_directory

NAME = f"guard-objects-{os.getpid()}"
A_STRANGER = os.getppid()
"""A process that lives and comes from no test."""


class Scene:
    """What is new since the scene began, on tables that others use too."""

    def __init__(self, births: Births, place: Path) -> None:
        self.births = births
        self.ledger = Ledger()
        births.note = self.ledger.note
        self.looker = Looker(births, (str(place),), queue_directory())
        self.processes = Processes()
        self.objects = Objects(self.looker, births, self.processes, self.ledger, private=False)
        self.since = time.time()
        self.before: Look = self.looker()

    def told(self) -> list[Leak]:
        """Of this test: others make objects while it runs, and may have made some before."""
        found = self.objects.new(self.before, self.looker(), self.since)
        return [leak for leak in found if leak.birth.owner != "somebody else"]

    def named(self, name: str) -> Leak:
        found = self.objects.new(self.before, self.looker(), self.since)
        (leak,) = (leak for leak in found if leak.name.endswith(name))
        return leak

    def close(self) -> None:
        self.looker.close()
        self.ledger.close()


@pytest.fixture
def scene(births: Births, tmp_path: Path) -> Iterator[Scene]:
    births.basetemp = tempfile.gettempdir
    births.begin()
    scene = Scene(births, tmp_path)
    yield scene
    scene.close()
    for path in Path("/dev/shm").glob(f"*{NAME}*"):
        path.unlink()


def in_child(function: Callable[[], object]) -> int:
    """The PID of a child that does something and has ended."""
    if (pid := os.fork()) == 0:
        function()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


# What shows that the test made it.


def test_what_lies_in_shared_memory_is_told_by_its_sort(scene: Scene) -> None:
    posix_ipc.Semaphore(f"/{NAME}.gate", posix_ipc.O_CREX).close()
    memory = posix_ipc.SharedMemory(f"/{NAME}.jobs", posix_ipc.O_CREX, size=1)
    mmap.mmap(memory.fd, 1).close()
    memory.close_fd()
    Path(f"/dev/shm/{NAME}.txt").touch()
    Path(f"/dev/shm/{NAME}.folder").mkdir()
    told = {(leak.kind, leak.name) for leak in scene.told() if NAME in leak.name}
    Path(f"/dev/shm/{NAME}.folder").rmdir()
    assert told == {
        (Kind.POSIX_SEM, f"/{NAME}.gate"),
        (Kind.POSIX_SHM, f"/{NAME}.jobs"),
        (Kind.TEMP_FILE, f"/dev/shm/{NAME}.txt"),
        (Kind.TEMP_FILE, f"/dev/shm/{NAME}.folder"),
    }


def test_what_the_interpreter_announced_is_told_with_its_line(scene: Scene, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
    leak = scene.named("sock")
    assert leak.kind is Kind.UNIX_SOCKET
    assert "test_objects.py:" in leak.birth.where
    assert not leak.doubtful


def test_what_a_child_wrote_down_is_told_with_the_child(scene: Scene) -> None:
    pid = in_child(Path(f"/dev/shm/{NAME}").touch)
    leak = scene.named(NAME)
    assert leak.birth.process == f"its child {pid}"
    assert "test_objects.py:" in leak.birth.where


def test_a_fifo_in_a_directory_that_the_test_made_is_looked_for(scene: Scene) -> None:
    scene.births.basetemp = lambda: "/nowhere"
    with tempfile.TemporaryDirectory() as folder:
        os.mkfifo(f"{folder}/fifo")
        Path(folder, "file").touch()
        leak = scene.named(f"{folder}/fifo")
    assert leak.kind is Kind.FIFO
    assert "test_objects.py:" in leak.birth.where


# What is decided by who made it, as the kernel tells, where it does.


def _nothing() -> None: ...


def _forks() -> None:
    in_child(_nothing)


@pytest.mark.parametrize(
    ("maker", "meanwhile", "alone", "whose"),
    [
        pytest.param(os.getpid(), _nothing, False, "the test's", id="this process"),
        pytest.param(A_STRANGER, _forks, True, "another's", id="a stranger that lives"),
        pytest.param(0, _nothing, True, "another's", id="another, and the test was one process"),
        pytest.param(0, _forks, True, "the test's", id="another, and only its children are there"),
        pytest.param(0, _forks, False, "a doubt", id="another, and it had children"),
        pytest.param(None, _nothing, True, "the test's", id="untold, and nobody else is there"),
        pytest.param(None, _nothing, False, "a doubt", id="untold, and others are there"),
    ],
)
def test_whose_a_fifo_is(
    scene: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    maker: int | None,
    meanwhile: Callable[[], None],
    alone: bool,
    whose: str,
) -> None:
    monkeypatch.setattr(scene.looker, "maker", lambda _: maker)
    monkeypatch.setattr(objects, "is_alone", lambda _: alone)
    os.mkfifo(tmp_path / "fifo")
    meanwhile()
    leak = scene.named("fifo")
    told = {"": "a doubt" if leak.doubtful else "the test's"}.get(leak.birth.owner, "another's")
    assert told == whose


def test_what_is_older_than_the_test_is_not_its_own(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.looker, "maker", lambda _: None)
    monkeypatch.setattr(objects, "is_alone", lambda _: True)
    os.mkfifo(tmp_path / "fifo")
    scene.since = (libc.birth_time(str(tmp_path / "fifo")) or time.time()) + 1
    assert scene.named("fifo").birth.owner == "somebody else"


def test_what_a_child_has_open_is_the_childs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene.looker, "maker", lambda _: None)
    monkeypatch.setattr(objects, "is_alone", lambda _: False)
    program = f"import posix_ipc as p; m = p.SharedMemory('/{NAME}', p.O_CREX, size=1)"
    command = [sys.executable, "-c", f"{program}; print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        leak = scene.named(NAME)
        child.communicate(b"\n")
    assert leak.birth == Birth(process=f"its child {child.pid}")
    assert not leak.doubtful


def test_what_an_orphan_of_the_test_made_is_its_own(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.looker, "maker", lambda _: A_STRANGER)
    os.mkfifo(tmp_path / "fifo")
    scene.objects.strays = frozenset((A_STRANGER,))
    assert scene.named("fifo").birth == Birth(process=f"its child {A_STRANGER}")


def test_what_a_fixtures_process_made_is_the_fixtures(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.looker, "maker", lambda _: A_STRANGER)
    scene.processes.owners[A_STRANGER] = "fixture server (session)"
    os.mkfifo(tmp_path / "fifo")
    assert scene.named("fifo").birth.owner == "fixture server (session)"


def test_while_a_fixtures_process_works_what_nothing_shows_is_the_fixtures(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.looker, "maker", lambda _: None)
    monkeypatch.setattr(objects, "is_alone", lambda _: True)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        scene.processes.give_to(frozenset((server.pid,)), "fixture server (session)")
        assert server.stdin is not None
        assert server.stdout is not None
        scene.objects.activity = scene.processes.activity()
        server.stdin.write(b"\n")
        server.stdin.flush()
        server.stdout.readline()
        os.mkfifo(tmp_path / "fifo")
        assert scene.named("fifo").birth.owner == "fixture server (session)"
        server.communicate()


# System V objects, of which the kernel keeps some makers, and some users.


def test_a_segment_is_its_makers(scene: Scene) -> None:
    memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=1)
    leak = scene.named(f"id {memory.id}")
    assert (leak.kind, leak.birth, leak.doubtful, leak.note) == (Kind.SYSV_SHM, Birth(), False, "")
    memory.remove()
    assert scene.named(f"id {memory.id}").note == "removed, and still attached"
    memory.detach()


def test_an_ended_child_that_made_a_segment_leaves_a_doubt_where_others_are(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "is_alone", lambda _: False)
    key = 0x40000000 + os.getpid()
    pid = in_child(lambda: sysv_ipc.SharedMemory(key, sysv_ipc.IPC_CREX, size=1))
    memory = sysv_ipc.SharedMemory(key)
    try:
        leak = scene.named(f"key 0x{key:08x}, id {memory.id}")
    finally:
        memory.remove()
        memory.detach()
    assert leak.doubtful
    assert leak.birth.process == f"process {pid}, which has ended"


def test_of_a_set_of_semaphores_the_last_user_is_asked(scene: Scene) -> None:
    array = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
    try:
        leak = scene.named(f"id {array.id}")
    finally:
        array.remove()
    assert (leak.birth, leak.doubtful) == (Birth(), False)


@pytest.mark.parametrize("alone", [True, False])
def test_a_queue_of_which_nothing_is_known_is_the_tests_if_nobody_else_is_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    monkeypatch.setattr(objects, "is_alone", lambda _: alone)
    queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
    try:
        assert scene.named(f"id {queue.id}").doubtful is not alone
    finally:
        queue.remove()


def test_a_posix_queue_is_told_by_its_name(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    if scene.looker.queues is None:
        pytest.skip("this user cannot list POSIX queues here")
    monkeypatch.setattr(objects, "is_alone", lambda _: True)
    queue = posix_ipc.MessageQueue(f"/{NAME}", posix_ipc.O_CREX, max_messages=1, max_message_size=1)
    queue.close()
    try:
        leak = scene.named(f"/{NAME}")
    finally:
        queue.unlink()
    assert (leak.kind, leak.name, leak.doubtful) == (Kind.POSIX_MQ, f"/{NAME}", False)
