"""What a test left inside its own process is described, and what is nobody's is left out."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import sysconfig
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab.guard import inside
from lab.guard.births import Births
from lab.guard.leak import Kind, Leak
from lab.guard.look import Look, Looker


class Scene:
    """What is new since the scene began."""

    def __init__(self, births: Births) -> None:
        self.births = births
        self.looker = Looker(births, ())
        self.before: Look = self.looker()

    def left(self) -> list[Leak]:
        return list(inside.new(self.before, self.looker(), self.births))


@pytest.fixture
def scene(births: Births) -> Iterator[Scene]:
    scene = Scene(births)
    yield scene
    scene.looker.close()


def test_nothing_is_left(scene: Scene) -> None:
    assert scene.left() == []


def test_a_descriptor_is_told_by_what_it_leads_to(scene: Scene, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        (leak,) = scene.left()
    assert (leak.kind, leak.name) == (Kind.FD, str(tmp_path / "file"))
    assert leak.note == f"fd {leak.key[1]}"
    assert "test_inside.py:" in leak.birth.where


def test_a_socket_is_told_with_its_address_if_it_has_one(scene: Scene, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound, socket.socket(socket.AF_UNIX):
        bound.bind(str(tmp_path / "sock"))
        named, unnamed = scene.left()
    assert named.name.startswith("socket:[")
    assert named.name.endswith(f" ({tmp_path}/sock)")
    assert unnamed.name.endswith("]")


def test_a_netlink_socket_that_python_did_not_make_is_the_c_librarys(scene: Scene) -> None:
    """The C library opens one for `mq_notify` with threads, and keeps it."""
    made = ctypes.CDLL(None).socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    try:
        assert scene.left() == []
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0):
            (leak,) = scene.left()
            assert leak.kind is Kind.FD
    finally:
        os.close(made)


def test_a_new_descriptor_with_a_lock_is_one_leak(scene: Scene, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (leak,) = scene.left()
    assert (leak.kind, leak.name) == (Kind.LOCK_HELD, str(tmp_path / "file"))


def test_a_lock_through_an_old_descriptor_is_told_by_its_sort(
    births: Births, tmp_path: Path
) -> None:
    with (tmp_path / "file").open("w") as file:
        scene = Scene(births)
        fcntl.lockf(file, fcntl.LOCK_EX)
        (leak,) = scene.left()
        assert leak.key[:2] == (Kind.LOCK_HELD, file.fileno())
        assert leak.note == f"POSIX lock for write, fd {file.fileno()}"
        scene.looker.close()


def test_a_thread_is_told_by_its_name_and_what_it_runs(scene: Scene) -> None:
    end = threading.Event()

    def wait() -> None:
        end.wait()

    thread = threading.Thread(target=wait, name="waiter")
    thread.start()
    try:
        (leak,) = scene.left()
    finally:
        end.set()
        thread.join()
    assert leak.key == (Kind.THREAD, thread.native_id, 0)
    assert leak.name == "waiter"
    line = wait.__code__.co_firstlineno
    assert leak.note == f"it runs {wait.__qualname__} ({scene.births.short(__file__)}:{line})"


def test_a_thread_of_a_class_is_told_by_its_method(scene: Scene) -> None:
    end = threading.Event()

    class Waiter(threading.Thread):
        def run(self) -> None:
            end.wait()

    thread = Waiter()
    thread.start()
    try:
        (leak,) = scene.left()
    finally:
        end.set()
        thread.join()
    assert "Waiter.run" in leak.note


def test_the_threads_of_a_fixtures_pool_are_the_fixtures(scene: Scene) -> None:
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as own:
        scene.births.owners.add(pool, "fixture pool (session)")
        for each in (pool, own):
            assert each.submit(int).result() == 0
        owners = [leak.birth.owner for leak in scene.left()]
    assert sorted(owners) == ["", "fixture pool (session)"]


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGUSR1, "SIGUSR1"), (signal.SIGRTMIN + 3, f"signal {signal.SIGRTMIN + 3}")],
)
def test_a_handler_is_told_with_the_one_before(scene: Scene, number: int, name: str) -> None:
    def note(*_: object) -> None: ...

    before = signal.signal(number, note)
    try:
        (leak,) = scene.left()
    finally:
        signal.signal(number, before)
    assert (leak.kind, leak.name, leak.before) == (Kind.SIGNAL_HANDLER, name, before)
    assert leak.note == "note in place of SIG_DFL"
    assert leak.birth.where.endswith(f"test_inside.py:{note.__code__.co_firstlineno}")


def test_a_handler_of_a_plugin_that_times_tests_is_its_own(scene: Scene) -> None:
    place = f"{sysconfig.get_path('purelib')}/pytest_timeout.py"
    names: dict[str, Any] = {}
    exec(compile("def handler(*_): ...", place, "exec"), names)  # noqa: S102  # as if it had
    before = signal.signal(signal.SIGUSR1, names["handler"])
    try:
        assert scene.left() == []
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_working_directory_that_is_gone_disturbs_nothing(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        (leak,) = scene.left()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "test_inside.py:" in leak.birth.where


class Held:
    """Something that is freed when nothing holds it."""

    alive = 0

    def __init__(self) -> None:
        Held.alive += 1

    def __del__(self) -> None:
        Held.alive -= 1


def test_the_frames_of_a_failure_and_of_what_led_to_it_let_go() -> None:
    def first() -> None:
        held = Held()
        raise ValueError(type(held))

    def second() -> None:
        held = Held()
        try:
            first()
        except ValueError as cause:
            raise LookupError(type(held)) from cause

    failure: BaseException | None = None
    try:
        second()
    except LookupError as error:
        failure = error
        # As a debugger, or a report with the variables, asks for them.
        assert failure.__traceback__ is not None
        frame = failure.__traceback__.tb_next
        assert frame is not None
        assert "held" in frame.tb_frame.f_locals
        del frame
    assert failure is not None
    assert Held.alive == 2
    inside.let_go(failure)
    assert Held.alive == 0
    failure.__context__ = failure  # a circle, which raise makes none of, but some libraries do
    inside.let_go(failure)
